//! What becomes of blocks: DAGs, inputs, skips, retries, deadlines, late answers.

use std::sync::Arc;

use runlet_kernel::{
    BlockInput, BlockResult, BlockedOn, Event, Observation, OnError, Plan, PlanBlock, Rejected, Retry, Span,
};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::{Attempt, BlockIndex};
use runlet_proto::state::{BlockStatus, RunState};

use crate::driver::{Did, Driver, block, brief, one, plan};

fn refused() -> Failure {
    Failure::upstream("connect", "connection refused")
}

fn retried(attempts: u32) -> PlanBlock {
    let retry = Retry { attempts, delay: Span(100), backoff: 2.0, delay_max: Span(350), jitter: false };
    PlanBlock { retry, ..block("page", &[]) }
}

#[test]
fn a_diamond_runs_its_middle_in_parallel_and_joins() {
    let mut driver = Driver::new(4);
    let trigger = PlanBlock { trigger: true, ..block("hook", &[]) };
    let blocks = vec![trigger, block("left", &[0]), block("right", &[0]), block("join", &[2, 1])];
    let run = driver.submit(&plan("diamond", blocks).into());
    assert_eq!(driver.did(), [Did::Dispatch(run, 1), Did::Dispatch(run, 2)]);
    assert_eq!(driver.kernel.block_input(run, BlockIndex(1)), Some(BlockInput::Single(&"in".to_owned())));
    driver.complete(run, 2);
    assert_eq!(driver.kernel.block_input(run, BlockIndex(3)), None);
    driver.complete(run, 1);
    let (left, right) = ("out 1".to_owned(), "out 2".to_owned());
    let many = BlockInput::Many(vec![("right", &right), ("left", &left)]);
    assert_eq!(driver.kernel.block_input(run, BlockIndex(3)), Some(many));
    assert_eq!(driver.kernel.run(run).map(|run| run.dependencies().collect()), Some(vec!["right", "left"]));
    driver.complete(run, 3);
    let ended = driver.kernel.forget(run).expect("it ended");
    assert_eq!((ended.state, ended.output.as_deref()), (RunState::Completed, Some("out 3")));
    assert!(driver.kernel.run(run).is_none());
}

#[test]
fn skipped_blocks_are_transparent() {
    let mut driver = Driver::new(4);
    let blocks = vec![block("a", &[]), block("b", &[]), block("c", &[0, 1]), block("d", &[0]), block("e", &[2, 3])];
    let run = driver.submit(&plan("w", blocks).into());
    driver.complete(run, 0);
    driver.complete(run, 1);
    driver.finish(run, 3, BlockResult::Skipped);
    driver.finish(run, 2, BlockResult::Skipped);
    let (a, b) = ("out 0".to_owned(), "out 1".to_owned());
    let many = BlockInput::Many(vec![("a", &a), ("b", &b), ("d", &a)]);
    assert_eq!(driver.kernel.block_input(run, BlockIndex(4)), Some(many));
    driver.finish(run, 4, BlockResult::Skipped);
    assert_eq!(driver.kernel.run(run).and_then(|run| run.output.as_deref()), Some("out 1"), "the last that completed");
}

#[test]
fn a_lattice_of_skipped_blocks_costs_its_edges_not_its_paths() {
    let mut driver = Driver::new(4);
    // 200 layers of two blocks, each depending on both of the layer before: 2^199 paths.
    let below = |layer: u16| if layer == 0 { vec![] } else { vec![2 * layer - 2, 2 * layer - 1] };
    let mut blocks: Vec<_> = (0..400u16).map(|at| brief(&format!("b{at}"), &below(at / 2))).collect();
    blocks.push(block("last", &[398, 399]));
    let run = driver.submit(&plan("lattice", blocks).into());
    driver.complete(run, 0);
    driver.complete(run, 1);
    (2..400).for_each(|at| driver.finish(run, at, BlockResult::Skipped));
    let (first, second) = ("out 0".to_owned(), "out 1".to_owned());
    let many = BlockInput::Many(vec![("b0", &first), ("b1", &second)]);
    assert_eq!(driver.kernel.block_input(run, BlockIndex(400)), Some(many));
}

