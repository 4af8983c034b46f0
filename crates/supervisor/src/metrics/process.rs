//! What this process uses, from /proc; read when somebody asks, and not on the loop's thread.

use crate::heavy::usage;

/// What is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Own {
    /// Memory that is resident, in bytes.
    pub(super) resident_bytes: u64,
    /// CPU time, with that of the children it has waited for, in nanoseconds.
    pub(super) cpu_ns: u64,
    /// Open file descriptors.
    pub(super) descriptors: u64,
}

/// Reads it. `None` where the system does not show it.
pub(super) fn own() -> Option<Own> {
    let pid = i32::try_from(std::process::id()).ok()?;
    let usage = usage::of_process(pid)?;
    // The directory is open itself while it is read.
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    Some(Own {
        resident_bytes: usage.resident_bytes,
        cpu_ns: u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX),
        descriptors: descriptors as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_is_counted() {
        let count = || own().expect("Linux has /proc").descriptors;
        assert!(count() >= 3 && own().is_some_and(|own| own.resident_bytes > 0));
    }
}
