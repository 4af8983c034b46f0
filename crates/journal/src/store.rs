//! The database and the output files in the hands of their one writer: a batch of entries in, one transaction out.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;

use crate::apply::{Tables, is_named};
use crate::error::OpenError;
use crate::fault::Fault;
use crate::journal::{Retention, Tuning};
use crate::kept::Hash;
use crate::limits::PROBE_BYTES;
use crate::op::Op;
use crate::outputs::{self, Outputs};
use crate::schema;

/// Name of the file whose lock makes a writer the only one.
const LOCK: &str = "journal.lock";

/// The one writer's view of a journal.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) db: Connection,
    pub(crate) tables: Tables,
    pub(crate) outputs: Outputs,
    pub(crate) retention: Retention,
    /// Files nobody names any more. They are removed after the next durable commit, since until then a crash brings their
    /// names back.
    pub(crate) unlink: Vec<Hash>,
    /// Files removed since the store was opened.
    pub(crate) files_removed: u64,
    tuning: Tuning,
    /// Held for as long as the store lives.
    _lock: File,
}

impl Store {
    /// Opens the journal of a directory, or creates it.
    pub(crate) fn open(directory: &Path, retention: Retention, tuning: Tuning) -> Result<Self, OpenError> {
        let outputs = Outputs::of(directory);
        make_private(directory)?;
        make_private(outputs.root())?;
        let lock = lock(directory)?;
        let path = directory.join(schema::FILE);
        let db = schema::open_writer(&path, tuning.vfs.as_deref())?;
        for of in [Some(directory), directory.parent()].into_iter().flatten() {
            let of = if of.as_os_str().is_empty() { Path::new(".") } else { of };
            outputs::sync(of).map_err(|cause| OpenError::Io { what: "sync", path: of.to_owned(), cause })?;
        }
        // What is left in the log at the end is the writer's decision, above all after a failed write.
        let configured = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        let tables = configured.and_then(|_| Tables::load(&db)).map_err(|error| schema::open_error(&path, &error))?;
        Ok(Self { db, tables, outputs, retention, unlink: Vec::new(), files_removed: 0, tuning, _lock: lock })
    }

    /// Writes entries in one transaction that is on disk when this returns. On an error nothing of it is.
    pub(crate) fn commit(&mut self, ops: &[Op]) -> Result<(), Fault> {
        let mut stored = HashSet::new();
        for (file, bytes) in ops.iter().flat_map(|op| &op.files) {
            // What a committed row names is there already.
            if stored.insert(file.hash) && !is_named(&self.db, &file.hash)? {
                self.outputs.store(file, bytes).map_err(|error| Fault::of_file(&error))?;
            }
        }
        self.transaction(|store| ops.iter().try_for_each(|op| store.tables.apply(&store.db, op)))?;
        self.unlink_unnamed()
    }

    /// Does something in one transaction, with everything as it was before if it fails.
    pub(crate) fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> rusqlite::Result<T>) -> Result<T, Fault> {
        let done = self.db.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        let done = done.and_then(|_| work(self));
        let done = done.and_then(|value| self.db.prepare_cached("COMMIT")?.execute([]).map(|_| value));
        done.map_err(|error| {
            let fault = Fault::from(error);
            self.roll_back().err().filter(|_| fault == Fault::Full).unwrap_or(fault)
        })
    }

    fn roll_back(&mut self) -> Result<(), Fault> {
        // Some errors have rolled back already.
        if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        let out_of_place = self.tables.out_of_place;
        self.tables = Tables::load(&self.db)?;
        self.tables.out_of_place = out_of_place;
        Ok(())
    }

    /// Whether there is space, tried by taking some and giving it back.
    pub(crate) fn probe(&mut self) -> Result<(), Fault> {
        self.transaction(|store| {
            store.db.execute("INSERT OR REPLACE INTO probe(id, filler) VALUES(1, randomblob(?1))", [PROBE_BYTES])
        })?;
        self.transaction(|store| store.db.execute("DELETE FROM probe", []))?;
        Ok(())
    }

    /// Removes the files that retention left nameless; after a durable commit.
    pub(crate) fn unlink_unnamed(&mut self) -> Result<(), Fault> {
        while let Some(hash) = self.unlink.pop() {
            // It may have been named again since.
            // A file that cannot be removed is an orphan: it takes space, and `gc` tries again.
            if !is_named(&self.db, &hash)? && self.outputs.remove(&hash).is_ok() {
                self.files_removed += 1;
            }
        }
        Ok(())
    }

    /// Copies the log into the database once it has grown enough.
    pub(crate) fn checkpoint_if_due(&self) -> Result<(), Fault> {
        if schema::log_pages(&self.db)? < self.tuning.checkpoint_pages {
            return Ok(());
        }
        match schema::checkpoint(&self.db, CheckpointMode::PASSIVE).map_err(Fault::from) {
            // The entries are safe in the log. Who writes next hears of it.
            Ok(()) | Err(Fault::Full) => Ok(()),
            Err(broken) => Err(broken),
        }
    }

    /// Bytes that the database without its free pages, and the output files take.
    pub(crate) fn bytes_used(&self) -> rusqlite::Result<u64> {
        let (bytes, free) = schema::bytes(&self.db)?;
        Ok(bytes - free + self.tables.outputs_bytes)
    }

    /// Empties the log into the database, at the end.
    pub(crate) fn close(mut self) -> Result<(), Fault> {
        schema::checkpoint(&self.db, CheckpointMode::TRUNCATE)?;
        self.unlink_unnamed()
    }
}

fn make_private(directory: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let made = made.and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o700)));
    made.map_err(|cause| OpenError::Io { what: "create", path: directory.to_owned(), cause })
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let failed = |cause: io::Error| OpenError::Io { what: "lock", path: path.clone(), cause };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: directory.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}
