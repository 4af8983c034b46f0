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
    const NAMES: [&[u8]; 3] = [b"html", b"body", b"frameset"];
    memchr::memchr_iter(b'<', &page[from..])
        .map(|at| from + at)
        .filter(|&at| {
            let rest = &page[at + 1..];
            // The first letter decides nearly always.
            matches!(rest.first(), Some(b'h' | b'H' | b'b' | b'B' | b'f' | b'F'))
                && NAMES.iter().any(|name| rest.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name)))
        })
        .collect()
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
}
