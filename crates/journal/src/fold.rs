//! What an open run has come to, from its head and the entries since: a pure function.
//!
//! Entries of one block may be appended late, of an older attempt. What a block has come to only grows: an end is final, and
//! before it the newer attempt counts, and of one attempt its failure more than its intent.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::entry::Began;
use crate::kept::Change;
use crate::recovered::{BlockProgress, OpenRun};

/// Folds the entries of one run, in the order in which they were appended.
pub(crate) fn fold<P>(head: Began<P>, changes: impl IntoIterator<Item = Change<P>>) -> OpenRun<P> {
    let priority = head.priority;
    let (blocks, log, deaths, children) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
    let mut run = OpenRun { began: head, blocks, paused: false, priority, log, deaths, children };
    for change in changes {
        apply(&mut run, change);
    }
    run
}

fn apply<P>(run: &mut OpenRun<P>, change: Change<P>) {
    match change {
        Change::Intent { block, attempt, at_ms: _ } => advance(run, block, BlockProgress::Unknown { attempt }),
        Change::BlockEnded { block, done } => advance(run, block, BlockProgress::Done(done)),
        Change::Backoff { block, attempt, retries, failure, retry_at_ms } => {
            advance(run, block, BlockProgress::Waiting { attempt, retries, failure, retry_at_ms });
        }
        Change::Held { paused, priority } => {
            run.paused = paused;
            run.priority = priority;
        }
        Change::Log(line) => run.log.push(line),
        Change::Died(cause) => run.deaths.push(cause),
        Change::ChildBegan(child) => run.children.push(child),
    }
}

fn advance<P>(run: &mut OpenRun<P>, block: u16, to: BlockProgress<P>) {
    match run.blocks.entry(block) {
        Entry::Vacant(vacant) => drop(vacant.insert(to)),
        Entry::Occupied(mut occupied) if compare(&to, occupied.get()) == Ordering::Greater => drop(occupied.insert(to)),
        Entry::Occupied(_) => {}
    }
}

fn compare<P>(one: &BlockProgress<P>, other: &BlockProgress<P>) -> Ordering {
    rank(one).cmp(&rank(other))
}

