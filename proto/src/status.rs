//! How the supervisor is: what `runlet status` and the head of `runlet top` show.

use serde::{Deserialize, Serialize};

/// How the supervisor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorStatus {
    /// Process id.
    pub pid: u32,
    /// Release of the binary.
    pub release: String,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// Deployed workflows.
    pub workflows: u64,
    /// Live runs.
    pub live_runs: u64,
    /// Runs ended since the start, by state: completed, failed, stopped.
    pub ended_runs: [u64; 3],
    /// Whether it no longer accepts runs.
    pub shutting_down: bool,
    /// Live runs by state: ready, running, blocked, paused.
    pub live_by_state: [u64; 4],
    /// CPU slots in all.
    pub slots: u64,
    /// CPU slots that are taken.
    pub slots_taken: u64,
    /// Memory that live heavy runs are allowed together, in bytes.
    pub heavy_memory_bytes: u64,
    /// Memory that heavy runs may be allowed together, in bytes.
    pub heavy_memory_bytes_max: u64,
    /// Where shared memory lies, and whether it is there: `embedded`, `redis at host:port`.
    pub shared_memory: String,
}
