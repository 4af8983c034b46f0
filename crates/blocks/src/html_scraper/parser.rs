//! The HTML parser, fed in chunks, with the options `scraper` uses. Between two chunks it tells what of the tree the
//! rest of the page can still change.

use std::cell::{Cell, Ref, RefCell};

use ego_tree::{NodeId, Tree};
use html5ever::buffer_queue::BufferQueue;
use html5ever::interface::TokenizerResult;
use html5ever::interface::Tracer;
use html5ever::local_name;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use scraper::Node;

use super::frontier::Frontier;
use super::sink::{Excess, PageSink};

/// A page being parsed.
pub(super) struct Parser {
    tokenizer: Tokenizer<Tags>,
    buffer: BufferQueue,
    consumed: usize,
}

/// Passes tokens on to the tree builder and counts tags.
struct Tags {
    builder: TreeBuilder<NodeId, PageSink>,
    /// Where the chunk under way begins.
    chunk: Cell<usize>,
    /// Whether a tag of that chunk has come.
    chunk_has_tag: Cell<bool>,
    /// Where the last chunk begins in which a tag ended. A tag that is not through yet begins after it.
    from: Cell<usize>,
    /// Start tags named `html`, `body` or `frameset` since `from`, without the first tag, which may have begun earlier.
    roots: Cell<usize>,
    ending: Cell<bool>,
}

impl TokenSink for Tags {
    type Handle = NodeId;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<NodeId> {
        let Token::TagToken(tag) = &token else { return self.builder.process_token(token, line) };
        if !self.chunk_has_tag.replace(true) {
            self.from.set(self.chunk.get());
            self.roots.set(0);
        } else if tag.kind == TagKind::StartTag
            && matches!(tag.name, local_name!("html") | local_name!("body") | local_name!("frameset"))
        {
            self.roots.set(self.roots.get() + 1);
        }
        let result = self.builder.process_token(token, line);
        if self.builder.sink.excess().is_some() && matches!(result, TokenSinkResult::Continue) && !self.ending.get() {
            // The only answer after which the tokenizer returns to its caller with input left over.
            return TokenSinkResult::Script(self.builder.sink.tree().root().id());
        }
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

impl Parser {
    /// A parser whose tree has attributes, or none.
    pub(super) fn new(attributes: bool) -> Self {
        let builder = TreeBuilder::new(PageSink::new(attributes), TreeBuilderOpts::default());
        let tags = Tags {
            builder,
            chunk: Cell::new(0),
            chunk_has_tag: Cell::new(false),
            from: Cell::new(0),
            roots: Cell::new(0),
            ending: Cell::new(false),
        };
        Self { tokenizer: Tokenizer::new(tags, TokenizerOpts::default()), buffer: BufferQueue::default(), consumed: 0 }
    }

    fn tags(&self) -> &Tags {
        &self.tokenizer.sink
    }

    pub(super) fn sink(&self) -> &PageSink {
        &self.tags().builder.sink
    }

    pub(super) fn tree(&self) -> Ref<'_, Tree<Node>> {
        self.sink().tree()
    }

    /// Bytes fed so far.
    pub(super) fn consumed(&self) -> usize {
        self.consumed
    }

    /// Parses the next bytes of `page`, about `chunk_bytes` of them.
    ///
    /// # Errors
    /// [`Excess`] when the page outgrew its bounds; it cannot be parsed further then.
    pub(super) fn feed(&mut self, page: &str, chunk_bytes: usize) -> Result<(), Excess> {
        self.tags().chunk.set(self.consumed);
        self.tags().chunk_has_tag.set(false);
        let end = chunk_end(page, self.consumed, chunk_bytes);
        self.buffer.push_back(StrTendril::from_slice(&page[self.consumed..end]));
        self.consumed = end;
        loop {
            let result = self.tokenizer.feed(&self.buffer);
            if let Some(excess) = self.sink().excess() {
                return Err(excess);
            }
            match result {
                TokenizerResult::Done => return Ok(()),
                // Scripts are not run, and the text is decoded already.
                TokenizerResult::Script(_) | TokenizerResult::EncodingIndicator(_) => {}
            }
        }
    }

    /// Parses to the end what was fed.
    ///
    /// # Errors
    /// [`Excess`] when the page outgrew its bounds.
    pub(super) fn finish(&mut self) -> Result<(), Excess> {
        self.tags().ending.set(true);
        self.tokenizer.end();
        self.sink().excess().map_or(Ok(()), Err)
    }

    /// A position in the page, and how many start tags named `html`, `body` or `frameset` that begin at or after it
    /// are through the parser.
    pub(super) fn roots_since(&self) -> (usize, usize) {
        (self.tags().from.get(), self.tags().roots.get())
    }

    /// What the rest of the page may still change.
    pub(super) fn frontier(&self) -> Frontier {
        let handles = Handles::default();
        self.tags().builder.trace_handles(&handles);
        Frontier::new(&self.tree(), handles.0.into_inner())
    }
}

/// Everything the tree builder holds a handle of: the document, the open elements from the outermost to the innermost,
/// the active formatting elements, the head and the form.
#[derive(Default)]
struct Handles(RefCell<Vec<NodeId>>);

impl Tracer for Handles {
    type Handle = NodeId;

    fn trace_handle(&self, handle: &NodeId) {
        self.0.borrow_mut().push(*handle);
    }
}

/// Where a chunk that begins at `start` ends: between two characters, and not before a byte order mark, which the
/// tokenizer drops at the beginning of whatever it is fed.
fn chunk_end(page: &str, start: usize, chunk_bytes: usize) -> usize {
    const BYTE_ORDER_MARK: &str = "\u{feff}";
    let mut end = page.ceil_char_boundary(start.saturating_add(chunk_bytes.max(1)));
    while page[end..].starts_with(BYTE_ORDER_MARK) {
        end += BYTE_ORDER_MARK.len();
    }
    end
}
