//! The one check every header field passes before it leaves a block.

use runlet_proto::failure::Failure;

/// Refuses a field that would end early or be read as two (RFC 9110, section 5.5): a value out of a template may hold
/// anything.
pub(crate) fn check(name: &str, value: &str) -> Result<(), Failure> {
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Failure::workflow("header", format!("`{}` is not the name of a header", name.escape_debug())));
    }
    match value.bytes().find(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        None => Ok(()),
        Some(byte) => Err(Failure::workflow(
            "header",
            format!("the value of header `{name}` holds {}, which no header may", control_name(byte)),
        )
        .with_help("take line breaks out of values that come from outside: `{{ value | replace('\\n', ' ') }}`")),
    }
}

/// Characters of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn control_name(byte: u8) -> String {
    match byte {
        b'\r' => "a carriage return".to_owned(),
        b'\n' => "a line break".to_owned(),
        byte => format!("the control character 0x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_would_be_read_otherwise_are_refused() {
        for (name, value) in
            [("x", "a\r\nb"), ("x", "a\nset-cookie: b"), ("x", "\0"), ("x", "\x7f"), ("", ""), ("a b", "")]
        {
            assert_eq!(check(name, value).expect_err(name).code, "header");
        }
        for value in ["", "a\tb", "grüße", "a: b"] {
            assert_eq!(check("x-y", value), Ok(()));
        }
    }
}
