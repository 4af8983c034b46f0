//! Who runs when: priorities, rings, ageing, preemption, quanta.

use runlet_kernel::{Event, Span, Time};
use runlet_proto::ids::{Priority, RunId};
use runlet_proto::state::RunState;

use crate::driver::{Did, Driver, brief, one, plan};

/// Completes whatever is dispatched, in order, and returns the runs.
fn drain(driver: &mut Driver) -> Vec<RunId> {
    let mut order = Vec::new();
    loop {
        let dispatched: Vec<_> = driver
            .did()
            .into_iter()
            .filter_map(|did| match did {
                Did::Dispatch(run, block) => Some((run, block)),
                Did::Continue(..) | Did::Preempt(..) | Did::Drop(..) => None,
                Did::Cancel(..) | Did::Ended(..) | Did::Progressed(..) | Did::Observe(_) => None,
            })
            .collect();
        if dispatched.is_empty() {
            return order;
        }
        for (run, block) in dispatched {
            order.push(run);
            driver.complete(run, block);
        }
    }
}

#[test]
fn a_neighbours_single_run_is_delayed_by_one_turn() {
    let mut driver = Driver::new(1);
    let many = one("many");
    let queued: Vec<_> = (0..200).map(|_| driver.submit(&many)).collect();
    let single = driver.submit(&one("single"));
    let order = drain(&mut driver);
    assert_eq!(order[..3], [queued[0], queued[1], single]);
    assert_eq!(order[3..], queued[2..]);
}

#[test]
fn higher_priority_first_and_first_in_first_out_inside_a_workflow() {
    let mut driver = Driver::new(1);
    let plan = one("w");
    let running = driver.submit_at(&plan, 9);
    let runs = [2, 7, 7, 4].map(|level| driver.submit_at(&plan, level));
    assert_eq!(drain(&mut driver), [running, runs[1], runs[2], runs[3], runs[0]]);
}

#[test]
fn a_higher_priority_preempts_at_once_and_the_victim_goes_on_later() {
    let mut driver = Driver::new(1);
    let low = driver.submit_at(&one("low"), 3);
    let high = driver.submit_at(&one("high"), 6);
    assert_eq!(driver.did(), [Did::Dispatch(low, 0), Did::Preempt(low, 0)]);
    driver.give_back(low, 0);
    assert_eq!(driver.state(low), RunState::Ready);
    assert_eq!(driver.did(), [Did::Dispatch(high, 0)]);
    driver.complete(high, 0);
    assert_eq!(driver.did(), [Did::Ended(high, RunState::Completed), Did::Continue(low, 0)]);
}

#[test]
fn of_several_the_lowest_gives_way() {
    let mut driver = Driver::new(3);
    let runs = [5, 2, 4].map(|level| driver.submit_at(&one(&format!("w{level}")), level));
    driver.did();
    driver.submit_at(&one("high"), 9);
    assert_eq!(driver.did(), [Did::Preempt(runs[1], 0)]);
    // The slot that was asked for is promised: the next one asks the next.
    driver.submit_at(&one("high"), 9);
    assert_eq!(driver.did(), [Did::Preempt(runs[2], 0)]);
}

#[test]
fn an_equal_priority_waits_for_the_quantum_and_time_is_kept_only_then() {
    let mut driver = Driver::new(1);
    let first = driver.submit(&one("a"));
    assert_eq!(driver.kernel.poll_timeout(), None);
    let second = driver.submit(&one("b"));
    assert_eq!(driver.did(), [Did::Dispatch(first, 0)]);
    assert_eq!(driver.pass(), Span(20));
    assert_eq!(driver.did(), [Did::Preempt(first, 0)]);
    driver.give_back(first, 0);
    assert_eq!(driver.did(), [Did::Dispatch(second, 0)]);
    driver.complete(second, 0);
    assert_eq!(driver.did(), [Did::Ended(second, RunState::Completed), Did::Continue(first, 0)]);
    assert_eq!(driver.kernel.poll_timeout(), None, "nobody waits, so no quantum is timed");
}

#[test]
fn a_light_attempt_is_not_stopped_for_the_next_run_of_its_own_workflow() {
    let mut driver = Driver::new(1);
    let mine = one("mine");
    let first = driver.submit(&mine);
    driver.submit(&mine);
    assert_eq!(driver.did(), [Did::Dispatch(first, 0)]);
    assert_eq!(driver.kernel.poll_timeout(), Some(Time(1_000)), "only age is timed");
    // Another workflow has a right to its turn.
    driver.submit(&one("another"));
    assert_eq!(driver.pass(), Span(20));
    assert_eq!(driver.did(), [Did::Preempt(first, 0)]);
}

