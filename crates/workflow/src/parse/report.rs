//! Where findings are collected, and where in the document they stand.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use crate::Diagnostic;
use crate::limits;
use crate::template::path::{Root, is_plain};

/// A place in the document, as a chain of its parents: costs nothing until a finding needs its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    parent: Option<&'p Self>,
    segment: Segment<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Segment<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    /// The whole document.
    pub(crate) const ROOT: Place<'static> = Place { parent: None, segment: Segment::Root };

    /// A member of this place.
    pub(crate) fn key<'c>(&'c self, key: &'c str) -> Place<'c> {
        Place { parent: Some(self), segment: Segment::Key(key) }
    }

    /// An element of this place.
    pub(crate) fn index(&self, index: usize) -> Place<'_> {
        Place { parent: Some(self), segment: Segment::Index(index) }
    }

    /// The path: `blocks[2].parameter[0].limit`.
    pub(crate) fn path(&self) -> String {
        let mut path = self.parent.map_or_else(String::new, Place::path);
        let _ = match self.segment {
            Segment::Root => Ok(()),
            Segment::Key(key) if !is_plain(key) => write!(path, "[{key:?}]"),
            Segment::Key(key) if path.is_empty() => write!(path, "{key}"),
            Segment::Key(key) => write!(path, ".{key}"),
            Segment::Index(index) => write!(path, "[{index}]"),
        };
        path
    }
}

/// What is wrong, before it is known where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What it says, for where no place in a definition can be shown.
    pub(crate) fn into_words(self) -> String {
        match self.help {
            Some(help) => format!("{}: {help}", self.message),
            None => self.message,
        }
    }

    pub(crate) fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// A name in a template that is judged when all blocks are known.
#[derive(Debug)]
pub(crate) struct NameUse {
    /// Position of the block it stands in.
    pub(crate) block: usize,
    pub(crate) root: Root,
    /// The parameter of the hook's path that it names.
    pub(crate) param: Option<Arc<str>>,
    /// Whether `item` and `index` exist there.
    pub(crate) per_element: bool,
    pub(crate) range: Range<usize>,
    pub(crate) path: String,
}

/// All findings of one document.
pub(crate) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    lines: OnceCell<Vec<usize>>,
    found: Vec<Diagnostic>,
    dropped: usize,
    /// Names to be judged later.
    pub(crate) names: Vec<NameUse>,
    /// Position of the block under way, for `names`.
    pub(crate) block: usize,
    /// Whether the strings under way are rendered for each element of a `for_each`.
    pub(crate) per_element: bool,
}

impl<'t> Report<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            lines: OnceCell::new(),
            found: Vec::new(),
            dropped: 0,
            names: Vec::new(),
            block: 0,
            per_element: false,
        }
    }

    /// The document.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Files a finding about the bytes in `range`.
    pub(crate) fn add(&mut self, finding: Finding, range: Range<usize>, place: &Place<'_>) {
        self.add_at(finding, range, place.path());
    }

    /// Files a finding at a path that is already text.
    pub(crate) fn add_at(&mut self, finding: Finding, range: Range<usize>, path: String) {
        if self.found.len() >= limits::DIAGNOSTICS_MAX {
            self.dropped += 1;
            return;
        }
        let (line, column) = self.position(range.start);
        self.found.push(Diagnostic {
            code: finding.code,
            message: on_one_line(finding.message),
            help: finding.help.map(on_one_line),
            file: self.file.to_owned(),
            line,
            column,
            path,
            offset: range.start,
            length: range.end.saturating_sub(range.start),
        });
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All findings in the order of the text.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found
            .sort_by(|a, b| (a.offset, a.length, a.code, &a.message).cmp(&(b.offset, b.length, b.code, &b.message)));
        if self.dropped > 0 {
            let end = self.text.len();
            let (line, column) = self.position(end);
            self.found.push(Diagnostic {
                code: "too-many",
                message: format!("{} more findings are not shown", self.dropped),
                help: None,
                file: self.file.to_owned(),
                line,
                column,
                path: String::new(),
                offset: end,
                length: 0,
            });
        }
        self.found
    }

    /// Line and column of a byte, both from 1, the column in characters.
    fn position(&self, offset: usize) -> (u32, u32) {
        let starts = self.lines.get_or_init(|| {
            let newlines = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect()
        });
        let line = starts.partition_point(|start| *start <= offset).max(1);
        let start = starts[line - 1];
        let column = self.text.get(start..offset).map_or(offset - start, |before| before.chars().count()) + 1;
        // A document is at most DOCUMENT_BYTES_MAX long, far below what a u32 counts.
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

/// What a document quotes may hold line breaks and the control sequences of terminals; a message shows them as JSON would.
fn on_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line
}
