//! The supervisor dies, and the next one begins with what a journal would have kept.

use std::sync::Arc;

use runlet_kernel::{Event, Kernel, Progress, Restored, RestoredBlock, Span, Submit, WorkflowControlBlock};
use runlet_proto::failure::Failure;
use runlet_proto::ids::BlockIndex;
use runlet_proto::state::{BlockStatus, RunState};

use crate::rng::Rng;
use crate::world::World;

impl World {
    /// Everything but what is written down is lost; each run that had not ended goes on.
    pub(crate) fn crash(&mut self) {
        let live = self.kernel.runs().filter(|run| !run.state.is_terminal());
        let mut kept: Vec<_> = live.map(|run| submit(run, &mut self.rng, self.now)).collect();
        kept.sort_by_key(|submit| submit.run);
        self.coverage.merge(self.kernel.coverage());
        self.kernel = Kernel::new(self.config);
        self.mail.clear();
        self.old.clear();
        self.executors.crashed();
        for submit in kept {
            let before = submit.clone();
            if let Some(restored) = &before.restored {
                self.executors.restored(submit.run, restored);
            }
            self.handle(&Event::Submit(submit));
            self.compare(&before);
        }
    }

    /// What was done is still done, and nothing of it is executed again.
    fn compare(&self, before: &Submit<u64>) {
        let (Some(run), Some(restored)) = (self.kernel.run(before.run), &before.restored) else { panic!("it is lost") };
        assert_eq!(run.created_at, restored.created_at);
        for (block, known) in &restored.blocks {
            let now = &run.blocks[block.as_usize()];
            match &known.progress {
                Progress::Completed(output) => {
                    assert_eq!((now.status, now.output.as_ref()), (BlockStatus::Completed, Some(output)));
                }
                Progress::Skipped(_) => assert_eq!(now.status, BlockStatus::Skipped),
                Progress::Failed(_) => assert_eq!((now.status, run.state), (BlockStatus::Failed, RunState::Failed)),
                Progress::Backoff(..) | Progress::Again => {}
            }
            assert!(now.attempt >= known.attempt);
        }
    }
}

fn submit(run: &WorkflowControlBlock<u64>, rng: &mut Rng, now: runlet_kernel::Time) -> Submit<u64> {
    let mut blocks = Vec::new();
    for (at, block) in run.blocks.iter().enumerate() {
        let index = BlockIndex(u16::try_from(at).expect("few blocks"));
        let unknown = || Failure::workflow("outcome-unknown", "the supervisor died");
        let progress = match block.status {
            // What happened last may not have been written down.
            _ if run.plan.blocks[at].trigger || rng.percent(5) => continue,
            BlockStatus::Completed => Progress::Completed(block.output.expect("it is completed")),
            BlockStatus::Skipped => Progress::Skipped(block.failure.as_deref().cloned()),
            BlockStatus::Failed => continue,
            BlockStatus::Pending | BlockStatus::Running if block.attempt.0 == 0 => continue,
            BlockStatus::Pending if block.retries > 0 => {
                let failure = block.failure.as_deref().cloned().unwrap_or_else(unknown);
                Progress::Backoff(failure, now + Span(rng.below(200)))
            }
            BlockStatus::Pending => continue,
            BlockStatus::Running => match rng.below(10) {
                0 => Progress::Failed(unknown()),
                1 => Progress::Skipped(Some(unknown())),
                _ => Progress::Again,
            },
        };
        let times = block.started_at.zip(block.ended_at).filter(|(began, ended)| began <= ended);
        blocks.push((index, RestoredBlock { attempt: block.attempt, retries: block.retries, times, progress }));
    }
    // What is written down is written down in order: nothing without what it depends on.
    loop {
        let done = |index: &BlockIndex| {
            let known = blocks.iter().find(|(known, _)| known == index);
            let is_done =
                |known: &RestoredBlock<u64>| matches!(known.progress, Progress::Completed(_) | Progress::Skipped(_));
            run.plan.blocks[index.as_usize()].trigger || known.is_some_and(|(_, known)| is_done(known))
        };
        let orphan =
            blocks.iter().position(|(index, _)| !run.plan.blocks[index.as_usize()].dependencies.iter().all(done));
        let Some(orphan) = orphan else { break };
        blocks.remove(orphan);
    }
    let restored = Restored { created_at: run.created_at, paused: run.state == RunState::Paused, blocks };
    Submit {
        run: run.id,
        plan: Arc::clone(&run.plan),
        input: run.input,
        priority: Some(run.priority),
        observe: false,
        record: false,
        restored: Some(Box::new(restored)),
    }
}