#[test]
fn what_has_begun_goes_on_before_its_workflow_begins_anything_new() {
    let mut driver = Driver::new(1);
    let mine = one("mine");
    let first = driver.submit(&mine);
    let other = driver.submit(&one("other"));
    let fresh = driver.submit(&mine);
    driver.did();
    driver.pass();
    assert_eq!(driver.did(), [Did::Preempt(first, 0)]);
    driver.give_back(first, 0);
    assert_eq!(driver.did(), [Did::Dispatch(other, 0)]);
    driver.complete(other, 0);
    assert_eq!(driver.did(), [Did::Ended(other, RunState::Completed), Did::Continue(first, 0)]);
    driver.complete(first, 0);
    assert_eq!(driver.did(), [Did::Ended(first, RunState::Completed), Did::Dispatch(fresh, 0)]);
}

#[test]
fn a_holder_that_does_not_yield_does_not_shield_the_others() {
    let mut driver = Driver::new(2);
    let (stuck, other) = (driver.submit(&one("a")), driver.submit(&one("b")));
    driver.submit(&one("c"));
    driver.did();
    driver.pass();
    assert_eq!(driver.did(), [Did::Preempt(stuck, 0)]);
    // A quantum later the promise is broken, and the next holder is asked.
    assert_eq!(driver.pass(), Span(20));
    assert_eq!(driver.did(), [Did::Preempt(other, 0)]);
}

#[test]
fn the_lowest_priority_gets_its_share_under_a_flood() {
    let mut driver = Driver::new(1);
    let low = driver.submit_at(&one("low"), 9);
    driver.complete(low, 0);
    let flood = one("flood");
    driver.submit_at(&flood, 9);
    driver.submit_at(&flood, 9);
    let low = driver.submit_at(&one("low"), 0);
    driver.did();
    let mut served_after = None;
    for round in 0..200u64 {
        let holder = driver.kernel.runs().find(|run| run.state == RunState::Running).map(|run| run.id);
        let Some(holder) = holder else { panic!("the slot is idle") };
        if holder == low {
            served_after = Some(round);
            break;
        }
        driver.now = driver.now + Span(10);
        driver.submit_at(&flood, 9);
        driver.complete(holder, 0);
        driver.kernel.forget(holder);
    }
    // Ageing is 1,000 and a round takes 10.
    assert_eq!(served_after, Some(100));
    driver.did();
    driver.submit_at(&flood, 9);
    assert_eq!(driver.did(), [], "what age brought to a slot keeps it for a quantum");
    assert_eq!(driver.pass(), Span(20));
    assert_eq!(driver.did(), [Did::Preempt(low, 0)]);
}

#[test]
fn an_old_waiter_gets_a_slot_from_a_higher_priority_that_never_ends() {
    let mut driver = Driver::new(1);
    let hog = driver.submit_at(&one("hog"), 9);
    let low = driver.submit_at(&one("low"), 0);
    driver.did();
    assert_eq!(driver.pass(), Span(1_000));
    assert_eq!(driver.did(), [Did::Preempt(hog, 0)]);
    driver.give_back(hog, 0);
    assert_eq!(driver.did(), [Did::Dispatch(low, 0)]);
}

#[test]
fn renice_moves_what_waits_and_what_runs() {
    let mut driver = Driver::new(1);
    let running = driver.submit(&one("a"));
    let (second, third) = (driver.submit(&one("b")), driver.submit(&one("c")));
    driver.did();
    driver.event(Event::Renice { run: third, priority: Priority::MAX }).expect("it is live");
    assert_eq!(driver.did(), [Did::Preempt(running, 0)]);
    driver.give_back(running, 0);
    assert_eq!(driver.did(), [Did::Dispatch(third, 0)]);
    driver.event(Event::Renice { run: third, priority: Priority::MIN }).expect("it is live");
    assert_eq!(driver.did(), [Did::Preempt(third, 0)]);
    driver.give_back(third, 0);
    assert_eq!(driver.did(), [Did::Dispatch(second, 0)]);
}

#[test]
fn brief_blocks_need_no_slot() {
    let mut driver = Driver::new(1);
    let busy = driver.submit(&one("busy"));
    let quick = driver.submit(&plan("quick", vec![brief("a", &[]), brief("b", &[0])]).into());
    assert_eq!(driver.did(), [Did::Dispatch(busy, 0), Did::Dispatch(quick, 0)]);
    driver.wait(quick, 0);
    assert_eq!(driver.state(quick), RunState::Blocked);
    driver.wake(quick, 0);
    driver.complete(quick, 0);
    driver.complete(quick, 1);
    let expected = [Did::Continue(quick, 0), Did::Dispatch(quick, 1), Did::Ended(quick, RunState::Completed)];
    assert_eq!(driver.did(), expected);
}
