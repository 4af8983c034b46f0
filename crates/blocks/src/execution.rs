//! One attempt of one block, as a state machine its caller drives.

use std::sync::Arc;

use runlet_proto::call::{Answer, Call, FetchReply};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::BlockIndex;
use runlet_workflow::template::Scope;
use runlet_workflow::{Block, BlockConfig, Definition};
use serde_json::Value;

use crate::calls::Calls;
use crate::for_each::{ForEach, Progress};
use crate::limits::BRIEF_BYTES_MAX;
use crate::output::{Output, value_bytes};
use crate::prepared::{Prepared, prepared};
use crate::{channel, exec, fetch, hook, html_scraper, memory, response, template, transform, workflow};

/// What is to be executed.
#[derive(Debug)]
pub struct Assignment {
    /// The definition the run began with.
    pub definition: Arc<Definition>,
    /// Which of its blocks.
    pub block: BlockIndex,
    /// The block's input: its dependencies' output.
    pub input: Output,
    /// Values for templates; `None` only when `Execution::needs_scope` said that none are needed.
    pub scope: Option<Scope>,
}

/// Numbers the calls of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub u32);

/// Why the execution is resumed.
#[derive(Debug)]
pub enum Resume {
    /// For the first time.
    Start,
    /// A call was answered.
    Answer(CallId, Answer),
    /// Several were: what goes on between two of them is done once.
    Answers(Vec<(CallId, Answer)>),
}

/// Where the execution stopped.
#[derive(Debug)]
pub enum Step {
    /// It waits for the answer to any outstanding call; these are new. Each will be resumed with once.
    Wait(Vec<(CallId, Call)>),
    /// It ended.
    Done(Result<Outcome, Failure>),
}

/// How an attempt ended well.
#[derive(Debug)]
pub enum Outcome {
    /// With an output.
    Completed(Output),
    /// Its `when` was false.
    Skipped,
}

/// How much compute a resumption may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Microseconds: may be done in place by the supervisor's loop.
    Brief,
    /// Microseconds, and one of many: may be done in place by who has waited for the answer, not by who has it at once.
    Step,
    /// More: belongs on a pool thread.
    Compute,
}

/// One attempt of one block.
#[derive(Debug)]
pub struct Execution {
    subject: Subject,
    scope: Option<Scope>,
    state: State,
}

/// A block and what it works on.
#[derive(Debug)]
pub(crate) struct Subject {
    definition: Arc<Definition>,
    block: BlockIndex,
    prepared: Arc<Prepared>,
    input: Output,
}

#[derive(Debug)]
enum State {
    New,
    Waiting(Asked),
    Each(ForEach),
    Ended,
}

/// What is remembered of a call until its answer.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A request; its method.
    Fetch(String),
    /// A run of another workflow.
    Workflow,
    /// Shared memory; the output if there is no such key.
    Memory(Value),
    /// A message for this channel.
    Send(String),
    /// A message; the output if none comes.
    Receive(Option<Value>),
}

impl Asked {
    /// About how many bytes of a document it holds.
    pub(crate) fn carried_bytes(&self) -> usize {
        match self {
            Self::Memory(default) | Self::Receive(Some(default)) => value_bytes(default),
            Self::Fetch(_) | Self::Workflow | Self::Send(_) | Self::Receive(None) => 0,
        }
    }
}

/// How far one pass of a block came.
#[expect(clippy::large_enum_variant, reason = "moved on at once; a box would cost more than the move")]
#[derive(Debug)]
pub(crate) enum Pass {
    /// It needs an answer first.
    Call(Call, Asked),
    /// It is done.
    Done(Output),
}

/// An answer came to a call that was not made.
pub(crate) fn not_made(id: CallId) -> Failure {
    Failure::workflow("internal", format!("an answer came to call {}, which was not made", id.0))
}

