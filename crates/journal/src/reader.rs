//! Reading the journal beside its writer, or without one: history, one run, dead letters.

use std::collections::BTreeMap;
use std::path::Path;

use runlet_proto::control::LogLine;
use runlet_proto::ids::RunId;
use runlet_proto::state::{Lane, RunState};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Params, params, params_from_iter};

use crate::apply::{id_bytes, run_id};
use crate::entry::{Began, Ended, StoredSource};
use crate::error::{OpenError, ReadError};
use crate::kept::decode_record;
use crate::limits::HISTORY_RUNS_MAX;
use crate::op::{lane_of, state_code, state_of};
use crate::outputs::Outputs;
use crate::recover;
use crate::recovered::{BlockProgress, OpenRun};
use crate::schema::{self, integer, unsigned};

/// Which runs are listed, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryFilter {
    /// Only runs in these states; empty for any. A state that is not terminal stands for all runs that have not ended.
    pub states: Vec<RunState>,
    /// Only runs of these workflows; empty for any.
    pub workflows: Vec<String>,
    /// Only runs created at or after this, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only runs that began before this one, for the next page.
    pub before: Option<RunId>,
    /// How many; at most [`HISTORY_RUNS_MAX`](crate::limits::HISTORY_RUNS_MAX).
    pub limit: usize,
}

/// A run in brief.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// Id.
    pub run: RunId,
    /// Name of its workflow.
    pub workflow: String,
    /// Version of the workflow (SHA-256, hexadecimal).
    pub version: String,
    /// COMPLETED, FAILED or STOPPED; absent while it has not ended.
    pub state: Option<RunState>,
    /// The priority it began with.
    pub priority: u8,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_at_ms: Option<u64>,
    /// Why it did not complete, in one sentence.
    pub error: Option<String>,
    /// The last run that repeats it.
    pub retried_by: Option<RunId>,
    /// Where its blocks executed, if it has ended and that is known.
    pub lane: Option<Lane>,
    /// Process id of its last worker, if it has ended and had one.
    pub pid: Option<u32>,
}

/// All that is stored of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// How it began.
    pub began: Began,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
    /// Of a run that has not ended: its blocks that did something. Those of an ended one are in [`Ended::blocks`].
    pub blocks: BTreeMap<u16, BlockProgress>,
    /// Of a run that has not ended: whether a user paused it.
    pub paused: bool,
    /// Its priority at last.
    pub priority: u8,
    /// What it wrote.
    pub log: Vec<LogLine>,
    /// The last run that repeats it.
    pub retried_by: Option<RunId>,
    /// The definition it executes, if its text is stored and is what was written.
    pub source: Option<StoredSource>,
}

/// A connection that only reads.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
    outputs: Outputs,
}

/// The columns of a [`RunLine`].
const LINE: &str = "SELECT id, workflow, version, state, priority, created_at_ms, ended_at_ms, error, retried_by,
                    lane, pid FROM runs JOIN definitions USING(d)";

