//! What a run did: its attempts and calls with their times, kept within a bound for `runlet trace`.
//!
//! Both lanes pass through the same few places, where an attempt begins, calls, is answered and ends; each notes it here.

use std::collections::VecDeque;

use runlet_blocks::{CallId, Outcome};
use runlet_kernel::{Time, WorkflowControlBlock};
use runlet_proto::call::Call;
use runlet_proto::control::{Reply, TraceOutcome, TraceSpan, TraceWhat};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::{Attempt, BlockIndex, RunId};

use crate::core::Core;
use crate::export::{Facts, Recorded};
use crate::inbound::AttemptId;
use crate::limits::{TRACE_SPANS_MAX, TRACE_TEXT_BYTES_MAX};
use crate::run_record::RequestId;
use crate::trace_context::TraceContext;

/// The newest spans of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The trace of its caller that the run is part of.
    pub(crate) context: Option<Box<TraceContext>>,
    /// Whether it is exported.
    pub(crate) recorded: Recorded,
    spans: VecDeque<Span>,
    dropped: u64,
    /// Requests that are told of what begins and ends.
    pub(crate) followers: Vec<RequestId>,
    /// What they have not been told yet, by its number.
    news: Vec<u64>,
}

/// An attempt, or a call that it made.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) block: BlockIndex,
    pub(crate) attempt: Attempt,
    /// The call and what it is in words; of an attempt, none.
    pub(crate) call: Option<(CallId, Box<str>)>,
    pub(crate) began: Time,
    /// By which others know it; 0 if the run is part of no trace of theirs.
    pub(crate) id: u64,
    /// Of an attempt in a worker that has ended: when the worker began with it.
    pub(crate) handed_over: Option<Time>,
    pub(crate) ended: Option<(Time, TraceOutcome)>,
    /// What is exported besides.
    pub(crate) facts: Facts,
}

impl Trace {
    /// An attempt begins. One that begins again, since it had dropped what it had done, is still the same.
    fn begin_block(&mut self, now: Time, random: u64, block: BlockIndex, attempt: Attempt) {
        let is_open = |span: &Span| span.is_open(block, attempt) && span.call.is_none();
        if !self.spans.iter().any(is_open) {
            let id = self.span_id(random);
            self.begin(Span {
                block,
                attempt,
                call: None,
                began: now,
                id,
                handed_over: None,
                ended: None,
                facts: Facts::default(),
            });
        }
    }

    fn begin_call(&mut self, now: Time, random: u64, id: AttemptId, call: CallId, words: String) {
        let AttemptId { block, attempt, .. } = id;
        let call = Some((call, cut(words).into_boxed_str()));
        let id = self.span_id(random);
        self.begin(Span {
            block,
            attempt,
            call,
            began: now,
            id,
            handed_over: None,
            ended: None,
            facts: Facts::default(),
        });
    }

    fn span_id(&self, random: u64) -> u64 {
        if self.context.is_some() { random.max(1) } else { 0 }
    }

    /// The id of the trace the run is part of.
    pub(crate) fn trace_id(&self) -> Option<String> {
        self.context.as_ref().map(|context| context.id_text())
    }

    /// Tells whom a call asks of its place in the trace, in the header fields of its request.
    pub(crate) fn pass_on(&self, id: AttemptId, call: CallId, headers: &mut Vec<(String, String)>) {
        if let (Some(context), Some(span)) = (&self.context, self.open_call(id, call)) {
            context.add_to(headers, span.id);
        }
    }

    /// Where a run stands that a call begins.
    pub(crate) fn context_below(&self, id: AttemptId, call: CallId) -> Option<Box<TraceContext>> {
        let (context, span) = (self.context.as_ref()?, self.open_call(id, call)?);
        Some(Box::new(TraceContext { parent_id: span.id, ..(**context).clone() }))
    }

    fn open_call(&self, id: AttemptId, call: CallId) -> Option<&Span> {
        let is_it = |span: &&Span| {
            span.is_open(id.block, id.attempt) && span.call.as_ref().is_some_and(|(open, _)| *open == call)
        };
        self.spans.iter().rev().find(is_it)
    }