/// What an attempt returns that was told to stop; nobody sees it.
pub(crate) fn cancelled() -> Failure {
    Failure { class: FailureClass::Stopped, ..Failure::workflow("cancelled", "the attempt was given up") }
}

impl Execution {
    /// Whether the block has templates, so that its [`Assignment`] needs a scope.
    #[must_use]
    pub fn needs_scope(block: &Block) -> bool {
        block.has_templates()
    }

    /// Whether an attempt of this block begins in microseconds, so that it needs no CPU slot: those that only make a call,
    /// `hook` and `response`, without templates. Templates have fuel for milliseconds.
    #[must_use]
    pub fn starts_brief(block: &Block) -> bool {
        !block.has_templates()
            && match &block.config {
                BlockConfig::Hook(_) | BlockConfig::Fetch(_) | BlockConfig::Response(_) => true,
                BlockConfig::Workflow(_) | BlockConfig::Memory(_) | BlockConfig::Send(_) | BlockConfig::Receive(_) => {
                    true
                }
                BlockConfig::HtmlScraper(_) | BlockConfig::Transform(_) | BlockConfig::Exec(_) => false,
            }
    }

    /// An attempt that has not begun.
    ///
    /// # Panics
    /// When the definition has no such block.
    #[must_use]
    pub fn new(assignment: Assignment) -> Self {
        let Assignment { definition, block, input, scope } = assignment;
        let prepared = prepared(&definition, block);
        Self { subject: Subject { definition, block, prepared, input }, scope, state: State::New }
    }

    /// How much compute the next [`Self::resume`] may take.
    #[must_use]
    pub fn weight(&self, resume: &Resume) -> Weight {
        let is_brief = match (&self.state, resume) {
            (State::Each(each), _) => return each.weight(self.subject.block(), resume),
            (_, Resume::Start) => self.subject.starts_brief(),
            (_, Resume::Answer(_, Answer::Failed(_))) => true,
            (_, Resume::Answer(_, Answer::Fetch(reply))) => {
                reply.body.len() <= BRIEF_BYTES_MAX || !self.subject.is_parsed(reply)
            }
            (_, Resume::Answer(_, answer)) => answer.carried_bytes() <= BRIEF_BYTES_MAX,
            (_, Resume::Answers(_)) => false,
        };
        if is_brief { Weight::Brief } else { Weight::Compute }
    }

    /// Does the whole attempt at once if that takes only microseconds although its [`Self::weight`] cannot promise it: a
    /// scraper whose rules the first kilobytes of the page satisfy. `None`: nothing has happened, and [`Self::resume`] does
    /// it where computing is allowed.
    pub fn try_brief(&mut self, calls: &mut dyn Calls) -> Option<Step> {
        let block = self.subject.block();
        let plain = matches!(self.state, State::New) && block.input.is_none() && !block.has_templates();
        let Prepared::HtmlScraper(Ok(rules)) = &*self.subject.prepared else { return None };
        let output = plain.then(|| html_scraper::try_brief(rules, &self.subject.input, calls)).flatten()?;
        self.state = State::Ended;
        Some(Step::Done(Ok(Outcome::Completed(output))))
    }

    /// Goes on until the block ends or needs answers. After [`Step::Done`] it is not to be resumed again.
    pub fn resume(&mut self, resume: Resume, calls: &mut dyn Calls) -> Step {
        let step = match resume {
            Resume::Start => self.start(calls),
            Resume::Answer(id, answer) => self.answer(vec![(id, answer)], calls),
            Resume::Answers(answers) => self.answer(answers, calls),
        };
        let step = step.unwrap_or_else(|failure| Step::Done(Err(failure)));
        if matches!(step, Step::Done(_)) {
            self.state = State::Ended;
        }
        step
    }

