//! The terminal while `runlet top` draws on it: given back however that ends.

use std::io;
use std::process;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use ratatui::{DefaultTerminal, Frame};

use crate::exit_code::ExitCode;

/// A terminal that is drawn on; dropping it gives it back. A panic and a signal that ends the process do so too.
pub(super) struct Taken(DefaultTerminal);

impl Taken {
    /// Takes it. To be called while there is only one thread, so that the signals are blocked in all of them.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(super) fn take() -> io::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if signals.wait().is_ok() {
                ratatui::restore();
                process::exit(ExitCode::Interrupted as i32);
            }
        })?;
        // It has a panic give the terminal back before it is told.
        ratatui::try_init().map(Self)
    }

    /// Draws.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(|_| ())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
