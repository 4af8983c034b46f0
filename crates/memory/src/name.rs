//! Names of namespaces, channels and keys.

/// What names of namespaces and channels look like.
pub const NAME_PATTERN: &str = "[a-z0-9][a-z0-9._-]{0,63}";

/// Whether a text may name a namespace or a channel: [`NAME_PATTERN`].
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}