    /// An attempt or a call that has not ended.
    #[cfg(feature = "otel")]
    pub(crate) fn open_mut(&mut self, block: BlockIndex, attempt: Attempt, call: Option<CallId>) -> Option<&mut Span> {
        let is_it =
            |span: &&mut Span| span.is_open(block, attempt) && span.call.as_ref().map(|(open, _)| *open) == call;
        self.spans.iter_mut().rev().find(is_it)
    }

    /// What is kept, oldest first.
    #[cfg(feature = "otel")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter()
    }

    fn begin(&mut self, span: Span) {
        if self.spans.len() >= TRACE_SPANS_MAX {
            self.spans.pop_front();
            self.dropped += 1;
        }
        self.spans.push_back(span);
        self.note(self.spans.len() - 1);
    }

    fn end_call(&mut self, now: Time, block: BlockIndex, attempt: Attempt, call: CallId, outcome: TraceOutcome) {
        let is_it =
            |span: &Span| span.is_open(block, attempt) && span.call.as_ref().is_some_and(|(open, _)| *open == call);
        if let Some(at) = self.spans.iter().rposition(is_it) {
            self.end_span(at, now, outcome);
        }
    }

    /// A worker says when it began with an attempt that ends now. It may say anything.
    fn hand_over(&mut self, now: Time, block: BlockIndex, attempt: Attempt, at: Time) {
        let is_it = |span: &&mut Span| span.is_open(block, attempt) && span.call.is_none();
        if let Some(span) = self.spans.iter_mut().find(is_it) {
            span.handed_over = Some(at.clamp(span.began, now.max(span.began)));
        }
    }

    /// An attempt ends, and with it the calls that have not been answered.
    fn end_block(&mut self, now: Time, block: BlockIndex, attempt: Attempt, outcome: &TraceOutcome) {
        for at in 0..self.spans.len() {
            if self.spans[at].is_open(block, attempt) {
                let outcome = if self.spans[at].call.is_some() { TraceOutcome::GivenUp } else { outcome.clone() };
                self.end_span(at, now, outcome);
            }
        }
    }

    /// The run ends, and with it whatever has not ended by itself.
    fn end_all(&mut self, now: Time, outcome: &TraceOutcome) {
        for at in 0..self.spans.len() {
            if self.spans[at].ended.is_none() {
                self.end_span(at, now, outcome.clone());
            }
        }
        self.spans.shrink_to_fit();
    }

    fn end_span(&mut self, at: usize, now: Time, outcome: TraceOutcome) {
        let outcome = match outcome {
            TraceOutcome::Answered(words) => TraceOutcome::Answered(cut(words)),
            TraceOutcome::Failed(message) => TraceOutcome::Failed(cut(message)),
            TraceOutcome::Stopped(reason) => TraceOutcome::Stopped(cut(reason)),
            TraceOutcome::Completed | TraceOutcome::Skipped | TraceOutcome::GivenUp => outcome,
        };
        self.spans[at].ended = Some((now, outcome));
        self.note(at);
    }

    fn note(&mut self, at: usize) {
        if !self.followers.is_empty() {
            self.news.push(self.dropped + at as u64 + 1);
        }
    }

    /// All spans, with the names and the beginning that the control block has.
    pub(crate) fn spans<P>(&self, run: &WorkflowControlBlock<P>) -> Vec<TraceSpan> {
        (self.dropped + 1..)
            .zip(&self.spans)
            .map(|(sequence, span)| span.told(sequence, run, self.context.as_deref()))
            .collect()
    }

    /// What its followers have not been told yet.
    fn take_news<P>(&mut self, run: &WorkflowControlBlock<P>) -> Vec<TraceSpan> {
        let news = std::mem::take(&mut self.news);
        let told = |sequence: u64| {
            let at = usize::try_from(sequence.checked_sub(self.dropped + 1)?).ok()?;
            self.spans.get(at).map(|span| span.told(sequence, run, self.context.as_deref()))
        };
        news.into_iter().filter_map(told).collect()
    }

    /// How many of the oldest spans are gone.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes held, for the bound on what is remembered.
    pub(crate) fn bytes(&self) -> usize {
        let text = |span: &Span| {
            let words = span.call.as_ref().map_or(0, |(_, words)| words.len());
            let outcome = match &span.ended {
                Some((
                    _,
                    TraceOutcome::Answered(words) | TraceOutcome::Failed(words) | TraceOutcome::Stopped(words),
                )) => words.len(),
                Some((_, TraceOutcome::Completed | TraceOutcome::Skipped | TraceOutcome::GivenUp)) | None => 0,
            };
            size_of::<Span>() + words + outcome + span.facts.bytes()
        };
        self.spans.iter().map(text).sum::<usize>() + self.context.as_ref().map_or(0, |context| context.bytes())
    }
}

