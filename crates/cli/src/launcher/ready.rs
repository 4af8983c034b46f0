//! How a child tells that it is ready: one line on stdout, `ready <where>`.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::limits::READY_LINE_BYTES_MAX;

const WORD: &str = "ready ";

/// The line a child prints; `place` is its socket or its address.
pub(super) fn line(place: &str) -> String {
    format!("{WORD}{place}\n")
}

/// Reads lines until the one that says where the child is; `None` when it ended without saying so.
///
/// # Errors
/// Whatever the pipe says.
pub(super) async fn read(stdout: impl AsyncRead + Unpin) -> std::io::Result<Option<String>> {
    let mut lines = BufReader::new(stdout.take(READY_LINE_BYTES_MAX)).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(place) = line.strip_prefix(WORD) {
            return Ok(Some(place.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn said(text: &str) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(text.as_bytes())).unwrap()
    }

    #[test]
    fn the_place_is_what_follows_the_word() {
        assert_eq!(said(&line("127.0.0.1:8080")).as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(said("something else\nready /run/control.sock\n").as_deref(), Some("/run/control.sock"));
    }

    #[test]
    fn an_end_without_the_word_is_no_readiness() {
        assert_eq!(said(""), None);
        assert_eq!(said("panicked\n"), None);
        assert_eq!(said(&"x".repeat(100_000)), None);
    }
}
