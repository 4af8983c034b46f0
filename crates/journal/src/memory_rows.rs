//! Shared memory as rows: one change written, and all of it read. Keys and messages have a checksum, as texts have.

use bytes::Bytes;
use rusqlite::{Connection, Result, params};

use crate::apply::{id_bytes, run_id};
use crate::kept::CHANGED;
use crate::memory::{
    MemoryChange, MessageState, StoredAnswer, StoredKeyValue, StoredMemory, StoredMessage, StoredNamespace,
};
use crate::schema::{integer, unsigned};

/// Writes one change.
pub(crate) fn apply(db: &Connection, change: &MemoryChange) -> Result<()> {
    match change {
        MemoryChange::Set { namespace, key, value, version, expires_at_ms } => {
            let sql = "INSERT OR REPLACE INTO memory_keys(namespace, key, value, version, expires_at_ms, sum)
                       VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
            let sum = sum(&[namespace.as_bytes(), key.as_bytes(), value], *version);
            let row = params![namespace, key, &value[..], integer(*version), expires_at_ms.map(integer), sum];
            db.prepare_cached(sql)?.execute(row)
        }
        MemoryChange::Removed { namespace, key, version } => {
            let sql = "INSERT INTO memory_namespaces(namespace, version) VALUES(?1, ?2)
                       ON CONFLICT(namespace) DO UPDATE SET version = max(version, excluded.version)";
            db.prepare_cached(sql)?.execute(params![namespace, integer(*version)])?;
            let sql = "DELETE FROM memory_keys WHERE namespace = ?1 AND key = ?2";
            db.prepare_cached(sql)?.execute(params![namespace, key])
        }
        MemoryChange::Locked { namespace, holder } => {
            let sql = "INSERT INTO memory_namespaces(namespace, version, holder, until_ms) VALUES(?1, 0, ?2, ?3)
                       ON CONFLICT(namespace) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms";
            let (holder, until_ms) = holder.map(|(run, until_ms)| (id_bytes(run), integer(until_ms))).unzip();
            db.prepare_cached(sql)?.execute(params![namespace, holder, until_ms])
        }
        MemoryChange::Lost { namespace, run, untold: true } => {
            let sql = "INSERT OR IGNORE INTO memory_lost(namespace, run) VALUES(?1, ?2)";
            db.prepare_cached(sql)?.execute(params![namespace, id_bytes(*run)])
        }
        MemoryChange::Lost { namespace, run, untold: false } => {
            let sql = "DELETE FROM memory_lost WHERE namespace = ?1 AND run = ?2";
            db.prepare_cached(sql)?.execute(params![namespace, id_bytes(*run)])
        }
        MemoryChange::Message(message) => apply_message(db, message),
        MemoryChange::Done { channel, id } => {
            let sql = "DELETE FROM memory_messages WHERE channel = ?1 AND id = ?2";
            db.prepare_cached(sql)?.execute(params![channel, integer(*id)])
        }
        MemoryChange::Answered(StoredAnswer { run, block, retries, call, answer }) => {
            let sql =
                "INSERT OR REPLACE INTO memory_answers(run, block, retries, call, answer) VALUES(?1, ?2, ?3, ?4, ?5)";
            db.prepare_cached(sql)?.execute(params![id_bytes(*run), block, retries, call, &answer[..]])
        }
        MemoryChange::Outdated { run, block, retries, call } => {
            let sql = "DELETE FROM memory_answers WHERE run = ?1 AND block = ?2 AND retries = ?3 AND call = ?4";
            db.prepare_cached(sql)?.execute(params![id_bytes(*run), block, retries, call])
        }
        MemoryChange::Forgotten(run) => {
            db.prepare_cached("DELETE FROM memory_answers WHERE run = ?1")?.execute([id_bytes(*run)])
        }
    }
    .map(drop)
}

fn apply_message(db: &Connection, message: &StoredMessage) -> Result<usize> {
    let StoredMessage { channel, id, body, sent_at_ms, deliveries, run, state, deliveries_max } = message;
    let (id, run, state) = (integer(*id), run.map(id_bytes), state_code(*state));
    let Some(body) = body else {
        let sql = "UPDATE memory_messages SET deliveries = ?3, deliveries_max = ?4, run = ?5, state = ?6
                   WHERE channel = ?1 AND id = ?2";
        return db.prepare_cached(sql)?.execute(params![channel, id, deliveries, deliveries_max, run, state]);
    };
    let sql = "INSERT INTO memory_channels(channel, last) VALUES(?1, ?2)
               ON CONFLICT(channel) DO UPDATE SET last = max(last, excluded.last)";
    db.prepare_cached(sql)?.execute(params![channel, id])?;
    let sql = "INSERT OR REPLACE INTO
               memory_messages(channel, id, body, sent_at_ms, sum, deliveries, deliveries_max, run, state)
               VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let sum = sum(&[channel.as_bytes(), body], message.id);
    let row = params![channel, id, &body[..], integer(*sent_at_ms), sum, deliveries, deliveries_max, run, state];
    db.prepare_cached(sql)?.execute(row)
}