impl Span {
    fn is_open(&self, block: BlockIndex, attempt: Attempt) -> bool {
        self.ended.is_none() && self.block == block && self.attempt == attempt
    }

    fn told<P>(&self, sequence: u64, run: &WorkflowControlBlock<P>, context: Option<&TraceContext>) -> TraceSpan {
        let (elapsed, outcome) = self.ended.as_ref().map(|(at, outcome)| (*at - self.began, outcome.clone())).unzip();
        TraceSpan {
            sequence,
            block: run.blocks.get(self.block.as_usize()).map(|block| block.id.to_string()).unwrap_or_default(),
            attempt: self.attempt.0,
            what: self.call.as_ref().map_or(TraceWhat::Block, |(_, words)| TraceWhat::Call(words.to_string())),
            offset_us: (self.began - run.created_at).0,
            handover_us: self.handed_over.map(|at| (at - self.began).0),
            elapsed_us: elapsed.map(|elapsed| elapsed.0),
            outcome,
            place: context.map(|context| context.place(self.id)),
        }
    }
}

/// How an attempt ends that was under way when its run ended.
fn given_up<P>(run: &WorkflowControlBlock<P>) -> TraceOutcome {
    match run.error.as_deref() {
        Some(error) if error.failure.class == FailureClass::Stopped => {
            TraceOutcome::Stopped(error.failure.message.clone())
        }
        _ => TraceOutcome::GivenUp,
    }
}

