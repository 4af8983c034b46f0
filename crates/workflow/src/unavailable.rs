//! What the language has and this engine cannot do yet: refused by name, never ignored. As a part of the engine is
//! built, its lines are deleted here.

use crate::parse::report::Finding;

/// Kinds of blocks.
pub(crate) const BLOCK_KINDS: [&str; 1] = ["schedule"];

/// Fields of a `hook`.
pub(crate) const HOOK_FIELDS: [&str; 1] = ["auth"];

/// Fields of a `fetch`.
pub(crate) const FETCH_FIELDS: [&str; 7] =
    ["auth", "retry_on_status", "throttle", "pagination", "proxy", "cookies", "cache"];

/// Fields of an `html-scraper` rule.
pub(crate) const RULE_FIELDS: [&str; 7] = ["fields", "exclude", "regex", "as", "absolute", "default", "required"];

/// The finding about one of them.
pub(crate) fn finding(what: &str) -> Finding {
    Finding::new("not-available", format!("{what} is part of the language, but this version cannot do it yet"))
        .help("leave it out for now")
}
