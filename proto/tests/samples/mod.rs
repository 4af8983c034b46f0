//! One sample of every variant of every enum that crosses a process border, in the order of the variants.

mod memory;
mod metrics;
mod zygote;

use std::sync::Arc;

use bytes::Bytes;
pub(super) use memory::{acknowledges, memory_found, memory_ops, memory_questions, memory_replies};
use memory::{item, memory_call, memory_change, memory_watch, send_call};
use runlet_proto::call::{Answer, Body, BodyAs, Call, FetchCall, FetchReply, WorkflowCall};
use runlet_proto::control::{
    Collected, Diagnostic, HistoryFilter, LogLevel, LogLine, Refusal, RefusalKind, Reply, Request, Retry, RunEnd,
    RunEvent, RunEventKind, RunFilter, RunSignal, RunSummary, SourceText, Start, SupervisorStatus, Target,
    TraceOutcome, TracePlace, TraceSpan, TraceWhat, WorkflowSummary,
};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::hello::Role;
use runlet_proto::hook::{HookAnswer, HookFailure, HookRequest, HttpReply, OnDisconnect, Respond, Route, RouteTable};
use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};
use runlet_proto::memory::{Acknowledge, MemoryFound, MemoryQuestion, MemoryReply, Message, ReceiveCall};
use runlet_proto::state::{BlockStatus, Lane, RunState};
use runlet_proto::worker::{Confinement, Ended, FromWorker, Namespaces, Payload};

pub(super) use self::metrics::{metric_kinds, metric_units, metric_values};
pub(super) use self::zygote::{acts, forked, tasks, to_worker, tried};

const RUN: RunId = RunId::from_u128(0x0193_2c07_1f3e_7abc_8def_0123_4567_89ab);

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn source() -> SourceText {
    SourceText { file: "shop.json".into(), text: "[]".into() }
}

pub(super) fn roles() -> Vec<Role> {
    vec![Role::Supervisor, Role::Gateway, Role::Cli, Role::Worker]
}

pub(super) fn requests() -> Vec<Request> {
    vec![
        Request::Deploy(source()),
        Request::Remove { workflow: "shop".into() },
        Request::Workflows,
        Request::Start(Start {
            target: Target::Workflow("shop".into()),
            input: Some(Bytes::from_static(b"{}")),
            priority: Some(Priority::MAX),
            follow: true,
        }),
        Request::Hook(HookRequest {
            workflow: "shop".into(),
            respond: Respond::WhenDone,
            method: "POST".into(),
            path: "/hook/shop/7".into(),
            params: vec![pair("id", "7")],
            query: "a=b".into(),
            headers: vec![pair("accept", "*/*")],
            body: Bytes::from_static(b"\x00\xff"),
        }),
        Request::Abandon { id: 3 },
        Request::Runs(RunFilter { all: true, workflows: vec!["w".into()], states: vec![RunState::Failed] }),
        Request::Inspect { run: "0193".into() },
        Request::Logs { run: "0193".into(), follow: false },
        Request::Signal { run: "0193".into(), signal: RunSignal::Stop },
        Request::WatchRoutes,
        Request::Status,
        Request::Overdue { id: 3, after_ms: 30_000 },
        Request::Source { workflow: "w".into() },
        Request::Trace { run: "0193".into(), follow: true },
        Request::History(HistoryFilter {
            workflows: vec!["w".into()],
            states: vec![RunState::Failed],
            since_ms: Some(6),
            before: Some(RUN),
            limit: Some(7),
            dead: true,
        }),
        Request::Collect,
        Request::Retry(Retry { run: "0193".into(), from: Some("page".into()), deployed: true }),
        Request::Metrics,
        Request::Memory(MemoryQuestion::Namespaces),
        Request::WatchMemory(memory_watch()),
    ]
}

fn workflow() -> WorkflowSummary {
    WorkflowSummary {
        name: "shop".into(),
        version: "abc".into(),
        description: Some("d".into()),
        blocks: 4,
        priority: Priority::DEFAULT,
        hooks: vec!["GET shop/:id".into()],
        live_runs: 2,
        deployed_at_ms: 5,
    }
}

fn run() -> RunSummary {
    RunSummary {
        id: RUN,
        workflow: "shop".into(),
        version: "abc".into(),
        state: RunState::Blocked,
        blocked_on: Some("fetch example.org".into()),
        lane: Lane::Light,
        priority: Priority::MIN,
        block: Some("page".into()),
        attempt: 1,
        created_at_ms: 6,
        updated_at_ms: 7,
        error: None,
        pid: Some(8),
        cpu_us: Some(9),
        resident_bytes: Some(10),
    }
}

fn log_line() -> LogLine {
    LogLine { sequence: 1, at_ms: 8, block: Some("page".into()), level: LogLevel::Warn, text: "w".into() }
}

fn refusal() -> Refusal {
    let diagnostic = Diagnostic {
        code: "unknown-field".into(),
        message: "m".into(),
        help: Some("h".into()),
        file: "shop.json".into(),
        line: 1,
        column: 2,
        path: "blocks[0]".into(),
        offset: 3,
        length: 4,
    };
    Refusal { kind: RefusalKind::Invalid, message: "m".into(), help: None, diagnostics: vec![diagnostic] }
}

