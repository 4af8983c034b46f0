//! Rules on everything that is not Rust source: no traces of one machine, scripts that say what they do, documents in
//! their form and within their length.

use super::Finding;
use super::repository::{Repository, TextFile};

/// Longest `ARCHITECTURE.md` in lines.
pub const ARCHITECTURE_LINES_MAX: usize = 150;

/// Folders of one machine; written in parts, since this file is checked too.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Headings of a release, as Keep a Changelog names them.
const CHANGE_KINDS: &[&str] = &["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

/// Every rule of this file.
#[must_use]
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings: Vec<Finding> = repository.files.iter().flat_map(machine_paths).collect();
    findings.extend(repository.files.iter().filter(|file| is_script(&file.path)).flat_map(script));
    for (path, rule) in [("ARCHITECTURE.md", architecture as fn(&TextFile) -> _), ("CHANGELOG.md", changelog)] {
        match repository.file(path) {
            Some(file) => findings.extend(rule(file)),
            None => findings.push(Finding::new("documents", path, 0, "is missing")),
        }
    }
    findings
}

fn machine_paths(file: &TextFile) -> Vec<Finding> {
    let starts_a_path = |line: &str, at: usize| {
        line[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && !"./-_}~$".contains(before))
    };
    let names_one =
        |line: &str| MACHINE_PATHS.iter().any(|path| line.match_indices(path).any(|(at, _)| starts_a_path(line, at)));
    let hits = file.text.lines().enumerate().filter(|(_, line)| names_one(line));
    let message = "names a folder of one machine: use a path from the top of the repository, or a temporary folder";
    hits.map(|(index, _)| Finding::new("machine-path", &*file.path, index + 1, message)).collect()
}

/// Whether a file is meant to be executed: everything in `scripts/` and `.ci/` that is not data with an extension.
fn is_script(path: &str) -> bool {
    let in_place = path.starts_with("scripts/") || path.starts_with(".ci/");
    let name = path.rsplit('/').next().unwrap_or(path);
    in_place && (!name.contains('.') || name.ends_with(".sh"))
}

fn script(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut lines = file.text.lines();
    if !file.executable {
        findings.push(Finding::new("script", &*file.path, 0, "is not executable"));
    }
    if !lines.next().is_some_and(|first| first.starts_with("#!")) {
        findings.push(Finding::new("script", &*file.path, 1, "must begin with `#!`"));
    }
    if !lines.next().is_some_and(|second| second.starts_with("# ") && second.len() > 10) {
        findings.push(Finding::new(
            "script",
            &*file.path,
            2,
            "the second line must be a comment that says what it does",
        ));
    }
    findings
}

fn architecture(file: &TextFile) -> Vec<Finding> {
    let lines = file.text.lines().count();
    if lines <= ARCHITECTURE_LINES_MAX {
        return Vec::new();
    }
    let message = format!("longer than {ARCHITECTURE_LINES_MAX} lines: it is to be read in one go");
    vec![Finding { measure: Some(lines), ..Finding::new("documents", &*file.path, 0, message) }]
}

fn changelog(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: usize, message: String| findings.push(Finding::new("changelog", &*file.path, line, message));
    if !file.text.starts_with("# Changelog\n") {
        find(1, "must begin with `# Changelog`".to_owned());
    }
    let mut releases = 0;
    for (index, line) in file.text.lines().enumerate() {
        let number = index + 1;
        if let Some(release) = line.strip_prefix("## ") {
            if releases == 0 && release != "[Unreleased]" {
                find(number, "the first release must be `## [Unreleased]`".to_owned());
            } else if releases > 0 && !is_dated_release(release) {
                find(number, format!("`{release}` is not of the form `[1.2.3] - 2026-01-31`"));
            }
            releases += 1;
        } else if let Some(kind) = line.strip_prefix("### ") {
            if releases == 0 || !CHANGE_KINDS.contains(&kind) {
                find(number, format!("`{kind}` is not one of {} below a release", CHANGE_KINDS.join(", ")));
            }
        } else if line.starts_with("* ") {
            find(number, "entries begin with `- `".to_owned());
        }
    }
    if releases == 0 {
        find(0, "has no release, not even `## [Unreleased]`".to_owned());
    }
    findings
}

/// `[1.2.3] - 2026-01-31`
fn is_dated_release(text: &str) -> bool {
    let numbers = |text: &str, separator: char, lengths: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let fits = |(part, length): (&&str, usize)| {
            (length == 0 && !part.is_empty() || part.len() == length) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        parts.len() == 3 && parts.iter().zip(lengths).all(fits)
    };
    let parts = text.strip_prefix('[').and_then(|rest| rest.split_once("] - "));
    parts.is_some_and(|(version, date)| numbers(version, '.', [0, 0, 0]) && numbers(date, '-', [4, 2, 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, executable: bool) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned(), executable }
    }

    #[test]
    fn a_machine_path_fails() {
        for path in MACHINE_PATHS {
            for text in [format!("see {path}x"), format!("\"{path}x\""), format!("cd={path}x"), format!("{path}x")] {
                assert_eq!(machine_paths(&file("README.md", &text, false)).len(), 1, "{text}");
            }
            let elsewhere = format!("./frame{path}x $DIR{path}x https://example.org{path}x");
            assert_eq!(machine_paths(&file("README.md", &elsewhere, false)), [], "{elsewhere}");
        }
    }

    #[test]
    fn a_script_must_be_executable_and_say_what_it_does() {
        let good = "#!/usr/bin/env bash\n# Runs everything CI runs.\n";
        assert_eq!(script(&file("scripts/test", good, true)), []);
        assert_eq!(script(&file("scripts/test", good, false)).len(), 1);
        assert_eq!(script(&file("scripts/test", "echo hello\n# Runs everything.\n", true)).len(), 1);
        assert_eq!(script(&file("scripts/test", "#!/bin/sh\necho hello\n", true)).len(), 1);
        assert!(is_script("scripts/test") && is_script(".ci/run") && is_script("scripts/lib/a.sh"));
        assert!(!is_script("scripts/flows/hello.json") && !is_script("crates/test"));
    }

    #[test]
    fn a_long_architecture_text_fails() {
        let of = |lines: usize| file("ARCHITECTURE.md", &"line\n".repeat(lines), false);
        assert_eq!(architecture(&of(ARCHITECTURE_LINES_MAX)), []);
        assert_eq!(architecture(&of(ARCHITECTURE_LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn a_missing_document_fails() {
        assert_eq!(check(&Repository::default()).len(), 2);
    }

    #[test]
    fn a_changelog_in_another_form_fails() {
        let lines = |text: &str| -> Vec<usize> {
            changelog(&file("CHANGELOG.md", text, false)).into_iter().map(|finding| finding.line).collect()
        };
        let head = "# Changelog\n\n## [Unreleased]\n\n";
        let none: [usize; 0] = [];
        assert_eq!(lines(&format!("{head}### Added\n\n- A thing.\n\n## [0.1.0] - 2026-11-22\n\n### Fixed\n")), none);
        assert_eq!(lines(&format!("{head}### News\n")), [5]);
        assert_eq!(lines(&format!("{head}* A thing.\n")), [5]);
        assert_eq!(lines(&format!("{head}## 0.1.0\n")), [5]);
        assert_eq!(lines(&format!("{head}## [0.1.0] - 22.11.2026\n")), [5]);
        assert_eq!(lines("# Changelog\n\n## [0.1.0] - 2026-11-22\n"), [3]);
        assert_eq!(lines("# Changelog\n"), [0]);
        assert_eq!(lines("# News\n\n## [Unreleased]\n"), [1]);
    }
}
