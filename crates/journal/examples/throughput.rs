//! How many entries the journal writes, and what that costs: `cargo run --release -p runlet-journal --example throughput`,
//! with a directory on the disk in question as argument.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runlet_journal::{Began, BlockDone, Config, Ended, Entry, Heard, Journal, Retention, Stored, open};
use runlet_proto::ids::RunId;
use runlet_proto::state::{BlockStatus, RunState};

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(5);

fn main() {
    let directory =
        std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("runlet-throughput"), PathBuf::from);
    measure(&directory, "Began, each waited for, 64 at once", |journal, heard, count| {
        let entries = |number| vec![Entry::Began(began(number))];
        waited_for(journal, heard, count, entries)
    });
    measure(&directory, "Began, then Ended, 64 at once", |journal, heard, count| {
        let entries = |number: u64| match number % 2 {
            0 => vec![Entry::Began(began(number / 2))],
            _ => vec![Entry::Ended(ended((number - 1) / 2))],
        };
        waited_for(journal, heard, count, entries)
    });
    let paced = |relaxed: bool| {
        move |journal: &Journal, heard: &std::sync::mpsc::Receiver<Heard>, count: u64| {
            let mut last = 0;
            for number in count..count + 150 {
                let whole = vec![Entry::Whole(began(number), ended(number))];
                let appended = if relaxed { journal.append_relaxed(whole) } else { journal.append(whole) };
                last = appended.expect("the backlog is short");
            }
            std::thread::sleep(Duration::from_millis(10));
            while heard.try_recv().is_ok() {}
            last
        }
    };
    measure(&directory, "Whole, 15,000/s offered, relaxed", paced(true));
    measure(&directory, "Whole, 15,000/s offered", paced(false));
}

/// Appends as 64 clients would: the next entry of each when its last is on disk.
fn waited_for(
    journal: &Journal,
    heard: &std::sync::mpsc::Receiver<Heard>,
    count: u64,
    entries: impl Fn(u64) -> Vec<Entry>,
) -> u64 {
    let mut last = 0;
    for number in count..count + 64 {
        last = journal.append(entries(number)).expect("the backlog is short");
    }
    while let Ok(said) = heard.recv() {
        match said {
            Heard::Durable { up_to } if up_to >= last => break,
            Heard::Durable { .. } => {}
            other @ (Heard::Full { .. } | Heard::Room | Heard::Failed(_)) => panic!("{other:?}"),
        }
    }
    last
}

fn measure(
    directory: &std::path::Path,
    name: &str,
    mut round: impl FnMut(&Journal, &std::sync::mpsc::Receiver<Heard>, u64) -> u64,
) {
    std::fs::remove_dir_all(directory).ok();
    let (say, heard) = channel();
    let retention = Retention { runs_max: Some(20_000), ..Retention::default() };
    let config = Config { directory: directory.to_owned(), retention };
    let (journal, _) = open(config, move |said| drop(say.send(said))).expect("the journal opens");
    let (began, mut count, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    let cpu = writer_cpu();
    while began.elapsed() < TIME {
        let turn = Instant::now();
        count = round(&journal, &heard, count);
        slowest = slowest.max(turn.elapsed());
    }
    let (elapsed, stats, cpu) = (began.elapsed().as_secs_f64(), journal.stats(), writer_cpu() - cpu);
    let per_commit = stats.commit_total / u32::try_from(stats.commits.max(1)).unwrap_or(u32::MAX);
    println!(
        "{name}: {:.0} entries/s, {:.0} commits/s of {per_commit:?}, slowest round {slowest:?}, writer {:.1} µs of CPU time \
         an entry ({:.0} % of a core), {} MB kept",
        stats.entries as f64 / elapsed,
        stats.commits as f64 / elapsed,
        cpu * 1e6 / stats.entries as f64,
        cpu / elapsed * 100.0,
        stats.bytes_kept / 1_000_000,
    );
    journal.close();
    let began = Instant::now();
    let config = Config { directory: directory.to_owned(), retention };
    let (journal, recovered) = open(config, |_| {}).expect("the journal opens");
    println!("    opened again in {:?} with {} open runs", began.elapsed(), recovered.runs.len());
    journal.close();
}

/// CPU time of the writer's thread in seconds, by the clock ticks of its `stat` file (proc_pid_stat(5)).
fn writer_cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_writer = threads.filter_map(|thread| {
        let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        let fields: Vec<u64> =
            stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        (name.trim() == "journal").then(|| (fields[11] + fields[12]) as f64 / 100.0)
    });
    of_writer.sum()
}

fn began(number: u64) -> Box<Began> {
    Box::new(Began {
        run: RunId::from_u128((u128::from(number) << 64) | 1),
        workflow: "hello".to_owned(),
        version: "0123456789abcdef".repeat(4),
        source: None,
        priority: 5,
        created_at_ms: number,
        input: Stored::Hook(Bytes::from(vec![b'h'; 300])),
        waited_for: false,
        key: None,
        retry_of: None,
        traceparent: None,
        handles: None,
        parent: None,
    })
}

fn ended(number: u64) -> Box<Ended> {
    let done = || BlockDone {
        attempt: 1,
        retries: 0,
        status: BlockStatus::Completed,
        output: Some(Stored::Json(Bytes::from_static(b"{\"greeting\": \"hello\"}"))),
        failure: None,
        started_at_ms: number,
        ended_at_ms: number,
    };
    let far_ms = 4_000_000_000_000;
    Box::new(Ended {
        run: RunId::from_u128((u128::from(number) << 64) | 1),
        state: RunState::Completed,
        ended_at_ms: far_ms + number,
        error: None,
        output: Some(Stored::Nothing),
        blocks: vec![(0, done()), (1, done())],
        log: Vec::new(),
        trace: Vec::new(),
        worker: None,
        lane: None,
        pid: None,
    })
}
