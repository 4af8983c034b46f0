//! What the keys of `runlet top` mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use runlet_proto::control::RunSignal;

/// What somebody wants who pressed a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To leave.
    End,
    /// To see how it is now.
    Look,
    /// To select a run so many lines further down, or up.
    Select(isize),
    /// To change the selected run.
    Signal(RunSignal),
    /// To change its priority by so much.
    Renice(i8),
}

/// The keys, in one line.
pub(super) const HELP: &str = "q quit   ↑ ↓ select   s stop   p pause   r resume   + - priority   space look now";

/// How many lines a page is.
const PAGE: isize = 10;

/// The wish behind a key, if it has a meaning.
#[expect(clippy::wildcard_enum_match_arm, reason = "keys are the terminal's; most mean nothing here")]
pub(super) fn wish(key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Wish::End);
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::End),
        KeyCode::Char(' ') => Some(Wish::Look),
        KeyCode::Up | KeyCode::Char('k') => Some(Wish::Select(-1)),
        KeyCode::Down | KeyCode::Char('j') => Some(Wish::Select(1)),
        KeyCode::PageUp => Some(Wish::Select(-PAGE)),
        KeyCode::PageDown => Some(Wish::Select(PAGE)),
        KeyCode::Home => Some(Wish::Select(isize::MIN)),
        KeyCode::End => Some(Wish::Select(isize::MAX)),
        KeyCode::Char('s') => Some(Wish::Signal(RunSignal::Stop)),
        KeyCode::Char('p') => Some(Wish::Signal(RunSignal::Pause)),
        KeyCode::Char('r') => Some(Wish::Signal(RunSignal::Resume)),
        KeyCode::Char('+') => Some(Wish::Renice(1)),
        KeyCode::Char('-') => Some(Wish::Renice(-1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Option<Wish> {
        wish(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        for (key, expected) in [
            ('q', Some(Wish::End)),
            ('s', Some(Wish::Signal(RunSignal::Stop))),
            ('p', Some(Wish::Signal(RunSignal::Pause))),
            ('r', Some(Wish::Signal(RunSignal::Resume))),
            ('+', Some(Wish::Renice(1))),
            ('-', Some(Wish::Renice(-1))),
            (' ', Some(Wish::Look)),
            ('x', None),
        ] {
            assert_eq!(pressed(KeyCode::Char(key), KeyModifiers::NONE), expected, "{key}");
        }
        assert_eq!(pressed(KeyCode::Down, KeyModifiers::NONE), Some(Wish::Select(1)));
    }

    #[test]
    fn ctrl_c_ends_and_ctrl_s_stops_nothing() {
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::End));
        assert_eq!(pressed(KeyCode::Char('s'), KeyModifiers::CONTROL), None);
    }
}
