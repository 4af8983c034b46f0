//! A span as it is given to the exporter: complete.

use std::borrow::Cow;
use std::sync::Arc;

/// Something that took a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where it stands.
    pub place: Place,
    /// What it is, in words of which there are few.
    pub name: Cow<'static, str>,
    /// Whom it talks to.
    pub kind: Kind,
    /// When it began, in nanoseconds since the Unix epoch.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// What there is to know of it, by names of which no two are the same.
    pub attributes: Vec<(&'static str, Value)>,
    /// What happened meanwhile.
    pub events: Vec<Event>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Where a span stands in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// The span that it is part of, if there is one.
    pub parent_id: Option<u64>,
    /// Whether another process has that one.
    pub parent_is_remote: bool,
    /// The trace's `tracestate`, or an empty text.
    pub state: Arc<str>,
}

/// Whom a span talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody outside its process.
    Internal,
    /// One who asked.
    Server,
    /// One who is asked.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text; cut to [`TEXT_BYTES_MAX`](crate::limits::TEXT_BYTES_MAX) when it is sent.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

/// Something that took no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened, in nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// What happened.
    pub name: &'static str,
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Number(number.into())
            }
        }
    )*};
}

numbers!(i64, u32, u16);