impl Reader {
    /// Opens the journal of a directory for reading.
    ///
    /// # Errors
    /// [`OpenError`] when there is none, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let db = schema::open_reader(&directory.join(schema::FILE))?;
        Ok(Self { db, outputs: Outputs::of(directory) })
    }

    /// Runs in brief, newest first, ended and open.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one.
    pub fn history(&self, filter: &HistoryFilter) -> Result<Vec<RunLine>, ReadError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        let mut bind = |value: Value| {
            values.push(value);
            format!("?{}", values.len())
        };
        if !filter.states.is_empty() {
            let codes = filter.states.iter().map(|state| state_code(*state).unwrap_or(OPEN));
            let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
            conditions.push(format!("coalesce(state, {OPEN}) IN ({})", codes.join(", ")));
        }
        if !filter.workflows.is_empty() {
            let names: Vec<String> = filter.workflows.iter().map(|name| bind(name.clone().into())).collect();
            conditions.push(format!("d IN (SELECT d FROM definitions WHERE workflow IN ({}))", names.join(", ")));
        }
        if let Some(since_ms) = filter.since_ms {
            conditions.push(format!("created_at_ms >= {}", bind(integer(since_ms).into())));
        }
        if let Some(before) = filter.before {
            conditions.push(format!("id < {}", bind(id_bytes(before).to_vec().into())));
        }
        let limit = filter.limit.min(HISTORY_RUNS_MAX);
        // Ids sort by creation time, and listing in their order needs no sorting.
        let sql = format!("{LINE} WHERE {} ORDER BY id DESC LIMIT {limit}", conditions.join(" AND "));
        self.lines(&sql, params_from_iter(values))
    }

    /// All that is stored of a run, its payloads loaded; `None` if it is not stored.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one, or its record cannot be read.
    pub fn run(&self, run: RunId) -> Result<Option<StoredRun>, ReadError> {
        // One view: the run may end, or be removed, between two statements.
        let view = self.db.unchecked_transaction()?;
        let sql = "SELECT n, d, retried_by, handles, parent, lane, pid FROM runs WHERE id = ?1";
        let found = self.db.prepare_cached(sql)?.query_row([id_bytes(run)], |row| {
            let id = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<[u8; 16]>>(column)?.map(run_id));
            let lane = row.get::<_, Option<i64>>(5)?.and_then(lane_of);
            let columns = Columns { retried_by: id(2)?, handles: id(3)?, parent: id(4)?, lane, pid: row.get(6)? };
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, columns))
        });
        let Some((n, d, columns)) = found.optional()? else { return Ok(None) };
        let sql = "SELECT workflow, version, file, text, sum FROM definitions WHERE d = ?1 AND text IS NOT NULL";
        let source = self.db.prepare_cached(sql)?.query_row([d], recover::source).optional()?.and_then(Result::ok);
        let sql = "SELECT record FROM records WHERE n = ?1";
        let record: Option<Vec<u8>> = self.db.prepare_cached(sql)?.query_row([n], |row| row.get(0)).optional()?;
        let entries = match &record {
            Some(_) => Vec::new(),
            None => {
                let sql = "SELECT entry FROM progress WHERE n = ?1 ORDER BY sequence";
                self.db.prepare_cached(sql)?.query_map([n], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?
            }
        };
        let stored = match record {
            Some(record) => ended_run(&record, &self.outputs),
            None => recover::open_run(&self.outputs, &entries).map(StoredRun::of_open),
        };
        view.finish()?;
        match stored {
            Ok(stored) => Ok(Some(StoredRun { source, ..columns.added_to(stored) })),
            Err(why) => Err(ReadError::Damaged { run, why }),
        }
    }

    /// The runs whose id begins or ends with the text (hyphens aside), at most `limit`, newest first.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one.
    pub fn find(&self, part: &str, limit: usize) -> Result<Vec<RunId>, ReadError> {
        let digits: String = part.chars().filter(|character| *character != '-').collect::<String>().to_uppercase();
        if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let sql = "SELECT id FROM runs WHERE (id BETWEEN unhex(?1) AND unhex(?2) OR substr(hex(id), ?3) = ?4)
                   ORDER BY id DESC LIMIT ?5";
        let least = format!("{digits:0<32}");
        let most = format!("{digits:F<32}");
        let tail = -i64::try_from(digits.len()).unwrap_or(32);
        let limit = i64::try_from(limit.min(HISTORY_RUNS_MAX)).unwrap_or(i64::MAX);
        let mut sql = self.db.prepare_cached(sql)?;
        let found = sql.query_map(params![least, most, tail, digits, limit], |row| row.get(0).map(run_id))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// FAILED runs that no later run repeats, newest first.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one.
    pub fn dead(&self, limit: usize) -> Result<Vec<RunLine>, ReadError> {
        let limit = limit.min(HISTORY_RUNS_MAX);
        let dead = "state = 2 AND retried_by IS NULL";
        self.lines(&format!("{LINE} WHERE {dead} ORDER BY created_at_ms DESC, id DESC LIMIT {limit}"), [])
    }

    fn lines(&self, sql: &str, values: impl Params) -> Result<Vec<RunLine>, ReadError> {
        let mut sql = self.db.prepare_cached(sql)?;
        let lines = sql.query_map(values, |row| {
            Ok(RunLine {
                run: run_id(row.get(0)?),
                workflow: row.get(1)?,
                version: row.get(2)?,
                state: row.get::<_, Option<i64>>(3)?.and_then(state_of),
                priority: row.get(4)?,
                created_at_ms: row.get(5).map(unsigned)?,
                ended_at_ms: row.get::<_, Option<i64>>(6)?.map(unsigned),
                error: row.get_ref(7)?.as_bytes_or_null()?.map(|error| String::from_utf8_lossy(error).into_owned()),
                retried_by: row.get::<_, Option<[u8; 16]>>(8)?.map(run_id),
                lane: row.get::<_, Option<i64>>(9)?.and_then(lane_of),
                pid: row.get(10)?,
            })
        })?;
        Ok(lines.collect::<rusqlite::Result<_>>()?)
    }
}

/// What is kept of a run beside its blobs.
struct Columns {
    retried_by: Option<RunId>,
    handles: Option<RunId>,
    parent: Option<RunId>,
    lane: Option<Lane>,
    pid: Option<u32>,
}

impl Columns {
    fn added_to(self, stored: StoredRun) -> StoredRun {
        let Self { retried_by, handles, parent, lane, pid } = self;
        let ended = stored.ended.map(|ended| Ended { lane, pid, ..ended });
        StoredRun { retried_by, ended, began: Began { handles, parent, ..stored.began }, ..stored }
    }
}

/// What stands for an open run among the codes of terminal states.
const OPEN: i64 = 0;

fn ended_run(record: &[u8], outputs: &Outputs) -> Result<StoredRun, String> {
    let (began, ended) = decode_record(record)?;
    let mut load = |kept| outputs.restore(kept);
    let (began, ended) = (began.map(&mut load)?, ended.map(&mut load)?);
    let (priority, log) = (began.priority, ended.log.clone());
    Ok(StoredRun {
        began,
        ended: Some(ended),
        blocks: BTreeMap::new(),
        paused: false,
        priority,
        log,
        retried_by: None,
        source: None,
    })
}

impl StoredRun {
    fn of_open(open: OpenRun) -> Self {
        let OpenRun { began, blocks, paused, priority, log, deaths: _, children: _ } = open;
        Self { began, ended: None, blocks, paused, priority, log, retried_by: None, source: None }
    }
}