/// Ends before anything else, then by attempt; all ends are equal, so that the first one stays.
fn rank<P>(progress: &BlockProgress<P>) -> (bool, u32, bool) {
    match progress {
        BlockProgress::Done(_) => (true, 0, false),
        BlockProgress::Waiting { attempt, .. } => (false, *attempt, true),
        BlockProgress::Unknown { attempt } => (false, *attempt, false),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::wildcard_enum_match_arm, reason = "tests")]

    use proptest::prelude::*;
    use runlet_proto::control::{LogLevel, LogLine};
    use runlet_proto::failure::Failure;
    use runlet_proto::ids::RunId;
    use runlet_proto::state::BlockStatus;

    use super::*;
    use crate::entry::{BlockDone, Child};

    /// Payloads are numbers here: the fold never looks into them.
    fn head() -> Began<u32> {
        Began {
            run: RunId::from_u128(7),
            workflow: "shop".to_owned(),
            version: "v1".to_owned(),
            source: None,
            priority: 5,
            created_at_ms: 1,
            input: 0,
            waited_for: false,
            key: None,
            retry_of: None,
            traceparent: None,
            handles: None,
            parent: None,
        }
    }

    fn ended(block: u16, attempt: u32, output: u32) -> Change<u32> {
        let done = BlockDone {
            attempt,
            retries: attempt - 1,
            status: BlockStatus::Completed,
            output: Some(output),
            failure: None,
            started_at_ms: 1,
            ended_at_ms: 2,
        };
        Change::BlockEnded { block, done }
    }

    fn backoff(block: u16, attempt: u32, retry_at_ms: u64) -> Change<u32> {
        Change::Backoff {
            block,
            attempt,
            retries: attempt,
            failure: Failure::upstream("connect", "refused"),
            retry_at_ms,
        }
    }

    fn line(sequence: u64) -> LogLine {
        LogLine { sequence, at_ms: sequence, block: None, level: LogLevel::Info, text: "said".to_owned() }
    }

    fn child(call: u32) -> Child {
        Child { block: 0, retries: 0, call, run: RunId::from_u128(u128::from(call)) }
    }

    fn any_change() -> impl Strategy<Value = Change<u32>> {
        let (block, attempt) = (0..3_u16, 1..4_u32);
        prop_oneof![
            (block.clone(), attempt.clone(), any::<u64>()).prop_map(|(block, attempt, at_ms)| Change::Intent {
                block,
                attempt,
                at_ms
            }),
            (block.clone(), attempt.clone(), any::<u32>()).prop_map(|(block, attempt, out)| ended(block, attempt, out)),
            (block, attempt, any::<u64>()).prop_map(|(block, attempt, at)| backoff(block, attempt, at)),
            (any::<bool>(), 0..10_u8).prop_map(|(paused, priority)| Change::Held { paused, priority }),
            any::<u64>().prop_map(|sequence| Change::Log(line(sequence))),
            any::<u8>().prop_map(|cause| Change::Died(cause.to_string())),
            any::<u32>().prop_map(|call| Change::ChildBegan(child(call))),
        ]
    }

    /// What a block has come to, said without folding: its first end, else the first failure of its newest attempt if that
    /// failed, else that it is unknown how the newest one ended.
    fn model(block: u16, changes: &[Change<u32>]) -> Option<BlockProgress<u32>> {
        let first_end = changes.iter().find_map(|change| match change {
            Change::BlockEnded { block: of, done } if *of == block => Some(BlockProgress::Done(done.clone())),
            _ => None,
        });
        let attempts = changes.iter().filter_map(|change| match change {
            Change::Intent { block: of, attempt, .. } | Change::Backoff { block: of, attempt, .. } if *of == block => {
                Some(*attempt)
            }
            _ => None,
        });
        let newest = attempts.max();
        let failed = changes.iter().find_map(|change| match change {
            Change::Backoff { block: of, attempt, retries, failure, retry_at_ms }
                if *of == block && Some(*attempt) == newest =>
            {
                Some(BlockProgress::Waiting {
                    attempt: *attempt,
                    retries: *retries,
                    failure: failure.clone(),
                    retry_at_ms: *retry_at_ms,
                })
            }
            _ => None,
        });
        first_end.or(failed).or_else(|| newest.map(|attempt| BlockProgress::Unknown { attempt }))
    }

    proptest! {
        #[test]
        fn the_fold_is_what_the_entries_say(changes in prop::collection::vec(any_change(), 0..40)) {
            let run = fold(head(), changes.iter().cloned());
            let blocks: BTreeMap<_, _> = (0..3).filter_map(|block| Some((block, model(block, &changes)?))).collect();
            prop_assert_eq!(&run.blocks, &blocks);
            let held = changes.iter().rev().find_map(|change| match change {
                Change::Held { paused, priority } => Some((*paused, *priority)),
                _ => None,
            });
            prop_assert_eq!((run.paused, run.priority), held.unwrap_or((false, 5)));
            let lines = changes.iter().filter_map(|change| match change {
                Change::Log(line) => Some(line.clone()),
                _ => None,
            });
            prop_assert_eq!(&run.log, &lines.collect::<Vec<_>>());
            let deaths = changes.iter().filter_map(|change| match change {
                Change::Died(cause) => Some(cause.clone()),
                _ => None,
            });
            prop_assert_eq!(&run.deaths, &deaths.collect::<Vec<_>>());
            let children = changes.iter().filter_map(|change| match change {
                Change::ChildBegan(child) => Some(*child),
                _ => None,
            });
            prop_assert_eq!(&run.children, &children.collect::<Vec<_>>());
            prop_assert_eq!(run.began, head());
        }
    }

    #[test]
    fn an_intent_without_an_end_is_unknown_until_the_block_ends() {
        let intent = |attempt| Change::Intent { block: 2, attempt, at_ms: 5 };
        let unknown = fold(head(), [backoff(2, 1, 9), intent(2)]);
        assert_eq!(unknown.blocks[&2], BlockProgress::Unknown { attempt: 2 });
        let done = fold(head(), [backoff(2, 1, 9), intent(2), ended(2, 2, 42)]);
        assert!(matches!(&done.blocks[&2], BlockProgress::Done(done) if done.output == Some(42) && done.attempt == 2));
        let late = fold(head(), [ended(2, 2, 42), intent(2), ended(2, 3, 43)]);
        assert_eq!(late.blocks, done.blocks);
    }
}
