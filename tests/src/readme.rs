//! The fenced blocks of a Markdown document, so that what it shows can be run.

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// What follows the opening fence: `sh`, `json`, or nothing.
    pub language: String,
    /// Line of its first line of text, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// All fenced blocks, in order; one that is never closed is none.
#[must_use]
pub fn fenced(markdown: &str) -> Vec<Fenced> {
    let mut found = Vec::new();
    let mut open: Option<Fenced> = None;
    for (index, line) in markdown.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, None) => None,
            (None, Some(language)) => {
                Some(Fenced { language: language.trim().to_owned(), line: index + 2, text: String::new() })
            }
            (Some(mut block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
                Some(block)
            }
            (Some(block), Some(_)) => {
                found.push(block);
                None
            }
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_a_language_a_line_and_a_text() {
        let text = "# T\n\n```sh\nrunlet ps\nrunlet status\n```\n\n```json\n{}\n```\n  ```sh\n  x\n  ```\n```\ny\n";
        let found = fenced(text);
        let seen: Vec<_> = found.iter().map(|one| (one.language.as_str(), one.line, one.text.as_str())).collect();
        assert_eq!(seen, [("sh", 4, "runlet ps\nrunlet status\n"), ("json", 9, "{}\n"), ("sh", 12, "  x\n")]);
    }
}
