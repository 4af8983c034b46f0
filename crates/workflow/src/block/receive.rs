//! `receive`: waits for a message of a channel.

use std::time::Duration;

use super::send::channel;
use crate::field::{Field, Shape};
use crate::limits;
use crate::parse::config::{Config, Kind};
use crate::parse::report::{Finding, Report};
use crate::template::{JsonTemplate, TextTemplate};

/// Configuration of a `receive` block.
#[derive(Debug)]
pub struct Receive {
    /// The channel.
    pub channel: TextTemplate,
    /// How long a message is waited for; without, as long as the block may take.
    pub timeout: Option<Duration>,
    /// The output when none came; without, the block fails.
    pub default: Option<JsonTemplate>,
    /// When the message is done with.
    pub acknowledge: Acknowledge,
    /// After how many deliveries that were not acknowledged it is dead.
    pub deliveries_max: u32,
    /// Whether the output tells number, time and deliveries too.
    pub detail: bool,
}

/// When a message is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When the block has completed.
    Block,
    /// When the run has COMPLETED; one that FAILED or was STOPPED gives it back.
    Run,
}

const ACKNOWLEDGE_WORDS: [(&str, Acknowledge); 2] = [("block", Acknowledge::Block), ("run", Acknowledge::Run)];

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new("channel", "Name of the channel.", Shape::Template),
        Field::new(
            "timeout",
            "How long a message is waited for. Default: as long as the block may take.",
            Shape::Duration,
        ),
        Field::new(
            "default",
            "The output when none came within `timeout`, which must be there. Without it, the block fails.",
            Shape::Any,
        ),
        Field::new(
            "acknowledge",
            "When the message is done with: with this block, or with the run, which gives it back if it fails. Default: block.",
            Shape::Words(&["block", "run"]),
        ),
        Field::new(
            "deliveries",
            "After how many deliveries that were not acknowledged it is dead. Default: 5.",
            Shape::Integer(1, limits::DELIVERIES_MAX as u64),
        ),
        Field::new(
            "detail",
            "Whether the output is an object of id, message, sentAtMs and deliveries instead of the message.",
            Shape::Flag,
        ),
    ],
    bare: &[],
    unavailable: &[],
};

impl Receive {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.channel.literal().is_none() || self.default.as_ref().is_some_and(|default| default.literal().is_none())
    }

    pub(crate) fn read(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<Self> {
        let acknowledge = config.take("acknowledge", report).and_then(|spot| spot.word(&ACKNOWLEDGE_WORDS, report));
        let deliveries = config
            .take("deliveries", report)
            .and_then(|spot| spot.integer(1..=u64::from(limits::DELIVERIES_MAX), report));
        let (default, timeout) = (config.take("default", report), config.take("timeout", report));
        if let (Some(default), None) = (&default, &timeout) {
            let message = "`default` stands for a message that does not come in time, and there is no `timeout`";
            default
                .refuse(Finding::new("missing-field", message).help("add one, such as \"timeout\": \"10s\""), report);
        }
        let default = default.map(|spot| spot.json(report));
        Some(Self {
            timeout: timeout.and_then(|spot| spot.timeout(report)),
            default: default.map_or(Some(None), |default| default.map(Some))?,
            acknowledge: acknowledge.unwrap_or(Acknowledge::Block),
            deliveries_max: deliveries.and_then(|most| u32::try_from(most).ok()).unwrap_or(limits::DELIVERIES_DEFAULT),
            detail: config.take("detail", report).and_then(|spot| spot.flag(report)).unwrap_or(false),
            channel: channel(config, report)?,
        })
    }
}
