//! The encoding that a document declares in itself: `<meta charset>` and `<?xml encoding?>`.
//!
//! This is the "prescan a byte stream to determine its encoding" algorithm of the HTML standard (section 13.2.3.2), with
//! "get an attribute" and "extracting a character encoding from a meta element", over the first bytes of a body.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

use crate::limits;

/// The declared encoding, if there is one and it is known.
pub(crate) fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let head = &body[..body.len().min(limits::PRESCAN_BYTES)];
    // An XML declaration in UTF-16 without a byte order mark.
    if head.starts_with(b"<\0?\0x\0") {
        return Some(UTF_16LE);
    }
    if head.starts_with(b"\0<\0?\0x") {
        return Some(UTF_16BE);
    }
    meta(head).or_else(|| xml(head))
}

/// Walks over tags and comments to the `meta` elements.
fn meta(head: &[u8]) -> Option<&'static Encoding> {
    let mut at = 0;
    while at < head.len() {
        let rest = &head[at..];
        if rest.starts_with(b"<!--") {
            // The dashes that open it may also close it: <!-->.
            at += 2 + find(&rest[2..], b"-->")? + 3;
        } else if starts_with_word(rest, b"<meta") {
            let mut attributes = Attributes { head, at: at + 5 };
            if let Some(encoding) = meta_element(&mut attributes) {
                return Some(encoding);
            }
            at = attributes.at + 1;
        } else if is_tag(rest) {
            at += rest.iter().position(|&byte| is_space(byte) || byte == b'>')?;
            let mut attributes = Attributes { head, at };
            while attributes.next().is_some() {}
            at = attributes.at + 1;
        } else if matches!(rest, [b'<', b'!' | b'/' | b'?', ..]) {
            at += find(rest, b">")? + 1;
        } else {
            at += 1 + rest[1..].iter().position(|&byte| byte == b'<')?;
        }
    }
    None
}

/// `<a` or `</a`.
fn is_tag(rest: &[u8]) -> bool {
    match rest {
        [b'<', b'/', letter, ..] | [b'<', letter, ..] => letter.is_ascii_alphabetic(),
        _ => false,
    }
}

/// What a meta element declares.
fn meta_element(attributes: &mut Attributes<'_>) -> Option<&'static Encoding> {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let (mut got_pragma, mut need_pragma, mut charset) = (false, None, None);
    while let Some((name, value)) = attributes.next() {
        if seen.contains(&name) {
            continue;
        }
        match name.as_slice() {
            b"http-equiv" => got_pragma |= value == b"content-type",
            b"content" if charset.is_none() => {
                if let Some(found) = in_content(&value) {
                    charset = Some(found);
                    need_pragma = Some(true);
                }
            }
            b"charset" => {
                charset = Some(Encoding::for_label(&value));
                need_pragma = Some(false);
            }
            _ => {}
        }
        seen.push(name);
    }
    if need_pragma? && !got_pragma {
        return None;
    }
    // A document whose bytes could be read up to here is not in UTF-16, whatever it says.
    charset.flatten().map(|encoding| {
        if encoding == UTF_16LE || encoding == UTF_16BE {
            UTF_8
        } else if encoding == X_USER_DEFINED {
            WINDOWS_1252
        } else {
            encoding
        }
    })
}

/// The encoding in `content="text/html; charset=…"`; the inner `None` is a label that is not known.
fn in_content(value: &[u8]) -> Option<Option<&'static Encoding>> {
    let mut rest = value;
    loop {
        // The value is lower case already.
        rest = &rest[find(rest, b"charset")? + 7..];
        let after = trim_start(rest);
        if let [b'=', after @ ..] = after {
            rest = trim_start(after);
            break;
        }
    }
    let label = match rest {
        [quote @ (b'"' | b'\''), rest @ ..] => &rest[..rest.iter().position(|byte| byte == quote)?],
        [] => return None,
        _ => &rest[..rest.iter().position(|&byte| is_space(byte) || byte == b';').unwrap_or(rest.len())],
    };
    Encoding::for_label(label).map(Some)
}

/// "Get an attribute", one after another, up to the end of the tag.
struct Attributes<'a> {
    head: &'a [u8],
    at: usize,
}

impl Attributes<'_> {
    fn peek(&self) -> Option<u8> {
        self.head.get(self.at).copied()
    }

    fn skip_while(&mut self, skip: impl Fn(u8) -> bool) -> Option<u8> {
        while skip(self.peek()?) {
            self.at += 1;
        }
        self.peek()
    }

    /// Name and value in lower case; `None` at the end of the tag, with the position on its `>`, or of the bytes.
    fn next(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.skip_while(|byte| is_space(byte) || byte == b'/')? == b'>' {
            return None;
        }
        let from = self.at;
        // The first byte belongs to the name even if it is an equals sign.
        self.at += 1;
        let end = self.skip_while(|byte| !is_space(byte) && !matches!(byte, b'=' | b'/' | b'>'))?;
        let name = self.head[from..self.at].to_ascii_lowercase();
        if matches!(end, b'/' | b'>') {
            return Some((name, Vec::new()));
        }
        if self.skip_while(is_space)? != b'=' {
            return Some((name, Vec::new()));
        }
        self.at += 1;
        let first = self.skip_while(is_space)?;
        match first {
            b'"' | b'\'' => {
                self.at += 1;
                let from = self.at;
                self.skip_while(|byte| byte != first)?;
                let value = self.head[from..self.at].to_ascii_lowercase();
                self.at += 1;
                Some((name, value))
            }
            b'>' => Some((name, Vec::new())),
            _ => {
                let from = self.at;
                self.skip_while(|byte| !is_space(byte) && byte != b'>')?;
                Some((name, self.head[from..self.at].to_ascii_lowercase()))
            }
        }
    }
}

