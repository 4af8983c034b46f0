//! Each block kind from the outside: a definition's text, an input, answers to the calls it makes.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

mod fetch;
mod for_each;
mod response;
mod scraper;
mod sharing;
mod support;
mod weights;
