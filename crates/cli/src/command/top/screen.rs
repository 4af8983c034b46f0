//! What `runlet top` draws: a head, the runs, and one line for what can be done or was.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row as TableRow, Table, TableState};
use runlet_proto::ids::{Priority, RunId};
use runlet_proto::state::RunState;

use super::control::HELP;
use super::sample::{COLUMNS, Row, View};
use crate::limits::TOP_NAME_COLUMNS_MAX;
use crate::output::{colours_on_stdout, one_line};

/// What is on the screen.
#[derive(Debug)]
pub(super) struct Screen {
    view: View,
    /// The run that keys are about: it stays selected wherever it moves to.
    selected: Option<RunId>,
    table: TableState,
    /// What became of the last key, and for how many listings it stays.
    said: Option<(String, u8)>,
}

/// Listings that a message stays for.
const MESSAGE_STAYS: u8 = 4;

impl Screen {
    pub(super) fn new(view: View) -> Self {
        let mut screen = Self { view, selected: None, table: TableState::default(), said: None };
        screen.select(0);
        screen
    }

    /// Shows another listing. If the selected run is gone, the one in its place is selected.
    pub(super) fn renew(&mut self, view: View) {
        self.view = view;
        self.said = self.said.take().and_then(|(said, left)| Some((said, left.checked_sub(1)?)));
        self.select(0);
    }

    /// Selects the run so many lines further down, or up.
    pub(super) fn select(&mut self, steps: isize) {
        let last = self.view.rows.len().saturating_sub(1);
        let at = self.position().or_else(|| self.table.selected()).unwrap_or(0).min(last);
        let at = at.saturating_add_signed(steps).min(last);
        self.selected = self.view.rows.get(at).map(|row| row.run.id);
        self.table.select(self.selected.map(|_| at));
    }

    pub(super) fn selected(&self) -> Option<RunId> {
        self.selected
    }

    /// The selected run and the priority it is to have, unless there is none beyond the one it has.
    pub(super) fn reniced(&self, steps: i8) -> Option<(RunId, Priority)> {
        let run = &self.view.rows.get(self.position()?)?.run;
        let level = run.priority.level().checked_add_signed(steps)?;
        Some((run.id, Priority::new(level)?))
    }

    /// Says something in the last line.
    pub(super) fn say(&mut self, what: String) {
        self.said = Some((what, MESSAGE_STAYS));
    }

    fn position(&self) -> Option<usize> {
        self.view.rows.iter().position(|row| Some(row.run.id) == self.selected)
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let head = self.view.head();
        let areas = Layout::vertical([
            Constraint::Length(u16::try_from(head.len()).unwrap_or(u16::MAX)),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ]);
        let [head_area, _, table_area, foot_area] = areas.areas(frame.area());
        let colours = colours_on_stdout();
        frame.render_widget(Text::from_iter(head), head_area);
        let cells: Vec<_> = self.view.rows.iter().map(|row| self.view.cells(row)).collect();
        let rows = self.view.rows.iter().zip(&cells).map(|(row, cells)| line(row, cells, colours));
        let names = TableRow::new(COLUMNS).style(Style::new().add_modifier(Modifier::BOLD));
        let table = Table::new(rows, widths(&cells))
            .header(names)
            .column_spacing(2)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, table_area, &mut self.table);
        let foot = match &self.said {
            Some((said, _)) => Line::from(one_line(said)).style(Style::new().add_modifier(Modifier::BOLD)),
            None => Line::from(HELP).style(Style::new().add_modifier(Modifier::DIM)),
        };
        frame.render_widget(foot, foot_area);
    }
}

fn line<'a>(row: &Row, cells: &'a [String; COLUMNS.len()], colours: bool) -> TableRow<'a> {
    let style = if colours { Style::new().fg(colour(row.run.state)) } else { Style::new() };
    TableRow::new(cells.iter().enumerate().map(|(index, cell)| {
        let cell = Cell::from(cell.as_str());
        if COLUMNS[index] == "STATE" { cell.style(style) } else { cell }
    }))
}

fn colour(state: RunState) -> Color {
    match state {
        RunState::Ready | RunState::Running => Color::Green,
        RunState::Blocked | RunState::Paused => Color::Yellow,
        RunState::Completed => Color::Reset,
        RunState::Failed => Color::Red,
        RunState::Stopped => Color::Magenta,
    }
}