/// The encoding of an XML declaration, read as ASCII.
fn xml(head: &[u8]) -> Option<&'static Encoding> {
    let declaration = head.strip_prefix(b"<?xml")?;
    let declaration = &declaration[..find(declaration, b">")?];
    let after = trim_start(&declaration[find(declaration, b"encoding")? + 8..]);
    let value = trim_start(after.strip_prefix(b"=")?);
    let (&quote, rest) = value.split_first().filter(|(first, _)| matches!(first, b'"' | b'\''))?;
    let label = &rest[..rest.iter().position(|&byte| byte == quote)?];
    let encoding = Encoding::for_label(label)?;
    Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

fn starts_with_word(rest: &[u8], word: &[u8]) -> bool {
    rest.len() > word.len()
        && rest[..word.len()].eq_ignore_ascii_case(word)
        && (is_space(rest[word.len()]) || rest[word.len()] == b'/')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|&&byte| is_space(byte)).count()..]
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(body: &[u8]) -> Option<&'static str> {
        declared(body).map(Encoding::name)
    }

    #[test]
    fn declarations_are_found() {
        for (body, encoding) in [
            ("<meta charset=utf-8>", "UTF-8"),
            ("<META CHARSET = 'ISO-8859-1' >", "windows-1252"),
            ("<meta/charset=\"Shift_JIS\"/>", "Shift_JIS"),
            ("<!doctype html><html lang=ja><head><title>x</title><meta charset=euc-jp>", "EUC-JP"),
            ("<meta http-equiv=Content-Type content='text/html; charset=windows-1251'>", "windows-1251"),
            ("<meta content='text/html; charset=windows-1251' http-equiv=content-type>", "windows-1251"),
            ("<meta http-equiv=content-type content='charset charset = \"gbk\"'>", "GBK"),
            ("<meta charset=utf-16>", "UTF-8"),
            ("<meta charset=x-user-defined>", "windows-1252"),
            ("<meta name=x><meta charset=koi8-r>", "KOI8-R"),
            ("<!-- <meta charset=gbk> --><meta charset=koi8-r>", "KOI8-R"),
            ("<!--><meta charset=koi8-r>", "KOI8-R"),
            ("<a title='<meta charset=gbk>'><meta charset=koi8-r>", "KOI8-R"),
            ("<meta charset=koi8-r charset=gbk>", "KOI8-R"),
            ("<meta charset=nonsense><meta charset=koi8-r>", "KOI8-R"),
            ("<?php echo ?><meta charset=koi8-r>", "KOI8-R"),
            ("</p x='>'><meta charset=koi8-r>", "KOI8-R"),
            ("<?xml version=\"1.0\" encoding=\"iso-8859-2\"?><a/>", "ISO-8859-2"),
            ("<?xml version='1.0' encoding = 'UTF-16'?><a/>", "UTF-8"),
            ("<\0?\0x\0m\0", "UTF-16LE"),
            ("\0<\0?\0x\0m", "UTF-16BE"),
        ] {
            assert_eq!(name(body.as_bytes()), Some(encoding), "{body}");
        }
    }

    #[test]
    fn what_only_looks_like_a_declaration_is_not_one() {
        for body in [
            "",
            "<",
            "<meta",
            "<meta ",
            "<meta charset",
            "<meta charset=",
            "<meta charset='utf-8",
            "<metacharset=utf-8>",
            "<meta charset=nonsense>",
            "<meta content='text/html; charset=koi8-r'>",
            "<meta http-equiv=refresh content='0; charset=koi8-r'>",
            "<meta http-equiv=content-type content='text/html; charset=\"koi8-r'>",
            "<!-- <meta charset=koi8-r>",
            "charset=koi8-r",
            "<?xml version='1.0'?><a encoding='koi8-r'/>",
            "<?xml encoding=koi8-r?>",
        ] {
            assert_eq!(name(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn only_the_first_bytes_count() {
        let mut body = vec![b' '; limits::PRESCAN_BYTES];
        body.extend_from_slice(b"<meta charset=koi8-r>");
        assert_eq!(name(&body), None);
        assert_eq!(name(&body[1000..]), Some("KOI8-R"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // Every prefix and every single byte changed of a body that visits all branches.
        let body =
            b"<?xml encoding='x'?><!-- x --><a b='c' d=e/><meta http-equiv=content-type content=\"a;charset='gbk'\"/>";
        for end in 0..body.len() {
            declared(&body[..end]);
            for byte in [0, b'<', b'>', b'\'', b'"', b'=', b'/', b' ', b'!', b'-', 0xff] {
                let mut changed = body.to_vec();
                changed[end] = byte;
                declared(&changed);
            }
        }
    }
}
