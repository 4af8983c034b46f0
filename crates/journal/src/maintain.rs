//! Upkeep by hand: looking a journal over, and removing at once what retention does not keep.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use crate::apply::run_id;
use crate::entry::Began;
use crate::error::OpenError;
use crate::fault::Fault;
use crate::journal::{Retention, Tuning};
use crate::kept::{Change, FileRef, Kept, decode, decode_record};
use crate::limits::{CHECK_FAULTS_MAX, RETENTION_RUNS_PER_PIECE};
use crate::memory_rows;
use crate::op::state_of;
use crate::outputs::Outputs;
use crate::recover::source;
use crate::recovered::DamagedSource;
use crate::retention::Thoroughness;
use crate::schema::{self, unsigned};
use crate::store::Store;

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Runs that have ended.
    pub runs_ended: u64,
    /// Runs that have not.
    pub runs_open: u64,
    /// Definitions stored.
    pub definitions: u64,
    /// Output files that are named, and as they should be.
    pub outputs: u64,
    /// Output files that nobody names: left by a crash, removed by [`gc`]. They do no harm.
    pub orphans: u64,
    /// Keys of the embedded store that are as they should be.
    pub keys: u64,
    /// Its messages, the same.
    pub messages: u64,
    /// What is wrong, one sentence each; at most [`CHECK_FAULTS_MAX`](crate::limits::CHECK_FAULTS_MAX).
    pub faults: Vec<String>,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Ended runs removed.
    pub runs: u64,
    /// Output files removed.
    pub outputs: u64,
    /// Definitions removed.
    pub definitions: u64,
    /// Bytes the journal is smaller by.
    pub bytes: u64,
}

/// Applies a retention to a journal nobody writes, removes output files nobody names, and gives back the free space. For a
/// journal that is open: [`Journal::gc`](crate::Journal::gc).
///
/// # Errors
/// [`OpenError`] when there is none, it is in use, or cannot be written.
pub fn gc(directory: &Path, retention: Retention) -> Result<Collected, OpenError> {
    let path = directory.join(schema::FILE);
    if !path.is_file() {
        return Err(OpenError::Missing { directory: directory.to_owned() });
    }
    let store = Store::open(directory, retention, Tuning::default())?;
    collect(store).map_err(|fault| OpenError::Database {
        path,
        cause: match fault {
            Fault::Full => "its disk is full, and removing something takes a little space first".to_owned(),
            Fault::Broken(why) => why,
        },
    })
}

fn collect(mut store: Store) -> Result<Collected, Fault> {
    let mut went = Collected::default();
    let before = store.size()?;
    while store.upkeep(Thoroughness::Complete, *RETENTION_RUNS_PER_PIECE.end(), &mut went)? {
        store.checkpoint_if_due()?;
    }
    let went = store.finish_collection(before, went)?;
    store.close()?;
    Ok(went)
}

/// Looks a journal over and changes nothing: the database's own check, every record, every output file by its hash.
///
/// # Errors
/// [`OpenError`] when there is none, or it is no database.
pub fn check(directory: &Path) -> Result<Report, OpenError> {
    let path = directory.join(schema::FILE);
    let db = schema::open_reader(&path)?;
    let mut check = Check { db: &db, outputs: Outputs::of(directory), report: Report::default() };
    match check.run() {
        Ok(()) => {}
        // A page that cannot be read ends the check, and is what it found.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            check.fault(format!("the database {} is damaged: {error}", path.display()));
        }
        Err(error) => return Err(schema::open_error(&path, &error)),
    }
    Ok(check.report)
}

/// A check under way.
struct Check<'a> {
    db: &'a Connection,
    outputs: Outputs,
    report: Report,
}

