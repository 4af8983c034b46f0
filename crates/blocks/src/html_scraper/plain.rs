//! Makes tokens of the plain parts of a page, which are most of it: text without references, and tags that are written as
//! everybody writes them.
//!
//! html5ever's tokenizer goes character by character through the states of the HTML standard, since anything may come. In
//! the *data state* (13.2.5.1), between two tokens, the next one can mostly be seen at a glance, and is taken from here at
//! a third of the cost. Whatever is not plain (a character reference, a comment, `<script>` and its kin, an
//! attribute without quotes that holds one, …) is left to the tokenizer: `None` is always a right answer. That both together make of a
//! page what the tokenizer alone makes of it is proven by `differential.rs`.

use html5ever::interface::Attribute;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Tag, TagKind, Token};
use html5ever::{LocalName, QualName, local_name, ns};
use memchr::{memchr, memchr3};

use crate::limits::TAG_NAMES_KEPT;

/// Finds plain tokens.
#[derive(Debug)]
pub(super) struct PlainTokens {
    /// Whether tags are to have all their attributes, or only those the tree builder looks at.
    attributes: bool,
    /// Names of tags seen lately, each at a place that follows from its spelling.
    names: Vec<Option<Name>>,
}

/// The name of a tag.
#[derive(Debug, Clone)]
struct Name {
    name: LocalName,
    role: Role,
}

/// What a tag's name means for those who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// What follows its tag may be no data, or the tree builder answers its tag with something else than "go on".
    Tokenizer,
    /// The tree builder looks at its attributes.
    AttributesMatter,
    /// No more than a name.
    Plain,
}

impl Role {
    fn of(name: &LocalName) -> Self {
        match *name {
            // "Parsing main inbody" and "inhead" of the standard (13.2.6.4.7, 13.2.6.4.4), where they switch the tokenizer.
            local_name!("iframe")
            | local_name!("meta")
            | local_name!("noembed")
            | local_name!("noframes")
            | local_name!("noscript")
            | local_name!("plaintext")
            | local_name!("script")
            | local_name!("style")
            | local_name!("textarea")
            | local_name!("title")
            | local_name!("xmp") => Self::Tokenizer,
            // The formatting elements, of which three alike are enough; those that depend on an attribute; the two
            // whose attributes are merged.
            local_name!("a")
            | local_name!("annotation-xml")
            | local_name!("b")
            | local_name!("big")
            | local_name!("body")
            | local_name!("code")
            | local_name!("em")
            | local_name!("font")
            | local_name!("html")
            | local_name!("i")
            | local_name!("input")
            | local_name!("nobr")
            | local_name!("s")
            | local_name!("small")
            | local_name!("strike")
            | local_name!("strong")
            | local_name!("template")
            | local_name!("tt")
            | local_name!("u") => Self::AttributesMatter,
            _ => Self::Plain,
        }
    }
}

impl PlainTokens {
    /// Finds tokens with all their attributes, or, for who looks at none, with those that shape the tree.
    pub(super) fn new(attributes: bool) -> Self {
        Self { attributes, names: vec![None; TAG_NAMES_KEPT] }
    }

    /// The token that begins at byte `at` of `text`, and where it ends. The tokenizer is in the data state there. `None`: it is the tokenizer's.
    pub(super) fn token(&mut self, text: &StrTendril, at: usize) -> Option<(Token, usize)> {
        match text.as_bytes()[at..] {
            [b'<', b'/', first, ..] if first.is_ascii_alphabetic() => self.end_tag(text, at),
            [b'<', first, ..] if first.is_ascii_alphabetic() => self.start_tag(text, at),
            [b'<' | b'&', ..] => None,
            // Line breaks become one character (13.2.3.5). Behind the last one of `text` may come its other half.
            [b'\r', b'\n', ..] => Some((Token::CharacterTokens("\n".into()), at + 2)),
            [b'\r', _, ..] => Some((Token::CharacterTokens("\n".into()), at + 1)),
            [b'\r'] => None,
            _ => characters(text, at),
        }
    }

    fn end_tag(&mut self, text: &StrTendril, at: usize) -> Option<(Token, usize)> {
        let (name, mut end) = self.name(text, at + 2)?;
        let bytes = text.as_bytes();
        while is_space(*bytes.get(end)?) {
            end += 1;
        }
        if bytes[end] != b'>' {
            return None;
        }
        Some((tag(TagKind::EndTag, name.name, false, Vec::new()), end + 1))
    }

