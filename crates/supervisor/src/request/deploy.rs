//! Deploy and remove workflows; the routes follow.

use std::collections::HashMap;
use std::sync::Arc;

use runlet_journal::Entry;
use runlet_proto::control::{Refusal, RefusalKind, Reply, SourceText, WorkflowSummary};
use runlet_proto::ids::Priority;
use runlet_workflow::{Definition, memory_over_budget, programs_not_allowed};

use crate::core::{Core, Pending};
use crate::durable::Writing;
use crate::limits::{SOURCE_BYTES_MAX, SOURCES_BYTES_MAX, WORKFLOWS_MAX};
use crate::registry::{Deployed, Program, hooks};
use crate::reply::{RefusalExt as _, invalid, refusal};
use crate::run_record::RequestId;

impl Core {
    /// Checks a definition against the language and against the other workflows, and makes it live.
    pub(crate) fn deploy(&mut self, from: RequestId, source: SourceText) {
        match self.check_and_deploy(source) {
            Ok((reply, entry)) => {
                self.send_when_on_disk(entry, from, reply, None);
                self.tell_route_watchers();
            }
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    fn check_and_deploy(&mut self, source: SourceText) -> Result<(Reply, u64), Refusal> {
        if let Some(full) = self.no_room(Writing::Written(0)) {
            return Err(full);
        }
        let definition = parse(&source)?;
        self.check_for_operator(&definition, &source)?;
        let others = self.registry.iter().map(|deployed| &*deployed.program.definition);
        let others = others.filter(|other| other.name != definition.name);
        let conflicts = runlet_workflow::hook_conflicts(&definition, others, &source.file, &source.text);
        if !conflicts.is_empty() {
            return Err(invalid(&source.file, conflicts));
        }
        if self.registry.len() >= WORKFLOWS_MAX && self.registry.get(&definition.name).is_none() {
            let message = format!("{WORKFLOWS_MAX} workflows are deployed, which is the limit");
            return Err(refusal(RefusalKind::Overloaded, message).with_help("remove some: runlet remove NAME"));
        }
        if self.registry.source_bytes() + source.text.len() > SOURCES_BYTES_MAX {
            let message = format!("the texts of all deployed definitions may have {SOURCES_BYTES_MAX} bytes together");
            return Err(refusal(RefusalKind::Overloaded, message).with_help("remove some: runlet remove NAME"));
        }
        let name = definition.name.clone();
        // What is live already is live since it was deployed first.
        let since = self.registry.get(&name).filter(|live| live.program.definition.version == definition.version);
        let since = since.map_or_else(|| self.clock.unix_ms(self.clock.now()), |live| live.deployed_at_ms);
        let program = Program::new(definition, source);
        let entry = self.write_deployed(&program, since);
        let replaced = self.registry.deploy(Deployed { program, deployed_at_ms: since });
        let replaced = replaced.map(|deployed| deployed.program.definition.version.clone());
        let Some(deployed) = self.registry.get(&name) else {
            return Err(refusal(RefusalKind::Protocol, "the workflow was not deployed"));
        };
        Ok((Reply::Deployed { workflow: summary(deployed, &self.live_runs()), replaced }, entry))
    }

    /// Refuses a definition whose programs the operator does not allow, or of which no heavy run could ever begin.
    pub(crate) fn check_for_operator(&self, definition: &Definition, source: &SourceText) -> Result<(), Refusal> {
        let mut found = programs_not_allowed(definition, &self.programs.names(), &source.file, &source.text);
        found.extend(memory_over_budget(definition, self.heavy_memory_bytes, &source.file, &source.text));
        if found.is_empty() { Ok(()) } else { Err(invalid(&source.file, found)) }
    }

    /// Takes a workflow out; its live runs finish.
    pub(crate) fn remove(&mut self, from: RequestId, name: &str) {
        if let Some(full) = self.no_room(Writing::Written(0)) {
            return self.refuse(from, full);
        }
        let Some(removed) = self.registry.remove(name) else {
            return self.refuse(from, self.unknown_workflow(name));
        };
        let entry = self.append(vec![Entry::Removed { workflow: name.to_owned() }]);
        let workflow = summary(&removed, &self.live_runs());
        self.send_when_on_disk(entry, from, Reply::Removed { workflow }, None);
        self.tell_route_watchers();
    }

    /// The text of a deployed definition.
    pub(crate) fn source(&self, from: RequestId, name: &str) {
        let Some(deployed) = self.registry.get(name) else { return self.refuse(from, self.unknown_workflow(name)) };
        let workflow = summary(deployed, &self.live_runs());
        self.send(from, Reply::Source { workflow, source: (*deployed.program.source).clone() });
    }

    pub(crate) fn workflows(&self, from: RequestId) {
        let live = self.live_runs();
        let summaries = self.registry.iter().map(|deployed| summary(deployed, &live)).collect();
        self.send(from, Reply::Workflows(summaries));
    }

    pub(crate) fn watch_routes(&mut self, from: RequestId) {
        self.expect_reply(from, Pending::Routes);
        self.route_watchers.push(from);
        self.send(from, Reply::Routes(self.registry.routes()));
    }

    fn tell_route_watchers(&self) {
        for watcher in &self.route_watchers {
            self.send(*watcher, Reply::Routes(self.registry.routes()));
        }
    }

    /// Live runs by workflow.
    fn live_runs(&self) -> HashMap<Arc<str>, usize> {
        self.kernel.counts().workflows.into_iter().collect()
    }

    /// The refusal of a name that is not deployed, with the nearest that is.
    pub(crate) fn unknown_workflow(&self, name: &str) -> Refusal {
        let names = self.registry.iter().map(|deployed| deployed.program.definition.name.as_str());
        let nearest = runlet_workflow::nearest(name, names);
        let help = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if self.registry.len() == 0 => "nothing is deployed: runlet deploy FILE".to_owned(),
            None => "list what is deployed: runlet workflows".to_owned(),
        };
        refusal(RefusalKind::NotFound, format!("no workflow `{name}` is deployed")).with_help(help)
    }
}

fn summary(deployed: &Deployed, live: &HashMap<Arc<str>, usize>) -> WorkflowSummary {
    let definition = &deployed.program.definition;
    let hook_text = |hook: &runlet_workflow::block::hook::Hook| {
        let methods = if hook.methods.is_empty() { "ANY".to_owned() } else { hook.methods.join(",") };
        format!("{methods} {}", hook.path)
    };
    WorkflowSummary {
        name: definition.name.clone(),
        version: definition.version.clone(),
        description: definition.description.clone(),
        blocks: u32::try_from(definition.blocks.len()).unwrap_or(u32::MAX),
        priority: Priority::new(definition.priority).unwrap_or_default(),
        hooks: hooks(definition).map(hook_text).collect(),
        live_runs: live.get(definition.name.as_str()).copied().unwrap_or(0) as u64,
        deployed_at_ms: deployed.deployed_at_ms,
    }
}

/// Parses the text of a definition within its bound.
pub(crate) fn parse(source: &SourceText) -> Result<Definition, Refusal> {
    if source.text.len() > SOURCE_BYTES_MAX {
        let message =
            format!("{} has {} bytes; a definition may have {SOURCE_BYTES_MAX}", source.file, source.text.len());
        return Err(refusal(RefusalKind::Invalid, message));
    }
    runlet_workflow::parse(&source.file, &source.text).map_err(|diagnostics| invalid(&source.file, diagnostics))
}
