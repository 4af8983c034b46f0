//! What of runs is written down, when, and who waits until it is on disk.
//!
//! A run that is *written* has its beginning in the journal before anybody is told of it, then each step as it is made, then
//! its end. One that a client waits for is written *at the end*, in one piece; it turns into a written one when it goes on
//! without its client, and before the first call whose effect must not come about twice. Such a call waits until the intent is
//! on disk: so a supervisor that finds an intent without an outcome knows that it does not know.

mod acknowledge;
pub(crate) mod keys;
mod past;
mod recover;
mod retry;
pub(crate) mod stored;
mod write;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use runlet_journal::{Backlog, Entry, Journal};
use runlet_kernel::{BlockedOn, Time, WorkflowControlBlock};
use runlet_proto::call::Call;
use runlet_proto::control::{LogLine, Refusal, RefusalKind, Reply};
use runlet_proto::ids::{BlockIndex, RunId};
use runlet_proto::state::RunState;
use runlet_workflow::definition::Durability;
use tokio::sync::watch;

pub(crate) use self::acknowledge::OnDisk;
use self::acknowledge::{Acknowledgement, disk_full};
use crate::children::child_began;
use crate::core::{Core, Payload, Phase};
use crate::inbound::AttemptId;
use crate::limits::{JOURNAL_WAITING_BYTES_MAX, RELAXED_PER_SECOND_MAX};
use crate::registry::Program;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::{RequestId, RunRecord};

pub(crate) use past::{Asked, directory_in, output};
pub(crate) use recover::oldest_ms;

/// How one run is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Not at all.
    Never,
    /// In one piece.
    AtTheEnd,
    /// Step by step; the number of its last entry.
    Written(u64),
}

/// The journal, and who waits for it.
#[derive(Debug)]
pub(crate) struct Durable {
    journal: Journal,
    /// Where it lies.
    directory: PathBuf,
    /// How many read it now.
    pub(crate) reads: usize,
    /// Number of the last entry that is on disk, as the writer tells it.
    on_disk: watch::Receiver<u64>,
    /// Replies that wait until an entry is on disk, in the order of these.
    waiting: VecDeque<Acknowledgement>,
    /// What was said to them meanwhile, which is to come after.
    held: RefCell<HashMap<RequestId, Vec<Reply>>>,
    /// Whether there is no room on the disk.
    full: bool,
    /// Why nothing can be written any more.
    failed: Option<String>,
    pub(crate) keys: keys::Keys,
    /// How many more runs that COMPLETED are written in one piece in the second that began then.
    completed: (u32, Time),
    /// Runs that were not written, since there were too many.
    pub(crate) unwritten: u64,
}

impl Durable {
    /// Where the journal lies.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn new(journal: Journal, directory: PathBuf, on_disk: watch::Receiver<u64>) -> Self {
        Self {
            journal,
            directory,
            reads: 0,
            on_disk,
            waiting: VecDeque::new(),
            held: RefCell::default(),
            full: false,
            failed: None,
            keys: keys::Keys::default(),
            completed: (RELAXED_PER_SECOND_MAX, Time(0)),
            unwritten: 0,
        }
    }

    /// Takes a reply that is to come after one that waits. It is given back if there is none.
    pub(crate) fn hold(&self, to: RequestId, reply: Reply) -> Option<Reply> {
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            return Some(reply);
        }
        match held.get_mut(&to) {
            Some(replies) => {
                replies.push(reply);
                None
            }
            None => Some(reply),
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Why the supervisor has to end, if it has to.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Writes what waits, and ends; why it could not, if it could not.
    pub(crate) fn close(self) -> Option<String> {
        self.journal.close()
    }
}

impl Core {
    /// Why no run can be accepted that is to be written down.
    pub(crate) fn no_room(&self, writing: Writing) -> Option<Refusal> {
        if writing == Writing::Never {
            return None;
        }
        if self.durable.full {
            return Some(disk_full());
        }
        // The other half is for the runs that were accepted: they end if it is full too.
        (self.durable.journal.stats().bytes_waiting > JOURNAL_WAITING_BYTES_MAX).then(|| {
            refusal(RefusalKind::Overloaded, "the disk does not keep up with what is to be written down")
                .with_help("try again later; `durability: \"none\"` does without the disk")
        })
    }

