//! W3C Trace Context (level 1): the place of a run in a trace that its caller began, taken from the caller's request and
//! passed on with each fetch.
//!
//! A run whose caller names no trace has none: an id that nobody else knows would only make requests longer.

use runlet_proto::ids::RunId;
use runlet_proto::trace::TracePlace;

use crate::limits::{TRACE_STATE_BYTES_MAX, TRACE_STATE_MEMBERS_MAX};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Length of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// Members of a `tracestate` above this length go first when there is too much of it (section 3.3.1.5).
const LONG_MEMBER_BYTES: usize = 128;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: u128,
    /// The span of the caller; 0 if the trace is the run's own.
    pub(crate) parent_id: u64,
    /// Whether the caller keeps what it measures; where traces are exported, whether this one is. Other flags are not known
    /// here and are not passed on.
    pub(crate) sampled: bool,
    /// What others have to say to each other; empty if nothing.
    pub(crate) state: String,
}

impl TraceContext {
    /// From the header fields of a request, names in lower case. A `traceparent` that is not valid, or comes twice, counts as
    /// none, and a `tracestate` without a valid one is ignored (section 4.3).
    pub(crate) fn from_headers(headers: &[(String, String)]) -> Option<Self> {
        let mut parents = headers.iter().filter(|(name, _)| name == PARENT);
        let (_, parent) = parents.next()?;
        if parents.next().is_some() {
            return None;
        }
        let states = headers.iter().filter(|(name, _)| name == STATE).map(|(_, value)| value.as_str());
        Some(Self { state: read_state(states), ..Self::from_parent(parent)? })
    }

    /// From the value of a `traceparent` alone.
    pub(crate) fn from_parent(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        let head = text.get(..PARENT_BYTES)?;
        let mut parts = head.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32)?;
        let parent_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = hex(parts.next()?, 2)?;
        // A later version may say more, after another dash (section 3.2.4).
        let ends_well = text.len() == PARENT_BYTES || (version != 0 && text.as_bytes()[PARENT_BYTES] == b'-');
        let valid = version != 0xff && trace_id != 0 && parent_id != 0 && ends_well && parts.next().is_none();
        valid.then(|| Self { trace_id, parent_id, sampled: flags & 1 == 1, state: String::new() })
    }

    /// A trace that begins with the run.
    #[cfg(feature = "otel")]
    pub(crate) const fn own(trace_id: u128) -> Self {
        Self { trace_id, parent_id: 0, sampled: false, state: String::new() }
    }

    /// From what [`Self::parent`] made.
    pub(crate) fn from_journal(text: &str, run: RunId) -> Option<Self> {
        let context = Self::from_parent(text)?;
        let is_own = context.parent_id == root_span_id(run);
        Some(if is_own { Self { parent_id: 0, ..context } } else { context })
    }

    /// Whether the trace began with the run.
    pub(crate) const fn is_own(&self) -> bool {
        self.parent_id == 0
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.state.len()
    }

    /// The trace id as people read it.
    pub(crate) fn id_text(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The `traceparent` that came with the run, in the words of version 00; of a trace of its own, the run's span.
    pub(crate) fn parent(&self, run: RunId) -> String {
        self.parent_of(if self.is_own() { root_span_id(run) } else { self.parent_id })
    }

    /// Adds to the header fields of a fetch whose span is `span_id`. A definition that sets `traceparent` itself has decided
    /// both.
    pub(crate) fn add_to(&self, headers: &mut Vec<(String, String)>, span_id: u64) {
        let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if has(PARENT) {
            return;
        }
        let adds_state = !self.state.is_empty() && !has(STATE);
        headers.push((PARENT.to_owned(), self.parent_of(span_id)));
        if adds_state {
            headers.push((STATE.to_owned(), self.state.clone()));
        }
    }

    /// The place of a span of the run.
    pub(crate) const fn place(&self, span_id: u64) -> TracePlace {
        TracePlace { trace_id: self.trace_id, span_id }
    }

    fn parent_of(&self, span_id: u64) -> String {
        format!("00-{:032x}-{span_id:016x}-{:02x}", self.trace_id, u8::from(self.sampled))
    }
}

/// Id of the span of a run itself: the half of its id that is random, so that a supervisor that takes it up knows it.
pub(crate) const fn root_span_id(run: RunId) -> u64 {
    // The first bit of this half is set in every UUID (RFC 9562, section 4.1).
    run.as_u128() as u64
}

/// Exactly so many digits, and lower-case ones: anything else is another language (section 3.2.2).
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}

