//! What is not kept: ended runs beyond the bounds, old keys, nameless files, free pages. In small pieces between commits, so
//! that no commit waits for more than one of them.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Result, params};

use crate::apply::is_named;
use crate::fault::Fault;
use crate::limits::{KEY_AGE_MAX, VACUUM_FREE_BYTES_MIN, VACUUM_FREE_SHARE, VACUUM_PAGES};
use crate::maintain::Collected;
use crate::outputs;
use crate::schema::{self, integer, milliseconds, unsigned};
use crate::store::Store;

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

/// How thorough the upkeep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thoroughness {
    /// Free pages are kept for what comes next, unless they are many.
    Passing,
    /// Every free page is given back.
    Complete,
}

impl Store {
    /// One piece of upkeep: at most `runs_max` runs go. Whether more is to be done. Nothing of it needs to be on disk at once:
    /// after a crash it is done again.
    pub(crate) fn upkeep(&mut self, how: Thoroughness, runs_max: usize, went: &mut Collected) -> Result<bool, Fault> {
        let now = now_ms();
        let any = self.too_much()? || self.oldest_is_before(self.end_of_age(now))?;
        if any {
            let piece = self.lazily(|store| store.remove_runs(now, runs_max))?;
            went.runs += piece.runs;
            went.definitions += piece.definitions;
            if piece.runs as usize == runs_max {
                return Ok(true);
            }
        }
        let keys = self.old_keys(now, runs_max)?;
        let vacuumed = !keys && self.vacuum(how)?;
        Ok(keys || vacuumed)
    }

    /// A transaction whose `fsync` is the next one's.
    fn lazily<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> std::result::Result<T, Fault> {
        self.db.pragma_update(None, "synchronous", "NORMAL")?;
        let done = self.transaction(work);
        self.db.pragma_update(None, "synchronous", "FULL")?;
        done
    }

    fn remove_runs(&mut self, now: u64, runs_max: usize) -> Result<Collected> {
        let mut went = Collected::default();
        let end_of_age = self.end_of_age(now);
        let sql = "SELECT n, d, ended_at_ms FROM runs WHERE ended_at_ms IS NOT NULL ORDER BY ended_at_ms, n LIMIT ?1";
        let oldest: Vec<(i64, i64, u64)> = {
            let mut oldest = self.db.prepare_cached(sql)?;
            let limit = i64::try_from(runs_max).unwrap_or(i64::MAX);
            let rows = oldest.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2).map(unsigned)?)))?;
            rows.collect::<Result<_>>()?
        };
        for (n, d, ended_at_ms) in oldest {
            if ended_at_ms >= end_of_age && !self.too_much()? {
                break;
            }
            let (unnamed, definition) = self.tables.remove_run(&self.db, n, d)?;
            self.unlink.extend(unnamed);
            went.runs += 1;
            went.definitions += u64::from(definition);
        }
        Ok(went)
    }

    /// Runs that ended before this are too old; 0 when none is.
    fn end_of_age(&self, now: u64) -> u64 {
        self.retention.age.map_or(0, |age| now.saturating_sub(milliseconds(age)))
    }

    fn oldest_is_before(&self, end_of_age: u64) -> Result<bool> {
        let sql = "SELECT coalesce(min(ended_at_ms) < ?1, 0) FROM runs WHERE ended_at_ms IS NOT NULL";
        self.db.prepare_cached(sql)?.query_row([integer(end_of_age)], |row| row.get(0))
    }

    /// Whether the runs that have ended are too many, or take too much; never when there are none.
    fn too_much(&self) -> Result<bool> {
        if self.tables.ended == 0 {
            return Ok(false);
        }
        let too_many = self.retention.runs_max.is_some_and(|most| self.tables.ended > most);
        match self.retention.bytes_max {
            Some(most) if !too_many => Ok(self.bytes_used()? > most),
            Some(_) | None => Ok(too_many),
        }
    }

    /// Removes keys that are too old; whether there may be more.
    fn old_keys(&mut self, now: u64, keys_max: usize) -> std::result::Result<bool, Fault> {
        let before = integer(now.saturating_sub(milliseconds(KEY_AGE_MAX)));
        let any = "SELECT coalesce(min(at_ms) < ?1, 0) FROM keys";
        if !self.db.prepare_cached(any)?.query_row([before], |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
        let most = i64::try_from(keys_max).unwrap_or(i64::MAX);
        let sql = "DELETE FROM keys WHERE key IN (SELECT key FROM keys WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)";
        let gone = self.lazily(|store| store.db.prepare_cached(sql)?.execute(params![before, most]))?;
        Ok(gone == keys_max)
    }

    /// Gives back some free pages at the end of the file; whether there are more to give back.
    fn vacuum(&mut self, how: Thoroughness) -> std::result::Result<bool, Fault> {
        let (bytes, free) = schema::bytes(&self.db)?;
        let keep = match how {
            Thoroughness::Passing => (bytes / VACUUM_FREE_SHARE).max(VACUUM_FREE_BYTES_MIN),
            Thoroughness::Complete => 0,
        };
        if free <= keep {
            return Ok(false);
        }
        self.lazily(|store| schema::run_to_end(&store.db, &format!("PRAGMA incremental_vacuum({VACUUM_PAGES})")))?;
        let (_, left) = schema::bytes(&self.db)?;
        // Free pages that do not become fewer would be tried forever.
        Ok(left < free && left > keep)
    }

    /// What the journal takes now.
    pub(crate) fn size(&self) -> Result<Size> {
        let bytes = schema::bytes(&self.db)?.0 + self.tables.outputs_bytes;
        Ok(Size { bytes, files_removed: self.files_removed })
    }

    /// The end of a complete upkeep, when no entries wait: makes it durable, so that files can follow their names, removes
    /// the files nobody names, such as a crash leaves them, and truncates the database.
    pub(crate) fn finish_collection(&mut self, before: Size, went: Collected) -> std::result::Result<Collected, Fault> {
        schema::checkpoint(&self.db, CheckpointMode::TRUNCATE)?;
        self.unlink_unnamed()?;
        let orphans = self.sweep()?;
        let after = self.size()?;
        Ok(Collected {
            outputs: after.files_removed - before.files_removed,
            bytes: orphans + before.bytes.saturating_sub(after.bytes),
            ..went
        })
    }

    /// Removes the files nobody names; how many bytes went.
    fn sweep(&mut self) -> std::result::Result<u64, Fault> {
        let mut gone = 0;
        for (path, hash) in self.outputs.list().map_err(|error| Fault::of_file(&error))? {
            let named = match hash {
                Some(hash) => is_named(&self.db, &hash)?,
                None => false,
            };
            if !named && let Ok(bytes) = outputs::remove(&path) {
                self.files_removed += 1;
                gone += bytes;
            }
        }
        Ok(gone)
    }
}

/// What the journal takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Bytes of the database and the named files.
    pub(crate) bytes: u64,
    /// Files removed since it was opened.
    files_removed: u64,
}