    fn start_tag(&mut self, text: &StrTendril, at: usize) -> Option<(Token, usize)> {
        let (name, mut end) = self.name(text, at + 1)?;
        let keep = self.attributes || name.role == Role::AttributesMatter;
        let bytes = text.as_bytes();
        let mut attributes = Vec::new();
        loop {
            let before = end;
            while is_space(*bytes.get(end)?) {
                end += 1;
            }
            match bytes[end..] {
                [b'>', ..] => return Some((tag(TagKind::StartTag, name.name, false, attributes), end + 1)),
                [b'/', b'>', ..] => return Some((tag(TagKind::StartTag, name.name, true, attributes), end + 2)),
                // Attributes are kept apart by space.
                _ if before == end => return None,
                _ => {}
            }
            let written = Written::read(bytes, end)?;
            if keep {
                let name = self.attribute_name(&text[written.name.0..written.name.1])?;
                // The first of a name counts, and the tag is marked: that is for the tokenizer.
                if attributes.iter().any(|other: &Attribute| other.name.local == name) {
                    return None;
                }
                let (from, to) = written.value;
                // Both ends lie beside ASCII characters.
                let value = text.subtendril(from as u32, (to - from) as u32);
                attributes.push(Attribute { name: QualName::new(None, ns!(), name), value });
            }
            end = written.end;
        }
    }

    /// The name that begins at byte `at`, and where it ends, if tags of that name can be read here.
    fn name(&mut self, text: &StrTendril, at: usize) -> Option<(Name, usize)> {
        let bytes = text.as_bytes();
        let length = bytes[at..].iter().position(|&byte| !byte.is_ascii_alphanumeric() && byte != b'-')?;
        let name = self.known(&text[at..at + length])?;
        // Anything else behind a name belongs to it.
        let ends = is_space(bytes[at + length]) || matches!(bytes[at + length], b'>' | b'/');
        (ends && name.role != Role::Tokenizer).then(|| (name.clone(), at + length))
    }

    /// The name in lower case, as it was kept, or made anew.
    fn known(&mut self, written: &str) -> Option<&Name> {
        let bytes = written.as_bytes();
        let spelling = usize::from(bytes[0]) * 31 + usize::from(bytes[bytes.len() - 1]) * 7 + bytes.len();
        let place = &mut self.names[spelling % TAG_NAMES_KEPT];
        if place.as_ref().is_none_or(|known| *known.name != *written) {
            let name = LocalName::from(written.to_ascii_lowercase());
            *place = Some(Name { role: Role::of(&name), name });
        }
        place.as_ref()
    }

    fn attribute_name(&mut self, written: &str) -> Option<LocalName> {
        self.known(written).map(|known| known.name.clone())
    }
}

/// Text up to the next character that is more than that.
fn characters(text: &StrTendril, at: usize) -> Option<(Token, usize)> {
    let rest = &text.as_bytes()[at..];
    let length = memchr3(b'<', b'&', b'\r', rest).unwrap_or(rest.len());
    // The null character is the tokenizer's, and nothing before it: at the beginning of what it is fed a byte order mark
    // would be dropped.
    let length = memchr(0, &rest[..length]).unwrap_or(length);
    // Both ends lie beside ASCII characters, or are those of `text`, which is no longer than 4 GiB.
    (length > 0).then(|| (Token::CharacterTokens(text.subtendril(at as u32, length as u32)), at + length))
}

fn tag(kind: TagKind, name: LocalName, self_closing: bool, attrs: Vec<Attribute>) -> Token {
    Token::TagToken(Tag { kind, name, self_closing, attrs, had_duplicate_attributes: false })
}

/// Where an attribute stands: its name, its value without quotes, and its end.
struct Written {
    name: (usize, usize),
    value: (usize, usize),
    end: usize,
}

impl Written {
    /// The attribute that begins at byte `at`, if it is plain.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.' | b'@');
        let name_end = at + bytes[at..].iter().position(|&byte| !is_name(byte))?;
        if name_end == at {
            return None;
        }
        let name = (at, name_end);
        if bytes[name_end] == b'=' {
            let (value, end) = value(bytes, name_end + 1)?;
            return Some(Self { name, value, end });
        }
        // Without a value, unless that comes behind some space.
        let next = bytes[name_end..].iter().position(|&byte| !is_space(byte))?;
        match bytes[name_end + next] {
            b'>' | b'/' => {}
            other if next > 0 && is_name(other) => {}
            _ => return None,
        }
        Some(Self { name, value: (name_end, name_end), end: name_end })
    }
}

/// The value of an attribute that begins at byte `at`, without its quotes, and where what belongs to it ends.
fn value(bytes: &[u8], at: usize) -> Option<((usize, usize), usize)> {
    let quote = *bytes.get(at)?;
    if matches!(quote, b'"' | b'\'') {
        let from = at + 1;
        let to = from + bytes[from..].iter().position(|&byte| byte == quote || is_special(byte))?;
        return (bytes[to] == quote).then_some(((from, to), to + 1));
    }
    let ends =
        |byte: u8| is_space(byte) || is_special(byte) || matches!(byte, b'>' | b'"' | b'\'' | b'<' | b'=' | b'`');
    let to = at + bytes[at..].iter().position(|&byte| ends(byte))?;
    (to > at && (is_space(bytes[to]) || bytes[to] == b'>')).then_some(((at, to), to))
}

/// What stands for something else inside a value.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'&' | b'\r' | 0)
}

