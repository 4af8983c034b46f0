//! Rules on Rust source: what every file and function looks like, and what stays out of tests and of everything else.

use super::Finding;
use super::repository::TextFile;
use super::tokens::{Mark, Tokens};

/// Longest file in lines.
pub const FILE_LINES_MAX: usize = 400;
/// Longest function in lines, from `fn` to the closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;

/// The modules that may hold `unsafe`: at most one in what a crate ships, and what a test cannot count otherwise.
pub const UNSAFE_MODULES: &[&str] = &[
    "crates/cli/src/memory.rs",
    "crates/ipc/src/socket.rs",
    "crates/journal/tests/simulated_disk/vfs.rs",
    "crates/supervisor/src/heavy/process.rs",
    "crates/hostile/src/sys.rs",
    "crates/worker/src/sys.rs",
    "proto/tests/hostile.rs",
];

/// The only file that may name the wire codec's crate.
const CODEC: &str = "proto/src/codec.rs";

/// Where a bounded pause between two looks at a condition is at home; every other wait in a test goes through it.
const WAIT: &str = "tests/src/wait.rs";

/// Every rule on every file; `unsafe` is allowed in the listed ones, and expected there.
#[must_use]
pub fn check_all(files: &[&TextFile], unsafe_modules: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut parsed = Vec::new();
    for file in files {
        match Tokens::parse(&file.text) {
            Ok(tokens) => parsed.push((*file, tokens)),
            Err(error) => findings.push(Finding::new("rust", &*file.path, 0, error)),
        }
    }
    let test_files = test_files(parsed.iter().map(|(file, tokens)| (&*file.path, tokens)));
    for (file, tokens) in &parsed {
        let all_test = is_test_path(&file.path) || test_files.iter().any(|prefix| file.path.starts_with(prefix));
        findings.extend(check_file(file, tokens, all_test));
        findings.extend(check_unsafe(file, tokens, unsafe_modules));
    }
    findings.extend(stale_unsafe_modules(&parsed, unsafe_modules));
    findings
}

fn check_file(file: &TextFile, tokens: &Tokens, all_test: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = &file.path;
    if !file.text.starts_with("//! ") {
        findings.push(Finding::new("module-doc", path, 1, "the file must open with a `//!` sentence on what it owns"));
    }
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        let message = format!("longer than {FILE_LINES_MAX} lines: split it by what its parts own");
        findings.push(Finding { measure: Some(lines), ..Finding::new("file-length", path, 0, message) });
    }
    for function in tokens.functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
        let message = format!("`{}` is longer than {FUNCTION_LINES_MAX} lines", function.name);
        let finding = Finding::new("function-length", format!("{path}::{}", function.name), function.line, message);
        findings.push(Finding { measure: Some(function.lines), ..finding });
    }
    for (mark, line) in &tokens.marks {
        match mark {
            Mark::Unwrap if !(all_test || tokens.is_test(*line)) => {
                let message = "`unwrap` outside tests: return the error, or `expect` with why it cannot fail";
                findings.push(Finding::new("unwrap", path, *line, message));
            }
            Mark::BareIgnore => {
                let message = "an ignored test says why: `#[ignore = \"…\"]`";
                findings.push(Finding::new("ignore", path, *line, message));
            }
            Mark::Unwrap => {}
        }
    }
    findings.extend(check_words(path, tokens, all_test));
    findings
}

/// Rules on single words and paths.
fn check_words(path: &str, tokens: &Tokens, all_test: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for used in &tokens.paths {
        let line = used.line;
        let is = |word: &str| used.segments.iter().any(|segment| segment == word);
        if is("bincode") && path != CODEC {
            findings.push(Finding::new("codec", path, line, format!("only {CODEC} may name bincode")));
        }
        let sleeps = used.segments.last().is_some_and(|last| last == "sleep" || last == "sleep_until");
        if sleeps && path != WAIT && (all_test || tokens.is_test(line)) {
            let message = "a test that sleeps is slow or flaky: wait for the event, with a deadline";
            findings.push(Finding::new("sleep", path, line, message));
        }
    }
    findings
}

/// Whether the place alone says that a file is test or bench code.
fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.contains("/benches/")
}

/// Path prefixes of the files that a `#[cfg(test)] mod name;` in one of these files names.
#[must_use]
pub fn test_files<'a>(files: impl Iterator<Item = (&'a str, &'a Tokens)>) -> Vec<String> {
    let mut prefixes = Vec::new();
    for (path, tokens) in files {
        let directory = match path.rsplit_once('/') {
            Some((parent, "lib.rs" | "main.rs" | "mod.rs")) => parent,
            Some(_) | None => path.trim_end_matches(".rs"),
        };
        for name in &tokens.test_modules {
            prefixes.extend([format!("{directory}/{name}.rs"), format!("{directory}/{name}/")]);
        }
    }
    prefixes
}

fn check_unsafe(file: &TextFile, tokens: &Tokens, listed: &[&str]) -> Vec<Finding> {
    if listed.contains(&&*file.path) {
        return Vec::new();
    }
    let message = "`unsafe` here: it belongs in its crate's one module for it, listed in the tidy rules";
    let finding = |line| Finding::new("unsafe", &*file.path, line, message);
    unsafe_lines(tokens).map(finding).collect()
}

