//! Signals of the operating system by name or number, as people write them.

use nix::sys::signal::Signal;

/// `TERM`, `SIGTERM`, `term` and `15` are the same.
///
/// # Errors
/// What was written instead, with the nearest name or all of them.
pub(crate) fn parse(text: &str) -> Result<Signal, String> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).map_err(|_| "signals have numbers from 1 to 31; see kill -l".to_owned());
    }
    let wanted = text.to_ascii_uppercase();
    let wanted = wanted.strip_prefix("SIG").unwrap_or(&wanted);
    Signal::iterator().find(|signal| short(*signal) == wanted).ok_or_else(|| help(wanted))
}

fn help(wanted: &str) -> String {
    match runlet_workflow::nearest(wanted, Signal::iterator().map(short)) {
        Some(nearest) => format!("there is no such signal; did you mean {nearest}?"),
        None => {
            format!(
                "there is no such signal; the signals are {}",
                Signal::iterator().map(short).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// The name as kill(1) takes it.
fn short(signal: Signal) -> &'static str {
    let name = signal.as_str();
    name.strip_prefix("SIG").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_several_names_and_a_wrong_one_has_a_neighbour() {
        for name in ["TERM", "SIGTERM", "term", "sigterm", "15"] {
            assert_eq!(parse(name), Ok(Signal::SIGTERM), "{name}");
        }
        assert_eq!(parse("usr1"), Ok(Signal::SIGUSR1));
        assert!(parse("TREM").is_err_and(|error| error.contains("did you mean TERM?")));
        assert!(parse("frobnicate").is_err_and(|error| error.contains("KILL, ")));
        for number in ["0", "-1", "64", "99999999999999999999"] {
            assert!(parse(number).is_err(), "{number}");
        }
    }
}
