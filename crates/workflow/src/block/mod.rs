//! The kinds of blocks: one file each, this file only the enum and the match.

pub mod exec;
pub mod fetch;
pub mod hook;
pub mod html_scraper;
pub mod memory;
pub mod receive;
pub mod response;
pub mod send;
pub mod transform;
pub mod workflow;

use crate::parse::config::Kind;

/// The kinds by their names in a definition.
pub(crate) static KINDS: [(&str, &Kind); 10] = [
    ("hook", &hook::KIND),
    ("fetch", &fetch::KIND),
    ("html-scraper", &html_scraper::KIND),
    ("transform", &transform::KIND),
    ("exec", &exec::KIND),
    ("workflow", &workflow::KIND),
    ("memory", &memory::KIND),
    ("send", &send::KIND),
    ("receive", &receive::KIND),
    ("response", &response::KIND),
];

/// Kind and typed configuration of a block.
#[derive(Debug)]
pub enum BlockConfig {
    /// HTTP path → run.
    Hook(hook::Hook),
    /// HTTP request.
    Fetch(fetch::Fetch),
    /// HTML → JSON by CSS rules.
    HtmlScraper(html_scraper::HtmlScraper),
    /// jq program.
    Transform(transform::Transform),
    /// A program of the operator's.
    Exec(exec::Exec),
    /// A run of another workflow.
    Workflow(workflow::Workflow),
    /// An operation on shared memory.
    Memory(memory::Memory),
    /// A message for a channel.
    Send(send::Send),
    /// A message of a channel.
    Receive(receive::Receive),
    /// The reply.
    Response(response::Response),
}

impl BlockConfig {
    /// The type's name in a definition.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hook(_) => "hook",
            Self::Fetch(_) => "fetch",
            Self::HtmlScraper(_) => "html-scraper",
            Self::Transform(_) => "transform",
            Self::Exec(_) => "exec",
            Self::Workflow(_) => "workflow",
            Self::Memory(_) => "memory",
            Self::Send(_) => "send",
            Self::Receive(_) => "receive",
            Self::Response(_) => "response",
        }
    }

    /// Whether one pass of a `for_each` only makes a call, which takes microseconds to begin for a small element.
    #[must_use]
    pub fn only_calls_for_element(&self) -> bool {
        match self {
            Self::Memory(memory) => memory.is_of_element(),
            Self::Send(send) => send.is_of_element(),
            Self::Hook(_)
            | Self::Fetch(_)
            | Self::HtmlScraper(_)
            | Self::Transform(_)
            | Self::Exec(_)
            | Self::Workflow(_)
            | Self::Receive(_)
            | Self::Response(_) => false,
        }
    }

    /// Whether anything in the configuration is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        match self {
            Self::Hook(_) | Self::HtmlScraper(_) | Self::Transform(_) | Self::Workflow(_) => false,
            Self::Fetch(fetch) => fetch.has_templates(),
            Self::Exec(exec) => exec.has_templates(),
            Self::Memory(memory) => memory.has_templates(),
            Self::Send(send) => send.has_templates(),
            Self::Receive(receive) => receive.has_templates(),
            Self::Response(response) => response.has_templates(),
        }
    }
}