pub(super) fn replies() -> Vec<Reply> {
    let route = Route {
        path: "shop/:id".into(),
        methods: vec!["GET".into()],
        workflow: "shop".into(),
        respond: Respond::AtOnce,
        body_bytes_max: 1024,
        timeout_ms: 30_000,
        on_disconnect: OnDisconnect::Continue,
    };
    vec![
        Reply::Refused(refusal()),
        Reply::Deployed { workflow: workflow(), replaced: Some("abb".into()) },
        Reply::Removed { workflow: workflow() },
        Reply::Workflows(vec![workflow()]),
        Reply::Accepted(RUN),
        Reply::Event(RunEvent { run: RUN, at_ms: 9, block: None, what: RunEventKind::State(RunState::Ready) }),
        Reply::Ended(RunEnd {
            run: RUN,
            state: RunState::Failed,
            output: Some(Bytes::from_static(b"1")),
            error: Some("e".into()),
            help: Some("h".into()),
            timed_out: true,
        }),
        Reply::Hook(HookAnswer::Accepted(RUN)),
        Reply::Runs { runs: vec![run()], total: 7 },
        Reply::Inspected(Bytes::from_static(b"{}")),
        Reply::Log(vec![log_line()]),
        Reply::LogEnd,
        Reply::Changed(run()),
        Reply::Routes(RouteTable { generation: 10, routes: vec![route] }),
        Reply::Status(SupervisorStatus {
            pid: 11,
            release: "0.1.0".into(),
            started_at_ms: 12,
            workflows: 13,
            live_runs: 14,
            ended_runs: [15, 16, 17],
            shutting_down: false,
            live_by_state: [18, 19, 20, 21],
            slots: 22,
            slots_taken: 23,
            heavy_memory_bytes: 24,
            heavy_memory_bytes_max: 25,
            shared_memory: "embedded".into(),
        }),
        Reply::Source { workflow: workflow(), source: SourceText { file: "f.json".into(), text: "[]".into() } },
        Reply::Trace(vec![TraceSpan {
            sequence: 1,
            block: "page".into(),
            attempt: 2,
            what: TraceWhat::Call("fetch GET example.org".into()),
            offset_us: 3,
            handover_us: Some(5),
            elapsed_us: Some(4),
            outcome: Some(TraceOutcome::Completed),
            place: Some(TracePlace { trace_id: 6, span_id: 7 }),
        }]),
        Reply::TraceEnd { dropped: 5 },
        Reply::Collected(Collected { runs: 1, outputs: 2, definitions: 3, bytes: 4 }),
        Reply::Metrics(vec![metrics::family()]),
        Reply::Memory(MemoryFound::Sent(6)),
        Reply::MemoryChange(memory_change()),
    ]
}

pub(super) fn trace_whats() -> Vec<TraceWhat> {
    vec![TraceWhat::Block, TraceWhat::Call("fetch GET example.org".into())]
}

pub(super) fn trace_outcomes() -> Vec<TraceOutcome> {
    vec![
        TraceOutcome::Completed,
        TraceOutcome::Skipped,
        TraceOutcome::Answered("200, 5 bytes".into()),
        TraceOutcome::Failed("m".into()),
        TraceOutcome::GivenUp,
        TraceOutcome::Stopped("m".into()),
    ]
}

pub(super) fn targets() -> Vec<Target> {
    vec![Target::Workflow("shop".into()), Target::Inline(source())]
}

pub(super) fn signals() -> Vec<RunSignal> {
    vec![RunSignal::Stop, RunSignal::Pause, RunSignal::Resume, RunSignal::Renice(Priority::MAX), RunSignal::Send(15)]
}

pub(super) fn refusal_kinds() -> Vec<RefusalKind> {
    vec![
        RefusalKind::Invalid,
        RefusalKind::NotFound,
        RefusalKind::Conflict,
        RefusalKind::Overloaded,
        RefusalKind::ShuttingDown,
        RefusalKind::Protocol,
        RefusalKind::NoRoom,
    ]
}

pub(super) fn run_event_kinds() -> Vec<RunEventKind> {
    vec![
        RunEventKind::BlockStarted { attempt: 1 },
        RunEventKind::Blocked { on: "fetch example.org".into() },
        RunEventKind::BlockEnded { status: BlockStatus::Failed, error: Some("e".into()), elapsed_us: 2 },
        RunEventKind::RetryScheduled { delay_ms: 3 },
        RunEventKind::State(RunState::Completed),
        RunEventKind::Log(log_line()),
    ]
}

pub(super) fn log_levels() -> Vec<LogLevel> {
    vec![LogLevel::Info, LogLevel::Warn, LogLevel::Error]
}

pub(super) fn run_states() -> Vec<RunState> {
    vec![
        RunState::Ready,
        RunState::Running,
        RunState::Blocked,
        RunState::Completed,
        RunState::Failed,
        RunState::Paused,
        RunState::Stopped,
    ]
}

