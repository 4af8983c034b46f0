//! What is derived from a block's configuration once and used in every run: compiled selectors, ready requests and
//! replies.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use runlet_proto::call::FetchCall;
use runlet_proto::failure::Failure;
use runlet_proto::ids::BlockIndex;
use runlet_workflow::{BlockConfig, Definition};

use crate::html_scraper::Rules;
use crate::limits::PREPARED_MAX;
use crate::{fetch, response};

/// The derived form of one block.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// Nothing to derive.
    Nothing,
    /// The request, if it is the same in every run.
    Fetch(Option<FetchCall>),
    /// The rules, or what is wrong with one of them.
    HtmlScraper(Result<Rules, Failure>),
    /// The reply, as far as it is the same in every run.
    Response(response::Prepared),
}

impl Prepared {
    fn new(definition: &Definition, config: &BlockConfig) -> Self {
        match config {
            BlockConfig::Hook(_)
            | BlockConfig::Transform(_)
            | BlockConfig::Exec(_)
            | BlockConfig::Workflow(_)
            | BlockConfig::Memory(_)
            | BlockConfig::Send(_)
            | BlockConfig::Receive(_) => Self::Nothing,
            BlockConfig::Fetch(fetch) if fetch.has_templates() => Self::Fetch(None),
            // A request that cannot be made is made again in the run, which says why.
            BlockConfig::Fetch(fetch) => Self::Fetch(fetch::call(fetch, definition, None).ok()),
            BlockConfig::HtmlScraper(scraper) => Self::HtmlScraper(Rules::compile(scraper)),
            BlockConfig::Response(response) => Self::Response(response::Prepared::new(response)),
        }
    }

    /// The request, if it is the same in every run.
    pub(crate) fn call(&self) -> Option<&FetchCall> {
        match self {
            Self::Fetch(call) => call.as_ref(),
            Self::Nothing | Self::HtmlScraper(_) | Self::Response(_) => None,
        }
    }

    /// Whether the block writes out its input, which may be large.
    pub(crate) fn sends_input(&self) -> bool {
        match self {
            Self::Response(response) => response.sends_input(),
            Self::Nothing | Self::Fetch(_) | Self::HtmlScraper(_) => false,
        }
    }
}

/// An entry keeps the address of its definition taken, so a key never comes to mean another one.
type Entry = (Weak<Definition>, Arc<Prepared>);

thread_local! {
    /// One for each thread, so that looking something up takes no lock.
    static CACHE: RefCell<HashMap<(usize, BlockIndex), Entry>> = RefCell::default();
}

/// The derived form of `block`, made if this thread has not met it yet.
pub(crate) fn prepared(definition: &Arc<Definition>, block: BlockIndex) -> Arc<Prepared> {
    let key = (Arc::as_ptr(definition).addr(), block);
    CACHE.with_borrow_mut(|cache| {
        if let Some((_, prepared)) = cache.get(&key) {
            return Arc::clone(prepared);
        }
        if cache.len() >= PREPARED_MAX {
            cache.retain(|_, (definition, _)| definition.strong_count() > 0);
            if cache.len() >= PREPARED_MAX {
                cache.clear();
            }
        }
        let prepared = Arc::new(Prepared::new(definition, &definition.blocks[block.as_usize()].config));
        cache.insert(key, (Arc::downgrade(definition), Arc::clone(&prepared)));
        prepared
    })
}
