//! A panic in a block is a failure of its run, and of nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use runlet_proto::failure::Failure;

/// Runs a block's code.
///
/// # Errors
/// A failure that names the panic, if there was one.
pub fn caught<T>(resume: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(resume)).map_err(|panic| {
        let what = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Failure::workflow("panic", format!("the block panicked: {what}"))
            .with_help("this is a bug in Runlet: please report it with the definition and the input")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_that_names_it() {
        let failure = caught(|| panic!("on purpose, {}", 7)).unwrap_err();
        assert_eq!(failure.code, "panic");
        assert!(failure.message.contains("on purpose, 7"), "{}", failure.message);
        assert_eq!(caught(|| 3), Ok(3));
    }
}
