//! Reading beside a writer and without one: history page by page, one run, ids by their ends, dead letters.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use runlet_journal::{Entry, HistoryFilter, Reader, RunLine};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use support::{Opened, began, done, ended, json, run};

const STATES: [RunState; 3] = [RunState::Completed, RunState::Failed, RunState::Stopped];

/// Twenty runs of two workflows: every fourth is open, the others have ended in turn.
fn write_history(opened: &Opened) {
    for number in 0..20_u128 {
        let mut begin = began(run(number));
        begin.workflow = if number % 2 == 0 { "shop" } else { "rates" }.to_owned();
        match number % 4 {
            3 => opened.write(vec![Entry::Began(begin)]),
            state => opened.write(vec![Entry::Whole(begin, ended(run(number), STATES[state as usize]))]),
        }
    }
}

fn numbers(lines: &[RunLine]) -> Vec<u128> {
    lines.iter().map(|line| (0..100).find(|number| run(*number) == line.run).unwrap()).collect()
}

#[test]
fn history_is_filtered_and_read_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    write_history(&opened);
    let reader = Reader::open(directory.path()).unwrap();
    let list = |filter: HistoryFilter| reader.history(&HistoryFilter { limit: filter.limit.max(1), ..filter }).unwrap();

    let all = list(HistoryFilter { limit: 100, ..Default::default() });
    assert_eq!(numbers(&all), (0..20).rev().collect::<Vec<_>>());
    let mut paged: Vec<RunLine> = Vec::new();
    loop {
        let before = paged.last().map(|line| line.run);
        let page = list(HistoryFilter { limit: 7, before, ..Default::default() });
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);

    let of = |states: &[RunState]| {
        numbers(&list(HistoryFilter { states: states.to_vec(), limit: 100, ..Default::default() }))
    };
    assert_eq!(of(&[RunState::Failed]), [17, 13, 9, 5, 1]);
    assert_eq!(of(&[RunState::Running]), [19, 15, 11, 7, 3], "any state that is not terminal stands for open runs");
    assert_eq!(of(&[RunState::Blocked, RunState::Stopped]).len(), 10);
    let rates = HistoryFilter { workflows: vec!["rates".to_owned()], limit: 3, ..Default::default() };
    assert_eq!(numbers(&list(rates)), [19, 17, 15]);
    let since = HistoryFilter { since_ms: Some(run(17).unix_ms()), limit: 100, ..Default::default() };
    assert_eq!(numbers(&list(since)), [19, 18, 17]);
    let none = HistoryFilter { workflows: vec!["other' OR 1".to_owned()], limit: 100, ..Default::default() };
    assert_eq!(list(none), []);

    let failed = &all[2];
    assert_eq!((failed.state, &*failed.workflow, failed.ended_at_ms), (Some(RunState::Failed), "rates", Some(1_027)));
    let error = failed.error.as_deref();
    assert_eq!(error, Some("block `page`, attempt 2: connection refused by 192.0.2.1"));
    assert_eq!((all[0].state, all[0].ended_at_ms, &all[0].error), (None, None, &None));
}

#[test]
fn a_reader_sees_what_is_written_after_it_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.run(run(1)).unwrap(), None);
    opened.write(vec![Entry::Began(began(run(1)))]);
    opened.write(vec![Entry::BlockEnded { run: run(1), block: 0, done: done(1, json("1")) }]);
    let open = reader.run(run(1)).unwrap().unwrap();
    assert_eq!((open.ended, open.blocks.len()), (None, 1));
    opened.write(vec![Entry::Ended(ended(run(1), RunState::Completed))]);
    let stored = reader.run(run(1)).unwrap().unwrap();
    assert_eq!((stored.ended, stored.blocks.len()), (Some(*ended(run(1), RunState::Completed)), 0));
    opened.close();
    // And when the writer is gone, as well as one opened then.
    assert!(reader.run(run(1)).unwrap().is_some());
    assert!(Reader::open(directory.path()).unwrap().run(run(1)).unwrap().is_some());
}

#[test]
fn runs_are_found_by_the_beginning_or_the_end_of_their_id() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let ids: [RunId; 3] = [
        "01932c07-1f3e-7abc-8def-0123456789ab".parse().unwrap(),
        "01932c07-1f3e-7abc-8def-0123456789ff".parse().unwrap(),
        "01942c07-1f3e-7abc-8def-ab23456789ff".parse().unwrap(),
    ];
    opened.write(ids.map(|id| Entry::Began(began(id))).to_vec());
    let reader = Reader::open(directory.path()).unwrap();
    let find = |part: &str| reader.find(part, 10).unwrap();
    assert_eq!(find("01932c07-1f3e"), [ids[1], ids[0]]);
    assert_eq!(find("01932C071F3E7"), [ids[1], ids[0]]);
    assert_eq!(find("89ab"), [ids[0]]);
    assert_eq!(find("9ff"), [ids[2], ids[1]]);
    assert_eq!(find(&ids[2].to_string()), [ids[2]]);
    assert_eq!(find("019"), [ids[2], ids[1], ids[0]]);
    assert_eq!(reader.find("019", 2).unwrap(), [ids[2], ids[1]]);
    for nothing in ["", "xyz", "%", "_", "0193'", &"0".repeat(40), "-"] {
        assert_eq!(find(nothing), [], "{nothing}");
    }
}

#[test]
fn dead_letters_are_failed_runs_nobody_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    write_history(&opened);
    let mut again = began(run(30));
    again.retry_of = Some(run(9));
    opened.write(vec![Entry::Began(again)]);
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(numbers(&reader.dead(10).unwrap()), [17, 13, 5, 1]);
    assert_eq!(numbers(&reader.dead(2).unwrap()), [17, 13]);
    assert_eq!(reader.run(run(9)).unwrap().unwrap().retried_by, Some(run(30)));
    opened.write(vec![Entry::Ended(ended(run(30), RunState::Failed))]);
    assert_eq!(numbers(&reader.dead(1).unwrap()), [30], "a repetition that failed is dead itself");
}
