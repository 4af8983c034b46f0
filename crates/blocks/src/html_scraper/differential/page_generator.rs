//! Random pages, from nearly well formed to thoroughly broken.

use std::fmt::Write as _;

/// A small generator of random numbers (SplitMix64): the same seed, the same page, on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const PLAIN: &[&str] =
    &["div", "p", "h1", "h2", "ul", "li", "span", "section", "td", "dl", "dd", "dt", "pre", "center"];
/// After these a frameset may still replace the body.
const HARMLESS: &[&str] = &["div", "p", "h1", "h2", "ul", "span", "section"];
const FORMATTING: &[&str] = &["a", "b", "i", "font", "nobr", "em", "code", "s", "u"];
const VOID: &[&str] = &["br", "img", "input", "hr", "meta", "link", "col", "wbr", "base"];
const TABLE: &[&str] = &["table", "tr", "td", "th", "tbody", "thead", "tfoot", "caption", "colgroup", "col"];
const ODD: &[&str] = &[
    "template",
    "select",
    "option",
    "optgroup",
    "svg",
    "math",
    "mi",
    "mtext",
    "desc",
    "foreignObject",
    "title",
    "button",
    "form",
    "marquee",
    "object",
    "applet",
    "ruby",
    "rt",
    "rp",
    "rb",
    "rtc",
    "image",
    "listing",
    "address",
    "annotation-xml",
    "fieldset",
    "details",
    "summary",
    "body",
    "html",
    "head",
    "frameset",
    "frame",
    "xyz",
    "h1x",
    "selectedcontent",
];
const RAW: &[&str] = &["script", "style", "title", "textarea", "noscript", "xmp", "iframe", "noembed", "noframes"];
const TEXTS: &[&str] = &[
    "word",
    " ",
    "\n",
    "\r\n",
    "\r",
    "a &amp; b",
    "&lt;h1&gt;",
    "&notit;",
    "&#x41;",
    "&#0;",
    "&euro",
    "é€😀",
    "\u{feff}",
    "\0",
    "  two  words ",
    "&",
    "&am",
    "1 < 2",
    "\t\x0c",
    "&nbsp;",
    "\u{a0}x",
];
const ODDITIES: &[&str] = &[
    "<!-- c -->",
    "<!--<h1>x</h1>-->",
    "<!-->",
    "<!doctype html>",
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 3.2//EN\">",
    "<![CDATA[x<h1>y]]>",
    "<?xml version=\"1\"?>",
    "</>",
    "<>",
    "</ x>",
    "</br>",
    "</p>",
    "<body class=late id=\"m\">",
    "<html class=late lang=de>",
    "<frameset><frame></frameset>",
    "<!--<body>-->",
    "<BODY ID=m>",
    "</body>",
    "</html>",
    "</head>",
    "<head>",
    "<a href=1><div><a href=2>",
    "<b><p></b>",
    "<table><b><tr>x<td>",
    "<p><table><h1>f</h1></table>",
    "<svg><desc><h1>",
    "<math><annotation-xml encoding=text/html><p>",
    "</form><form>",
    "<select><h1>",
    "</template>",
];

/// What reaches back to the beginning of a page.
const LATE: &[&str] = &["<body class=late id=m>", "<html class=late lang=de>", "<frameset><frame></frameset>"];

/// One page. A calm one is nearly well formed, so that scraping it can stop early; a wild one is anything.
pub(super) struct Generator {
    random: Random,
    calm: bool,
    wordless: bool,
    page: String,
}

impl Generator {
    pub(super) fn page(seed: u64) -> String {
        let mut random = Random(seed);
        let calm = !random.one_in(3);
        // A frameset replaces the body only as long as that holds no text and little else.
        let wordless = random.one_in(6);
        let mut generator = Self { random, calm, wordless, page: String::new() };
        if generator.random.one_in(2) {
            generator.page.push_str("<!doctype html>");
        }
        if generator.random.one_in(2) {
            generator.page.push_str("<html><head><title>T &amp; t</title><meta charset=utf-8></head>");
            if !wordless {
                generator.page.push_str("<body>");
            }
        }
        let pieces = 5 + generator.random.below(50);
        // What disturbs most is a calm page that turns wild after its rules are satisfied.
        let turn = if generator.random.one_in(2) { generator.random.below(pieces) } else { pieces };
        for piece in 0..pieces {
            if piece == turn {
                generator.calm = false;
                let late = if wordless { "<frameset><frame></frameset>" } else { generator.random.pick(LATE) };
                generator.page.push_str(late);
            }
            generator.piece(0);
        }
        if generator.random.one_in(60) {
            generator.page.push_str("<plaintext>");
            generator.piece(0);
        }
        if generator.random.one_in(4) {
            generator.damage();
        }
        generator.page
    }