/// As wide as what is in them, names within bounds; the last has the rest.
fn widths(rows: &[[String; COLUMNS.len()]]) -> Vec<Constraint> {
    let width = |(index, name): (usize, &&str)| {
        if index == COLUMNS.len() - 1 {
            return Constraint::Min(10);
        }
        let widest = rows.iter().map(|cells| cells[index].chars().count()).max().unwrap_or(0);
        let widest = widest.min(TOP_NAME_COLUMNS_MAX).max(name.len());
        Constraint::Length(u16::try_from(widest).unwrap_or(u16::MAX))
    };
    COLUMNS.iter().enumerate().map(width).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;
    use runlet_proto::control::RunSummary;

    use super::super::sample::Before;
    use super::super::sample::tests::{run, view};
    use super::*;

    fn screen(runs: Vec<RunSummary>) -> Screen {
        Screen::new(view(runs, &mut Before::default(), Instant::now()))
    }

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("nothing to fail");
        terminal.draw(|frame| screen.draw(frame)).expect("nothing to fail");
        terminal.backend().buffer().clone()
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width);
        let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
        buffer.content.chunks(width).map(|cells| line(cells).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_screen_has_a_head_the_runs_by_their_use_and_the_keys() {
        let hostile = RunSummary { workflow: "a\u{1b}[2J".to_owned(), ..run(2, Some(1_000_000)) };
        let mut screen = screen(vec![run(1, Some(200_000)), hostile]);
        let buffer = drawn(&mut screen, 120, 12);
        let lines = lines(&buffer);
        assert!(lines[0].starts_with("runlet 0.1.0, up 3s: 2 live runs"), "{lines:#?}");
        assert!(lines[4].starts_with("RUN           STATE    LANE   PID  PRI  %CPU  CPU    RSS"), "{lines:#?}");
        assert!(lines[5].starts_with("000000000002  RUNNING  heavy  42   5    50.0  1.00s  8.0M"), "{lines:#?}");
        assert!(lines[5].contains("a?[2J"), "{lines:#?}");
        assert!(lines[6].starts_with("000000000001"), "{lines:#?}");
        assert_eq!(lines[11], HELP);
        assert!(buffer[(0, 5)].modifier.contains(Modifier::REVERSED), "the first run is selected");
    }

    #[test]
    fn a_screen_too_small_for_anything_is_drawn_all_the_same() {
        for (width, height) in [(1, 1), (10, 3), (200, 2)] {
            let _ = drawn(&mut screen(vec![run(1, None)]), width, height);
        }
    }

    #[test]
    fn the_selected_run_stays_selected_wherever_it_moves_to() {
        let mut screen = screen(vec![run(1, Some(900_000)), run(2, Some(500_000)), run(3, None)]);
        screen.select(1);
        assert_eq!(screen.selected().map(RunId::as_u128), Some(2));
        screen.renew(view(vec![run(1, None), run(2, Some(500_000))], &mut Before::default(), Instant::now()));
        assert_eq!((screen.selected().map(RunId::as_u128), screen.table.selected()), (Some(2), Some(0)));
        screen.renew(view(vec![run(1, None)], &mut Before::default(), Instant::now()));
        assert_eq!(screen.selected().map(RunId::as_u128), Some(1), "it is gone: the one in its place");
        screen.renew(view(Vec::new(), &mut Before::default(), Instant::now()));
        assert_eq!((screen.selected(), screen.reniced(1)), (None, None));
    }

    #[test]
    fn selecting_ends_at_both_ends_and_so_do_priorities() {
        let mut screen = screen((1..=3).map(|number| run(number, None)).collect());
        for (steps, expected) in [(isize::MAX, 1), (1, 1), (isize::MIN, 3), (-1, 3)] {
            screen.select(steps);
            assert_eq!(screen.selected().map(RunId::as_u128), Some(expected));
        }
        assert_eq!(screen.reniced(1).map(|(_, priority)| priority.level()), Some(6));
        assert_eq!(screen.reniced(4).map(|(_, priority)| priority.level()), Some(9));
        assert_eq!((screen.reniced(5), screen.reniced(-6)), (None, None));
    }

    #[test]
    fn what_was_said_stays_for_a_while() {
        let mut screen = screen(vec![run(1, None)]);
        screen.say("it is\nPAUSED".to_owned());
        assert_eq!(lines(&drawn(&mut screen, 80, 8))[7], "it is PAUSED");
        for _ in 0..=MESSAGE_STAYS {
            screen.renew(view(vec![run(1, None)], &mut Before::default(), Instant::now()));
        }
        assert_eq!(lines(&drawn(&mut screen, 120, 8))[7], HELP);
    }
}
