//! Reading what a supervisor needs to go on: deployed workflows, open runs, keys.

use std::collections::BTreeMap;

use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use rusqlite::{Connection, Result, Row};

use crate::apply::run_id;
use crate::entry::{Began, StoredSource};
use crate::fold::fold;
use crate::kept::{CHANGED, Change, Kept, decode, sum_of};
use crate::limits::KEY_AGE_MAX;
use crate::memory_rows;
use crate::op::state_code;
use crate::outputs::Outputs;
use crate::recovered::{BlockProgress, DamagedRun, DamagedSource, OpenRun, Recovered, StoredKey, StoredWorkflow};
use crate::schema::{integer, milliseconds, unsigned};

/// Reads it all.
pub(crate) fn recover(db: &Connection, outputs: &Outputs, now_ms: u64) -> Result<Recovered> {
    let mut damaged_sources = Vec::new();
    let (workflows, programs) = (workflows(db, &mut damaged_sources)?, programs(db, &mut damaged_sources)?);
    let mut recovered = Recovered { workflows, programs, damaged_sources, ..Recovered::default() };
    recovered.keys = keys(db, now_ms.saturating_sub(milliseconds(KEY_AGE_MAX)))?;
    let mut sql = db.prepare(
        "SELECT runs.id, runs.handles, runs.parent, progress.entry FROM runs JOIN progress ON progress.n = runs.n
         WHERE runs.state IS NULL ORDER BY runs.n, progress.sequence",
    )?;
    let mut rows = sql.query([])?;
    let mut gathered: Option<Gathered> = None;
    while let Some(row) = rows.next()? {
        let (run, entry) = (run_id(row.get(0)?), row.get(3)?);
        match &mut gathered {
            Some(open) if open.run == run => open.entries.push(entry),
            Some(_) | None => {
                let id = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<[u8; 16]>>(column)?.map(run_id));
                let next = Gathered { run, handles: id(1)?, parent: id(2)?, entries: vec![entry] };
                let whole = gathered.replace(next);
                whole.into_iter().for_each(|whole| whole.add_to(&mut recovered, outputs));
            }
        }
    }
    gathered.into_iter().for_each(|whole| whole.add_to(&mut recovered, outputs));
    recovered.runs.sort_by_key(|open| (open.began.created_at_ms, open.began.run));
    recovered.completed = completed(db)?;
    recovered.memory = memory_rows::load(db, &mut recovered.damaged_memory)?;
    Ok(recovered)
}

/// The rows of one open run.
struct Gathered {
    run: RunId,
    handles: Option<RunId>,
    parent: Option<RunId>,
    entries: Vec<Vec<u8>>,
}

impl Gathered {
    fn add_to(self, recovered: &mut Recovered, outputs: &Outputs) {
        let Self { run, handles, parent, entries } = self;
        match open_run(outputs, &entries) {
            Ok(open) => recovered.runs.push(OpenRun { began: Began { handles, parent, ..open.began }, ..open }),
            Err(why) => recovered.damaged.push(DamagedRun { run, why }),
        }
    }
}

/// An open run from its entries, the first of which is its head.
pub(crate) fn open_run(outputs: &Outputs, entries: &[Vec<u8>]) -> std::result::Result<OpenRun, String> {
    let (head, changes) = entries.split_first().ok_or("its beginning is missing")?;
    let head: Began<Kept> = decode(head).map_err(|error| format!("its beginning cannot be read: {error}"))?;
    let decoded = changes.iter().zip(1_u32..).map(|(change, sequence)| {
        decode(change).map_err(|error| format!("entry {sequence} of its progress cannot be read: {error}"))
    });
    let changes: Vec<Change> = decoded.collect::<std::result::Result<_, String>>()?;
    restore(fold(head, changes), outputs)
}

