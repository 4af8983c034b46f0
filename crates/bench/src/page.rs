//! The pages that are scraped: deterministic, made in memory, shaped like a shop's front page.
//!
//! Shape: a head and a navigation bar; five lead departments, each a section with an `h1`, offers and an `h2`; then
//! shelves, each a section with an `h2` (every fourth one an `h1`) over its offers; a footer that fills the page to its
//! exact size. An offer is an `article` with links, an image, an `h3`, a paragraph, attributes and entities; headings
//! hold links, emphasis and entities too. Offers in the lead departments are as many as are needed to put the last
//! heading that a limit of five asks for (the fifth `h2`) near a chosen offset: [`Page::needed_bytes`] tells where it
//! ended up, because an engine that stops parsing there does only that part of the work.

/// How many `h1` and `h2` the limited workloads ask for.
pub const HEADINGS_LIMIT: usize = 5;

/// The pages by name and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// 16 KiB, the needed headings in the first eighth, as front pages are.
    Small,
    /// 1 MiB, the needed headings in the first eighth.
    Big,
    /// 16 KiB, the needed headings spread over nearly all of it: stopping early gains nothing.
    Late,
}

impl PageKind {
    /// Every page there is.
    pub const ALL: [Self; 3] = [Self::Small, Self::Big, Self::Late];

    /// Path on the page server.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Small => "/page-16k",
            Self::Big => "/page-1m",
            Self::Late => "/page-late",
        }
    }

    /// Size in bytes, exactly.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Small | Self::Late => 16 * 1024,
            Self::Big => 1024 * 1024,
        }
    }

    /// Where the last needed heading should end, in bytes; the page comes within one offer of it.
    fn lead_bytes(self) -> usize {
        match self {
            Self::Small | Self::Big => self.bytes() / 8,
            Self::Late => self.bytes() - 1536,
        }
    }
}

/// A page and what is known about it because it was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The document, ASCII.
    pub html: String,
    /// Text of every `h1` in document order, entities decoded, trimmed.
    pub h1: Vec<String>,
    /// The same for `h2`.
    pub h2: Vec<String>,
    /// Offset in bytes at which the fifth `h1` and the fifth `h2` are both complete.
    pub needed_bytes: usize,
}

impl Page {
    /// Makes a page; the same kind gives the same bytes always.
    #[must_use]
    pub fn generate(kind: PageKind) -> Self {
        let mut writer = Writer::new();
        writer.head();
        for section in 0..HEADINGS_LIMIT {
            writer.lead_section(kind.lead_bytes() * (section + 1) / HEADINGS_LIMIT);
        }
        let needed_bytes = writer.html.len();
        writer.html.push_str("</section>\n");
        writer.shelves(kind.bytes());
        writer.foot(kind.bytes());
        let Writer { html, h1, h2, .. } = writer;
        Self { html, h1, h2, needed_bytes }
    }
}

const NOUNS: [(&str, &str); 12] = [
    ("Lamps", "Lamps"),
    ("Caf&eacute; chairs", "Café chairs"),
    ("Pots &amp; pans", "Pots & pans"),
    ("Garden tools", "Garden tools"),
    ("Books", "Books"),
    ("Salt &amp; pepper mills", "Salt & pepper mills"),
    ("Cr&ecirc;pe pans", "Crêpe pans"),
    ("Blankets", "Blankets"),
    ("Clocks", "Clocks"),
    ("Bicycles", "Bicycles"),
    ("Kids&#39; shoes", "Kids' shoes"),
    ("Maps &#x2014; new", "Maps — new"),
];

const SENTENCES: [&str; 8] = [
    "Made to last and easy to mend, with spare parts for ten years.",
    "Oiled oak &amp; brushed steel; arrives flat, stands in five minutes.",
    "Our <em>customers'</em> favourite since 1987, now in four colours.",
    "Light enough to carry, <a href=\"/guide\">strong enough</a> for every day.",
    "Free delivery over &euro;50&nbsp;&ndash; returns within 30 days.",
    "Rated 4.7 of 5 by those who bought it; <b>only a few left</b>.",
    "Sizes S&ndash;XL, see the <a href=\"/sizes?from=card&amp;lang=en\">table</a>.",
    "Washable at 40&deg;C, dries overnight, needs no ironing.",
];

/// Builds one page.
struct Writer {
    html: String,
    h1: Vec<String>,
    h2: Vec<String>,
    random: u64,
}

impl Writer {
    fn new() -> Self {
        Self { html: String::new(), h1: Vec::new(), h2: Vec::new(), random: 0x9E37_79B9_7F4A_7C15 }
    }

