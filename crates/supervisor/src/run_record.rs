//! What the supervisor keeps of a live run beside the kernel's control block.

use std::collections::VecDeque;

use runlet_fetch::Held;
use runlet_proto::control::{LogLevel, LogLine};
use runlet_proto::ids::RunId;

use crate::children::{Begun, Parent};
use crate::durable::Writing;
use crate::durable::keys::Key;
use crate::heavy::account::Account;
use crate::heavy::quarantine::Deaths;
use crate::inbound::ConnectionId;
use crate::lane::MovedBlocks;
use crate::limits::{LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::registry::Program;
use crate::shared::Received;
use crate::trace::Trace;

/// A live run.
#[derive(Debug)]
pub(crate) struct RunRecord {
    /// What it executes: the version it began with.
    pub(crate) program: Program,
    /// The hook's clients that wait for its reply: one, and those that asked again with its idempotency key.
    pub(crate) waiters: Vec<HookWaiter>,
    /// Requests that are told of everything that happens in it.
    pub(crate) followers: Vec<RequestId>,
    /// Requests that are told of its log lines.
    pub(crate) log_followers: Vec<RequestId>,
    /// Its log.
    pub(crate) log: RunLog,
    /// What it did.
    pub(crate) trace: Trace,
    /// The budget of what it fetched and has not looked at yet. Never kept while the run waits for something else: a fetch
    /// may be waiting for this very budget.
    pub(crate) held: Vec<Held>,
    /// Its last worker, if it has had one.
    pub(crate) worker: Option<Account>,
    /// What its workers died of.
    pub(crate) deaths: Deaths,
    /// Its blocks that were moved to the heavy lane.
    pub(crate) moved: MovedBlocks,
    /// How it is written down.
    pub(crate) writing: Writing,
    /// The idempotency key it began with.
    pub(crate) key: Option<Key>,
    /// The run that it makes again.
    pub(crate) retry_of: Option<RunId>,
    /// The run whose failure it was begun for. Its own is nobody's business any more.
    pub(crate) handles: Option<RunId>,
    /// The run whose block began it.
    pub(crate) parent: Option<Parent>,
    /// Whether it has written to shared memory, or has a lock or messages: then these are released in the end.
    pub(crate) shares: bool,
    /// Messages it has received, or waits for.
    pub(crate) received: Vec<Received>,
    /// The runs that its blocks have begun.
    pub(crate) begun: Begun,
    /// Whether an attempt of it has begun.
    pub(crate) has_begun: bool,
}

/// One request of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RequestId {
    pub(crate) connection: ConnectionId,
    pub(crate) id: u64,
}

/// A hook's client that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookWaiter {
    pub(crate) request: RequestId,
    /// Whether the run is stopped when the client goes away.
    pub(crate) stop_on_disconnect: bool,
}

impl RunRecord {
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            waiters: Vec::new(),
            followers: Vec::new(),
            log_followers: Vec::new(),
            log: RunLog::default(),
            trace: Trace::default(),
            held: Vec::new(),
            worker: None,
            deaths: Deaths::default(),
            moved: MovedBlocks::new(),
            writing: Writing::Never,
            key: None,
            retry_of: None,
            handles: None,
            parent: None,
            shares: false,
            received: Vec::new(),
            begun: Begun::new(),
            has_begun: false,
        }
    }
}

/// The last lines a run wrote.
#[derive(Debug, Default)]
pub(crate) struct RunLog {
    lines: VecDeque<LogLine>,
    written: u64,
    written_bytes: u64,
    bytes: usize,
}

impl RunLog {
    /// Adds a line, cut to [`LOG_LINE_BYTES_MAX`]; the oldest go at [`LOG_LINES_MAX`] and [`LOG_BYTES_MAX`].
    pub(crate) fn write(&mut self, at_ms: u64, block: Option<String>, level: LogLevel, mut text: String) -> &LogLine {
        if text.len() > LOG_LINE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
            text.push('…');
        }
        while self.lines.len() >= LOG_LINES_MAX || self.bytes + text.len() > LOG_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
        self.written += 1;
        self.written_bytes += text.len() as u64;
        self.bytes += text.len();
        self.lines.push_back(LogLine { sequence: self.written, at_ms, block, level, text });
        &self.lines[self.lines.len() - 1]
    }

    /// Takes up what was written before.
    pub(crate) fn restore(&mut self, lines: &[LogLine]) {
        for line in lines {
            self.written = self.written.max(line.sequence.saturating_sub(1));
            self.write(line.at_ms, line.block.clone(), line.level, line.text.clone());
        }
    }

    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.lines.iter().cloned().collect()
    }

    /// Bytes of text ever written.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Bytes of text held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_in_lines_and_in_bytes() {
        let mut log = RunLog::default();
        for _ in 0..LOG_LINES_MAX + 5 {
            log.write(0, None, LogLevel::Info, "ä".into());
        }
        let lines = log.lines();
        assert_eq!((lines.len(), lines[0].sequence), (LOG_LINES_MAX, 6));
        for _ in 0..LOG_LINES_MAX {
            log.write(0, None, LogLevel::Info, "ä".repeat(LOG_LINE_BYTES_MAX));
        }
        let lines = log.lines();
        assert!(lines.iter().all(|line| line.text.len() <= LOG_LINE_BYTES_MAX + '…'.len_utf8()));
        assert_eq!(lines[lines.len() - 1].sequence, 2 * LOG_LINES_MAX as u64 + 5);
        assert_eq!(log.bytes(), lines.iter().map(|line| line.text.len()).sum::<usize>());
        assert!(log.bytes() <= LOG_BYTES_MAX && log.bytes() > LOG_BYTES_MAX / 2);
    }
}