    fn start(&mut self, calls: &mut dyn Calls) -> Result<Step, Failure> {
        if !matches!(self.state, State::New) {
            return Err(Failure::workflow("internal", "the attempt was started twice"));
        }
        let definition = Arc::clone(&self.subject.definition);
        let block = &definition.blocks[self.subject.block.as_usize()];
        if let Some(when) = &block.when
            && !template::is_true(&template::evaluate(when, self.scope.as_ref(), "when")?)
        {
            return Ok(Step::Done(Ok(Outcome::Skipped)));
        }
        if let Some(input) = &block.input {
            let value = Arc::new(template::json(input, self.scope.as_ref(), "input")?.into_owned());
            if let Some(scope) = &mut self.scope {
                scope.input = Arc::clone(&value);
            }
            self.subject.input = Output::Json(value);
        }
        if let Some(for_each) = &block.for_each {
            let items = template::evaluate(&for_each.items, self.scope.as_ref(), "for_each")?;
            let mut each = ForEach::new(items, for_each.parallel)?;
            let progress = each.launch(&self.subject, self.scope.as_ref(), calls)?;
            return Ok(self.follow(each, progress));
        }
        Ok(match self.subject.begin(&self.subject.input, self.scope.as_ref(), calls)? {
            Pass::Done(output) => Step::Done(Ok(Outcome::Completed(output))),
            Pass::Call(call, asked) => {
                self.state = State::Waiting(asked);
                Step::Wait(vec![(CallId(0), call)])
            }
        })
    }

    fn answer(&mut self, answers: Vec<(CallId, Answer)>, calls: &mut dyn Calls) -> Result<Step, Failure> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Each(mut each) => {
                for (id, answer) in answers {
                    each.take(id, answer, &self.subject, calls)?;
                }
                let progress = each.launch(&self.subject, self.scope.as_ref(), calls)?;
                Ok(self.follow(each, progress))
            }
            State::Waiting(asked) => match <[_; 1]>::try_from(answers) {
                Ok([(CallId(0), answer)]) => {
                    let output = self.subject.finish(asked, answer, calls)?;
                    Ok(Step::Done(Ok(Outcome::Completed(output))))
                }
                Ok([(id, _)]) => Err(not_made(id)),
                Err(_) => Err(Failure::workflow("internal", "several answers came to one call")),
            },
            State::New | State::Ended => Err(not_made(answers.first().map_or(CallId(0), |(id, _)| *id))),
        }
    }

    fn follow(&mut self, each: ForEach, progress: Progress) -> Step {
        match progress {
            Progress::Wait(calls) => {
                self.state = State::Each(each);
                Step::Wait(calls)
            }
            Progress::Done(output) => Step::Done(Ok(Outcome::Completed(output))),
        }
    }
}

impl Subject {
    fn block(&self) -> &Block {
        &self.definition.blocks[self.block.as_usize()]
    }

    fn starts_brief(&self) -> bool {
        Execution::starts_brief(self.block()) && (!self.sends_input() || self.input.heap_bytes() <= BRIEF_BYTES_MAX)
    }

    /// Whether the block writes out its input, which may be large.
    fn sends_input(&self) -> bool {
        match &self.block().config {
            BlockConfig::Workflow(_) => true,
            BlockConfig::Memory(config) => config.writes_input(),
            BlockConfig::Send(config) => config.message.is_none(),
            BlockConfig::Hook(_)
            | BlockConfig::Fetch(_)
            | BlockConfig::HtmlScraper(_)
            | BlockConfig::Transform(_)
            | BlockConfig::Exec(_)
            | BlockConfig::Receive(_)
            | BlockConfig::Response(_) => self.prepared.sends_input(),
        }
    }

    fn is_parsed(&self, reply: &FetchReply) -> bool {
        match &self.block().config {
            BlockConfig::Fetch(config) => fetch::is_parsed(config, reply),
            BlockConfig::Workflow(_)
            | BlockConfig::Memory(_)
            | BlockConfig::Send(_)
            | BlockConfig::Receive(_)
            | BlockConfig::Hook(_)
            | BlockConfig::HtmlScraper(_)
            | BlockConfig::Transform(_)
            | BlockConfig::Exec(_)
            | BlockConfig::Response(_) => false,
        }
    }

