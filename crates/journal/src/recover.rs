//! Reading what a supervisor needs to go on: deployed workflows, open runs, keys.

use std::collections::BTreeMap;

use runlet_proto::ids::RunId;
use rusqlite::{Connection, Result, Row};

use crate::apply::run_id;
use crate::entry::{Began, StoredSource};
use crate::fold::fold;
use crate::kept::{Change, Kept, decode};
use crate::limits::KEY_AGE_MAX;
use crate::outputs::Outputs;
use crate::recovered::{BlockProgress, DamagedRun, OpenRun, Recovered, StoredKey, StoredWorkflow};
use crate::schema::{integer, milliseconds, unsigned};

/// Reads it all.
pub(crate) fn recover(db: &Connection, outputs: &Outputs, now_ms: u64) -> Result<Recovered> {
    let mut recovered = Recovered { workflows: workflows(db)?, programs: programs(db)?, ..Recovered::default() };
    recovered.keys = keys(db, now_ms.saturating_sub(milliseconds(KEY_AGE_MAX)))?;
    let mut sql = db.prepare(
        "SELECT runs.id, runs.handles, progress.entry FROM runs JOIN progress ON progress.n = runs.n
         WHERE runs.state IS NULL ORDER BY runs.n, progress.sequence",
    )?;
    let mut rows = sql.query([])?;
    let mut gathered: Option<Gathered> = None;
    while let Some(row) = rows.next()? {
        let (run, entry) = (run_id(row.get(0)?), row.get(2)?);
        match &mut gathered {
            Some(open) if open.run == run => open.entries.push(entry),
            Some(_) | None => {
                let handles = row.get::<_, Option<[u8; 16]>>(1)?.map(run_id);
                let whole = gathered.replace(Gathered { run, handles, entries: vec![entry] });
                whole.into_iter().for_each(|whole| whole.add_to(&mut recovered, outputs));
            }
        }
    }
    gathered.into_iter().for_each(|whole| whole.add_to(&mut recovered, outputs));
    recovered.runs.sort_by_key(|open| (open.began.created_at_ms, open.began.run));
    Ok(recovered)
}

/// The rows of one open run.
struct Gathered {
    run: RunId,
    handles: Option<RunId>,
    entries: Vec<Vec<u8>>,
}

impl Gathered {
    fn add_to(self, recovered: &mut Recovered, outputs: &Outputs) {
        let Self { run, handles, entries } = self;
        match open_run(outputs, &entries) {
            Ok(open) => recovered.runs.push(OpenRun { began: Began { handles, ..open.began }, ..open }),
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
    let OpenRun { began, blocks: _, paused, priority, log, deaths } = run;
    Ok(OpenRun { began: began.map(&mut load)?, blocks, paused, priority, log, deaths })
}

/// A definition from the columns `workflow, version, file, text`.
pub(crate) fn source(row: &Row<'_>) -> Result<StoredSource> {
    Ok(StoredSource { workflow: row.get(0)?, version: row.get(1)?, file: row.get(2)?, text: row.get(3)? })
}

fn workflows(db: &Connection) -> Result<Vec<StoredWorkflow>> {
    let mut sql = db.prepare(
        "SELECT definitions.workflow, version, file, text, at_ms FROM deployed JOIN definitions USING(d)
         WHERE text IS NOT NULL ORDER BY definitions.workflow",
    )?;
    let rows = sql
        .query_map([], |row| Ok(StoredWorkflow { source: source(row)?, deployed_at_ms: row.get(4).map(unsigned)? }))?;
    rows.collect()
}

fn programs(db: &Connection) -> Result<Vec<StoredSource>> {
    let mut sql = db.prepare(
        "SELECT workflow, version, file, text FROM definitions
         WHERE text IS NOT NULL AND d IN (SELECT d FROM runs WHERE state IS NULL) ORDER BY d",
    )?;
    sql.query_map([], source)?.collect()
}

fn keys(db: &Connection, since_ms: u64) -> Result<Vec<StoredKey>> {
    let mut sql = db.prepare("SELECT key, run, at_ms FROM keys WHERE at_ms > ?1 ORDER BY at_ms")?;
    let rows = sql.query_map([integer(since_ms)], |row| {
        Ok(StoredKey { key: row.get(0)?, run: run_id(row.get(1)?), at_ms: row.get(2).map(unsigned)? })
    })?;
    rows.collect()
}