    /// Appends entries. Their number, if there is anything to wait for; a journal that does not take them any more ends the
    /// supervisor, which would otherwise promise what it cannot keep.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> u64 {
        let taken = self.durable.journal.append(entries);
        self.appended(taken)
    }

    /// The same for entries that nobody waits for: they go to the disk with others, or a little later.
    pub(crate) fn append_relaxed(&mut self, entries: Vec<Entry>) -> u64 {
        let taken = self.durable.journal.append_relaxed(entries);
        self.appended(taken)
    }

    fn appended(&mut self, taken: Result<u64, Backlog>) -> u64 {
        taken.unwrap_or_else(|backlog| {
            self.journal_failed(backlog.to_string());
            u64::MAX
        })
    }

    fn journal_failed(&mut self, why: String) {
        if self.durable.failed.is_none() {
            tracing::error!(
                why,
                "the journal cannot be written: the supervisor ends, and the next one goes on from what is on disk"
            );
            self.durable.failed = Some(why);
            self.phase = Phase::Ending;
        }
    }

    /// A definition is deployed. Nothing is written if it was already.
    pub(crate) fn write_deployed(&mut self, program: &Program, at_ms: u64) -> u64 {
        let definition = &program.definition;
        if self.registry.has(&definition.name, &definition.version) {
            return 0;
        }
        self.append(vec![Entry::Deployed { source: write::source(definition, &program.source), at_ms }])
    }

    /// A run begins; if somebody is told of it only then, the number of the entry that is to be on disk.
    pub(crate) fn write_began(&mut self, run: RunId) -> u64 {
        let Some((control_block, record)) = self.kernel.run(run).zip(self.runs.get(&run)) else { return 0 };
        if !matches!(record.writing, Writing::Written(_)) {
            return 0;
        }
        let stored = self.registry.has(&control_block.plan.workflow, &control_block.plan.version);
        let mut began = vec![Entry::Began(write::began(control_block, record, &self.clock, !stored))];
        let nobody_waits = match record.program.definition.durability {
            Durability::Strict => false,
            Durability::Relaxed | Durability::None => true,
            Durability::Auto => !record.waiters.is_empty(),
        };
        began.extend(self.link_to_parent(run));
        if nobody_waits {
            let entry = self.append_relaxed(began);
            self.note_written(run, entry);
            return 0;
        }
        let entry = self.append(began);
        self.note_written(run, entry);
        entry
    }

    /// Makes a run that was to be written at its end one that is written from now on.
    pub(super) fn write_so_far(&mut self, run: RunId) -> u64 {
        let Some((control_block, record)) = self.kernel.run(run).zip(self.runs.get(&run)) else { return 0 };
        let mut entries = vec![Entry::Began(write::began(control_block, record, &self.clock, true))];
        let blocks = (0_u16..).zip(&control_block.blocks);
        let blocks = blocks.filter(|(index, _)| !control_block.plan.blocks[usize::from(*index)].trigger);
        entries.extend(blocks.filter_map(|(index, block)| write::block(run, index, block, &self.clock)));
        let deaths = record.deaths.causes().iter();
        entries.extend(deaths.map(|cause| Entry::Died { run, cause: cause.clone() }));
        let children = record.begun.iter().filter(|(_, begun)| begun.written);
        entries.extend(children.map(|(token, begun)| child_began(run, *token, begun.run)));
        entries.extend(self.link_to_parent(run));
        let entry = self.append(entries);
        self.note_written(run, entry);
        entry
    }

    /// Has a run that was to be written at its end written from now on.
    pub(crate) fn write_from_now_on(&mut self, run: RunId) {
        if self.runs.get(&run).is_some_and(|record| record.writing == Writing::AtTheEnd) {
            self.write_so_far(run);
        }
    }

    pub(crate) fn note_written(&mut self, run: RunId, entry: u64) {
        if let Some(record) = self.runs.get_mut(&run) {
            record.writing = Writing::Written(entry);
        }
    }

    /// Appends what a written run did; nothing of any other.
    fn append_of(&mut self, run: RunId, entry: impl FnOnce(&Self) -> Option<Entry>) {
        if self.runs.get(&run).is_some_and(|record| matches!(record.writing, Writing::Written(_)))
            && let Some(entry) = entry(self)
        {
            let entry = self.append(vec![entry]);
            self.note_written(run, entry);
        }
    }

    /// Whether a run is in the journal already, and goes on from there if this supervisor ends.
    pub(crate) fn is_written(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|record| matches!(record.writing, Writing::Written(_)))
    }

    /// Whether an answer waits for the disk, or a run may end soon that is worth waiting for when the supervisor is to end. One
    /// that is held, or waits for another attempt or a message, is as well left for the next supervisor, if it is written down.
    pub(crate) fn has_something_to_wait_for(&self) -> bool {
        let now = self.clock.now();
        // Who was promised an answer that waits for the disk would take its lack for a refusal.
        !self.durable.waiting.is_empty()
            || self.kernel.runs().any(|run| {
                let idles = run.state == RunState::Paused
                    || match run.blocked_on(now) {
                        Some(BlockedOn::Retry(_)) => true,
                        // A message may come tomorrow.
                        Some(BlockedOn::Call(on)) => on.starts_with("receive "),
                        Some(BlockedOn::Memory(_) | BlockedOn::Concurrency(_)) | None => false,
                    };
                !(run.state.is_terminal() || idles && self.is_written(run.id))
            })
    }

    /// A run goes on that nobody waits for: if it was to be written at its end, it is written now, or a crash would end what
    /// its client believes to go on.
    pub(crate) fn goes_on_alone(&mut self, run: RunId) {
        let alone = |record: &RunRecord| record.writing == Writing::AtTheEnd && record.waiters.is_empty();
        let live = self.kernel.run(run).is_some_and(|run| !run.state.is_terminal());
        if live && self.runs.get(&run).is_some_and(alone) {
            self.write_so_far(run);
        }
    }

    /// A block is done, or waits for another attempt.
    pub(crate) fn progressed(&mut self, run: RunId, block: BlockIndex) {
        if self.runs.get(&run).is_some_and(|record| record.writing == Writing::AtTheEnd) {
            return self.goes_on_alone(run);
        }
        self.append_of(run, |core| {
            // One that has ended is written whole.
            let control_block = core.kernel.run(run).filter(|run| !run.state.is_terminal())?;
            write::block(run, block.0, control_block.blocks.get(block.as_usize())?, &core.clock)
        });
        let live = self.kernel.run(run).is_some_and(|run| !run.state.is_terminal());
        if let Some(Writing::Written(entry)) = self.runs.get(&run).map(|record| record.writing).filter(|_| live) {
            self.acknowledge_block(run, block, entry);
        }
    }

    /// A worker of a run died of what it did: the next supervisor goes on counting.
    pub(crate) fn write_death(&mut self, run: RunId) {
        self.append_of(run, |core| {
            let cause = core.runs.get(&run)?.deaths.causes().last()?.clone();
            Some(Entry::Died { run, cause })
        });
    }

    /// A run wrote to its log.
    pub(crate) fn write_log(&mut self, run: RunId, line: &LogLine) {
        if self.is_written(run) {
            self.append_relaxed(vec![Entry::Log { run, line: line.clone() }]);
        }
    }

    /// A user paused a run, let it go on, or changed its priority.
    pub(crate) fn write_held(&mut self, run: RunId) {
        self.append_of(run, |core| {
            let control_block = core.kernel.run(run).filter(|run| !run.state.is_terminal())?;
            let paused = control_block.state == RunState::Paused;
            Some(Entry::Held { run, paused, priority: control_block.priority.level() })
        });
    }

    /// Whether a run is one of more than [`RELAXED_PER_SECOND_MAX`] that COMPLETED within a second and were promised nothing.
    pub(crate) fn is_one_too_many(&mut self, run: &WorkflowControlBlock<Payload>, record: &RunRecord) -> bool {
        let promised = record.writing != Writing::AtTheEnd || record.key.is_some();
        if promised || run.state != RunState::Completed {
            return false;
        }
        let now = self.clock.now();
        let (left, since) = &mut self.durable.completed;
        if (now - *since).0 >= 1_000_000 {
            (*left, *since) = (RELAXED_PER_SECOND_MAX, now);
        }
        let Some(rest) = left.checked_sub(1) else {
            self.durable.unwritten += 1;
            return true;
        };
        *left = rest;
        false
    }

    /// What is written of the end of a run, if anything is.
    pub(crate) fn entry_of_end(
        &self,
        control_block: &WorkflowControlBlock<Payload>,
        record: &RunRecord,
    ) -> Option<Entry> {
        match record.writing {
            Writing::Never => None,
            Writing::AtTheEnd => {
                let stored = self.registry.has(&control_block.plan.workflow, &control_block.plan.version);
                let began = write::began(control_block, record, &self.clock, !stored);
                Some(Entry::Whole(began, write::ended(control_block, record, &self.clock)))
            }
            Writing::Written(_) => Some(Entry::Ended(write::ended(control_block, record, &self.clock))),
        }
    }

    /// A call is about to be made. If its effect must not come about twice, what it has to wait for: that the intent is on
    /// disk.
    pub(crate) fn intend(&mut self, attempt: AttemptId, call: &Call) -> Option<OnDisk> {
        let writing = self.runs.get(&attempt.run).map(|record| record.writing)?;
        if !call.has_effect() || writing == Writing::Never {
            return None;
        }
        self.write_from_now_on(attempt.run);
        let AttemptId { run, block, attempt } = attempt;
        let at_ms = self.clock.unix_ms(self.clock.now());
        let entry = self.append(vec![Entry::Intent { run, block: block.0, attempt: attempt.0, at_ms }]);
        self.note_written(run, entry);
        Some(self.on_disk(entry))
    }
}
