//! Rust source as tokens with lines: what the rules look at. Tokens, not a syntax tree, so the inside of macros counts
//! too, and strings and comments never do.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// What the rules want to know of one file.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Every path as written, `use` trees expanded; a lone identifier is a path of one segment.
    pub paths: Vec<PathUse>,
    /// Every function with a body.
    pub functions: Vec<Function>,
    /// Method calls and attributes of interest.
    pub marks: Vec<(Mark, usize)>,
    /// Lines of items under `#[test]` or `#[cfg(test)]`.
    pub test_lines: Vec<RangeInclusive<usize>>,
    /// Names of `#[cfg(test)] mod name;`, whose file is test code too.
    pub test_modules: Vec<String>,
    /// The file says `#![cfg(test)]`.
    pub all_test: bool,
}

/// A path in the source.
#[derive(Debug, PartialEq, Eq)]
pub struct PathUse {
    /// Its segments, generic arguments left out.
    pub segments: Vec<String>,
    /// Line of its first segment.
    pub line: usize,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of `fn`.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

/// A thing a rule forbids in places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `.unwrap()`.
    Unwrap,
    /// `#[ignore]` without a reason.
    BareIgnore,
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// One sentence with the line, when the text is not a sequence of Rust tokens.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stream: TokenStream =
            text.parse().map_err(|error: proc_macro2::LexError| format!("{error} at {:?}", error.span().start()))?;
        let mut tokens = Self::default();
        tokens.walk(&stream.into_iter().collect::<Vec<_>>(), &[]);
        Ok(tokens)
    }

    /// Whether a line is test code.
    #[must_use]
    pub fn is_test(&self, line: usize) -> bool {
        self.all_test || self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// `prefix` is the path a `use` group hangs from.
    fn walk(&mut self, trees: &[TokenTree], prefix: &[String]) {
        let mut at = 0;
        while at < trees.len() {
            at += match &trees[at] {
                TokenTree::Ident(ident) => {
                    if ident == "fn" {
                        self.function(&trees[at..]);
                    }
                    self.path(&trees[at..], prefix)
                }
                TokenTree::Group(group) => {
                    self.walk(&inside(group), &[]);
                    1
                }
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    self.attribute(&trees[at..]);
                    1
                }
                TokenTree::Punct(punct) if punct.as_char() == '.' => {
                    self.method(&trees[at..]);
                    1
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => 1,
            };
        }
    }

    /// Records the path that begins here and returns how many trees it took.
    fn path(&mut self, trees: &[TokenTree], prefix: &[String]) -> usize {
        let line = line_of(&trees[0]);
        let mut segments = prefix.to_vec();
        segments.push(trees[0].to_string());
        let mut taken = 1;
        while let Some(next) = after_colons(&trees[taken..]) {
            match next {
                TokenTree::Ident(ident) => segments.push(ident.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.walk(&inside(group), &segments);
                    return taken + 3;
                }
                TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => break,
            }
            taken += 3;
        }
        self.paths.push(PathUse { segments, line });
        taken
    }

    fn function(&mut self, trees: &[TokenTree]) {
        let Some(TokenTree::Ident(name)) = trees.get(1) else { return };
        let Some(End::Body(body)) = item_end(trees) else { return };
        let line = line_of(&trees[0]);
        let lines = body.span_close().end().line + 1 - line;
        self.functions.push(Function { name: name.to_string(), line, lines });
    }

    fn attribute(&mut self, trees: &[TokenTree]) {
        let inner = matches!(trees.get(1), Some(TokenTree::Punct(bang)) if bang.as_char() == '!');
        let Some(TokenTree::Group(group)) = trees.get(if inner { 2 } else { 1 }) else { return };
        let line = line_of(&trees[0]);
        let words = words(group);
        if words == ["ignore"] && !group.stream().to_string().contains('=') {
            self.marks.push((Mark::BareIgnore, line));
        }
        let cfg_test = words.first().is_some_and(|word| word == "cfg")
            && words.iter().any(|word| word == "test")
            && !words.iter().any(|word| word == "not");
        let is_test = cfg_test || name_of(group).is_some_and(|name| name == "test");
        match (is_test, inner) {
            (false, _) => {}
            (true, true) => self.all_test = true,
            (true, false) => match item_end(&trees[2..]) {
                Some(End::Body(body)) => self.test_lines.push(line..=body.span_close().end().line),
                Some(End::Semicolon(last)) => {
                    self.test_lines.push(line..=last);
                    self.test_modules.extend(module_name(&trees[2..]));
                }
                None => {}
            },
        }
    }

    fn method(&mut self, trees: &[TokenTree]) {
        if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(arguments))) = (trees.get(1), trees.get(2))
            && name == "unwrap"
            && arguments.stream().is_empty()
        {
            self.marks.push((Mark::Unwrap, line_of(&trees[1])));
        }
    }
}

