//! `transform`: a jq program over the input.

use crate::definition::Isolation;
use crate::field::{Field, Shape};
use crate::jq::Program;
use crate::limits;
use crate::parse::config::{Config, Kind};
use crate::parse::report::{Finding, Report};
use crate::parse::spot::Spot;

/// Configuration of a `transform` block.
#[derive(Debug)]
pub struct Transform {
    /// The program, over the block's input as JSON.
    pub program: Program,
}

pub(crate) static KIND: Kind = Kind {
    fields: &[Field::new(
        "jq",
        "A jq program over the block's input. Its output is the block's; several are a list, none is null.",
        Shape::Text,
    )],
    bare: &[],
    unavailable: &[],
};

impl Transform {
    pub(crate) fn read(config: &Config<'_, '_>, isolation: Isolation, report: &mut Report<'_>) -> Option<Self> {
        let Some(spot) = config.take("jq", report) else {
            config.missing("jq", "a jq program, such as \"parameter\": { \"jq\": \".items | length\" }", report);
            return None;
        };
        if isolation == Isolation::Thread {
            let finding =
                Finding::new("isolation", "a program cannot run on a thread: it may never end, and take any memory");
            spot.refuse(finding.help("leave `isolation` out, or write \"isolation\": \"process\""), report);
        }
        program(&spot, report).map(|program| Self { program })
    }
}

fn program(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<Program> {
    let text = spot.string(report)?;
    if text.len() > limits::JQ_BYTES_MAX {
        let message = format!("the program has {} bytes; the limit is {}", text.len(), limits::JQ_BYTES_MAX);
        spot.refuse(Finding::new("too-long", message), report);
        return None;
    }
    match Program::compile(text) {
        Ok(program) => Some(program),
        Err(mistakes) => {
            for mistake in mistakes {
                let before = &text[..text.floor_char_boundary(mistake.at.start)];
                let (line, column) =
                    (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1);
                let message = format!("{}, at line {line}, column {column} of the program", mistake.message);
                spot.refuse(Finding::new("jq", message), report);
            }
            None
        }
    }
}
