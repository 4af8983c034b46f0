//! The deployed workflows, their kernel plans, and the hook routes they make.

use std::collections::BTreeMap;
use std::sync::Arc;

use runlet_blocks::Execution;
use runlet_kernel::{OnError, Plan, PlanBlock, Retry, Span};
use runlet_proto::control::SourceText;
use runlet_proto::hook::{OnDisconnect, Respond, Route, RouteTable};
use runlet_proto::ids::{BlockIndex, Priority};
use runlet_proto::state::Lane;
use runlet_workflow::block::hook::{Hook, Respond as HookRespond};
use runlet_workflow::definition::Isolation;
use runlet_workflow::limits::EXEC_TIMEOUT_DEFAULT;
use runlet_workflow::{BlockConfig, Definition, definition};

use crate::limits::HEAVY_RUN_MEMORY_BYTES_DEFAULT;

/// A definition ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The text it was read from.
    pub(crate) source: Arc<SourceText>,
    pub(crate) definition: Arc<Definition>,
    pub(crate) plan: Arc<Plan>,
}

/// A deployed workflow.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) program: Program,
    pub(crate) deployed_at_ms: u64,
}

/// All deployed workflows, by name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    workflows: BTreeMap<String, Deployed>,
    generation: u64,
    /// Bytes of the texts of all of them.
    source_bytes: usize,
}

impl Registry {
    /// Puts a program in, and hands back the one it replaces.
    pub(crate) fn deploy(&mut self, deployed: Deployed) -> Option<Deployed> {
        self.generation += 1;
        self.source_bytes += deployed.program.source.text.len();
        let replaced = self.workflows.insert(deployed.program.definition.name.clone(), deployed);
        self.source_bytes -= replaced.as_ref().map_or(0, |replaced| replaced.program.source.text.len());
        replaced
    }

    /// Bytes of the texts of all deployed definitions.
    pub(crate) fn source_bytes(&self) -> usize {
        self.source_bytes
    }

    /// Takes a workflow out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Deployed> {
        let removed = self.workflows.remove(name)?;
        self.source_bytes -= removed.program.source.text.len();
        self.generation += 1;
        Some(removed)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Deployed> {
        self.workflows.get(name)
    }

    /// Whether this version of a workflow is deployed.
    pub(crate) fn has(&self, workflow: &str, version: &str) -> bool {
        self.workflows.get(workflow).is_some_and(|deployed| deployed.program.definition.version == version)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Deployed> {
        self.workflows.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.workflows.len()
    }

    /// All hooks, as the gateway serves them.
    pub(crate) fn routes(&self) -> RouteTable {
        let routes = self.workflows.values().flat_map(|deployed| {
            let definition = &deployed.program.definition;
            hooks(definition).map(|hook| route(&definition.name, hook))
        });
        RouteTable { generation: self.generation, routes: routes.collect() }
    }
}

/// The hooks of a definition, in order.
pub(crate) fn hooks(definition: &Definition) -> impl Iterator<Item = &Hook> {
    definition.blocks.iter().filter_map(|block| match &block.config {
        BlockConfig::Hook(hook) => Some(hook),
        BlockConfig::Fetch(_)
        | BlockConfig::HtmlScraper(_)
        | BlockConfig::Transform(_)
        | BlockConfig::Exec(_)
        | BlockConfig::Workflow(_)
        | BlockConfig::Memory(_)
        | BlockConfig::Send(_)
        | BlockConfig::Receive(_)
        | BlockConfig::Response(_) => None,
    })
}

fn route(workflow: &str, hook: &Hook) -> Route {
    Route {
        path: hook.path.clone(),
        methods: hook.methods.clone(),
        workflow: workflow.to_owned(),
        respond: match hook.respond {
            HookRespond::WhenDone => Respond::WhenDone,
            HookRespond::AtOnce => Respond::AtOnce,
        },
        body_bytes_max: hook.body_bytes_max,
        timeout_ms: span(hook.timeout).as_ms(),
        on_disconnect: if hook.stop_on_disconnect { OnDisconnect::Stop } else { OnDisconnect::Continue },
    }
}

impl Program {
    /// Whether both are the same version of one workflow, whatever text they were read from.
    pub(crate) fn is_same_version(&self, other: &Self) -> bool {
        self.definition.version == other.definition.version && self.definition.name == other.definition.name
    }

    /// Makes the kernel's plan of a definition.
    pub(crate) fn new(definition: Definition, source: SourceText) -> Self {
        let plan = Plan {
            workflow: definition.name.as_str().into(),
            version: definition.version.as_str().into(),
            priority: Priority::new(definition.priority).unwrap_or_default(),
            concurrency: definition.concurrency,
            timeout: definition.timeout.map(span),
            heavy_memory_bytes: definition.limits.memory_bytes.unwrap_or(HEAVY_RUN_MEMORY_BYTES_DEFAULT),
            blocks: (0..definition.blocks.len()).map(|index| plan_block(&definition, index)).collect(),
        };
        Self { source: Arc::new(source), definition: Arc::new(definition), plan: Arc::new(plan) }
    }
}

fn plan_block(definition: &Definition, index: usize) -> PlanBlock {
    let (block, isolation) = (&definition.blocks[index], definition.isolation);
    // A request is only handed on, and a reply without templates only put together: there is nothing to isolate.
    let harmless = match &block.config {
        BlockConfig::Hook(_) => true,
        BlockConfig::Response(_)
        | BlockConfig::Workflow(_)
        | BlockConfig::Memory(_)
        | BlockConfig::Send(_)
        | BlockConfig::Receive(_) => Execution::starts_brief(block),
        BlockConfig::Fetch(_) | BlockConfig::HtmlScraper(_) | BlockConfig::Transform(_) | BlockConfig::Exec(_) => false,
    };
    // A program, whoever chose it, never runs where others do.
    let is_program = matches!(block.config, BlockConfig::Transform(_) | BlockConfig::Exec(_));
    let heavy = is_program || (isolation == Isolation::Process && !harmless);
    let default = matches!(block.config, BlockConfig::Exec(_)).then_some(EXEC_TIMEOUT_DEFAULT);
    let timeout = block.timeout.or(default);
    PlanBlock {
        id: block.id.as_str().into(),
        trigger: matches!(block.config, BlockConfig::Hook(_)),
        brief: Execution::starts_brief(block) && !heavy,
        lane: if heavy { Lane::Heavy } else { Lane::Light },
        gated: heavy && definition.gates(index).next().is_some(),
        dependencies: block
            .dependencies
            .iter()
            .filter_map(|&index| u16::try_from(index).ok().map(BlockIndex))
            .collect(),
        timeout: timeout.map(span),
        retry: Retry {
            attempts: block.retry.attempts,
            delay: span(block.retry.delay),
            backoff: block.retry.backoff,
            delay_max: span(block.retry.delay_max),
            jitter: block.retry.jitter,
        },
        on_error: match block.on_error {
            definition::OnError::Fail => OnError::Fail,
            definition::OnError::Skip => OnError::Skip,
        },
    }
}

fn span(duration: std::time::Duration) -> Span {
    Span(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
