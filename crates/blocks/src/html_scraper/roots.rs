//! Tags that could still come and change what lies before them: a second `<html>` or `<body>` adds attributes to the
//! first, a `<frameset>` may replace the body.
//!
//! A start tag of such a name needs these letters in a row in the text of the page; comments and scripts may hold them
//! too, so there may be more such places than tags, never fewer.

/// Where the names of such tags stand in a page; looked for once, when it first matters.
#[derive(Debug, Default)]
pub(super) struct Roots {
    places: Option<Vec<usize>>,
}

impl Roots {
    /// How many such places there are at or after `from`. Later calls must not pass a smaller `from`.
    pub(super) fn after(&mut self, page: &str, from: usize) -> usize {
        let places = self.places.get_or_insert_with(|| places(page.as_bytes(), from));
        places.len() - places.partition_point(|&place| place < from)
    }
}

fn places(page: &[u8], from: usize) -> Vec<usize> {
    let mut places = Vec::new();
    let mut start = from;
    while start < page.len() {
        let end = page.len().min(start + BLOCK_BYTES);
        // Every byte of the block and the two after it.
        if may_hold_name(&page[start..page.len().min(end + 2)]) {
            places.extend((start..end).filter(|&at| is_name(&page[at..])));
        }
        start = end;
    }
    places
}

const BLOCK_BYTES: usize = 64;

/// Whether `<ht`, `<bo` or `<fr` is in there. Written without branches, so that the compiler looks at many bytes at
/// once: pages are full of `<`, and this has to be much faster than parsing them.
fn may_hold_name(block: &[u8]) -> bool {
    let lower = |byte: u8| byte | 0x20;
    let triples = block.iter().zip(block.iter().skip(1)).zip(block.iter().skip(2));
    triples.fold(false, |found, ((&open, &first), &second)| {
        let (first, second) = (lower(first), lower(second));
        let pair = (first == b'h') & (second == b't')
            | (first == b'b') & (second == b'o')
            | (first == b'f') & (second == b'r');
        found | (open == b'<') & pair
    })
}

fn is_name(rest: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"<html", b"<body", b"<frameset"];
    NAMES.iter().any(|name| rest.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_any_case_and_counted_from_a_position() {
        let page = "<!doctype html><HTML><h1>b</h1><bOdY><b><!--<html--></html><FrameSet";
        let mut roots = Roots::default();
        assert_eq!(roots.after(page, 0), 4);
        assert_eq!(roots.after(page, 16), 3);
        assert_eq!(roots.after(page, 32), 2);
        assert_eq!(roots.after(page, page.len()), 0);
    }

    #[test]
    fn places_are_found_wherever_they_lie() {
        for before in 0..200 {
            let page =
                format!("{}<Body class=x>{}", "<b".repeat(before / 2) + &"x".repeat(before % 2), "<br>".repeat(40));
            assert_eq!(Roots::default().after(&page, 0), 1, "{before}");
            assert_eq!(Roots::default().after(&page, before), 1, "{before}");
            assert_eq!(Roots::default().after(&page, before + 1), 0, "{before}");
        }
        assert_eq!(Roots::default().after("<htm", 0), 0);
        assert_eq!(Roots::default().after(&format!("{}<html", "x".repeat(59)), 0), 1);
    }
}