fn restore(mut run: OpenRun<Kept>, outputs: &Outputs) -> std::result::Result<OpenRun, String> {
    let mut load = |kept| outputs.restore(kept);
    let mut blocks = BTreeMap::new();
    for (block, progress) in std::mem::take(&mut run.blocks) {
        let progress = match progress {
            BlockProgress::Done(done) => BlockProgress::Done(done.map(&mut load)?),
            BlockProgress::Waiting { attempt, retries, failure, retry_at_ms } => {
                BlockProgress::Waiting { attempt, retries, failure, retry_at_ms }
            }
            BlockProgress::Unknown { attempt } => BlockProgress::Unknown { attempt },
        };
        blocks.insert(block, progress);
    }
    let OpenRun { began, blocks: _, paused, priority, log, deaths, children } = run;
    Ok(OpenRun { began: began.map(&mut load)?, blocks, paused, priority, log, deaths, children })
}

/// A definition from the columns `workflow, version, file, text, sum`.
pub(crate) fn source(row: &Row<'_>) -> Result<std::result::Result<StoredSource, DamagedSource>> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_bytes()?.to_vec());
    let texts = [text(0)?, text(1)?, text(2)?, text(3)?];
    let sum: Option<u32> = row.get(4)?;
    let [workflow, version, file, text] = texts.each_ref().map(|text| String::from_utf8_lossy(text).into_owned());
    let read = StoredSource { workflow, version, file, text };
    // One that an earlier version wrote has no checksum.
    let is_text = texts.iter().all(|text| std::str::from_utf8(text).is_ok());
    if is_text && sum.is_none_or(|sum| sum == sum_of(&read)) {
        return Ok(Ok(read));
    }
    Ok(Err(DamagedSource { workflow: read.workflow, version: read.version, why: CHANGED.to_owned() }))
}

fn workflows(db: &Connection, damaged: &mut Vec<DamagedSource>) -> Result<Vec<StoredWorkflow>> {
    let mut sql = db.prepare(
        "SELECT definitions.workflow, version, file, text, sum, at_ms FROM deployed JOIN definitions USING(d)
         WHERE text IS NOT NULL ORDER BY definitions.workflow",
    )?;
    let rows = sql.query_map([], |row| {
        let deployed_at_ms = row.get(5).map(unsigned)?;
        Ok(source(row)?.map(|source| StoredWorkflow { source, deployed_at_ms }))
    })?;
    sorted(rows.collect::<Result<_>>()?, damaged)
}

fn programs(db: &Connection, damaged: &mut Vec<DamagedSource>) -> Result<Vec<StoredSource>> {
    let mut sql = db.prepare(
        "SELECT workflow, version, file, text, sum FROM definitions
         WHERE text IS NOT NULL AND d IN (SELECT d FROM runs WHERE state IS NULL) ORDER BY d",
    )?;
    let rows = sql.query_map([], source)?;
    sorted(rows.collect::<Result<_>>()?, damaged)
}

/// What can be used; the rest is told, once.
fn sorted<T>(read: Vec<std::result::Result<T, DamagedSource>>, damaged: &mut Vec<DamagedSource>) -> Result<Vec<T>> {
    let mut sound = Vec::with_capacity(read.len());
    for one in read {
        match one {
            Ok(one) => sound.push(one),
            Err(source) if damaged.contains(&source) => {}
            Err(source) => damaged.push(source),
        }
    }
    Ok(sound)
}

fn completed(db: &Connection) -> Result<Vec<(String, u64)>> {
    let mut sql = db.prepare(
        "SELECT workflow, max(ended_at_ms) FROM runs JOIN definitions USING(d) WHERE state = ?1
         GROUP BY workflow ORDER BY workflow",
    )?;
    let rows = sql.query_map([state_code(RunState::Completed)], |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)))?;
    rows.collect()
}

fn keys(db: &Connection, since_ms: u64) -> Result<Vec<StoredKey>> {
    let mut sql = db.prepare("SELECT key, run, at_ms FROM keys WHERE at_ms > ?1 ORDER BY at_ms")?;
    let rows = sql.query_map([integer(since_ms)], |row| {
        Ok(StoredKey { key: row.get(0)?, run: run_id(row.get(1)?), at_ms: row.get(2).map(unsigned)? })
    })?;
    rows.collect()
}