/// Reads it all; what is damaged is told of and left out.
pub(crate) fn load(db: &Connection, damaged: &mut Vec<String>) -> Result<StoredMemory> {
    let mut memory = StoredMemory::default();
    let mut sql =
        db.prepare("SELECT namespace, version, holder, until_ms FROM memory_namespaces ORDER BY namespace")?;
    let rows = sql.query_map([], |row| {
        let (holder, until_ms): (Option<[u8; 16]>, Option<i64>) = (row.get(2)?, row.get(3)?);
        let holder = holder.map(run_id).zip(until_ms.map(unsigned));
        Ok(StoredNamespace { name: row.get(0)?, version: row.get(1).map(unsigned)?, holder })
    })?;
    memory.namespaces = rows.collect::<Result<_>>()?;
    let mut sql = db.prepare(
        "SELECT namespace, key, value, version, expires_at_ms, sum FROM memory_keys ORDER BY namespace, key",
    )?;
    let mut rows = sql.query([])?;
    while let Some(row) = rows.next()? {
        let (namespace, key, value): (String, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let version = row.get(3).map(unsigned)?;
        if row.get::<_, i64>(5)? != sum(&[namespace.as_bytes(), key.as_bytes(), &value], version) {
            damaged.push(format!("key `{key}` of the memory namespace `{namespace}` is damaged: {CHANGED}"));
            continue;
        }
        let expires_at_ms = row.get::<_, Option<i64>>(4)?.map(unsigned);
        memory.keys.push(StoredKeyValue { namespace, key, value: Bytes::from(value), version, expires_at_ms });
    }
    let mut sql = db.prepare("SELECT namespace, run FROM memory_lost ORDER BY namespace, run")?;
    let rows = sql.query_map([], |row| Ok((row.get(0)?, run_id(row.get(1)?))))?;
    memory.lost = rows.collect::<Result<_>>()?;
    let mut sql = db.prepare("SELECT channel, last FROM memory_channels ORDER BY channel")?;
    let rows = sql.query_map([], |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)))?;
    memory.channels = rows.collect::<Result<_>>()?;
    memory.messages = load_messages(db, damaged)?;
    let mut sql = db.prepare("SELECT run, block, retries, call, answer FROM memory_answers ORDER BY rowid")?;
    let rows = sql.query_map([], |row| {
        let answer = Bytes::from(row.get::<_, Vec<u8>>(4)?);
        Ok(StoredAnswer {
            run: run_id(row.get(0)?),
            block: row.get(1)?,
            retries: row.get(2)?,
            call: row.get(3)?,
            answer,
        })
    })?;
    memory.answers = rows.collect::<Result<_>>()?;
    Ok(memory)
}

fn load_messages(db: &Connection, damaged: &mut Vec<String>) -> Result<Vec<StoredMessage>> {
    let mut messages = Vec::new();
    let mut sql = db.prepare(
        "SELECT channel, id, body, sent_at_ms, sum, deliveries, deliveries_max, run, state
         FROM memory_messages ORDER BY channel, id",
    )?;
    let mut rows = sql.query([])?;
    while let Some(row) = rows.next()? {
        let (channel, id, body): (String, _, Vec<u8>) = (row.get(0)?, row.get(1).map(unsigned)?, row.get(2)?);
        let state = state_of(row.get(8)?);
        let (true, Some(state)) = (row.get::<_, i64>(4)? == sum(&[channel.as_bytes(), &body], id), state) else {
            damaged.push(format!("message {id} of the channel `{channel}` is damaged: {CHANGED}"));
            continue;
        };
        messages.push(StoredMessage {
            channel,
            id,
            body: Some(Bytes::from(body)),
            sent_at_ms: row.get(3).map(unsigned)?,
            deliveries: row.get(5)?,
            deliveries_max: row.get(6)?,
            run: row.get::<_, Option<[u8; 16]>>(7)?.map(run_id),
            state,
        });
    }
    Ok(messages)
}

fn sum(texts: &[&[u8]], number: u64) -> i64 {
    let mut hash = crc32fast::Hasher::new();
    for text in texts {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(&number.to_le_bytes());
    hash.finalize().into()
}

const fn state_code(state: MessageState) -> i64 {
    match state {
        MessageState::Ready => 1,
        MessageState::Delivered => 2,
        MessageState::Dead => 3,
    }
}

const fn state_of(code: i64) -> Option<MessageState> {
    match code {
        1 => Some(MessageState::Ready),
        2 => Some(MessageState::Delivered),
        3 => Some(MessageState::Dead),
        _ => None,
    }
}