/// How an item ends.
enum End<'a> {
    Body(&'a Group),
    Semicolon(usize),
}

/// The end of the item that begins here: its first brace group, or the semicolon before one.
fn item_end(trees: &[TokenTree]) -> Option<End<'_>> {
    trees.iter().find_map(|tree| match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(End::Body(group)),
        TokenTree::Punct(punct) if punct.as_char() == ';' => Some(End::Semicolon(line_of(tree))),
        TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => None,
    })
}

/// The `name` of a `mod name;` that begins here, after visibility and further attributes.
fn module_name(trees: &[TokenTree]) -> Option<String> {
    let at = trees.iter().position(|tree| matches!(tree, TokenTree::Ident(word) if word == "mod"))?;
    let end = trees.iter().position(|tree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ';'))?;
    (at < end).then(|| trees[at + 1].to_string())
}

/// The tree after `::`, if a `::` is here.
fn after_colons(trees: &[TokenTree]) -> Option<&TokenTree> {
    let (TokenTree::Punct(first), TokenTree::Punct(second)) = (trees.first()?, trees.get(1)?) else { return None };
    let colons = first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':';
    if colons { trees.get(2) } else { None }
}

fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// Every identifier in a group, at any depth.
fn words(group: &Group) -> Vec<String> {
    let mut words = Vec::new();
    for tree in inside(group) {
        match &tree {
            TokenTree::Ident(ident) => words.push(ident.to_string()),
            TokenTree::Group(nested) => words.extend(self::words(nested)),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    words
}

/// Last segment of an attribute's own path: `test` of `#[tokio::test(flavor = "…")]`.
fn name_of(attribute: &Group) -> Option<String> {
    let idents = attribute.stream().into_iter().take_while(|tree| match tree {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == ':',
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    });
    idents.last().map(|tree| tree.to_string())
}

fn line_of(tree: &TokenTree) -> usize {
    tree.span().start().line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let tokens = Tokens::parse(text).expect("the sample is Rust");
        tokens.paths.into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn expands_use_trees_and_sees_into_macros() {
        let seen = paths("use std::{fs, io::{self, Read}}; fn f() { assert!(std::env::var(\"std::net\").is_ok()); }");
        for expected in ["std::fs", "std::io::self", "std::io::Read", "std::env::var"] {
            assert!(seen.iter().any(|path| path == expected), "{expected} is not in {seen:?}");
        }
        assert!(!seen.iter().any(|path| path.contains("net")), "a string counted: {seen:?}");
    }

    #[test]
    fn measures_functions_wherever_they_are() {
        let tokens = Tokens::parse("trait T { fn a(&self);\n fn b() {\n\n} }\nproptest! { fn c() { } }").expect("Rust");
        let seen: Vec<_> = tokens.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(seen, [("b", 2, 3), ("c", 5, 1)]);
    }

    #[test]
    fn knows_what_is_test_code() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n#[cfg(not(test))]\nfn b() {}\n#[cfg(test)]\npub mod sim;\n";
        let tokens = Tokens::parse(text).expect("Rust");
        let test_lines: Vec<usize> = (1..=8).filter(|line| tokens.is_test(*line)).collect();
        assert_eq!(test_lines, [2, 3, 4, 7, 8]);
        assert_eq!(tokens.test_modules, ["sim"]);
        let text = "#[tokio::test(flavor = \"current_thread\")]\nasync fn a() {}\n#[latest]\nfn b() {}";
        let tokens = Tokens::parse(text).expect("Rust");
        assert!(tokens.is_test(2) && !tokens.is_test(4));
    }

    #[test]
    fn text_that_is_not_rust_is_an_error() {
        assert!(Tokens::parse("fn a( {").is_err());
    }
}
