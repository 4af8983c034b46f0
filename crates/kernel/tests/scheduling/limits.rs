//! What is scarce, and what users hold: concurrency, heavy memory, workers, pause, stop, refusals.

use std::sync::Arc;

use runlet_kernel::{Config, Event, Kernel, OnError, Plan, PlanBlock, PlanError, Rejected, Retry, Span};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::{BlockIndex, RunId};
use runlet_proto::state::{Lane, RunState};

use crate::driver::{Did, Driver, at_most, block, heavy, one, plan};

#[test]
fn concurrency_counts_all_versions_of_a_workflow() {
    let mut driver = Driver::new(8);
    let old = at_most(2, plan("w", vec![block("a", &[])]));
    let new = at_most(2, plan("w", vec![block("b", &[])]));
    let (first, second) = (driver.submit(&old), driver.submit(&new));
    let (low, high) = (driver.submit_at(&new, 2), driver.submit_at(&old, 8));
    assert_eq!(driver.did(), [Did::Dispatch(first, 0), Did::Dispatch(second, 0)]);
    assert_eq!((driver.state(low), driver.kernel.counts().awaiting_admission), (RunState::Ready, 2));
    driver.complete(first, 0);
    assert_eq!(driver.did(), [Did::Ended(first, RunState::Completed), Did::Dispatch(high, 0)]);
    driver.wait(second, 0);
    assert_eq!(driver.did(), [], "a run that waits is under way");
    driver.event(Event::Stop { run: second, reason: "enough".into() }).expect("it is live");
    let stopped = [Did::Cancel(second, 0), Did::Ended(second, RunState::Stopped), Did::Dispatch(low, 0)];
    assert_eq!(driver.did(), stopped);
}

#[test]
fn heavy_runs_are_admitted_as_memory_allows_and_hold_it_to_their_end() {
    let mut driver = Driver::new(8);
    let plan = Arc::new(plan("w", vec![heavy("a", &[]), block("b", &[0])]));
    let (first, second) = (driver.submit(&plan), driver.submit(&plan));
    assert_eq!(driver.did(), [Did::Dispatch(first, 0)]);
    assert_eq!((driver.state(second), driver.kernel.counts().awaiting_memory), (RunState::Ready, 1));
    driver.complete(first, 0);
    assert_eq!(driver.did(), [Did::Dispatch(first, 1)], "its light block runs, its memory is held");
    driver.complete(first, 1);
    assert_eq!(driver.did(), [Did::Ended(first, RunState::Completed), Did::Dispatch(second, 0)]);
}

#[test]
fn memory_of_a_stopped_run_is_free_when_its_worker_is() {
    let mut driver = Driver::new(8);
    let plan = Arc::new(plan("w", vec![heavy("a", &[])]));
    let (first, second) = (driver.submit(&plan), driver.submit(&plan));
    driver.wait(first, 0);
    driver.event(Event::Stop { run: first, reason: "enough".into() }).expect("it is live");
    assert_eq!(driver.did(), [Did::Dispatch(first, 0), Did::Cancel(first, 0), Did::Ended(first, RunState::Stopped)]);
    let error = driver.kernel.run(first).and_then(|run| run.error.clone()).expect("it was stopped");
    assert_eq!((error.failure.class, &*error.failure.message), (FailureClass::Stopped, "enough"));
    driver.complete(first, 0);
    assert_eq!(driver.did(), [Did::Dispatch(second, 0)]);
    assert_eq!(driver.state(first), RunState::Stopped);
}

#[test]
fn a_need_beyond_the_whole_budget_is_refused_by_name() {
    let mut driver = Driver::new(1);
    let big = Plan { heavy_memory_bytes: 101, ..plan("big", vec![heavy("a", &[])]) };
    let refused = driver.try_submit(&Arc::new(big), None, false);
    let expected = Rejected::OverMemoryBudget { workflow: "big".into(), need_bytes: 101, budget_bytes: 100 };
    assert_eq!(refused, Err(expected));
    let light = Plan { heavy_memory_bytes: 101, ..plan("light", vec![block("a", &[])]) };
    let run = driver.submit(&Arc::new(light));
    assert!(matches!(driver.event(Event::Promote { run }), Err(Rejected::OverMemoryBudget { .. })));
}

#[test]
fn heavy_blocks_of_a_run_take_turns_in_its_worker() {
    let mut driver = Driver::new(8);
    let run = driver.submit(&plan("w", vec![heavy("a", &[]), heavy("b", &[])]).into());
    assert_eq!(driver.did(), [Did::Dispatch(run, 0)]);
    driver.wait(run, 0);
    assert_eq!(driver.did(), [Did::Dispatch(run, 1)]);
    driver.wake(run, 0);
    assert_eq!(driver.did(), []);
    driver.complete(run, 1);
    assert_eq!(driver.did(), [Did::Continue(run, 0)]);
}

