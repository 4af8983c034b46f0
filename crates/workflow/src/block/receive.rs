//! `receive`: the next message of a channel; the run is BLOCKED until there is one.

use crate::field::{Field, Shape};
use crate::parse::config::{Config, Kind};
use crate::parse::report::{Finding, Report};
use crate::parse::spot::clip;
use crate::parse::{NAME_HELP, is_name};
use crate::template::scan;

/// Configuration of a `receive` block.
#[derive(Debug)]
pub struct Receive {
    /// The channel.
    pub channel: String,
    /// When its message is acknowledged.
    pub acknowledge: Acknowledge,
    /// Whether the output is the message, or an object with its id and how often it was given to a receiver.
    pub whole_delivery: bool,
}

/// When a message is acknowledged, so that nobody is given it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When the block is COMPLETED.
    Block,
    /// When the run is COMPLETED; otherwise it goes back to its channel.
    Run,
}

/// Which channel.
pub(crate) const CHANNEL: Field =
    Field::new("channel", "Name of the channel.", Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$"));

pub(crate) static KIND: Kind = Kind {
    fields: &[
        CHANNEL,
        Field::new(
            "acknowledge",
            "When nobody is given the message again: once this block, or once the whole run is COMPLETED. Of a run that ends otherwise the message goes back to its channel. Default: block.",
            Shape::Words(&["block", "run"]),
        ),
        Field::new(
            "output",
            "The message, or an object with id, message, deliveries and sentAt. Default: message.",
            Shape::Words(&["message", "delivery"]),
        ),
    ],
    bare: &[],
    unavailable: &[],
};

impl Receive {
    pub(crate) fn read(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<Self> {
        let channel = channel(config, report);
        let words = [("block", Acknowledge::Block), ("run", Acknowledge::Run)];
        let acknowledge = config.take("acknowledge", report).and_then(|spot| spot.word(&words, report));
        let words = [("message", false), ("delivery", true)];
        let whole_delivery = config.take("output", report).and_then(|spot| spot.word(&words, report));
        Some(Self {
            channel: channel?,
            acknowledge: acknowledge.unwrap_or(Acknowledge::Block),
            whole_delivery: whole_delivery.unwrap_or(false),
        })
    }
}

/// The channel, which stands literally in the definition: whoever reads that sees which workflows talk to each other.
pub(crate) fn channel(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let Some(spot) = config.take("channel", report) else {
        config.missing("channel", "the name of a channel, such as \"channel\": \"jobs\"", report);
        return None;
    };
    let name = spot.string(report)?;
    if !is_name(name) {
        let message = if scan::is_template(name) {
            "the name of a channel cannot come out of a template".to_owned()
        } else {
            format!("`{}` is no name of a channel", clip(name))
        };
        spot.refuse(Finding::new("invalid-name", message).help(NAME_HELP), report);
        return None;
    }
    Some(name.to_owned())
}
