//! `runlet top`: live runs and what they use, looked at again and again.

mod batch;
mod control;
mod sample;
mod screen;
mod terminal;

use std::io::{self, IsTerminal as _};
use std::time::Instant;

use ratatui::crossterm::event::{self, Event};
use runlet_proto::control::{Reply, Request, RunSignal};
use runlet_proto::ids::RunId;

use self::control::{Wish, wish};
use self::sample::{Before, View};
use self::screen::Screen;
use self::terminal::Taken;
use super::{CommandError, Setting};
use crate::args::Top;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::output::Format;

/// Shows the runs until it is told to end, or as often as asked.
///
/// # Errors
/// [`CommandError`] of the connection; [`CommandError::Usage`] when there is no terminal to draw on.
pub(crate) fn perform(here: &Setting, args: &Top) -> Result<ExitCode, CommandError> {
    if args.batch {
        return batch::perform(here, args);
    }
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) || here.format != Format::Table {
        return Err(CommandError::Usage {
            message: "there is no terminal to draw on, or JSON is asked for".to_owned(),
            help: Some("print listings: runlet top --batch --count 1".to_owned()),
        });
    }
    // Connected first, so that its failure is told on an untouched terminal.
    let mut client = here.connect()?;
    let mut before = Before::default();
    let mut screen = Screen::new(View::take(&mut client, &mut before)?);
    let mut terminal = Taken::take().map_err(|error| no_terminal(&error))?;
    for listing in 1.. {
        if show_until(&mut terminal, &mut screen, &mut client, Instant::now() + args.delay)? == Next::End {
            break;
        }
        if args.count.is_some_and(|count| listing >= count) {
            break;
        }
        screen.renew(View::take(&mut client, &mut before)?);
    }
    Ok(ExitCode::Ok)
}

/// What comes after a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Listing,
    End,
}

/// Shows one listing, and does what keys say, until the next is due.
fn show_until(
    terminal: &mut Taken,
    screen: &mut Screen,
    client: &mut Client,
    due: Instant,
) -> Result<Next, CommandError> {
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(|error| no_terminal(&error))?;
        if !event::poll(due.saturating_duration_since(Instant::now())).map_err(|error| no_terminal(&error))? {
            return Ok(Next::Listing);
        }
        let Event::Key(key) = event::read().map_err(|error| no_terminal(&error))? else { continue };
        match wish(key) {
            None => {}
            Some(Wish::End) => return Ok(Next::End),
            Some(Wish::Look) => return Ok(Next::Listing),
            Some(Wish::Select(steps)) => screen.select(steps),
            Some(Wish::Signal(signal)) => {
                if let Some(run) = screen.selected() {
                    screen.say(tell(client, run, signal)?);
                    return Ok(Next::Listing);
                }
            }
            Some(Wish::Renice(steps)) => {
                if let Some((run, priority)) = screen.reniced(steps) {
                    screen.say(tell(client, run, RunSignal::Renice(priority))?);
                    return Ok(Next::Listing);
                }
            }
        }
    }
}

/// Changes a run; what became of it in words. A refusal is no reason to end.
fn tell(client: &mut Client, run: RunId, signal: RunSignal) -> Result<String, CommandError> {
    let reply = match client.call(Request::Signal { run: run.to_string(), signal }) {
        Err(CommandError::Refused(refusal)) => return Ok(refusal.message),
        reply => reply?,
    };
    let Reply::Changed(changed) = reply else { return Err(CommandError::unexpected(&reply)) };
    Ok(format!("{run} is {}, priority {}", changed.state, changed.priority))
}

fn no_terminal(error: &io::Error) -> CommandError {
    CommandError::Failed {
        message: format!("the terminal fails: {error}"),
        help: Some("print listings instead: runlet top --batch".to_owned()),
    }
}
