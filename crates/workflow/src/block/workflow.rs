//! `workflow`: a run of another workflow, with the block's input.

use crate::field::{Field, Shape};
use crate::parse::config::{Config, Kind};
use crate::parse::name;
use crate::parse::report::Report;

/// Configuration of a `workflow` block.
#[derive(Debug)]
pub struct Workflow {
    /// The workflow.
    pub name: String,
    /// Whether its output is waited for; without, the block's output names the run.
    pub wait: bool,
}

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new(
            "name",
            "Name of the workflow, which need not be deployed before the run comes here.",
            Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$"),
        ),
        Field::new(
            "wait",
            "Whether the block ends with the run, whose output is its own and whose failure its own; without, its output is the run's id. Default: true.",
            Shape::Flag,
        ),
    ],
    bare: &[],
    unavailable: &[],
};

impl Workflow {
    pub(crate) fn read(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<Self> {
        let wait = config.take("wait", report).and_then(|spot| spot.flag(report));
        let Some(spot) = config.take("name", report) else {
            config.missing("name", "the name of a workflow, such as \"name\": \"rates\"", report);
            return None;
        };
        Some(Self { name: name(&spot, report)?, wait: wait.unwrap_or(true) })
    }
}