/// White space inside a tag. The carriage return is one once it has become a line feed.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is to panic")]

    use super::*;

    fn token(text: &str) -> Option<(Token, usize)> {
        PlainTokens::new(true).token(&StrTendril::from_slice(text), 0)
    }

    /// The tag at the beginning of `text`: its name, its attributes, whether it closes itself, and what follows it.
    fn tag_of(text: &str) -> (String, Vec<(String, String)>, bool, &str) {
        let (token, end) = token(text).unwrap();
        let Token::TagToken(tag) = token else { panic!("{token:?}") };
        let attributes = tag.attrs.iter().map(|one| (one.name.local.to_string(), one.value.to_string())).collect();
        (tag.name.to_string(), attributes, tag.self_closing, &text[end..])
    }

    #[test]
    fn a_tag_as_everybody_writes_it_is_plain() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(tag_of("<P>x"), ("p".into(), vec![], false, "x"));
        assert_eq!(tag_of("<br/>x"), ("br".into(), vec![], true, "x"));
        assert_eq!(tag_of("</h1\n>x"), ("h1".into(), vec![], false, "x"));
        assert_eq!(
            tag_of("<img src=/a/b?c alt=\"a > b\" DATA-X='<é>' hidden />x"),
            (
                "img".into(),
                vec![pair("src", "/a/b?c"), pair("alt", "a > b"), pair("data-x", "<é>"), pair("hidden", "")],
                true,
                "x"
            )
        );
    }

    #[test]
    fn attributes_nobody_asks_for_are_not_made_unless_the_tree_depends_on_them() {
        let mut plain = PlainTokens::new(false);
        let mut attributes = |text: &str| match plain.token(&StrTendril::from_slice(text), 0) {
            Some((Token::TagToken(tag), _)) => tag.attrs.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(attributes("<div a=1 b=2>"), 0);
        assert_eq!(attributes("<input type=hidden name=a>"), 2);
    }

    #[test]
    fn text_ends_before_whatever_may_be_more() {
        for (text, length) in [("a\u{feff}b<i>", 5), ("a &amp;", 2), ("a\0", 1), ("é\r\n", 2), ("all of it", 9)] {
            assert_eq!(token(text), Some((Token::CharacterTokens(text[..length].into()), length)), "{text:?}");
        }
        assert_eq!(token("\r\nx"), Some((Token::CharacterTokens("\n".into()), 2)));
        assert_eq!(token("\rx"), Some((Token::CharacterTokens("\n".into()), 1)));
    }

    #[test]
    fn what_is_not_plain_is_the_tokenizers() {
        for text in [
            "&amp;",
            "\0",
            "\r",
            "<!-- -->",
            "<!doctype html>",
            "<?xml?>",
            "< p>",
            "<é>",
            "</>",
            "</ p>",
            "<p",
            "<p ",
            "</p",
            "<a:b>",
            "<p a=\"&amp;\">",
            "<p a=&amp;>",
            "<p a='\r'>",
            "<p a=\"x>",
            "<p a=>",
            "<p a =1>",
            "<p a= 1>",
            "<p a=1\"2>",
            "<p \"a\">",
            "<p a=\"1\"b=\"2\">",
            "<p / a>",
            "<p a=1 A=2>",
            "</p a=1>",
            "<p é=1>",
            "<title>",
            "</title>",
            "<SCRIPT>",
            "<meta charset=x>",
        ] {
            assert_eq!(token(text), None, "{text:?}");
        }
    }

    /// What html5ever says of these tags would be lost on who reads plain ones.
    #[test]
    fn no_plain_tag_takes_the_tokenizer_out_of_the_data_state() {
        use html5ever::tokenizer::{TokenSink as _, TokenSinkResult};
        use html5ever::tree_builder::TreeBuilder;
        use scraper::{Html, HtmlTreeSink};

        for before in ["", "<body>", "<svg>", "<table>", "<frameset>", "<template>", "<select>"] {
            for name in ALL_NAMES.split_whitespace() {
                let builder = TreeBuilder::new(HtmlTreeSink::new(Html::new_document()), Default::default());
                for text in [before, &format!("<{name}>"), &format!("</{name}>")] {
                    if let Some((plain, _)) = (!text.is_empty()).then(|| token(text)).flatten() {
                        let result = builder.process_token(plain, 1);
                        assert!(matches!(result, TokenSinkResult::Continue), "{before} {name}");
                    }
                }
            }
        }
    }

    const ALL_NAMES: &str = "a abbr address applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote \
        body br button canvas caption center cite code col colgroup command data datalist dd del details dfn dialog dir div dl dt em \
        embed fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe image \
        img input ins isindex kbd keygen label legend li link listing main map mark marquee math menu menuitem meta meter mi mo mn ms \
        mtext multicol nav nextid nobr noembed noframes noscript object ol optgroup option output p param picture plaintext portal \
        pre progress q rb rp rt rtc ruby s samp script search section select slot small source spacer span strike strong style sub \
        summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr xmp \
        annotation-xml desc foreignobject";
}