    /// Begins one pass of the block over `input`.
    pub(crate) fn begin(&self, input: &Output, scope: Option<&Scope>, calls: &mut dyn Calls) -> Result<Pass, Failure> {
        match (&self.block().config, &*self.prepared) {
            (BlockConfig::Hook(_), _) => Ok(Pass::Done(hook::execute(input))),
            (BlockConfig::Fetch(config), prepared) => {
                let call = match prepared.call() {
                    Some(call) => call.clone(),
                    None => fetch::call(config, &self.definition, scope)?,
                };
                let asked = Asked::Fetch(call.method.clone());
                Ok(Pass::Call(Call::Fetch(call), asked))
            }
            (BlockConfig::Workflow(config), _) => {
                Ok(Pass::Call(Call::Workflow(workflow::call(config, input)), Asked::Workflow))
            }
            (BlockConfig::Memory(config), _) => {
                let (call, default) = memory::call(config, input, scope)?;
                Ok(Pass::Call(Call::Memory(call), Asked::Memory(default)))
            }
            (BlockConfig::Send(config), _) => {
                let call = channel::send(config, input, scope)?;
                let channel = call.channel.clone();
                Ok(Pass::Call(Call::Send(call), Asked::Send(channel)))
            }
            (BlockConfig::Receive(config), _) => {
                let (call, default) = channel::receive(config, scope)?;
                Ok(Pass::Call(Call::Receive(call), Asked::Receive(default)))
            }
            (BlockConfig::HtmlScraper(_), Prepared::HtmlScraper(rules)) => {
                html_scraper::execute(rules.as_ref().map_err(Clone::clone)?, input, calls).map(Pass::Done)
            }
            (BlockConfig::Transform(config), _) => transform::execute(config, input).map(Pass::Done),
            (BlockConfig::Exec(config), _) => {
                exec::execute(config, &self.definition.limits, input, scope, calls).map(Pass::Done)
            }
            (BlockConfig::Response(config), Prepared::Response(prepared)) => {
                response::execute(config, prepared, input, scope, calls).map(Pass::Done)
            }
            (BlockConfig::HtmlScraper(_) | BlockConfig::Response(_), _) => {
                unreachable!("a block is prepared by its own configuration")
            }
        }
    }

    /// Ends a pass that waited for `answer`.
    pub(crate) fn finish(&self, asked: Asked, answer: Answer, calls: &mut dyn Calls) -> Result<Output, Failure> {
        match (&self.block().config, answer, asked) {
            (_, Answer::Failed(failure), Asked::Receive(Some(default))) if failure.code == "timeout" => {
                Ok(Output::json(default))
            }
            (_, Answer::Failed(failure), _) => Err(failure),
            (BlockConfig::Fetch(config), Answer::Fetch(reply), Asked::Fetch(method)) => {
                fetch::finish(config, &method, *reply, calls)
            }
            (BlockConfig::Workflow(_), Answer::Workflow { run, output }, Asked::Workflow) => {
                workflow::finish(run, output.as_deref())
            }
            (BlockConfig::Memory(config), Answer::Memory(reply), Asked::Memory(default)) => {
                memory::finish(config, default, reply)
            }
            (BlockConfig::Send(_), Answer::Sent(id), Asked::Send(channel)) => Ok(channel::sent(&channel, id)),
            (BlockConfig::Receive(config), Answer::Received(message), Asked::Receive(_)) => {
                channel::received(config, &message)
            }
            (
                _,
                Answer::Fetch(_) | Answer::Workflow { .. } | Answer::Memory(_) | Answer::Sent(_) | Answer::Received(_),
                _,
            ) => Err(Failure::workflow("internal", "an answer came that is not to what the block asked")),
        }
    }
}
