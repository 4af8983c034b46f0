//! `send`: a message to a channel, for one run that receives from it.

use std::time::Duration;

use crate::block::receive::{CHANNEL, channel};
use crate::field::{Field, Shape};
use crate::parse::config::{Config, Kind};
use crate::parse::report::Report;
use crate::template::JsonTemplate;

/// Configuration of a `send` block.
#[derive(Debug)]
pub struct Send {
    /// The channel.
    pub channel: String,
    /// The message; the block's input without it.
    pub message: Option<JsonTemplate>,
    /// How long it waits for a receiver before it is dead.
    pub ttl: Option<Duration>,
    /// What happens when the channel is full.
    pub on_full: OnFull,
}

/// What happens when a channel is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// The block is BLOCKED until there is room.
    Wait,
    /// The block fails.
    Fail,
}

pub(crate) static KIND: Kind = Kind {
    fields: &[
        CHANNEL,
        Field::new("message", "The message. Default: the block's input.", Shape::Any),
        Field::new("ttl", "How long it waits for a receiver before it is dead. Default: for ever.", Shape::Duration),
        Field::new("on_full", "What happens when the channel is full. Default: wait.", Shape::Words(&["wait", "fail"])),
    ],
    bare: &[],
    unavailable: &[],
};

impl Send {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.literal().is_none())
    }

    pub(crate) fn read(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<Self> {
        let channel = channel(config, report);
        let message = match config.take("message", report) {
            Some(spot) => spot.json(report).map(Some),
            None => Some(None),
        };
        let ttl = config.take("ttl", report).and_then(|spot| spot.timeout(report));
        let words = [("wait", OnFull::Wait), ("fail", OnFull::Fail)];
        let on_full = config.take("on_full", report).and_then(|spot| spot.word(&words, report));
        Some(Self { channel: channel?, message: message?, ttl, on_full: on_full.unwrap_or(OnFull::Wait) })
    }
}
