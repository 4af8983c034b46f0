//! Idempotency keys of hooks: which run a request with a key began.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use runlet_proto::hook::HookRequest;
use runlet_proto::ids::RunId;
use runlet_workflow::Definition;
use runlet_workflow::block::hook::{Hook, IdempotencyKey};
use runlet_workflow::template::Scope;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::core::Payload;
use crate::limits::{KEY_AGE_MAX, KEYS_MAX};
use crate::registry::hooks;

/// A key: a hash over the workflow, the hook, and what the request says.
pub(crate) type Key = [u8; 32];

/// The keys of the last [`KEY_AGE_MAX`], at most [`KEYS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Keys {
    runs: HashMap<Key, (RunId, u64)>,
    /// In the order in which they came.
    order: VecDeque<(Key, u64)>,
}

impl Keys {
    /// The run that began with this key, if that is not too long ago.
    pub(crate) fn get(&self, key: &Key, now_ms: u64) -> Option<RunId> {
        self.runs.get(key).filter(|(_, at_ms)| !is_old(*at_ms, now_ms)).map(|(run, _)| *run)
    }

    /// Notes the run that begins with a key. The oldest go as the bounds demand.
    pub(crate) fn note(&mut self, key: Key, run: RunId, at_ms: u64) {
        self.runs.insert(key, (run, at_ms));
        self.order.push_back((key, at_ms));
        while let Some((oldest, since_ms)) = self.order.front().copied()
            && (self.order.len() > KEYS_MAX || is_old(since_ms, at_ms))
        {
            self.order.pop_front();
            // It may have begun another run since.
            if self.runs.get(&oldest).is_some_and(|(_, at_ms)| *at_ms == since_ms) {
                self.runs.remove(&oldest);
            }
        }
    }

    /// Forgets a key whose run was not accepted.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.runs.remove(key);
    }
}

fn is_old(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) > u64::try_from(KEY_AGE_MAX.as_millis()).unwrap_or(u64::MAX)
}

/// The hook of a definition that a request came to: the gateway has found one, by its path and method.
pub(crate) fn hook_of<'d>(definition: &'d Definition, request: &HookRequest) -> Option<&'d Hook> {
    let path = request.path.trim_start_matches("/hook/").trim_end_matches('/');
    hooks(definition).find(|hook| {
        let of_method = hook.methods.is_empty() || hook.methods.contains(&request.method);
        let mut segments = path.split('/');
        let of_path = hook
            .path
            .split('/')
            .all(|wanted| segments.next().is_some_and(|segment| wanted.starts_with(':') || wanted == segment));
        of_method && of_path && segments.next().is_none()
    })
}

/// The key of a request; `None` if its hook has none, or the request does not say one: then it is like no other.
///
/// # Errors
/// Why the template gives none, in words.
pub(crate) fn key_of(definition: &Definition, request: &Arc<HookRequest>) -> Result<Option<Key>, String> {
    let Some(hook) = hook_of(definition, request) else { return Ok(None) };
    let value = match &hook.idempotency_key {
        None => return Ok(None),
        Some(IdempotencyKey::Header(name)) => {
            request.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        }
        Some(IdempotencyKey::Template(_, template)) => {
            let request = Payload::Hook(Arc::clone(request)).to_json();
            let run = Arc::new(Value::Object(serde_json::Map::new()));
            let scope = Scope { input: Arc::clone(&request), hook: Some(request), blocks: Vec::new(), run, item: None };
            Some(template.render(&scope).map_err(|error| error.to_string())?)
        }
    };
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let mut hash = Sha256::new();
    for part in [&definition.name, &hook.path, &value] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(Some(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use runlet_proto::hook::Respond;

    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn a_key_counts_for_a_day() {
        let mut keys = Keys::default();
        let (one, two) = (RunId::from_u128(1), RunId::from_u128(2));
        keys.note([1; 32], one, 0);
        assert_eq!((keys.get(&[1; 32], 24 * HOUR_MS), keys.get(&[1; 32], 24 * HOUR_MS + 1)), (Some(one), None));
        keys.note([1; 32], two, 30 * HOUR_MS);
        assert_eq!((keys.get(&[1; 32], 31 * HOUR_MS), keys.order.len()), (Some(two), 1));
        keys.forget(&[1; 32]);
        assert_eq!(keys.get(&[1; 32], 31 * HOUR_MS), None);
    }

    #[test]
    fn keys_are_bounded() {
        let mut keys = Keys::default();
        for count in 0..KEYS_MAX + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(count as u64).to_le_bytes());
            keys.note(key, RunId::from_u128(count as u128), count as u64);
        }
        assert_eq!((keys.runs.len(), keys.order.len()), (KEYS_MAX, KEYS_MAX));
        assert!(keys.get(&[0; 32], 0).is_none());
    }

    fn request(path: &str, header: Option<(&str, &str)>, body: &'static str) -> Arc<HookRequest> {
        let json = ("content-type".to_owned(), "application/json".to_owned());
        let headers =
            header.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain([json]).collect();
        Arc::new(HookRequest {
            workflow: "w".to_owned(),
            respond: Respond::AtOnce,
            method: "POST".to_owned(),
            path: path.to_owned(),
            params: Vec::new(),
            query: String::new(),
            headers,
            body: body.into(),
        })
    }

    #[test]
    fn a_request_is_known_by_what_its_hook_names() {
        let definition = runlet_workflow::parse(
            "w.json",
            r#"[{ "type": "hook", "path": "pay/:who", "methods": ["POST"], "idempotency_key": "Idempotency-Key" },
                { "type": "hook", "path": "order", "idempotency_key": "{{ hook.body.order }}" },
                { "type": "hook", "path": "plain" }]"#,
        )
        .unwrap();
        let key = |path: &str, header, body| key_of(&definition, &request(path, header, body));
        let paid = |value| key("/hook/pay/ann", Some(("idempotency-key", value)), "").unwrap();
        assert!(paid("a").is_some() && paid("a") == paid("a"));
        assert_ne!(paid("a"), paid("b"));
        assert_eq!(paid(""), None);
        for (path, header) in
            [("/hook/pay/ann", None), ("/hook/plain", Some(("idempotency-key", "a"))), ("/hook/x", None)]
        {
            assert_eq!(key(path, header, ""), Ok(None), "{path}");
        }
        let ordered = |body| key("/hook/order/", None, body).unwrap();
        assert_eq!(ordered(r#"{"order":7}"#), ordered(r#"{ "order": 7, "more": 1 }"#));
        assert_ne!(ordered(r#"{"order":7}"#), ordered(r#"{"order":8}"#));
        assert!(key("/hook/order", None, "{}").is_err());
    }
}