    fn piece(&mut self, depth: usize) {
        let wildness = if self.calm { 150 } else { 6 };
        if self.random.one_in(wildness) {
            return match self.random.below(5) {
                0 => self.page.push_str(self.random.pick(ODDITIES)),
                1 => {
                    let name = self.any_name();
                    self.start(name);
                }
                2 => {
                    let name = self.any_name();
                    let _ = write!(self.page, "</{name}>");
                }
                3 => self.raw(),
                _ => self.table(depth),
            };
        }
        if self.wordless && self.calm {
            return self.element(HARMLESS, depth);
        }
        match self.random.below(12) {
            0..=3 => self.page.push_str(self.random.pick(TEXTS)),
            4 => {
                let name = self.random.pick(VOID);
                self.start(name);
            }
            5 => self.element(FORMATTING, depth),
            6 if self.random.one_in(4) => self.table(depth),
            7 if self.random.one_in(4) => self.raw(),
            8 if self.random.one_in(4) => self.element(ODD, depth),
            _ => self.element(PLAIN, depth),
        }
    }

    fn any_name(&mut self) -> &'static str {
        let list = [PLAIN, FORMATTING, VOID, TABLE, ODD, RAW][self.random.below(6)];
        self.random.pick(list)
    }

    fn start(&mut self, name: &str) {
        self.page.push('<');
        self.page.push_str(name);
        for _ in 0..self.random.below(3) {
            let attribute = self.random.pick(&[
                "class=x",
                "class='y  x'",
                "id=m",
                "lang=\"de\"",
                "href=\"/a?b=1&amp;c\"",
                "CLASS=z",
                "class",
                "data-a=\"<h1>\"",
                "value=' v '",
                "type=checkbox",
                "selected",
                "type=hidden",
                "color=red",
                "xlink:href=#q",
                "title=\"a\r\nb\"",
            ]);
            self.page.push(' ');
            self.page.push_str(attribute);
        }
        self.page.push_str(if self.random.one_in(12) { "/>" } else { ">" });
    }

    fn element(&mut self, names: &[&'static str], depth: usize) {
        let name = self.random.pick(names);
        self.start(name);
        for _ in 0..self.random.below(if depth < 5 { 4 } else { 2 }) {
            self.piece(depth + 1);
        }
        // Calm pages close what they open, wild ones often something else.
        let sloppiness = if self.calm { 200 } else { 4 };
        if !self.random.one_in(sloppiness) {
            let _ = write!(self.page, "</{name}>");
        }
    }

    fn raw(&mut self) {
        let name = self.random.pick(RAW);
        self.start(name);
        let text =
            self.random.pick(&["", "x<h1>y</h1>", "<!--<script>", "a && b", "\n", "</", "<frameset>", "</h1></scr"]);
        self.page.push_str(text);
        if !self.random.one_in(15) {
            let _ = write!(self.page, "</{name}>");
        }
    }

    fn table(&mut self, depth: usize) {
        self.page.push_str("<table>");
        for _ in 0..self.random.below(6) {
            let name = self.random.pick(TABLE);
            self.start(name);
            if self.random.one_in(2) {
                self.piece(depth + 1);
            }
            if self.random.one_in(2) {
                let _ = write!(self.page, "</{name}>");
            }
        }
        if !self.random.one_in(6) {
            self.page.push_str("</table>");
        }
    }

    /// Cuts pieces out, and puts some in twice.
    fn damage(&mut self) {
        for _ in 0..=self.random.below(4) {
            let length = self.page.len();
            let start = self.page.floor_char_boundary(self.random.below(length + 1));
            let end = self.page.ceil_char_boundary((start + self.random.below(20)).min(length));
            if self.random.one_in(2) {
                self.page.replace_range(start..end, "");
            } else {
                let again = self.page[start..end].to_owned();
                let to = self.page.floor_char_boundary(self.random.below(length + 1));
                self.page.insert_str(to, &again);
            }
        }
    }
}
