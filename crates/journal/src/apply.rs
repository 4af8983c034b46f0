//! One entry written into the open transaction, and what the writer remembers of the database to do so.

use std::collections::HashMap;

use runlet_proto::ids::RunId;
use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::entry::StoredSource;
use crate::kept::{FileRef, Hash, record, sum_of};
use crate::memory_rows;
use crate::op::{BeganRow, EndedRow, Op, What};
use crate::schema::{integer, unsigned};

/// What the writer remembers of the tables. After a rollback it is loaded again: the rollback undid what it says.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    open: HashMap<RunId, OpenRow>,
    definitions: HashMap<(String, String), i64>,
    /// How many runs, open and ended, execute a definition.
    uses: HashMap<i64, u64>,
    deployed: HashMap<String, i64>,
    /// Runs that have ended.
    pub(crate) ended: u64,
    /// Bytes of the output files that are named.
    pub(crate) outputs_bytes: u64,
    /// Entries that changed nothing since their run was unknown or had ended.
    pub(crate) out_of_place: u64,
}

/// Where an open run lies.
#[derive(Debug, Clone, Copy)]
struct OpenRow {
    n: i64,
    next: i64,
}

impl Tables {
    /// Reads what is to be remembered.
    pub(crate) fn load(db: &Connection) -> Result<Self> {
        let mut tables = Self::default();
        let mut open = db.prepare(
            "SELECT id, n, coalesce((SELECT max(sequence) FROM progress WHERE progress.n = runs.n), 0)
             FROM runs WHERE state IS NULL",
        )?;
        let rows = open.query_map([], |row| {
            Ok((run_id(row.get(0)?), OpenRow { n: row.get(1)?, next: row.get::<_, i64>(2)? + 1 }))
        })?;
        tables.open = rows.collect::<Result<_>>()?;
        let mut definitions = db.prepare("SELECT workflow, version, d FROM definitions")?;
        let rows = definitions.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        tables.definitions = rows.collect::<Result<_>>()?;
        let mut uses = db.prepare("SELECT d, count(*) FROM runs GROUP BY d")?;
        let rows = uses.query_map([], |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)))?;
        tables.uses = rows.collect::<Result<_>>()?;
        let mut deployed = db.prepare("SELECT workflow, d FROM deployed")?;
        tables.deployed = deployed.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_>>()?;
        let count = |sql| db.query_row(sql, [], |row| row.get(0).map(unsigned));
        tables.ended = count("SELECT count(*) FROM runs WHERE ended_at_ms IS NOT NULL")?;
        tables.outputs_bytes = count("SELECT coalesce(sum(bytes), 0) FROM (SELECT DISTINCT hash, bytes FROM outputs)")?;
        Ok(tables)
    }

    /// Writes one entry.
    pub(crate) fn apply(&mut self, db: &Connection, op: &Op) -> Result<()> {
        let n = match &op.what {
            What::Nothing => None,
            What::Deployed { source, at_ms } => return self.deploy(db, source, *at_ms),
            What::Removed { workflow } => return self.remove(db, workflow),
            What::Memory(changes) => return changes.iter().try_for_each(|change| memory_rows::apply(db, change)),
            What::Began(began) => self.begin(db, began, true)?,
            What::Change { run, blob } => self.change(db, *run, blob)?,
            What::Ended(ended) => self.end(db, ended)?,
            What::Whole(began, ended) => self.whole(db, began, ended)?,
        };
        let Some(n) = n else {
            self.out_of_place += 1;
            return Ok(());
        };
        op.files.iter().try_for_each(|(file, _)| self.name(db, n, file))
    }

    fn deploy(&mut self, db: &Connection, source: &StoredSource, at_ms: u64) -> Result<()> {
        let d = self.define(db, &source.workflow, &source.version, Some(source))?;
        let sql = "INSERT OR REPLACE INTO deployed(workflow, d, at_ms) VALUES(?1, ?2, ?3)";
        db.prepare_cached(sql)?.execute(params![source.workflow, d, integer(at_ms)])?;
        match self.deployed.insert(source.workflow.clone(), d) {
            Some(replaced) => self.forget_unused(db, replaced).map(drop),
            None => Ok(()),
        }
    }

    fn remove(&mut self, db: &Connection, workflow: &str) -> Result<()> {
        db.prepare_cached("DELETE FROM deployed WHERE workflow = ?1")?.execute([workflow])?;
        match self.deployed.remove(workflow) {
            Some(d) => self.forget_unused(db, d).map(drop),
            None => Ok(()),
        }
    }

    /// The number of a definition, stored if it was not. Its text is only stored when it is given.
    fn define(&mut self, db: &Connection, workflow: &str, version: &str, source: Option<&StoredSource>) -> Result<i64> {
        let key = (workflow.to_owned(), version.to_owned());
        if let Some(d) = self.definitions.get(&key) {
            if let Some(source) = source {
                // Of one version all texts say the same. What is there may be damaged.
                let sql = "UPDATE definitions SET file = ?2, text = ?3, sum = ?4
                           WHERE d = ?1 AND (text IS NOT ?3 OR file IS NOT ?2 OR sum IS NOT ?4)";
                db.prepare_cached(sql)?.execute(params![d, source.file, source.text, sum_of(source)])?;
            }
            return Ok(*d);
        }
        let (file, text) = source.map(|source| (&source.file, &source.text)).unzip();
        let sql = "INSERT INTO definitions(workflow, version, file, text, sum) VALUES(?1, ?2, ?3, ?4, ?5)";
        db.prepare_cached(sql)?.execute(params![workflow, version, file, text, source.map(sum_of)])?;
        let d = db.last_insert_rowid();
        self.definitions.insert(key, d);
        Ok(d)
    }

    /// Removes a definition that is not deployed and that no run executes; whether it went.
    fn forget_unused(&mut self, db: &Connection, d: i64) -> Result<bool> {
        let used = self.uses.get(&d).is_some_and(|uses| *uses > 0) || self.deployed.values().any(|of| *of == d);
        if used {
            return Ok(false);
        }
        let sql = "SELECT workflow, version FROM definitions WHERE d = ?1";
        let key = db.prepare_cached(sql)?.query_row([d], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some(key) = key else { return Ok(false) };
        db.prepare_cached("DELETE FROM definitions WHERE d = ?1")?.execute([d])?;
        self.uses.remove(&d);
        self.definitions.remove(&key);
        Ok(true)
    }

    /// A run begins; `None` if there is one of this id already.
    fn begin(&mut self, db: &Connection, began: &BeganRow, open: bool) -> Result<Option<i64>> {
        let d = self.define(db, &began.workflow, &began.version, began.source.as_ref())?;
        let id = id_bytes(began.run);
        let sql = "INSERT OR IGNORE INTO runs(id, d, priority, created_at_ms, handles, parent)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
        let (created_at_ms, handles, parent) =
            (integer(began.created_at_ms), began.handles.map(id_bytes), began.parent.map(id_bytes));
        let row = params![id, d, began.priority, created_at_ms, handles, parent];
        let inserted = db.prepare_cached(sql)?.execute(row)?;
        if inserted == 0 {
            return Ok(None);
        }
        let n = db.last_insert_rowid();
        *self.uses.entry(d).or_default() += 1;
        if open {
            self.open.insert(began.run, OpenRow { n, next: 1 });
            let sql = "INSERT INTO progress(n, sequence, entry) VALUES(?1, 0, ?2)";
            db.prepare_cached(sql)?.execute(params![n, began.head])?;
        }
        if let Some(key) = &began.key {
            let sql = "INSERT OR REPLACE INTO keys(key, run, at_ms) VALUES(?1, ?2, ?3)";
            db.prepare_cached(sql)?.execute(params![key, id, integer(began.created_at_ms)])?;
        }
        if let Some(retried) = began.retry_of {
            let sql = "UPDATE runs SET retried_by = ?2 WHERE id = ?1";
            db.prepare_cached(sql)?.execute(params![id_bytes(retried), id])?;
        }
        Ok(Some(n))
    }

    fn change(&mut self, db: &Connection, run: RunId, blob: &[u8]) -> Result<Option<i64>> {
        let Some(row) = self.open.get_mut(&run) else { return Ok(None) };
        let sql = "INSERT INTO progress(n, sequence, entry) VALUES(?1, ?2, ?3)";
        db.prepare_cached(sql)?.execute(params![row.n, row.next, blob])?;
        row.next += 1;
        Ok(Some(row.n))
    }

    /// An open run ends: what lay in pieces becomes one record.
    fn end(&mut self, db: &Connection, ended: &EndedRow) -> Result<Option<i64>> {
        let Some(OpenRow { n, .. }) = self.open.remove(&ended.run) else { return Ok(None) };
        let head = "SELECT entry FROM progress WHERE n = ?1 AND sequence = 0";
        let head: Vec<u8> = db.prepare_cached(head)?.query_row([n], |row| row.get(0))?;
        db.prepare_cached("DELETE FROM progress WHERE n = ?1")?.execute([n])?;
        self.seal(db, n, &head, ended)?;
        Ok(Some(n))
    }

    fn whole(&mut self, db: &Connection, began: &BeganRow, ended: &EndedRow) -> Result<Option<i64>> {
        let Some(n) = self.begin(db, began, false)? else { return Ok(None) };
        self.seal(db, n, &began.head, ended)?;
        Ok(Some(n))
    }

    fn seal(&mut self, db: &Connection, n: i64, head: &[u8], ended: &EndedRow) -> Result<()> {
        let sql = "UPDATE runs SET state = ?2, ended_at_ms = ?3, error = ?4, lane = ?5, pid = ?6 WHERE n = ?1";
        let EndedRow { run: _, state, ended_at_ms, error, lane, pid, end: _ } = ended;
        db.prepare_cached(sql)?.execute(params![n, state, integer(*ended_at_ms), error, lane, pid])?;
        let sql = "INSERT INTO records(n, record) VALUES(?1, ?2)";
        db.prepare_cached(sql)?.execute(params![n, record(head, &ended.end)])?;
        self.ended += 1;
        Ok(())
    }

    /// A run names a file.
    fn name(&mut self, db: &Connection, n: i64, file: &FileRef) -> Result<()> {
        let known = is_named(db, &file.hash)?;
        let sql = "INSERT OR IGNORE INTO outputs(n, hash, bytes) VALUES(?1, ?2, ?3)";
        db.prepare_cached(sql)?.execute(params![n, file.hash, integer(file.bytes)])?;
        if !known {
            self.outputs_bytes += file.bytes;
        }
        Ok(())
    }

    /// Removes an ended run. Returns the files that nobody names any more, and whether its definition went with it.
    pub(crate) fn remove_run(&mut self, db: &Connection, n: i64, d: i64) -> Result<(Vec<Hash>, bool)> {
        let mut named = db.prepare_cached("SELECT hash, bytes FROM outputs WHERE n = ?1")?;
        let named = named.query_map([n], |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)))?;
        let named: Vec<(Hash, u64)> = named.collect::<Result<_>>()?;
        db.prepare_cached("DELETE FROM runs WHERE n = ?1")?.execute([n])?;
        db.prepare_cached("DELETE FROM records WHERE n = ?1")?.execute([n])?;
        if !named.is_empty() {
            db.prepare_cached("DELETE FROM outputs WHERE n = ?1")?.execute([n])?;
        }
        let mut unnamed = Vec::new();
        for (hash, bytes) in named {
            if !is_named(db, &hash)? {
                self.outputs_bytes = self.outputs_bytes.saturating_sub(bytes);
                unnamed.push(hash);
            }
        }
        self.ended = self.ended.saturating_sub(1);
        if let Some(uses) = self.uses.get_mut(&d) {
            *uses = uses.saturating_sub(1);
        }
        Ok((unnamed, self.forget_unused(db, d)?))
    }
}

/// Whether a run names this file.
pub(crate) fn is_named(db: &Connection, hash: &Hash) -> Result<bool> {
    let sql = "SELECT 1 FROM outputs WHERE hash = ?1 LIMIT 1";
    Ok(db.prepare_cached(sql)?.query_row([hash], |_| Ok(())).optional()?.is_some())
}

/// An id as it is stored: its 16 bytes, so that ids sort by time.
pub(crate) fn id_bytes(run: RunId) -> [u8; 16] {
    run.as_u128().to_be_bytes()
}

/// A stored id.
pub(crate) fn run_id(bytes: [u8; 16]) -> RunId {
    RunId::from_u128(u128::from_be_bytes(bytes))
}
