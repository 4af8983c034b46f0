//! What the zygote does once, so that no worker has to: a forked process finds done what was done before.
//!
//! Most of what a short run costs is not its program but the first use of things: pages of code that are not mapped yet,
//! tables that are not filled. Measured on a run of one small program, mapping code took a fifth of its worker's time.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use runlet_ipc::blocking::Connection;
use runlet_proto::control::SourceText;
use runlet_proto::ids::{Attempt, BlockIndex};
use runlet_proto::worker::{Begin, Ended, FromWorker, Payload, ToWorker, Values};

use crate::{serve, sys};

/// Executes a small run, and has forked processes inherit the mapping of the code that took, and of none beside it, instead of
/// mapping it page by page when it is first used. Linux leaves that out for a file's pages unless the process has changed one
/// of them (`vma_needs_copy` in mm/memory.c), so a byte of each mapping is replaced by itself.
///
/// # Errors
/// When the system keeps a process from writing to its own memory in this way (proc_pid_mem(5)). Nothing but speed is lost.
pub(crate) fn up() -> io::Result<()> {
    // What it took to come here is of no use to a worker, and would be inherited as well.
    for range in of_files(&fs::read_to_string("/proc/self/smaps")?).filter(|mapping| mapping.unchanged) {
        sys::forget_pages(range.start, range.length)?;
    }
    rehearse()?;
    let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem")?;
    for Mapping { start, .. } in of_files(&fs::read_to_string("/proc/self/smaps")?) {
        let mut byte = [0];
        memory.read_exact_at(&mut byte, start)?;
        memory.write_all_at(&byte, start)?;
    }
    Ok(())
}

/// A mapping of a file that the process reads or executes and does not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping {
    start: u64,
    length: usize,
    /// Whether all its pages are as they stand in the file: the linker changes some, and protects them then.
    unchanged: bool,
}

/// Those among what proc_pid_smaps(5) lists: of each mapping a line `START-END PERMISSIONS OFFSET DEVICE INODE PATH`, and
/// lines `NAME: VALUE kB`.
fn of_files(smaps: &str) -> impl Iterator<Item = Mapping> {
    let mut current = None;
    smaps.lines().filter_map(move |line| {
        if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            return current.take().map(|it| Mapping { unchanged: anonymous.trim() == "0 kB", ..it });
        }
        if let Some(found) = mapping(line) {
            current = found;
        }
        None
    })
}

/// `None` for a line that begins no mapping, `Some(None)` for a mapping of another kind.
fn mapping(line: &str) -> Option<Option<Mapping>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let is_read = fields.next().is_some_and(|permissions| matches!(permissions, "r--p" | "r-xp"));
    let is_file = fields.nth(2).is_some_and(|inode| inode != "0");
    let length = usize::try_from(end.checked_sub(start)?).ok()?;
    Some((is_read && is_file).then_some(Mapping { start, length, unchanged: false }))
}

/// A definition with the blocks that a worker executes.
const REHEARSED: &str = r#"{ "name": "rehearsal", "isolation": "process", "blocks": [
    { "id": "sum", "type": "transform", "when": "{{ input | length > 1 }}", "parameter": { "jq": "map(. + 1) | add" } },
    { "id": "titles", "type": "html-scraper", "dependencies": [], "parameter": [{ "tags": "h1" }] }
]}"#;

/// One that is executed in next to no time.
const BRIEF: &str = r#"{ "name": "rehearsal", "blocks": [{ "type": "transform", "parameter": { "jq": ".[0]" } }] }"#;

/// Executes a small run that is always the same, for its code to be mapped and its tables to be filled.
///
/// # Errors
/// When there is no socket for it. How its attempts ended is returned, for the test that it does what it is for.
fn rehearse() -> io::Result<Vec<Ended>> {
    let scope = Values { input: Bytes::from_static(LIST), hook: None, blocks: vec![], run: Bytes::from_static(b"{}") };
    let page = br#""<title>t</title><h1>One</h1><p>x""#;
    execute(REHEARSED, [(0, LIST, Some(scope)), (1, page, None)])
}

/// The same with less, for a process that was forked: afterwards it has pages of its own where a run writes first.
///
/// # Errors
/// As [`rehearse`].
pub(crate) fn rehearse_briefly() -> io::Result<Vec<Ended>> {
    execute(BRIEF, [(0, LIST, None)])
}

const LIST: &[u8] = b"[1, 2]";

/// Executes attempts of blocks, by their index, with an input and values for templates.
fn execute<const N: usize>(text: &str, attempts: [(u16, &'static [u8], Option<Values>); N]) -> io::Result<Vec<Ended>> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut supervisor = Connection::over(ours.try_clone()?);
    for (block, input, scope) in attempts {
        let input = Payload::Json(Bytes::from_static(input));
        let begin = Begin { block: BlockIndex(block), attempt: Attempt(1), input, scope };
        supervisor.send(&ToWorker::Begin(Box::new(begin))).map_err(io::Error::other)?;
    }
    ours.shutdown(Shutdown::Write)?;
    let source = SourceText { file: "rehearsal.json".to_owned(), text: text.to_owned() };
    serve::rehearse(theirs, &source);
    let mut ends = Vec::new();
    while let Ok(Some(FromWorker::Finished { ended, .. })) = supervisor.receive() {
        ends.push(ended);
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_rehearsal_goes_to_its_end() {
        let output = |ended| {
            let Ended::Completed(Payload::Json(text)) = ended else { panic!("{ended:?}") };
            String::from_utf8(text.to_vec()).unwrap()
        };
        let outputs: Vec<_> = rehearse().unwrap().into_iter().map(output).collect();
        assert_eq!(outputs, ["5", r#"{"h1":["One"]}"#]);
        assert_eq!(rehearse_briefly().unwrap().into_iter().map(output).collect::<Vec<_>>(), ["1"]);
    }

    #[test]
    fn only_mappings_of_files_that_are_not_written_to_count() {
        let smaps = "\
7f00a000-7f00b000 r-xp 00000000 fe:00 12   /usr/bin/x y
Size:                  4 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f00b000-7f00d000 r--p 00001000 fe:00 12   /usr/bin/x y
Anonymous:             8 kB
7f00d000-7f00e000 rw-p 00001000 fe:00 12   /usr/bin/x y
Anonymous:             4 kB
7f00e000-7f00f000 r--s 00001000 fe:00 12   /usr/bin/x y
Anonymous:             0 kB
7f00f000-7f010000 r-xp 00000000 00:00 0    [vdso]
Anonymous:             0 kB
";
        let found: Vec<_> = of_files(smaps).collect();
        assert_eq!(
            found,
            [
                Mapping { start: 0x7f00_a000, length: 0x1000, unchanged: true },
                Mapping { start: 0x7f00_b000, length: 0x2000, unchanged: false },
            ]
        );
    }

    #[test]
    fn a_process_goes_on_as_before() {
        up().unwrap();
        assert_eq!(rehearse().unwrap().len(), 2);
        up().unwrap();
    }
}
