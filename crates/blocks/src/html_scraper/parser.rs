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
use memchr::memchr;
use scraper::Node;

use super::frontier::Frontier;
use super::plain::PlainTokens;
use super::sink::{Excess, PageSink};
use crate::limits::TAG_BYTES_AWAITED;

/// What may stand before a text to tell its encoding (13.2.3.2 of the HTML standard).
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A page being parsed.
pub(super) struct Parser {
    tokenizer: Tokenizer<Tags>,
    buffer: BufferQueue,
    plain: PlainTokens,
    /// Whether the tokenizer is in the data state and has nothing left to read.
    at_rest: bool,
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
        if matches!(result, TokenSinkResult::Continue) && !self.ending.get() {
            // The only answer after which the tokenizer returns to its caller with input left over. It is in the data
            // state then, as after any other tag that is answered with `Continue`.
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
        Self {
            tokenizer: Tokenizer::new(tags, TokenizerOpts::default()),
            buffer: BufferQueue::default(),
            plain: PlainTokens::new(attributes),
            at_rest: true,
            consumed: 0,
        }
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
        if page[self.consumed..].starts_with(BYTE_ORDER_MARK) {
            // The tokenizer knows whether it is to be dropped.
            self.at_rest = false;
        }
        let end = self.chunk_end(page, chunk_bytes);
        let chunk = StrTendril::from_slice(&page[self.consumed..end]);
        self.consumed = end;
        let mut at = 0;
        while at < chunk.len() {
            at = if self.at_rest { self.take_plain(&chunk, at) } else { self.tokenize(&chunk, at) };
            self.sink().excess().map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Parses from byte `at` what is plain, and returns where that ends.
    fn take_plain(&mut self, chunk: &StrTendril, at: usize) -> usize {
        let Some((token, end)) = self.plain.token(chunk, at) else {
            self.at_rest = false;
            return at;
        };
        // Neither ends the data state: those tags are not plain.
        let _ = self.tags().process_token(token, 1);
        end
    }

    /// Lets the tokenizer parse from byte `at` to the end of the next tag, or of the chunk, and returns where it is.
    fn tokenize(&mut self, chunk: &StrTendril, at: usize) -> usize {
        let length = chunk.len() - at;
        // A chunk is a part of a page, and those have at most 10 MiB.
        self.buffer.push_back(chunk.subtendril(at as u32, length as u32));
        match self.tokenizer.feed(&self.buffer) {
            TokenizerResult::Done => chunk.len(),
            // Scripts are not run, and the text is decoded already.
            TokenizerResult::Script(_) | TokenizerResult::EncodingIndicator(_) => {
                self.at_rest = true;
                let mut left = 0;
                while let Some(unread) = self.buffer.pop_front() {
                    left += unread.len();
                }
                chunk.len() - left
            }
        }
    }

    /// Where the chunk ends that begins here: between two characters, behind a tag if one ends soon, and not before a byte order mark, which the
    /// tokenizer drops at the beginning of whatever it is fed.
    fn chunk_end(&self, page: &str, chunk_bytes: usize) -> usize {
        let mut end = page.ceil_char_boundary(self.consumed.saturating_add(chunk_bytes.max(1)));
        if self.at_rest {
            let beyond = &page.as_bytes()[end..];
            let near = &beyond[..beyond.len().min(TAG_BYTES_AWAITED)];
            end += memchr(b'>', near).map_or(0, |at| at + 1);
        }
        while page[end..].starts_with(BYTE_ORDER_MARK) {
            end += BYTE_ORDER_MARK.len();
        }
        end
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
