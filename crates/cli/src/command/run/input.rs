//! The `--input` of a run, and its output as text.

use std::fs::File;
use std::io::{self, IsTerminal, Read};

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::command::CommandError;
use crate::limits::INPUT_BYTES_MAX;

/// Reads an input: JSON as it stands, `@FILE`, or `-` for stdin. It is checked here, so that a mistake is told with its
/// place, and sent as it was written.
///
/// # Errors
/// [`CommandError::Usage`] when it cannot be read, is too long, or is not JSON.
pub(super) fn read(argument: &str) -> Result<Bytes, CommandError> {
    read_as(argument, "--input")
}

/// As [`read`], of an argument that is called `what`.
///
/// # Errors
/// As there.
pub(crate) fn read_as(argument: &str, what: &str) -> Result<Bytes, CommandError> {
    let (text, place) = match argument.strip_prefix('@') {
        Some(path) => {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            (read_bounded(file, path)?, path.to_owned())
        }
        None if argument == "-" => (read_bounded(io::stdin().lock(), "stdin")?, "stdin".to_owned()),
        None => (argument.as_bytes().to_vec(), what.to_owned()),
    };
    serde_json::from_slice::<IgnoredAny>(&text).map_err(|error| CommandError::Usage {
        message: format!("{place} is not JSON: {error}"),
        help: Some("text is written with quotes: '\"text\"'; a file is named with @, stdin is -".to_owned()),
    })?;
    Ok(text.into())
}

/// JSON text as it is best read: indented on a terminal, as it came for a program.
pub(crate) fn indented(json: &[u8]) -> String {
    if io::stdout().is_terminal()
        && let Ok(value) = serde_json::from_slice::<Value>(json)
        && let Ok(text) = serde_json::to_string_pretty(&value)
    {
        return text;
    }
    String::from_utf8_lossy(json).into_owned()
}

fn read_bounded(source: impl Read, place: &str) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    source.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(place, &error))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        let message = format!("{place} is longer than {INPUT_BYTES_MAX} bytes, the limit of an input");
        return Err(CommandError::Usage { message, help: None });
    }
    Ok(bytes)
}

fn unreadable(place: &str, error: &io::Error) -> CommandError {
    CommandError::Usage { message: format!("cannot read {place}: {error}"), help: None }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn json_is_taken_as_it_stands() {
        assert_eq!(read(r#"{"a": 1}"#).unwrap(), r#"{"a": 1}"#);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("input.json");
        std::fs::write(&file, "[1, 2]").unwrap();
        assert_eq!(read(&format!("@{}", file.display())).unwrap(), "[1, 2]");
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        let error = read("{\"a\": }").unwrap_err().to_string();
        assert!(error.contains("--input is not JSON") && error.contains("column 7"), "{error}");
        let error = read("@/nonexistent/input.json").unwrap_err().to_string();
        assert!(error.contains("/nonexistent/input.json"), "{error}");
    }
}