    /// The next number below `bound` of a xorshift sequence.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).expect("31 bits") % bound
    }

    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.html.push_str(part);
        }
    }

    fn head(&mut self) {
        self.push(&[
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Harbour &amp; Hill</title>\n",
            "<link rel=\"stylesheet\" href=\"/shop.css\">\n</head>\n<body class=\"home\">\n<header id=\"top\"><nav>",
            "<a href=\"/\">Home</a> <a href=\"/new\">New</a> <a href=\"/cart?n=0&amp;t=1\">Cart</a></nav></header>\n<main>\n",
        ]);
    }

    /// A section of the lead, left open: its `h1`, offers until its `h2` will end near `end`, the `h2`.
    fn lead_section(&mut self, end: usize) {
        if !self.h1.is_empty() {
            self.html.push_str("</section>\n");
        }
        let id = self.h1.len().to_string();
        self.push(&["<section class=\"lead\" id=\"d", &id, "\">\n"]);
        self.heading("h1");
        let heading_bytes = 110;
        while self.html.len() + heading_bytes < end {
            let room = end - self.html.len() - heading_bytes;
            if room >= 520 {
                self.offer();
            } else if room >= 60 {
                let sentence = SENTENCES[self.below(SENTENCES.len())];
                self.push(&["<p>", sentence, "</p>\n"]);
            } else {
                break;
            }
        }
        self.heading("h2");
    }

    /// Sections of offers until the page is nearly full.
    fn shelves(&mut self, page_bytes: usize) {
        let shelf_bytes_max = 3 * 560 + 200;
        let mut shelf = 0;
        while self.html.len() + shelf_bytes_max + 300 < page_bytes {
            self.html.push_str("<section class=\"shelf\">\n");
            self.heading(if shelf % 4 == 3 { "h1" } else { "h2" });
            for _ in 0..3 {
                self.offer();
            }
            self.html.push_str("</section>\n");
            shelf += 1;
        }
    }

    /// Ends the page at exactly `page_bytes`.
    fn foot(&mut self, page_bytes: usize) {
        let end = "</p></footer>\n</body>\n</html>\n";
        self.html.push_str("</main>\n<footer><p>");
        while self.html.len() + end.len() < page_bytes {
            let room = page_bytes - end.len() - self.html.len();
            let filler = "Opening hours: Monday to Saturday, ten to seven. ";
            self.html.push_str(&filler[..room.min(filler.len())]);
        }
        self.html.push_str(end);
    }

    fn heading(&mut self, tag: &str) {
        let (html, text) = NOUNS[self.below(NOUNS.len())];
        let texts = if tag == "h1" { &mut self.h1 } else { &mut self.h2 };
        let number = texts.len() + 1;
        texts.push(if tag == "h1" { format!("{text} {number}") } else { format!("{text}, offer {number}") });
        let line = if tag == "h1" {
            format!("<h1 class=\"title\">{html} <em>{number}</em></h1>\n")
        } else {
            format!("<h2>\n<a href=\"/o/{number}?from=top&amp;p=1\">{html}</a>, offer {number}</h2>\n")
        };
        self.html.push_str(&line);
    }

    fn offer(&mut self) {
        let (name, _) = NOUNS[self.below(NOUNS.len())];
        let sentence = SENTENCES[self.below(SENTENCES.len())];
        let second = SENTENCES[self.below(SENTENCES.len())];
        let (sku, euros, cents) = (self.below(90_000) + 10_000, self.below(190) + 9, self.below(10));
        let offer = format!(
            "<article class=\"card\" data-sku=\"{sku}\">\n<a href=\"/p/{sku}\"><img src=\"/i/{sku}.webp\" alt=\"{name}\" \
             width=\"240\" height=\"180\" loading=\"lazy\"></a>\n<h3>{name}</h3>\n<p>{sentence} {second}</p>\n\
             <ul class=\"tags\"><li>new</li><li>in stock</li></ul>\n<p class=\"price\"><s>&euro;&nbsp;{was}.00</s> \
             <strong>&euro;&nbsp;{euros}.{cents}0</strong></p>\n</article>\n",
            was = euros + 7,
        );
        self.html.push_str(&offer);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use scraper::{Html, Selector};

    use super::*;

    fn texts(html: &str, selector: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        Html::parse_document(html).select(&selector).map(|h| h.text().collect::<String>().trim().to_owned()).collect()
    }

    #[test]
    fn a_full_parse_finds_the_headings_the_page_claims() {
        for kind in PageKind::ALL {
            let page = Page::generate(kind);
            assert_eq!(page.html.len(), kind.bytes(), "{kind:?}");
            assert_eq!(texts(&page.html, "h1"), page.h1, "{kind:?}");
            assert_eq!(texts(&page.html, "h2"), page.h2, "{kind:?}");
            assert_eq!(page, Page::generate(kind));
        }
    }

    #[test]
    fn the_needed_headings_lie_before_the_offset_and_not_much_earlier() {
        for kind in PageKind::ALL {
            let page = Page::generate(kind);
            let start = &page.html[..page.needed_bytes];
            assert_eq!(
                (texts(start, "h1").len(), texts(start, "h2").len()),
                (HEADINGS_LIMIT, HEADINGS_LIMIT),
                "{kind:?}"
            );
            assert!(start.trim_end().ends_with("</h2>"));
            assert!(page.needed_bytes.abs_diff(kind.lead_bytes()) < 560, "{kind:?}: {}", page.needed_bytes);
        }
    }

    #[test]
    fn the_small_pages_hold_more_headings_than_the_limit() {
        let page = Page::generate(PageKind::Small);
        assert!(page.h1.len() > HEADINGS_LIMIT && page.h2.len() > HEADINGS_LIMIT);
    }
}
