//! `runlet top --batch`: listings printed one after the other, for files and pipes.

use std::thread;

use comfy_table::Cell;
use serde_json::{Value, json};

use super::sample::{Before, COLUMNS, View};
use crate::args::Top;
use crate::command::{CommandError, Setting};
use crate::exit_code::ExitCode;
use crate::output::table::Table;
use crate::output::time::rfc3339;
use crate::output::view::{RunView, StatusView};
use crate::output::{self, Format};

/// Prints as many listings as asked for, or until somebody ends it.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(super) fn perform(here: &Setting, args: &Top) -> Result<ExitCode, CommandError> {
    if here.format == Format::Json && args.count != Some(1) {
        return Err(CommandError::Usage {
            message: "`-o json` is one document, and several listings are asked for".to_owned(),
            help: Some("give `--count 1`, or `-o jsonl` for a document a line".to_owned()),
        });
    }
    let mut client = here.connect()?;
    let mut before = Before::default();
    for listing in 1_u64.. {
        let view = View::take(&mut client, &mut before)?;
        match here.format {
            Format::Table => output::text(&text(&view, listing > 1))?,
            Format::Json => output::json(&document(&view))?,
            Format::Jsonl => output::json_line(&document(&view))?,
        }
        if args.count.is_some_and(|count| listing >= count) {
            break;
        }
        thread::sleep(args.delay);
    }
    Ok(ExitCode::Ok)
}

fn text(view: &View, apart: bool) -> String {
    let mut table = Table::new(&COLUMNS, true);
    for row in &view.rows {
        table.row(view.cells(row).into_iter().map(Cell::new).collect());
    }
    let between = if apart { "\n" } else { "" };
    format!("{between}{}\n\n{}", view.head().join("\n"), table.finish())
}

fn document(view: &View) -> Value {
    let runs: Vec<_> = view.rows.iter().map(|row| RunView::from(&row.run).using(row.cpu_percent)).collect();
    json!({ "at": rfc3339(view.at_ms), "status": StatusView::from(&view.status), "runs": runs, "total": view.total })
}
