//! `send`: a message for a channel, which a `receive` block of some run takes.

use crate::field::{Field, Shape};
use crate::parse::config::{Config, Kind};
use crate::parse::report::{Finding, Report};
use crate::parse::spot::clip;
use crate::parse::{NAME_HELP, is_name};
use crate::template::{Escape, JsonTemplate, TextTemplate};

/// Configuration of a `send` block.
#[derive(Debug)]
pub struct Send {
    /// The channel.
    pub channel: TextTemplate,
    /// The message; without, the block's input.
    pub message: Option<JsonTemplate>,
}

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new(
            "channel",
            "Name of the channel: a lower-case letter or a digit, then at most 63 of a-z, 0-9, ., _ and -.",
            Shape::Template,
        ),
        Field::new("message", "The message: any JSON. Default: the block's input.", Shape::Any),
    ],
    bare: &[],
    unavailable: &[],
};

impl Send {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.channel.literal().is_none() || self.message.as_ref().is_some_and(|message| message.literal().is_none())
    }

    /// Whether all templates in it are of the element: [`TextTemplate::is_of_element`].
    #[must_use]
    pub fn is_of_element(&self) -> bool {
        self.channel.is_of_element() && self.message.as_ref().is_none_or(JsonTemplate::is_of_element)
    }

    pub(crate) fn read(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<Self> {
        let message = config.take("message", report).map(|spot| spot.json(report));
        let channel = channel(config, report)?;
        Some(Self { channel, message: message.map_or(Some(None), |message| message.map(Some))? })
    }
}

/// The name of a channel.
pub(super) fn channel(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<TextTemplate> {
    let Some(spot) = config.take("channel", report) else {
        config.missing("channel", "the name of a channel, such as \"channel\": \"orders\"", report);
        return None;
    };
    let channel = spot.text(Escape::None, report)?;
    if let Some(name) = channel.literal().filter(|name| !is_name(name)) {
        let finding = Finding::new("invalid-name", format!("`{}` is no name of a channel", clip(name)));
        spot.refuse(finding.help(NAME_HELP), report);
    }
    Some(channel)
}