/// Text of a span within [`TRACE_TEXT_BYTES_MAX`].
fn cut(mut text: String) -> String {
    if text.len() > TRACE_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TRACE_TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

impl Core {
    /// An attempt begins.
    pub(crate) fn trace_begin(&mut self, id: AttemptId) {
        let random = self.run_ids.next_random();
        self.trace(id.run, |trace, now| trace.begin_block(now, random, id.block, id.attempt));
        self.export_begin(id);
        self.measure_begin(id.run);
    }

    /// An attempt makes a call.
    pub(crate) fn trace_call(&mut self, id: AttemptId, call: CallId, made: &Call) {
        let random = self.run_ids.next_random();
        self.trace(id.run, |trace, now| trace.begin_call(now, random, id, call, made.in_words()));
        self.export_call(id, call, made);
    }

    /// A call is answered.
    pub(crate) fn trace_answer(&mut self, id: AttemptId, call: CallId, outcome: TraceOutcome) {
        self.trace(id.run, |trace, now| trace.end_call(now, id.block, id.attempt, call, outcome));
    }

    /// A worker says that it began then with an attempt that ends now.
    pub(crate) fn trace_handed_over(&mut self, id: AttemptId, began_ns: u64) {
        self.measure_handover(id, began_ns);
        let at = self.clock.of_monotonic_ns(began_ns);
        self.trace(id.run, |trace, now| trace.hand_over(now, id.block, id.attempt, at));
    }

    /// An attempt ends by itself, or with its worker.
    pub(crate) fn trace_end(&mut self, id: AttemptId, result: Result<&Outcome, &Failure>) {
        self.measure_end(id);
        self.export_failure(id, result.err());
        let outcome = match result {
            Ok(Outcome::Completed(_)) => TraceOutcome::Completed,
            Ok(Outcome::Skipped) => TraceOutcome::Skipped,
            Err(failure) => TraceOutcome::Failed(failure.message.clone()),
        };
        self.trace(id.run, |trace, now| trace.end_block(now, id.block, id.attempt, &outcome));
    }

    /// The kernel gives an attempt up, and has noted why if it is for its own sake, as with a timeout.
    pub(crate) fn trace_give_up(&mut self, id: AttemptId) {
        self.measure_given_up(id);
        let run = self.kernel.run(id.run);
        let block = run.and_then(|run| run.blocks.get(id.block.as_usize()));
        let failure = block.and_then(|block| block.failure.as_deref()).filter(|failure| failure.code != "cancelled");
        let failure = failure.cloned();
        let outcome = match &failure {
            Some(failure) => TraceOutcome::Failed(failure.message.clone()),
            None => run.map_or(TraceOutcome::GivenUp, given_up),
        };
        self.export_failure(id, failure.as_ref());
        self.trace(id.run, |trace, now| trace.end_block(now, id.block, id.attempt, &outcome));
    }

    /// The run has ended: its followers are told the rest.
    pub(crate) fn trace_run_ended<P>(&mut self, trace: &mut Trace, run: &WorkflowControlBlock<P>) {
        trace.end_all(self.clock.now(), &given_up(run));
        let news = trace.take_news(run);
        for follower in std::mem::take(&mut trace.followers) {
            self.forget_pending(follower);
            if !news.is_empty() {
                self.send(follower, Reply::Trace(news.clone()));
            }
            self.send(follower, Reply::TraceEnd { dropped: trace.dropped });
        }
    }

    fn trace(&mut self, run: RunId, change: impl FnOnce(&mut Trace, Time)) {
        let now = self.clock.now();
        let Some(record) = self.runs.get_mut(&run) else { return };
        change(&mut record.trace, now);
        if record.trace.news.is_empty() {
            return;
        }
        let Some(control_block) = self.kernel.run(run) else { return };
        let news = record.trace.take_news(control_block);
        let followers = record.trace.followers.clone();
        for follower in followers {
            self.send(follower, Reply::Trace(news.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockIndex = BlockIndex(1);
    const ATTEMPT: Attempt = Attempt(1);
    const ID: AttemptId = AttemptId { run: RunId::from_u128(1), block: BLOCK, attempt: ATTEMPT };

    #[test]
    fn a_trace_keeps_the_newest_spans_and_counts_the_others() {
        let mut trace = Trace::default();
        let calls = u32::try_from(TRACE_SPANS_MAX).expect("a small bound") + 5;
        trace.begin_block(Time(0), 0, BLOCK, ATTEMPT);
        for call in 0..calls {
            trace.begin_call(Time(1), 0, ID, CallId(call), "ä".repeat(TRACE_TEXT_BYTES_MAX));
        }
        assert_eq!((trace.spans.len(), trace.dropped()), (TRACE_SPANS_MAX, 6));
        assert!(trace.bytes() <= TRACE_SPANS_MAX * (size_of::<Span>() + TRACE_TEXT_BYTES_MAX + '…'.len_utf8()));
        // One that was dropped ends without a trace; one that was not, ends.
        trace.end_call(Time(2), BLOCK, ATTEMPT, CallId(0), TraceOutcome::GivenUp);
        assert!(trace.spans.iter().all(|span| span.ended.is_none()));
        trace.end_call(Time(3), BLOCK, ATTEMPT, CallId(calls - 1), TraceOutcome::Answered("200".into()));
        assert_eq!(trace.spans[TRACE_SPANS_MAX - 1].ended, Some((Time(3), TraceOutcome::Answered("200".into()))));
    }

    #[test]
    fn an_attempt_that_ends_takes_its_calls_with_it_and_no_others() {
        let mut trace = Trace::default();
        trace.begin_block(Time(0), 0, BLOCK, ATTEMPT);
        trace.begin_block(Time(1), 0, BLOCK, ATTEMPT);
        trace.begin_call(Time(2), 0, ID, CallId(0), "fetch".into());
        trace.begin_block(Time(3), 0, BLOCK, Attempt(2));
        trace.end_block(Time(4), BLOCK, ATTEMPT, &TraceOutcome::Completed);
        let ended: Vec<_> = trace.spans.iter().map(|span| span.ended.as_ref().map(|(_, outcome)| outcome)).collect();
        assert_eq!(ended, [Some(&TraceOutcome::Completed), Some(&TraceOutcome::GivenUp), None]);
        trace.end_all(Time(5), &TraceOutcome::GivenUp);
        assert_eq!(trace.spans[2].ended, Some((Time(5), TraceOutcome::GivenUp)));
    }
}
