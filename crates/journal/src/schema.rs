//! The database: how it is opened, its tables, and how an older one becomes a present one.
//!
//! - `definitions` are the texts by version; `deployed` says which of them are.
//! - `runs` has one short row for each run, so that listing a hundred thousand reads few pages. `state` is null while the run
//!   is open.
//! - `progress` has the head (sequence 0) and the entries of open runs only; `records` what they became when the run ended.
//! - `memory_*` are the namespaces, keys, channels and messages of the embedded store, and what it has answered to calls that
//!   must not be done twice.
//! - `outputs` says which run names which file. `keys` are idempotency keys. `probe` is written to see whether there is space.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::OpenError;
use crate::limits::{BUSY_PATIENCE, CACHE_KIB, LOG_BYTES_KEPT, STATEMENTS_MAX};

/// Name of the database's file.
pub(crate) const FILE: &str = "journal.db";

/// The schemas so far, the first and what came to it: each statement batch brings the one before it up by one. They are only
/// ever appended.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE definitions(
        d INTEGER PRIMARY KEY, workflow TEXT NOT NULL, version TEXT NOT NULL, file TEXT, text TEXT,
        UNIQUE(workflow, version));
    CREATE TABLE deployed(workflow TEXT PRIMARY KEY, d INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE runs(
        n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, d INTEGER NOT NULL, priority INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL, state INTEGER, ended_at_ms INTEGER, error TEXT, retried_by BLOB);
    CREATE INDEX runs_open ON runs(created_at_ms) WHERE state IS NULL;
    CREATE INDEX runs_ended ON runs(ended_at_ms) WHERE ended_at_ms IS NOT NULL;
    CREATE INDEX runs_dead ON runs(created_at_ms) WHERE state = 2 AND retried_by IS NULL;
    CREATE TABLE records(n INTEGER PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE progress(
        n INTEGER NOT NULL, sequence INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY(n, sequence)) WITHOUT ROWID;
    CREATE TABLE keys(key BLOB PRIMARY KEY, run BLOB NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX keys_at ON keys(at_ms);
    CREATE TABLE outputs(
        n INTEGER NOT NULL, hash BLOB NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY(n, hash)) WITHOUT ROWID;
    CREATE INDEX outputs_hash ON outputs(hash);
    CREATE TABLE probe(id INTEGER PRIMARY KEY, filler BLOB NOT NULL);
",
    "
    ALTER TABLE runs ADD COLUMN handles BLOB;
    ALTER TABLE runs ADD COLUMN lane INTEGER;
    ALTER TABLE runs ADD COLUMN pid INTEGER;
",
    "
    ALTER TABLE runs ADD COLUMN parent BLOB;
    ALTER TABLE definitions ADD COLUMN sum INTEGER;
    CREATE TABLE memory_namespaces(
        namespace TEXT PRIMARY KEY, version INTEGER NOT NULL, holder BLOB, until_ms INTEGER) WITHOUT ROWID;
    CREATE TABLE memory_lost(namespace TEXT NOT NULL, run BLOB NOT NULL, PRIMARY KEY(namespace, run)) WITHOUT ROWID;
    CREATE TABLE memory_keys(
        namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER,
        sum INTEGER NOT NULL, PRIMARY KEY(namespace, key)) WITHOUT ROWID;
    CREATE TABLE memory_channels(channel TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE memory_messages(
        channel TEXT NOT NULL, id INTEGER NOT NULL, body BLOB NOT NULL, sent_at_ms INTEGER NOT NULL, sum INTEGER NOT NULL,
        deliveries INTEGER NOT NULL, deliveries_max INTEGER NOT NULL, run BLOB, state INTEGER NOT NULL,
        PRIMARY KEY(channel, id)) WITHOUT ROWID;
    CREATE TABLE memory_answers(
        run BLOB NOT NULL, block INTEGER NOT NULL, retries INTEGER NOT NULL, call INTEGER NOT NULL, answer BLOB NOT NULL,
        PRIMARY KEY(run, block, retries, call)); -- the rowid is the order in which they were given
",
];

/// The newest schema this version knows.
const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Opens the database for the one writer: creates it, brings it to the present schema, and copies what a crash left in the
/// write-ahead log into it. After that nothing depends on the log, whose last bytes an earlier `fsync` may have failed on.
pub(crate) fn open_writer(path: &Path, vfs: Option<&str>) -> Result<Connection, OpenError> {
    // SQLite would create it readable for everyone; its log and index take their permissions from it.
    let created = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    created.map_err(|cause| OpenError::Io { what: "create", path: path.to_owned(), cause })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let db = connect(path, flags, vfs)?;
    let prepared = prepare_writer(&db);
    prepared.map_err(|error| open_error(path, &error))?;
    let found = version(&db).map_err(|error| open_error(path, &error))?;
    refuse_newer(path, found)?;
    migrate(&db, found)
        .and_then(|()| checkpoint(&db, CheckpointMode::TRUNCATE))
        .map_err(|error| open_error(path, &error))?;
    Ok(db)
}

/// Opens the database for reading only. It is never changed, not even by a checkpoint.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    if !path.is_file() {
        let directory = path.parent().unwrap_or(path).to_owned();
        return Err(OpenError::Missing { directory });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let db = connect(path, flags, None)?;
    let found = db.busy_timeout(BUSY_PATIENCE).and_then(|()| version(&db)).map_err(|error| open_error(path, &error))?;
    refuse_newer(path, found)?;
    if found < SCHEMA {
        let cause =
            format!("its schema is {found}, and this version of Runlet reads {SCHEMA}: start the supervisor once");
        return Err(OpenError::Database { path: path.to_owned(), cause });
    }
    Ok(db)
}

fn connect(path: &Path, flags: OpenFlags, vfs: Option<&str>) -> Result<Connection, OpenError> {
    let opened = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    };
    opened.map_err(|error| open_error(path, &error))
}

fn prepare_writer(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY_PATIENCE)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Only an empty database takes this, so it comes before everything else.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // The answer comes before the change is written, and whether it was is known only at the end of the statement.
    run_to_end(db, "PRAGMA journal_mode = WAL")?;
    let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::InvalidParameterName(format!("its journal mode stays {mode} instead of wal")));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    // Checkpoints are the writer's own: SQLite would not say that an `fsync` of its automatic ones failed.
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    db.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "temp_store", "MEMORY")
}