#[test]
fn a_lost_worker_fails_what_was_under_way_in_it() {
    let mut driver = Driver::new(8);
    let retry = Retry { attempts: 2, delay: Span(10), delay_max: Span(10), ..Retry::NEVER };
    let mut plan = plan("w", vec![heavy("a", &[]), heavy("b", &[]), block("light", &[])]);
    plan.blocks.iter_mut().for_each(|block| block.retry = retry);
    let run = driver.submit(&plan.into());
    driver.wait(run, 0);
    driver.did();
    let failure = Failure::upstream("worker-lost", "killed by signal 9");
    driver.event(Event::WorkerLost { run, failure: failure.clone(), random: 1, last: false }).expect("always taken");
    assert_eq!((driver.did(), driver.state(run)), (vec![], RunState::Running), "the light block goes on");
    driver.pass();
    assert_eq!(driver.did(), [Did::Dispatch(run, 0)]);
    driver.event(Event::WorkerLost { run, failure, random: 1, last: false }).expect("always taken");
    assert_eq!(driver.did(), [Did::Cancel(run, 2), Did::Ended(run, RunState::Failed)]);
    assert_eq!(driver.kernel.counts().heavy_memory_used, 0);
}

#[test]
fn a_run_that_has_had_its_last_worker_fails_whatever_its_policies_say() {
    let mut driver = Driver::new(8);
    let retry = Retry { attempts: 9, ..Retry::NEVER };
    let patient = PlanBlock { retry, on_error: OnError::Skip, ..heavy("a", &[]) };
    let run = driver.submit(&plan("w", vec![patient]).into());
    driver.did();
    let failure = Failure::upstream("quarantined", "three workers died");
    driver.event(Event::WorkerLost { run, failure, random: 1, last: true }).expect("always taken");
    assert_eq!(driver.did(), [Did::Ended(run, RunState::Failed)]);
}

#[test]
fn a_worker_that_is_to_die_takes_nothing_more() {
    let mut driver = Driver::new(1);
    let retry = Retry { attempts: 2, delay: Span(500), delay_max: Span(500), ..Retry::NEVER };
    let slow = PlanBlock { timeout: Some(Span(15)), retry, ..heavy("slow", &[]) };
    let run = driver.submit(&plan("w", vec![slow, heavy("next", &[])]).into());
    let other = driver.submit(&one("other"));
    driver.wait(run, 0);
    assert_eq!(driver.did(), [Did::Dispatch(run, 0), Did::Dispatch(other, 0)]);
    // While `next` stands in the ready queue, the attempt that waits in the same worker takes too long.
    driver.pass();
    driver.complete(other, 0);
    assert_eq!(driver.did(), [Did::Cancel(run, 0), Did::Ended(other, RunState::Completed)]);
    driver.complete(run, 0);
    assert_eq!(driver.did(), [Did::Dispatch(run, 1)]);
}

#[test]
fn who_needs_much_memory_is_passed_by_a_higher_priority_only() {
    let mut driver = Driver::new(1);
    let busy = driver.submit_at(&one("busy"), 9);
    let big = Arc::new(plan("w", vec![heavy("a", &[])]));
    let small = Arc::new(Plan { heavy_memory_bytes: 30, ..plan("w", vec![heavy("a", &[])]) });
    let (first, second, equal) = (driver.submit(&big), driver.submit(&big), driver.submit(&small));
    driver.did();
    driver.complete(busy, 0);
    driver.wait(first, 0);
    let expected = [Did::Ended(busy, RunState::Completed), Did::Dispatch(first, 0)];
    assert_eq!(driver.did(), expected, "{equal} would fit, but {second} is before it");
    let above = driver.submit_at(&small, 6);
    assert_eq!(driver.did(), [Did::Dispatch(above, 0)]);
    driver.complete(above, 0);
    driver.complete(first, 0);
    let ended = [above, first].map(|run| Did::Ended(run, RunState::Completed));
    assert_eq!(driver.did(), [&ended[..], &[Did::Dispatch(second, 0)]].concat());
}

#[test]
fn an_old_wait_for_memory_goes_before_any_priority() {
    let mut driver = Driver::new(1);
    let plan = Arc::new(plan("heavy", vec![heavy("a", &[])]));
    let holds = driver.submit(&plan);
    driver.wait(holds, 0);
    let waits = driver.submit_at(&plan, 0);
    let flood = driver.submit_at(&one("flood"), 9);
    driver.now = driver.now + Span(2_000);
    driver.submit_at(&one("flood"), 9);
    driver.complete(holds, 0);
    driver.did();
    driver.complete(flood, 0);
    assert_eq!(driver.did(), [Did::Ended(flood, RunState::Completed), Did::Dispatch(waits, 0)]);
}