/// All fields together within [`TRACE_STATE_BYTES_MAX`]; empty if something of it is not valid.
fn read_state<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let members = fields.flat_map(|field| field.split(',')).map(|member| member.trim_matches([' ', '\t']));
    let mut members: Vec<&str> =
        members.filter(|member| !member.is_empty()).take(TRACE_STATE_MEMBERS_MAX + 1).collect();
    let twice = |member: &&str| members.iter().filter(|other| key(other) == key(member)).count() > 1;
    if members.len() > TRACE_STATE_MEMBERS_MAX
        || !members.iter().all(|member| is_member(member))
        || members.iter().any(twice)
    {
        return String::new();
    }
    let bytes = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    if bytes(&members) > TRACE_STATE_BYTES_MAX + 1 {
        members.retain(|member| member.len() <= LONG_MEMBER_BYTES);
    }
    while bytes(&members) > TRACE_STATE_BYTES_MAX + 1 {
        members.pop();
    }
    members.join(",")
}

fn key(member: &str) -> &str {
    member.split_once('=').map_or(member, |(key, _)| key)
}

/// Whether it is `key=value` in the characters of section 3.3.1.3.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: u8| first(&byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    let key_fits = key.as_bytes().first().is_some_and(first) && key.len() <= 256 && key.bytes().all(rest);
    let value_fits = value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=');
    key_fits && value_fits && !value.is_empty() && value.len() <= 256
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId::from_u128(0x0193_2c07_1f3e_7abc_8def_0123_4567_89ab);
    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_valid_parent_is_taken_and_passed_on_with_a_span_of_our_own() {
        let context = TraceContext::from_headers(&headers(&[(PARENT, VALID), (STATE, "a=1, b@c=2"), (STATE, "d=3")]));
        let context = context.expect("it is valid");
        assert_eq!(context.id_text(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.parent(RUN), VALID);
        let mut sent = headers(&[("accept", "*/*")]);
        context.add_to(&mut sent, 0x1f);
        assert_eq!(sent[1], (PARENT.to_owned(), "00-0af7651916cd43dd8448eb211c80319c-000000000000001f-01".to_owned()));
        assert_eq!(sent[2], (STATE.to_owned(), "a=1,b@c=2,d=3".to_owned()));
    }

    #[test]
    fn who_sets_the_header_keeps_it() {
        let context = TraceContext::from_headers(&headers(&[(PARENT, VALID), (STATE, "a=1")])).expect("it is valid");
        let own = headers(&[("TraceParent", "mine")]);
        let mut sent = own.clone();
        context.add_to(&mut sent, 7);
        assert_eq!(sent, own);
    }

    #[test]
    fn what_is_not_valid_is_ignored() {
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "0-00af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-+7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031é-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::from_parent(text), None, "{text}");
        }
        assert_eq!(TraceContext::from_headers(&headers(&[(PARENT, VALID), (PARENT, VALID)])), None);
        assert_eq!(TraceContext::from_headers(&headers(&[(STATE, "a=1")])), None);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let text = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe-what-comes";
        let context = TraceContext::from_parent(text).expect("its beginning is known");
        assert_eq!(context.parent(RUN), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    }

    #[test]
    fn a_run_that_is_taken_up_knows_whether_its_trace_is_its_own() {
        let own = format!("00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", root_span_id(RUN));
        for (text, is_own) in [(own.as_str(), true), (VALID, false)] {
            let context = TraceContext::from_journal(text, RUN).expect("it is valid");
            assert_eq!((context.is_own(), context.parent(RUN).as_str()), (is_own, text));
        }
        assert!(TraceContext::from_journal(&own, RunId::from_u128(1)).is_some_and(|context| !context.is_own()));
    }

    #[test]
    fn a_state_is_bounded_and_valid_or_not_there() {
        let state = |text: &str| read_state([text].into_iter());
        for text in ["a", "A=1", "a=", "a=b=c", "a=1,a=2", "ä=1", "a=\u{7f}"] {
            assert_eq!(state(text), "", "{text}");
        }
        let many: Vec<_> = (0..=TRACE_STATE_MEMBERS_MAX).map(|number| format!("k{number}=v")).collect();
        assert_eq!(state(&many.join(",")), "");
        assert_eq!(state(&many[1..].join(",")), many[1..].join(","));
        let long = format!("a=1,b={},c={},d={}", "x".repeat(200), "y".repeat(100), "z".repeat(250));
        assert_eq!(state(&long), format!("a=1,c={}", "y".repeat(100)));
        let wide: Vec<_> = (0..20).map(|number| format!("k{number}={}", "v".repeat(40))).collect();
        assert!(state(&wide.join(",")).len() <= TRACE_STATE_BYTES_MAX);
    }
}
