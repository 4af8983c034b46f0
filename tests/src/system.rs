//! What the system tells about processes, by `/proc`.

use std::fs;
use std::path::PathBuf;

use crate::wait::wait_until;

/// Process ids of all that live under this name (proc_pid_comm(5): at most 15 bytes of it).
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn processes_called(name: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("there is /proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_called = |pid: &u32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim_end() == name && process_state(*pid).is_some()
    };
    pids.filter(is_called).collect()
}

/// Waits until nothing lives under this name.
///
/// # Panics
/// When that takes too long.
pub fn wait_none_called(name: &str) {
    wait_until(&format!("no process to be called {name}"), || processes_called(name).is_empty().then_some(()));
}

/// State of a process as proc_pid_stat(5) has it: `R`, `S`, `T`…; `None` when there is none, or one nobody has waited for.
#[must_use]
pub fn process_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    (!matches!(state, 'Z' | 'X')).then_some(state)
}

/// A program that every system has.
///
/// # Panics
/// When this one has not.
#[must_use]
pub fn tool(name: &str) -> String {
    let places = ["/usr/bin", "/bin"].map(|folder| PathBuf::from(folder).join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {name}")).to_str().expect("text").to_owned()
}

/// How many children of a process have their system calls filtered, as workers have from the moment they wait for a run.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn confined_children(parent: u32) -> usize {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("a running process");
    let is_confined = |pid: &&str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == "Seccomp:\t2")
    };
    listed.split_whitespace().filter(is_confined).count()
}
