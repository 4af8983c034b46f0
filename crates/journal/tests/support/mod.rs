//! What the journal's tests share: runs to write, and hearing what the writer says.

#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part of what they share")]

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use runlet_journal::{
    Began, BlockDone, Config, Ended, Entry, Heard, Journal, Recovered, Retention, Stored, StoredError, StoredSource,
    Tuning, open_tuned,
};
use runlet_proto::control::{LogLevel, LogLine};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::state::{BlockStatus, Lane, RunState};
use runlet_proto::trace::{TraceOutcome, TraceSpan, TraceWhat};

/// Longest time a test waits for the writer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps everything.
pub(crate) const KEEP_ALL: Retention = Retention { age: None, runs_max: None, bytes_max: None };

/// An open journal and what its writer says.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) recovered: Recovered,
    pub(crate) heard: Receiver<Heard>,
}

impl Opened {
    /// Opens a journal that keeps everything.
    pub(crate) fn at(directory: &Path) -> Self {
        Self::with(directory, KEEP_ALL, Tuning::default())
    }

    pub(crate) fn with(directory: &Path, retention: Retention, tuning: Tuning) -> Self {
        let (say, heard) = channel();
        let config = Config { directory: directory.to_owned(), retention };
        let hear = move |said| drop(say.send(said));
        let (journal, recovered) = open_tuned(config, tuning, hear).expect("the journal opens");
        Self { journal, recovered, heard }
    }

    /// Appends and waits until it is on disk.
    pub(crate) fn write(&self, entries: Vec<Entry>) {
        let sequence = self.journal.append(entries).expect("the backlog is short");
        self.until_durable(sequence);
    }

    pub(crate) fn until_durable(&self, sequence: u64) {
        loop {
            match self.hear() {
                Heard::Durable { up_to } if up_to >= sequence => return,
                Heard::Durable { .. } => {}
                other @ (Heard::Full { .. } | Heard::Room | Heard::Failed(_)) => {
                    panic!("heard {other:?} instead of Durable")
                }
            }
        }
    }

    pub(crate) fn hear(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("the writer says something")
    }

    /// Closes, so that everything that was appended is on disk.
    pub(crate) fn close(self) {
        self.journal.close();
        let failed = self.heard.iter().find(|said| matches!(said, Heard::Failed(_)));
        assert_eq!(failed, None);
    }
}

pub(crate) fn run(number: u128) -> RunId {
    RunId::new(1_000 + number as u64, &number.to_be_bytes()[6..].try_into().unwrap())
}

pub(crate) fn json(text: &str) -> Stored {
    Stored::Json(Bytes::copy_from_slice(text.as_bytes()))
}

pub(crate) fn source(workflow: &str, version: &str) -> StoredSource {
    StoredSource {
        workflow: workflow.to_owned(),
        version: version.to_owned(),
        file: format!("{workflow}.json"),
        text: format!("{{\"name\": \"{workflow}\"}}"),
    }
}

pub(crate) fn began(run: RunId) -> Box<Began> {
    Box::new(Began {
        run,
        workflow: "shop".to_owned(),
        version: "v1".to_owned(),
        source: None,
        priority: 5,
        created_at_ms: run.unix_ms(),
        input: json("{\"id\": 1}"),
        waited_for: false,
        key: None,
        retry_of: None,
        traceparent: None,
        handles: None,
        parent: None,
    })
}

pub(crate) fn done(attempt: u32, output: Stored) -> BlockDone {
    BlockDone {
        attempt,
        retries: attempt - 1,
        status: BlockStatus::Completed,
        output: Some(output),
        failure: None,
        started_at_ms: 2_000,
        ended_at_ms: 2_005,
    }
}

pub(crate) fn line(sequence: u64, text: &str) -> LogLine {
    LogLine { sequence, at_ms: 2_001, block: Some("price".to_owned()), level: LogLevel::Warn, text: text.to_owned() }
}

pub(crate) fn ended(run: RunId, state: RunState) -> Box<Ended> {
    let failure = || Failure::upstream("connect", "connection refused by 192.0.2.1").with_help("start the server");
    let error = || StoredError { block: Some("page".to_owned()), attempt: 2, failure: failure() };
    Box::new(Ended {
        run,
        state,
        ended_at_ms: run.unix_ms() + 10,
        error: (state != RunState::Completed).then(error),
        output: Some(json("{\"price\": \"9.99\"}")),
        blocks: vec![(0, done(1, json("\"page\""))), (1, done(2, Stored::Reply(Bytes::from_static(b"reply"))))],
        log: vec![line(1, "no such selector")],
        trace: vec![TraceSpan {
            sequence: 1,
            block: "page".to_owned(),
            attempt: 1,
            what: TraceWhat::Call("fetch GET example.org".to_owned()),
            offset_us: 12,
            handover_us: None,
            place: None,
            elapsed_us: Some(3_400),
            outcome: Some(TraceOutcome::Answered("200, 5120 bytes".to_owned())),
        }],
        worker: Some("{\"pid\": 7}".to_owned()),
        lane: Some(Lane::Heavy),
        pid: Some(7),
    })
}

/// A payload that becomes a file.
pub(crate) fn large(letter: u8) -> Stored {
    Stored::Json(vec![letter; runlet_journal::limits::OUTPUT_INLINE_BYTES_MAX + 1].into())
}
