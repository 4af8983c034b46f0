//! Events per second of the bare kernel, with 10, 10,000 and 1,000,000 live runs: `cargo bench -p runlet-kernel`.
//!
//! Three steady states. `calls`: every run waits for a call, the hook → fetch → response path. `queue`: every run waits for
//! one of two slots. `churn`: every event is a user's (pause, resume, renice) on a random run that stands in the queue.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use runlet_kernel::{Action, BlockResult, Config, Event, Kernel, OnError, Plan, PlanBlock, Retry, Span, Submit, Time};
use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};
use runlet_proto::state::Lane;

const SIZES: [usize; 3] = [10, 10_000, 1_000_000];
const EVENTS: u64 = 2_000_000;
const WORKFLOWS: usize = 100;

/// A kernel in a steady state, and what drives it.
struct Load {
    kernel: Kernel<Arc<str>>,
    plans: Vec<Arc<Plan>>,
    payload: Arc<str>,
    runs: Vec<RunId>,
    random: u64,
    now: Time,
    events: u64,
    live: usize,
    dispatched: Vec<(RunId, BlockIndex, Attempt)>,
}

impl Load {
    fn new(size: usize, brief: bool) -> Self {
        let slots = NonZeroUsize::MIN.saturating_add(1);
        let config = Config { slots, live_runs_max: size + 1, ageing: Span(u64::MAX), ..Config::default() };
        let mut load = Self {
            kernel: Kernel::new(config),
            plans: (0..WORKFLOWS).map(|at| Arc::new(plan(&format!("w{at}"), brief))).collect(),
            payload: "payload".into(),
            runs: Vec::with_capacity(size),
            random: 1,
            now: Time(0),
            events: 0,
            live: 0,
            dispatched: Vec::new(),
        };
        for at in 0..size {
            let run = load.submit();
            load.runs.push(run);
            if brief {
                load.now = Time(at as u64);
                load.first_call();
            }
        }
        load
    }

    fn event(&mut self, event: Event<Arc<str>>) {
        self.now = self.now + Span(1);
        self.events += 1;
        self.kernel.handle(self.now, event).expect("a benchmark sends only what is possible");
        while let Some(action) = self.kernel.poll_action() {
            match action {
                Action::Dispatch { run, block, attempt, .. } | Action::Continue { run, block, attempt, .. } => {
                    self.dispatched.push((run, block, attempt));
                }
                Action::Ended { run, .. } => {
                    self.live -= usize::from(self.kernel.forget(run).is_some());
                }
                Action::Preempt { .. } | Action::Cancel { .. } | Action::Progressed { .. } | Action::Observe { .. } => {
                }
            }
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn pick(&mut self) -> usize {
        (self.next_random() % self.runs.len() as u64) as usize
    }

    fn submit(&mut self) -> RunId {
        let run = RunId::from_u128((u128::from(self.next_random()) << 64) | u128::from(self.next_random()));
        let plan = Arc::clone(&self.plans[self.runs.len() % WORKFLOWS]);
        let input = Arc::clone(&self.payload);
        self.live += 1;
        self.event(Event::Submit(Submit {
            run,
            plan,
            input,
            priority: None,
            observe: false,
            record: false,
            restored: None,
        }));
        run
    }

    fn finish(&mut self, (run, block, attempt): (RunId, BlockIndex, Attempt)) {
        let result = BlockResult::Completed(Arc::clone(&self.payload));
        self.event(Event::Finished { run, block, attempt, result, random: 0 });
    }

    /// The fetch of the run that was just dispatched waits.
    fn first_call(&mut self) {
        let (run, block, attempt) = self.dispatched.pop().expect("a brief block is dispatched at once");
        let on = Arc::clone(&self.payload);
        self.event(Event::Waiting { run, block, attempt, on });
    }

    /// A run's call is answered, it ends, and another one begins: five events.
    fn calls(&mut self) {
        let at = self.pick();
        let (run, block, attempt) = (self.runs[at], BlockIndex(1), Attempt(1));
        self.event(Event::Woken { run, block, attempt });
        for _ in 0..2 {
            let dispatched = self.dispatched.pop().expect("a brief block is dispatched at once");
            self.finish(dispatched);
        }
        self.runs[at] = self.submit();
        self.first_call();
    }

    /// A running block ends, and another one gets its slot; an ended run is followed by a new one.
    fn queue(&mut self) {
        let dispatched = self.dispatched.pop().expect("two slots, and everybody wants one");
        self.finish(dispatched);
        if self.live < self.runs.len() {
            self.submit();
        }
    }

    /// A user meddles with a run that stands in the queue.
    fn churn(&mut self) {
        let at = self.pick();
        let run = self.runs[at];
        let level = u8::try_from(self.next_random() % 5).expect("below 5");
        self.event(Event::Renice { run, priority: Priority::new(level).expect("below 10") });
        self.event(Event::Pause { run });
        self.event(Event::Resume { run });
    }
}

fn main() {
    println!("{:8}{:>12}{:>16}{:>14}{:>10}{:>14}", "load", "live runs", "events/s", "ns/event", "x first", "bytes/run");
    for (name, brief, step) in
        [("calls", true, Load::calls as fn(&mut Load)), ("queue", false, Load::queue), ("churn", false, Load::churn)]
    {
        let mut first = None;
        for size in SIZES {
            let before = resident_bytes();
            let mut load = Load::new(size, brief);
            let bytes = resident_bytes().saturating_sub(before) / size as u64;
            load.events = 0;
            let start = Instant::now();
            while load.events < EVENTS {
                step(&mut load);
            }
            let ns = start.elapsed().as_nanos() as f64 / load.events as f64;
            let ratio = ns / *first.get_or_insert(ns);
            println!("{name:8}{size:>12}{:>16.0}{ns:>14.0}{ratio:>10.2}{bytes:>14}", 1e9 / ns);
        }
    }
}

/// hook → fetch → response, with a deadline of the run and a limit of the fetch as every hook has them.
fn plan(workflow: &str, brief: bool) -> Plan {
    let block = |id: &str, dependency: Option<u16>| PlanBlock {
        id: id.into(),
        trigger: dependency.is_none(),
        brief,
        lane: Lane::Light,
        gated: false,
        dependencies: dependency.map(BlockIndex).into_iter().collect(),
        timeout: Some(Span::from_ms(86_400_000)),
        retry: Retry::NEVER,
        on_error: OnError::Fail,
    };
    Plan {
        workflow: workflow.into(),
        version: "1".into(),
        priority: Priority::DEFAULT,
        concurrency: None,
        timeout: Some(Span::from_ms(86_400_000)),
        heavy_memory_bytes: 0,
        blocks: vec![block("hook", None), block("fetch", Some(0)), block("response", Some(1))],
    }
}

/// Resident memory of this process (proc_pid_statm(5), second field, in pages of 4 KiB); 0 where there is none.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}
