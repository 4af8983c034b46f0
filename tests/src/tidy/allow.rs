//! The ratchet: exceptions to sized rules, each with the size it has today. It only turns one way: a smaller measure must
//! be written down, an entry that is no longer needed must go.

use super::Finding;

/// Where the exceptions are kept, from the top of the repository.
pub const ALLOW_FILE: &str = "tests/tidy-allow.txt";

/// The parsed exceptions.
#[derive(Debug, Default)]
pub struct Ratchet {
    entries: Vec<Entry>,
    malformed: Vec<Finding>,
}

#[derive(Debug)]
struct Entry {
    line: usize,
    rule: String,
    key: String,
    measure: usize,
}

impl Ratchet {
    /// Reads lines of the form `rule key measure  # reason`; empty lines and lines of comment only are skipped. What does
    /// not have that form is itself a finding of [`Ratchet::apply`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut ratchet = Self::default();
        for (index, full) in text.lines().enumerate() {
            let (entry, reason) = full.split_once('#').unwrap_or((full, ""));
            let words: Vec<&str> = entry.split_whitespace().collect();
            let line = index + 1;
            match (words.as_slice(), reason.trim().is_empty()) {
                ([], _) => {}
                ([rule, key, measure], false) if measure.parse::<usize>().is_ok() => ratchet.entries.push(Entry {
                    line,
                    rule: (*rule).to_owned(),
                    key: (*key).to_owned(),
                    measure: measure.parse().expect("the guard parsed it"),
                }),
                _ => ratchet.malformed.push(Finding::new(
                    "allow-format",
                    ALLOW_FILE,
                    line,
                    "not of the form `rule key measure  # reason`",
                )),
            }
        }
        ratchet
    }

    /// Takes away the findings that are allowed exactly as they are; adds one for each entry that is stale or loose.
    #[must_use]
    pub fn apply(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let mut left = self.malformed.clone();
        let mut used = vec![false; self.entries.len()];
        for finding in findings {
            let entry = self.entries.iter().position(|entry| entry.rule == finding.rule && entry.key == finding.key);
            let (Some(position), Some(measure)) = (entry, finding.measure) else {
                left.push(finding);
                continue;
            };
            used[position] = true;
            let allowed = &self.entries[position];
            if measure > allowed.measure {
                left.push(finding);
            } else if measure < allowed.measure {
                left.push(Finding::new(
                    "allow-loose",
                    ALLOW_FILE,
                    allowed.line,
                    format!("`{}` shrank to {measure}: write that down", allowed.key),
                ));
            }
        }
        for (entry, used) in self.entries.iter().zip(used) {
            if !used {
                let message = format!("`{} {}` is no longer needed: remove it", entry.rule, entry.key);
                left.push(Finding::new("allow-stale", ALLOW_FILE, entry.line, message));
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(measure: usize) -> Vec<Finding> {
        vec![Finding { measure: Some(measure), ..Finding::new("file-length", "a.rs", 0, "too long") }]
    }

    fn rules(allow: &str, findings: Vec<Finding>) -> Vec<&'static str> {
        Ratchet::parse(allow).apply(findings).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn allows_exactly_the_written_size() {
        let allow = "# head\n\nfile-length a.rs 450  # the table of every selector\n";
        assert_eq!(rules(allow, long(450)), Vec::<&str>::new());
        assert_eq!(rules(allow, long(451)), ["file-length"]);
        assert_eq!(rules(allow, long(449)), ["allow-loose"]);
    }

    #[test]
    fn an_entry_without_a_finding_is_stale() {
        assert_eq!(rules("file-length a.rs 450  # reason", vec![]), ["allow-stale"]);
        assert_eq!(rules("file-length b.rs 450  # reason", long(450)), ["file-length", "allow-stale"]);
    }

    #[test]
    fn an_entry_needs_a_number_and_a_reason() {
        assert_eq!(rules("file-length a.rs 450", vec![]), ["allow-format"]);
        assert_eq!(rules("file-length a.rs  # reason", vec![]), ["allow-format"]);
    }

    #[test]
    fn a_rule_without_a_size_has_no_exceptions() {
        let finding = Finding::new("unwrap", "a.rs", 3, "no unwrap");
        assert_eq!(rules("unwrap a.rs 1  # reason", vec![finding]), ["unwrap", "allow-stale"]);
    }
}
