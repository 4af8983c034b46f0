//! The commands of a Markdown document: what stands in its fenced blocks marked `sh`.

/// A fenced block of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// Line of the first command, from 1.
    pub line: usize,
    /// Its commands, as they stand there.
    pub text: String,
}

/// All blocks marked `sh`, in order.
#[must_use]
pub fn commands(markdown: &str) -> Vec<Commands> {
    let mut found = Vec::new();
    let mut open: Option<(bool, Commands)> = None;
    for (index, line) in markdown.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some((language.trim() == "sh", Commands { line: index + 2, text: String::new() }));
            }
            (None, None) => {}
            (Some((_, block)), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (Some((wanted, block)), Some(_)) => {
                if *wanted {
                    found.push(block.clone());
                }
                open = None;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_marked_sh_are_commands() {
        let text =
            "# T\n\n```sh\nrunlet ps\nrunlet status\n```\n\n```json\n{}\n```\n  ```sh\n  x\n  ```\n```\ny\n```\n";
        let found = commands(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Commands { line: 4, text: "runlet ps\nrunlet status\n".to_owned() });
        assert_eq!(found[1].line, 12);
    }
}