#[test]
fn runs_that_end_early_leave_no_timers() {
    let mut driver = Driver::new(1);
    let slow = PlanBlock { timeout: Some(Span(1_000_000)), ..brief("page", &[]) };
    let plan = Arc::new(Plan { timeout: Some(Span(1_000_000)), ..plan("w", vec![slow]) });
    for _ in 0..500 {
        let run = driver.submit(&plan);
        driver.wait(run, 0);
        assert_eq!(driver.kernel.counts().timers, 2);
        driver.complete(run, 0);
        driver.kernel.forget(run).expect("it ended");
    }
    assert_eq!((driver.kernel.counts().timers, driver.kernel.poll_timeout()), (0, None));
}

#[test]
fn a_run_of_triggers_only_ends_at_once_with_its_input() {
    let mut driver = Driver::new(1);
    let trigger = PlanBlock { trigger: true, ..block("hook", &[]) };
    let run = driver.submit(&plan("w", vec![trigger]).into());
    assert_eq!(driver.did(), [Did::Ended(run, RunState::Completed)]);
    assert_eq!(driver.kernel.run(run).and_then(|run| run.output.as_deref()), Some("in"));
}

#[test]
fn delays_between_attempts_grow_to_their_limit() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&plan("w", vec![retried(4)]).into());
    for expected in [100, 200, 350] {
        driver.fail(run, 0, refused());
        assert_eq!(driver.state(run), RunState::Blocked);
        let blocked_on = driver.kernel.run(run).and_then(|run| run.blocked_on(driver.now));
        assert_eq!(blocked_on, Some(BlockedOn::Retry(Span(expected))));
        assert_eq!(driver.pass(), Span(expected));
    }
    driver.fail(run, 0, refused());
    let control = driver.kernel.run(run).expect("it is not forgotten");
    assert_eq!(
        (control.state, control.blocks[0].retries, control.blocks[0].attempt),
        (RunState::Failed, 3, Attempt(4))
    );
    let error = control.error.as_deref().expect("it failed");
    assert_eq!((error.block.as_deref(), error.attempt, &error.failure), (Some("page"), Attempt(4), &refused()));
}

#[test]
fn a_server_that_says_how_long_to_wait_is_left_alone_up_to_the_longest_delay() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&plan("w", vec![retried(4)]).into());
    // The policy's own delays are 100, 200, 350 microseconds.
    for (wished_ms, expected) in [(None, 100), (Some(0), 200), (Some(3_600_000), 350)] {
        driver.fail(run, 0, Failure { retry_after_ms: wished_ms, ..refused() });
        assert_eq!(driver.pass(), Span(expected));
    }
    let mut driver = Driver::new(1);
    let patient = PlanBlock { retry: Retry { delay_max: Span(5_000), ..retried(4).retry }, ..retried(4) };
    let run = driver.submit(&plan("w", vec![patient]).into());
    driver.fail(run, 0, Failure { retry_after_ms: Some(3), ..refused() });
    assert_eq!(driver.pass(), Span(3_000));
}

#[test]
fn jitter_is_the_upper_half_of_the_delay() {
    let policy = Retry { jitter: true, ..retried(3).retry };
    assert_eq!(policy.delay_after(1, 0), Span(50));
    assert_eq!(policy.delay_after(1, u32::MAX / 2), Span(74));
    assert_eq!(policy.delay_after(1, u32::MAX), Span(99));
    let huge = Retry { delay: Span(u64::MAX), delay_max: Span(u64::MAX), backoff: f64::INFINITY, ..policy };
    assert!(huge.delay_after(u32::MAX, u32::MAX) >= Span(u64::MAX / 2));
    assert_eq!(Retry { backoff: f64::NAN, jitter: false, ..policy }.delay_after(9, 0), Span(100));
}

#[test]
fn what_cannot_be_mended_is_not_tried_again() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&plan("w", vec![retried(4)]).into());
    driver.fail(run, 0, Failure::workflow("template", "`x` is undefined"));
    assert_eq!(driver.state(run), RunState::Failed);
}