fn stale_unsafe_modules(parsed: &[(&TextFile, Tokens)], listed: &[&str]) -> Vec<Finding> {
    let has_unsafe =
        |module: &str| parsed.iter().any(|(file, tokens)| file.path == module && unsafe_lines(tokens).next().is_some());
    let stale = listed.iter().filter(|module| !has_unsafe(module));
    stale
        .map(|module| Finding::new("unsafe", *module, 0, "listed for `unsafe` but has none: take it off the list"))
        .collect()
}

fn unsafe_lines(tokens: &Tokens) -> impl Iterator<Item = usize> {
    tokens.paths.iter().filter(|used| used.segments.iter().any(|word| word == "unsafe")).map(|used| used.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules broken by one file.
    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned(), executable: false };
        check_all(&[&file], &[]).into_iter().map(|finding| finding.rule).collect()
    }

    const PLAIN: &str = "crates/x/src/a.rs";
    const TEST: &str = "crates/x/tests/a.rs";
    const NONE: [&str; 0] = [];

    #[test]
    fn a_good_file_has_no_findings() {
        assert_eq!(rules(PLAIN, "//! Owns nothing.\n\nfn f() -> Option<()> {\n    None?\n}\n"), NONE);
    }

    #[test]
    fn a_file_without_a_module_doc_fails() {
        assert_eq!(rules(PLAIN, "fn f() {}\n"), ["module-doc"]);
        assert_eq!(rules(PLAIN, "// A comment only.\n"), ["module-doc"]);
    }

    #[test]
    fn a_long_file_fails_from_the_first_line_over() {
        let of = |lines: usize| format!("//! Long.\n{}", "\n".repeat(lines - 1));
        assert_eq!(rules(PLAIN, &of(FILE_LINES_MAX)), NONE);
        assert_eq!(rules(PLAIN, &of(FILE_LINES_MAX + 1)), ["file-length"]);
    }

    #[test]
    fn a_long_function_fails_even_inside_a_macro() {
        let of = |lines: usize| format!("//! Long.\nmacro! {{\nfn f() {{{}}}\n}}", "\n".repeat(lines - 1));
        assert_eq!(rules(PLAIN, &of(FUNCTION_LINES_MAX)), NONE);
        assert_eq!(rules(PLAIN, &of(FUNCTION_LINES_MAX + 1)), ["function-length"]);
    }

    #[test]
    fn unwrap_fails_outside_tests_only() {
        let text = "//! Doc: `.unwrap()`.\nfn f() { x().unwrap(); y.unwrap_or(\".unwrap()\"); }";
        assert_eq!(rules(PLAIN, text), ["unwrap"]);
        assert_eq!(rules(TEST, text), NONE);
        assert_eq!(rules(PLAIN, "//! Doc.\n#[cfg(test)]\nmod tests { fn f() { x().unwrap(); } }"), NONE);
    }

    #[test]
    fn a_file_named_by_a_test_module_is_test_code() {
        let parent = TextFile {
            path: "crates/x/src/lib.rs".to_owned(),
            text: "//! Doc.\n#[cfg(test)]\nmod sim;\n".to_owned(),
            executable: false,
        };
        let text = "//! Doc.\nfn f() { x().unwrap(); }".to_owned();
        let child = |path: &str| TextFile { path: path.to_owned(), text: text.clone(), executable: false };
        assert_eq!(check_all(&[&parent, &child("crates/x/src/sim.rs")], &[]), []);
        assert_eq!(check_all(&[&parent, &child("crates/x/src/sim/deep.rs")], &[]), []);
        assert_eq!(check_all(&[&parent, &child("crates/x/src/simple.rs")], &[]).len(), 1);
    }

    #[test]
    fn sleeping_fails_in_tests_only() {
        for text in ["thread::sleep(d)", "tokio::time::sleep(d).await", "sleep_until(d).await", "std::thread::sleep(d)"]
        {
            let text = format!("//! Doc.\nasync fn f() {{ {text}; }}");
            assert_eq!(rules(TEST, &text), ["sleep"], "{text}");
            assert_eq!(rules(PLAIN, &text), NONE, "{text}");
        }
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        assert_eq!(rules(TEST, "//! Doc.\n#[test]\n#[ignore]\nfn f() {}"), ["ignore"]);
        assert_eq!(rules(TEST, "//! Doc.\n#[test]\n#[ignore = \"needs a second machine\"]\nfn f() {}"), NONE);
    }

    #[test]
    fn unsafe_fails_where_it_is_not_listed() {
        let text = "//! Doc.\nfn f() { unsafe { g() } }";
        assert_eq!(rules(PLAIN, text), ["unsafe"]);
        let file = TextFile { path: PLAIN.to_owned(), text: text.to_owned(), executable: false };
        assert_eq!(check_all(&[&file], &[PLAIN]), []);
    }

    #[test]
    fn a_module_listed_for_unsafe_must_have_some() {
        assert_eq!(check_all(&[], &["crates/x/src/gone.rs"]).len(), 1);
    }

    #[test]
    fn only_the_codec_names_bincode() {
        let text = "//! Doc.\nuse bincode::config;";
        assert_eq!(rules(PLAIN, text), ["codec"]);
        assert_eq!(rules(CODEC, text), NONE);
    }

    #[test]
    fn text_that_is_not_rust_fails() {
        assert_eq!(rules(PLAIN, "//! Doc.\nfn f( {"), ["rust"]);
    }
}
