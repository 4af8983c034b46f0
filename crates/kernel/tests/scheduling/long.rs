//! Attempts that have used up a quantum: whom they give way to, and what becomes of them without a place to be parked at.

use runlet_kernel::{Event, Span};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;

use crate::driver::{Did, Driver, block, one, plan};

/// Runs of so many workflows on one slot, each preempted once it has used up its quantum.
fn hogs(driver: &mut Driver, workflows: usize) -> Vec<RunId> {
    let runs: Vec<_> = (0..workflows).map(|at| driver.submit(&one(&format!("hog{at}")))).collect();
    assert_eq!(driver.did(), [Did::Dispatch(runs[0], 0)]);
    for (at, run) in runs.iter().enumerate().take(workflows - 1) {
        driver.pass();
        let asked = driver.did();
        assert!(asked == [Did::Preempt(*run, 0)] || asked == [Did::Drop(*run, 0)], "{asked:?}");
        driver.give_back(*run, 0);
        assert_eq!(driver.did(), [Did::Dispatch(runs[at + 1], 0)]);
    }
    runs
}

#[test]
fn who_has_not_had_a_quantum_goes_before_those_who_have() {
    let mut driver = Driver::new(1);
    let hogs = hogs(&mut driver, 4);
    driver.now = driver.now + Span(20);
    let quick = driver.submit(&one("quick"));
    assert_eq!(driver.did(), [Did::Preempt(hogs[3], 0)]);
    driver.give_back(hogs[3], 0);
    assert_eq!(driver.did(), [Did::Dispatch(quick, 0)], "three others wait for longer");
    driver.complete(quick, 0);
    assert_eq!(driver.did(), [Did::Ended(quick, RunState::Completed), Did::Continue(hogs[0], 0)]);
    // One that goes on gives way at once, long before another quantum is over.
    let quick = driver.submit(&one("quick"));
    assert_eq!(driver.did(), [Did::Preempt(hogs[0], 0)]);
    driver.give_back(hogs[0], 0);
    assert_eq!(driver.did(), [Did::Dispatch(quick, 0)]);
}

#[test]
fn a_first_quantum_is_interrupted_by_a_higher_priority_only() {
    let mut driver = Driver::new(1);
    let first = driver.submit(&one("first"));
    driver.now = driver.now + Span(10);
    driver.submit(&one("second"));
    assert_eq!(driver.did(), [Did::Dispatch(first, 0)]);
    assert_eq!(driver.pass(), Span(10));
    assert_eq!(driver.did(), [Did::Preempt(first, 0)]);
}

#[test]
fn long_attempts_share_the_slot_in_turns() {
    let mut driver = Driver::new(1);
    let hogs = hogs(&mut driver, 3);
    let mut holder = hogs[2];
    for turn in [0, 1, 2, 0, 1, 2].map(|at| hogs[at]) {
        assert_eq!(driver.pass(), Span(20));
        assert_eq!(driver.did(), [Did::Preempt(holder, 0)]);
        driver.give_back(holder, 0);
        assert_eq!(driver.did(), [Did::Continue(turn, 0)]);
        holder = turn;
    }
}

#[test]
fn a_workflow_that_is_about_to_go_on_goes_behind_others_as_a_whole() {
    let mut driver = Driver::new(1);
    let mine = one("mine");
    let long = driver.submit(&mine);
    let other = driver.submit(&one("other"));
    driver.did();
    driver.pass();
    driver.give_back(long, 0);
    let fresh = driver.submit(&mine);
    let later = driver.submit(&one("later"));
    driver.did();
    driver.complete(other, 0);
    assert_eq!(driver.did(), [Did::Ended(other, RunState::Completed), Did::Dispatch(later, 0)]);
    driver.complete(later, 0);
    assert_eq!(driver.did(), [Did::Ended(later, RunState::Completed), Did::Continue(long, 0)]);
    driver.complete(long, 0);
    assert_eq!(driver.did(), [Did::Ended(long, RunState::Completed), Did::Dispatch(fresh, 0)]);
}

#[test]
fn without_a_place_an_attempt_begins_again_once_it_has_one() {
    let mut driver = Driver::with_places(1, 1);
    let runs: Vec<_> = (0..3).map(|at| driver.submit(&one(&format!("hog{at}")))).collect();
    driver.did();
    driver.pass();
    assert_eq!(driver.did(), [Did::Preempt(runs[0], 0)]);
    driver.give_back(runs[0], 0);
    driver.did();
    driver.pass();
    assert_eq!(driver.did(), [Did::Drop(runs[1], 0)], "the only place is taken");
    driver.give_back(runs[1], 0);
    assert_eq!((driver.state(runs[1]), driver.kernel.counts().awaiting_parking), (RunState::Ready, 1));
    assert_eq!(driver.did(), [Did::Dispatch(runs[2], 0)]);
    driver.complete(runs[2], 0);
    assert_eq!(driver.did(), [Did::Ended(runs[2], RunState::Completed), Did::Continue(runs[0], 0)]);
    assert_eq!(driver.kernel.poll_timeout(), None, "who waits for a place does not claim the slot");
    driver.complete(runs[0], 0);
    assert_eq!(driver.did(), [Did::Ended(runs[0], RunState::Completed), Did::Dispatch(runs[1], 0)]);
    let block = &driver.kernel.run(runs[1]).expect("it is live").blocks[0];
    assert_eq!((block.attempt.0, block.retries), (1, 0), "it is the same attempt");
    // Now it has the place, and keeps what it does.
    driver.now = driver.now + Span(5);
    driver.submit(&one("quick"));
    assert_eq!(driver.did(), [Did::Preempt(runs[1], 0)]);
}

#[test]
fn who_stops_waiting_for_a_place_leaves_nothing_behind() {
    let mut driver = Driver::with_places(1, 1);
    let runs = hogs(&mut driver, 3);
    assert_eq!(driver.kernel.counts().awaiting_parking, 1);
    driver.event(Event::Pause { run: runs[1] }).expect("it is live");
    assert_eq!(driver.kernel.counts().awaiting_parking, 0);
    driver.event(Event::Resume { run: runs[1] }).expect("it is paused");
    assert_eq!(driver.kernel.counts().awaiting_parking, 1);
    driver.event(Event::Stop { run: runs[1], reason: "enough".into() }).expect("it is live");
    driver.event(Event::Stop { run: runs[0], reason: "enough".into() }).expect("it is live");
    let counts = driver.kernel.counts();
    assert_eq!((counts.awaiting_parking, counts.parked_attempts, counts.slots_given_up), (0, 0, 0));
}

#[test]
fn what_has_made_calls_cannot_begin_again_and_keeps_its_slot_while_no_place_is_free() {
    let mut driver = Driver::with_places(1, 1);
    let parked = driver.submit(&one("parked"));
    let caller = driver.submit(&plan("caller", vec![block("calls", &[])]).into());
    driver.did();
    driver.pass();
    driver.give_back(parked, 0);
    driver.wait(caller, 0);
    driver.wake(caller, 0);
    driver.did();
    driver.give_back(parked, 0);
    assert_eq!(driver.did(), [Did::Continue(caller, 0)]);
    driver.now = driver.now + Span(50);
    driver.submit(&one("other"));
    assert_eq!(driver.did(), [], "nothing of the caller's work can be given up");
    driver.event(Event::Stop { run: parked, reason: "its place is needed".into() }).expect("it is live");
    let stopped = [Did::Cancel(parked, 0), Did::Ended(parked, RunState::Stopped), Did::Preempt(caller, 0)];
    assert_eq!(driver.did(), stopped);
}