#[test]
fn a_failed_block_may_be_passed_over() {
    let mut driver = Driver::new(1);
    let first = PlanBlock { on_error: OnError::Skip, ..retried(2) };
    let run = driver.submit(&plan("w", vec![first, block("next", &[0])]).into());
    driver.fail(run, 0, refused());
    driver.pass();
    driver.fail(run, 0, refused());
    let control = driver.kernel.run(run).expect("it is live");
    assert_eq!(control.blocks[0].status, BlockStatus::Skipped);
    assert_eq!(control.blocks[0].failure.as_deref(), Some(&refused()));
    assert_eq!(driver.kernel.block_input(run, BlockIndex(1)), Some(BlockInput::Single(&"in".to_owned())));
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up_and_its_slot_waits_for_its_end() {
    let mut driver = Driver::new(1);
    let slow = PlanBlock { timeout: Some(Span(70)), ..retried(2) };
    let run = driver.submit(&plan("w", vec![slow]).into());
    driver.did();
    assert_eq!(driver.pass(), Span(70));
    assert_eq!(driver.did(), [Did::Cancel(run, 0)]);
    assert_eq!(driver.kernel.counts().slots_given_up, 1);
    driver.pass();
    assert_eq!(driver.did(), [], "the slot is not back");
    driver.complete(run, 0);
    assert_eq!(driver.did(), [Did::Dispatch(run, 0)], "the late answer returned the slot and nothing else");
    driver.complete(run, 0);
    assert_eq!(driver.state(run), RunState::Completed);
    assert_eq!(driver.kernel.poll_timeout(), None);
}

#[test]
fn a_runs_own_deadline_fails_it_and_says_what_it_waited_for() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&Arc::new(Plan { timeout: Some(Span(2_500_000)), ..plan("w", vec![block("page", &[])]) }));
    driver.wait(run, 0);
    driver.did();
    driver.pass();
    assert_eq!(driver.did(), [Did::Cancel(run, 0), Did::Ended(run, RunState::Failed)]);
    let control = driver.kernel.run(run).expect("it is not forgotten");
    let failure = &control.error.as_deref().expect("it failed").failure;
    assert!(control.timed_out);
    assert_eq!(failure.class, FailureClass::Timeout);
    assert_eq!(failure.message, "the run did not end within 2.5s; block `page` was BLOCKED on fetch example.org");
}

#[test]
fn answers_of_older_attempts_and_of_strangers_are_dropped() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&plan("w", vec![retried(3)]).into());
    let (block, attempt) = (BlockIndex(0), Attempt(1));
    driver.fail(run, 0, refused());
    let late = Event::Finished { run, block, attempt, result: BlockResult::Completed("late".to_owned()), random: 0 };
    assert_eq!(driver.event(late.clone()), Ok(()));
    driver.pass();
    assert_eq!(driver.event(late), Ok(()));
    assert_eq!(driver.event(Event::Woken { run, block: BlockIndex(9), attempt }), Ok(()));
    assert_eq!(driver.kernel.counts().stale, 3);
    assert_eq!(driver.state(run), RunState::Running);
}

#[test]
fn an_impossible_answer_is_an_error_and_changes_nothing() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&one("w"));
    let event = Event::Woken { run, block: BlockIndex(0), attempt: Attempt(1) };
    let illegal = Rejected::Illegal { run, block: BlockIndex(0), phase: "running", event: "woken" };
    assert_eq!(driver.event(event), Err(illegal));
    assert_eq!(driver.state(run), RunState::Running);
}

#[test]
fn an_observed_run_tells_every_step() {
    let mut driver = Driver::new(1);
    let plan = plan("w", vec![PlanBlock { brief: true, ..retried(2) }, brief("b", &[0])]).into();
    let run = driver.try_submit(&plan, None, true).expect("it is accepted");
    driver.wait(run, 0);
    driver.fail(run, 0, refused());
    let seen: Vec<_> = driver.did();
    let failure = Some(refused());
    let observe = |what| Did::Observe(what);
    let expected = [
        observe(Observation::State(RunState::Ready)),
        Did::Dispatch(run, 0),
        observe(Observation::Started(Attempt(1))),
        observe(Observation::State(RunState::Running)),
        observe(Observation::Blocked("fetch example.org".into())),
        observe(Observation::State(RunState::Blocked)),
        observe(Observation::Ended { status: BlockStatus::Failed, failure, elapsed: Span(0) }),
        observe(Observation::Retry { delay: Span(100) }),
    ];
    assert_eq!(seen, expected);
}