/// Runs a statement that answers with rows, to its end: only there does SQLite say whether what it wrote was written.
pub(crate) fn run_to_end(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn refuse_newer(path: &Path, found: i64) -> Result<(), OpenError> {
    if found > SCHEMA { Err(OpenError::Newer { path: path.to_owned(), found, known: SCHEMA }) } else { Ok(()) }
}

fn migrate(db: &Connection, found: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(found).unwrap_or_default();
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    db.execute_batch("BEGIN IMMEDIATE")?;
    for migration in &MIGRATIONS[done..] {
        db.execute_batch(migration)?;
    }
    db.pragma_update(None, "user_version", SCHEMA)?;
    db.execute_batch("COMMIT")
}

/// Copies the write-ahead log into the database. A reader that still needs the log is no error: the rest is copied later.
pub(crate) fn checkpoint(db: &Connection, mode: CheckpointMode) -> rusqlite::Result<()> {
    match db.wal_checkpoint_v2(None::<&str>, mode) {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Pages in the write-ahead log that are not in the database yet.
pub(crate) fn log_pages(db: &Connection) -> rusqlite::Result<i32> {
    let (frames, copied) = db.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP)?;
    Ok(frames - copied)
}

/// Bytes the database takes, and of these the ones that are free.
pub(crate) fn bytes(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let value = |sql| db.prepare_cached(sql)?.query_row([], |row| row.get(0).map(unsigned));
    let page = value("PRAGMA page_size")?;
    Ok((value("PRAGMA page_count")? * page, value("PRAGMA freelist_count")? * page))
}

/// What an error of SQLite means to who opens.
pub(crate) fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged { path, cause },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let cause = format!("{cause}: another program has used it for {} seconds", BUSY_PATIENCE.as_secs());
            OpenError::Database { path, cause }
        }
        Some(_) | None => OpenError::Database { path, cause },
    }
}

/// A time as it is bound: SQLite's integers are signed.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that was bound by [`integer`].
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Milliseconds of a duration, as far as SQLite counts.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