#[test]
fn a_promoted_run_goes_on_in_the_heavy_lane() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&plan("w", vec![block("a", &[]), block("b", &[0])]).into());
    driver.event(Event::Promote { run }).expect("it is live");
    assert_eq!(driver.kernel.run(run).map(|run| (run.lane, run.blocks[0].lane())), Some((Lane::Heavy, Lane::Light)));
    driver.complete(run, 0);
    assert_eq!(driver.kernel.run(run).map(|run| run.blocks[1].lane()), Some(Lane::Heavy));
    assert_eq!(driver.kernel.counts().heavy_memory_used, 60);
}

#[test]
fn a_paused_run_gives_back_what_it_holds_and_goes_on_when_resumed() {
    let mut driver = Driver::new(2);
    let run = driver.submit(&plan("w", vec![block("a", &[]), block("b", &[]), block("c", &[])]).into());
    driver.wait(run, 0);
    driver.did();
    driver.event(Event::Pause { run }).expect("it is live");
    assert_eq!(driver.did(), [Did::Preempt(run, 1), Did::Preempt(run, 2)]);
    assert_eq!(driver.event(Event::Pause { run }), Err(Rejected::AlreadyPaused { run }));
    driver.give_back(run, 1);
    driver.complete(run, 2);
    driver.wake(run, 0);
    assert_eq!((driver.did(), driver.state(run)), (vec![], RunState::Paused));
    driver.event(Event::Resume { run }).expect("it is paused");
    assert_eq!(driver.did(), [Did::Continue(run, 0), Did::Continue(run, 1)]);
    let not_paused = Rejected::NotPaused { run, state: RunState::Running };
    assert_eq!(driver.event(Event::Resume { run }), Err(not_paused));
}

#[test]
fn a_paused_run_leaves_the_line_for_admission() {
    let mut driver = Driver::new(8);
    let plan = at_most(1, plan("w", vec![block("a", &[])]));
    let runs = [(); 3].map(|()| driver.submit(&plan));
    driver.event(Event::Pause { run: runs[1] }).expect("it is live");
    driver.did();
    driver.complete(runs[0], 0);
    assert_eq!(driver.did(), [Did::Ended(runs[0], RunState::Completed), Did::Dispatch(runs[2], 0)]);
    driver.event(Event::Resume { run: runs[1] }).expect("it is paused");
    assert_eq!((driver.did(), driver.state(runs[1])), (vec![], RunState::Ready));
    driver.complete(runs[2], 0);
    assert_eq!(driver.did(), [Did::Ended(runs[2], RunState::Completed), Did::Dispatch(runs[1], 0)]);
}

#[test]
fn refusals_name_their_reason() {
    let mut driver = Driver::new(1);
    let config = Config { live_runs_max: 1, ..Config::default() };
    driver.kernel = Kernel::new(config);
    let run = driver.submit(&one("w"));
    assert_eq!(driver.try_submit(&one("w"), None, false), Err(Rejected::Full { limit: 1 }));
    let unknown = RunId::from_u128(99);
    assert_eq!(driver.event(Event::Promote { run: unknown }), Err(Rejected::UnknownRun { run: unknown }));
    driver.complete(run, 0);
    let ended = Rejected::AlreadyEnded { run, state: RunState::Completed };
    assert_eq!(driver.event(Event::Pause { run }), Err(ended));
    let cyclic = PlanBlock { dependencies: vec![BlockIndex(0)], ..block("me", &[]) };
    let bad = driver.try_submit(&plan("bad", vec![cyclic]).into(), None, false);
    let cause = PlanError::Cycle { block: 0 };
    assert_eq!(bad, Err(Rejected::BadPlan { workflow: "bad".into(), cause }));
}

#[test]
fn a_run_id_is_used_once() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&one("w"));
    let again = runlet_kernel::Submit {
        run,
        plan: one("w"),
        input: String::new(),
        priority: None,
        observe: false,
        record: false,
        restored: None,
    };
    assert_eq!(driver.event(Event::Submit(again)), Err(Rejected::DuplicateRun { run }));
}

#[test]
fn a_worker_that_was_stopped_in_a_block_goes_on_with_it_before_it_begins_another() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&plan("w", vec![heavy("a", &[]), heavy("b", &[])]).into());
    let rival = driver.submit(&one("rival"));
    assert_eq!(driver.did(), [Did::Dispatch(run, 0)]);
    driver.now = driver.now + Span(20);
    driver.kernel.handle_timeout(driver.now);
    assert_eq!(driver.did(), [Did::Preempt(run, 0)]);
    driver.give_back(run, 0);
    assert_eq!(driver.did(), [Did::Dispatch(rival, 0)]);
    driver.complete(rival, 0);
    assert_eq!(driver.did(), [Did::Ended(rival, RunState::Completed), Did::Continue(run, 0)]);
    driver.complete(run, 0);
    assert_eq!(driver.did(), [Did::Dispatch(run, 1)]);
}
