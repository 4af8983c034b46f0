//! The workloads: what a request asks of every system, and what a right answer is.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::page::{HEADINGS_LIMIT, Page, PageKind};

/// What `hello` answers, by every system, byte for byte.
pub const HELLO_BODY: &str = r#"{"hello":"world"}"#;

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Workload {
    /// A fixed JSON body: hook → response.
    Hello,
    /// Fetch the 16 KiB page, its first five `h1` and `h2`, as JSON.
    Scrape,
    /// Fetch the 16 KiB page, all its `h1` and `h2`.
    ScrapeAll,
    /// Fetch the 1 MiB page, its first five `h1` and `h2`.
    #[serde(rename = "scrape-1m")]
    #[value(name = "scrape-1m")]
    Scrape1m,
    /// Fetch the 1 MiB page, all its `h1` and `h2`.
    #[serde(rename = "scrape-all-1m")]
    #[value(name = "scrape-all-1m")]
    ScrapeAll1m,
    /// Like `scrape`, of a page whose fifth headings lie at its end: what it costs when stopping early gains nothing.
    ScrapeLate,
}

impl Workload {
    /// Every workload there is.
    pub const ALL: [Self; 6] =
        [Self::Hello, Self::Scrape, Self::ScrapeAll, Self::Scrape1m, Self::ScrapeAll1m, Self::ScrapeLate];

    /// Name on the command line, in tables, and as the last segment of every system's path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Scrape => "scrape",
            Self::ScrapeAll => "scrape-all",
            Self::Scrape1m => "scrape-1m",
            Self::ScrapeAll1m => "scrape-all-1m",
            Self::ScrapeLate => "scrape-late",
        }
    }

    /// The page it fetches.
    #[must_use]
    pub fn page(self) -> Option<PageKind> {
        match self {
            Self::Hello => None,
            Self::Scrape | Self::ScrapeAll => Some(PageKind::Small),
            Self::Scrape1m | Self::ScrapeAll1m => Some(PageKind::Big),
            Self::ScrapeLate => Some(PageKind::Late),
        }
    }

    /// How many headings of each rank it asks for; `None` is all.
    #[must_use]
    pub fn limit(self) -> Option<usize> {
        match self {
            Self::Hello | Self::ScrapeAll | Self::ScrapeAll1m => None,
            Self::Scrape | Self::Scrape1m | Self::ScrapeLate => Some(HEADINGS_LIMIT),
        }
    }

    /// Whether `body` is the right answer: the fixed bytes, or JSON with exactly the page's headings in order.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the body.
    pub fn check(self, body: &[u8]) -> Result<(), String> {
        let Some(kind) = self.page() else {
            return if body == HELLO_BODY.as_bytes() { Ok(()) } else { Err(format!("expected {HELLO_BODY}")) };
        };
        let found: Headings =
            serde_json::from_slice(body).map_err(|cause| format!("not the expected JSON: {cause}"))?;
        let Page { h1, h2, .. } = Page::generate(kind);
        let limit = self.limit().unwrap_or(usize::MAX);
        for (rank, found, expected) in [("h1", found.h1, h1), ("h2", found.h2, h2)] {
            let expected = &expected[..limit.min(expected.len())];
            // White space around a heading's text is not part of the workload: not every system can trim it.
            if !found.iter().map(|text| text.trim()).eq(expected) {
                return Err(format!("{rank} should be {expected:?}, is {found:?}"));
            }
        }
        Ok(())
    }
}

/// The answer of a scraping workload.
#[derive(Debug, Serialize, Deserialize)]
pub struct Headings {
    /// Text of the `h1` in document order.
    pub h1: Vec<String>,
    /// Text of the `h2` in document order.
    pub h2: Vec<String>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_right_answer_passes_and_a_wrong_one_says_why() {
        let page = Page::generate(PageKind::Small);
        let mut answer = Headings { h1: page.h1[..5].to_vec(), h2: page.h2[..5].to_vec() };
        let body = serde_json::to_vec(&answer).unwrap();
        Workload::Scrape.check(&body).unwrap();
        assert!(Workload::ScrapeAll.check(&body).unwrap_err().starts_with("h1 should be"));
        assert!(Workload::Hello.check(&body).is_err());
        answer.h2.swap(0, 1);
        assert!(Workload::Scrape.check(&serde_json::to_vec(&answer).unwrap()).unwrap_err().starts_with("h2 should be"));
        assert!(Workload::Scrape.check(b"<html>").unwrap_err().starts_with("not the expected JSON"));
    }

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_json() {
        for workload in Workload::ALL {
            assert_eq!(Workload::from_str(workload.name(), false), Ok(workload));
            assert_eq!(serde_json::to_value(workload).unwrap(), workload.name());
        }
    }
}