pub(super) fn block_statuses() -> Vec<BlockStatus> {
    vec![BlockStatus::Pending, BlockStatus::Running, BlockStatus::Completed, BlockStatus::Failed, BlockStatus::Skipped]
}

pub(super) fn lanes() -> Vec<Lane> {
    vec![Lane::Light, Lane::Heavy]
}

pub(super) fn responds() -> Vec<Respond> {
    vec![Respond::WhenDone, Respond::AtOnce]
}

pub(super) fn on_disconnects() -> Vec<OnDisconnect> {
    vec![OnDisconnect::Stop, OnDisconnect::Continue]
}

pub(super) fn hook_answers() -> Vec<HookAnswer> {
    vec![
        HookAnswer::Reply(Arc::new(HttpReply {
            status: 200,
            headers: vec![pair("content-type", "application/json")],
            body: Bytes::from_static(b"{}"),
        })),
        HookAnswer::Accepted(RUN),
        HookAnswer::Failed(HookFailure {
            run: RUN,
            class: FailureClass::Upstream,
            block: Some("page".into()),
            attempt: 2,
            code: "c".into(),
            message: "m".into(),
        }),
    ]
}

pub(super) fn failure_classes() -> Vec<FailureClass> {
    vec![FailureClass::Workflow, FailureClass::Upstream, FailureClass::Stopped, FailureClass::Timeout]
}

pub(super) fn calls() -> Vec<Call> {
    let workflow = WorkflowCall { workflow: "w".into(), input: Bytes::from_static(b"1"), wait: true };
    let fetch = Call::Fetch(FetchCall {
        method: "GET".into(),
        url: "https://localhost:4000/".into(),
        literal_hosts: vec!["localhost".into()],
        headers: vec![pair("accept", "*/*")],
        body: Some(Bytes::from_static(b"b")),
        timeout_ms: 1,
        connect_timeout_ms: 2,
        redirects_max: 3,
        body_bytes_max: 4,
        tls_verify: true,
        ca_file: Some("ca.pem".into()),
        encoding: Some("utf-8".into()),
        body_as: BodyAs::Text,
    });
    let receive =
        ReceiveCall { channel: "c".into(), timeout_ms: Some(6), acknowledge: Acknowledge::Run, deliveries_max: 7 };
    vec![fetch, Call::Workflow(workflow), Call::Memory(memory_call()), Call::Send(send_call()), Call::Receive(receive)]
}

pub(super) fn answers() -> Vec<Answer> {
    vec![
        Answer::Fetch(Box::new(FetchReply {
            status: 200,
            url: "https://localhost:4000/".into(),
            headers: vec![pair("content-type", "text/html")],
            body: bodies().swap_remove(0),
            redirects: vec!["https://localhost:4000/old".into()],
            elapsed_us: 5,
        })),
        Answer::Failed(Failure::timeout("m").with_help("h")),
        Answer::Workflow { run: RUN, output: Some(Bytes::from_static(b"2")) },
        Answer::Memory(MemoryReply::Value(Some(item()))),
        Answer::Sent(3),
        Answer::Received(Message { id: 4, body: Bytes::from_static(b"5"), sent_at_ms: 6, deliveries: 7 }),
    ]
}

pub(super) fn bodies() -> Vec<Body> {
    vec![Body::Text { text: "<h1>".into(), encoding: "UTF-8".into() }, Body::Bytes(Bytes::from_static(b"\x00\x01"))]
}

pub(super) fn body_forms() -> Vec<BodyAs> {
    vec![BodyAs::Auto, BodyAs::Text, BodyAs::Bytes]
}

pub(super) fn payloads() -> Vec<Payload> {
    vec![
        Payload::Json(Bytes::from_static(b"{}")),
        Payload::Hook(Box::new(HookRequest {
            workflow: "shop".into(),
            respond: Respond::AtOnce,
            method: "GET".into(),
            path: "/hook/shop".into(),
            params: vec![],
            query: String::new(),
            headers: vec![],
            body: Bytes::new(),
        })),
        Payload::Reply(Box::new(HttpReply { status: 204, headers: vec![pair("a", "b")], body: Bytes::new() })),
    ]
}

fn confinement() -> Confinement {
    let namespaces = Namespaces { user: false, pid: true, mount: true, ipc: true, uts: true, net: false };
    Confinement {
        seccomp: true,
        landlock_abi: 6,
        other_user: false,
        namespaces,
        cgroup_limits: true,
        process_limit: true,
    }
}

pub(super) fn from_worker() -> Vec<FromWorker> {
    let (block, attempt) = (BlockIndex(1), Attempt(2));
    vec![
        FromWorker::Ready(confinement()),
        FromWorker::Waiting { block, attempt, calls: vec![(3, calls().swap_remove(0))] },
        FromWorker::Log { block, attempt, level: LogLevel::Info, text: "l".into() },
        FromWorker::Finished { block, attempt, ended: Ended::Skipped, began_ns: 8 },
    ]
}

pub(super) fn ended() -> Vec<Ended> {
    let failure = Failure::workflow("jq", "m");
    vec![Ended::Completed(payloads().swap_remove(0)), Ended::Skipped, Ended::Failed(failure)]
}