impl Check<'_> {
    fn run(&mut self) -> rusqlite::Result<()> {
        // One view of the database, however long it takes.
        let view = self.db.unchecked_transaction()?;
        self.structure()?;
        let count = |sql| self.db.query_row(sql, [], |row| row.get(0).map(unsigned));
        self.report.definitions = count("SELECT count(*) FROM definitions")?;
        self.report.runs_open = count("SELECT count(*) FROM runs WHERE state IS NULL")?;
        self.report.runs_ended = count("SELECT count(*) FROM runs WHERE state IS NOT NULL")?;
        self.definitions()?;
        self.ended_runs()?;
        self.open_runs()?;
        self.output_files()?;
        self.memory()?;
        view.finish()
    }

    fn fault(&mut self, fault: String) {
        if self.report.faults.len() < CHECK_FAULTS_MAX {
            self.report.faults.push(fault);
        }
    }

    /// What SQLite finds: pages, order, indexes.
    fn structure(&mut self) -> rusqlite::Result<()> {
        let mut sql = self.db.prepare(&format!("PRAGMA integrity_check({CHECK_FAULTS_MAX})"))?;
        let lines: Vec<String> = sql.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for line in lines.into_iter().filter(|line| line != "ok") {
            self.fault(format!("the database is damaged: {line}"));
        }
        Ok(())
    }

    fn definitions(&mut self) -> rusqlite::Result<()> {
        let mut sql =
            self.db.prepare("SELECT workflow, version, file, text, sum FROM definitions WHERE text IS NOT NULL")?;
        let read = sql.query_map([], source)?.collect::<rusqlite::Result<Vec<_>>>()?;
        for DamagedSource { workflow, version, why } in read.into_iter().filter_map(Result::err) {
            self.fault(format!("the definition of workflow `{workflow}`, version {version}, is damaged: {why}"));
        }
        Ok(())
    }

    fn ended_runs(&mut self) -> rusqlite::Result<()> {
        let mut sql =
            self.db.prepare("SELECT id, state, record FROM runs LEFT JOIN records USING(n) WHERE state IS NOT NULL")?;
        let mut rows = sql.query([])?;
        while let Some(row) = rows.next()? {
            let (run, state) = (run_id(row.get(0)?), row.get(1)?);
            let Some(record) = row.get_ref(2)?.as_blob_or_null()? else {
                self.fault(format!("run {run} has ended and its record is missing"));
                continue;
            };
            match decode_record(record) {
                Ok((began, ended)) if began.run == run && ended.run == run && Some(ended.state) == state_of(state) => {}
                Ok((began, ended)) => self.fault(format!(
                    "the record of run {run} is of runs {} and {}, in state {}",
                    began.run, ended.run, ended.state
                )),
                Err(why) => self.fault(format!("the record of run {run} cannot be read: {why}")),
            }
        }
        Ok(())
    }

    fn open_runs(&mut self) -> rusqlite::Result<()> {
        let mut sql = self.db.prepare(
            "SELECT id, state, sequence, entry FROM progress LEFT JOIN runs USING(n) ORDER BY progress.n, sequence",
        )?;
        let mut rows = sql.query([])?;
        let mut heads = 0;
        while let Some(row) = rows.next()? {
            let Some(id) = row.get(0)? else {
                self.fault("there is progress of a run that is not stored".to_owned());
                continue;
            };
            let (run, sequence) = (run_id(id), row.get::<_, i64>(2)?);
            if row.get::<_, Option<i64>>(1)?.is_some() {
                self.fault(format!("run {run} has ended and has progress left"));
            }
            let entry = row.get_ref(3)?.as_blob()?;
            let decoded = if sequence == 0 {
                heads += 1;
                decode::<Began<Kept>>(entry).map(drop)
            } else {
                decode::<Change>(entry).map(drop)
            };
            if let Err(why) = decoded {
                self.fault(format!("entry {sequence} of open run {run} cannot be read: {why}"));
            }
        }
        if heads != self.report.runs_open {
            self.fault(format!("{} runs are open, and {heads} of them have a beginning", self.report.runs_open));
        }
        Ok(())
    }

    fn memory(&mut self) -> rusqlite::Result<()> {
        let mut damaged = Vec::new();
        let stored = memory_rows::load(self.db, &mut damaged)?;
        (self.report.keys, self.report.messages) = (stored.keys.len() as u64, stored.messages.len() as u64);
        damaged.into_iter().for_each(|fault| self.fault(fault));
        Ok(())
    }

    fn output_files(&mut self) -> rusqlite::Result<()> {
        let mut sql = self.db.prepare("SELECT DISTINCT hash, bytes FROM outputs")?;
        let named = sql.query_map([], |row| Ok(FileRef { hash: row.get(0)?, bytes: row.get(1).map(unsigned)? }))?;
        let named: Vec<FileRef> = named.collect::<rusqlite::Result<_>>()?;
        for file in &named {
            match self.outputs.verify(file) {
                Ok(()) => self.report.outputs += 1,
                Err(why) => self.fault(why),
            }
        }
        let known: HashSet<_> = named.iter().map(|file| file.hash).collect();
        match self.outputs.list() {
            Ok(files) => {
                let orphans = files.iter().filter(|(_, hash)| hash.is_none_or(|hash| !known.contains(&hash)));
                self.report.orphans = orphans.count() as u64;
            }
            Err(error) => {
                self.fault(format!("the directory {} cannot be read: {error}", self.outputs.root().display()));
            }
        }
        Ok(())
    }
}
