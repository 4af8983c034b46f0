//! The bench: the same workloads against a bare HTTP server, Runlet, Node-RED and n8n, side by side in one run on
//! loopback, so that a ratio means something on whatever machine it was measured.
//!
//! Six programs share this library: `bench-pages` serves the pages that are scraped, `bench-floor` is the program
//! somebody would write by hand instead of running an engine, `bench-load` is a closed-loop load generator, and
//! `bench-compare` starts everything, takes turns between the systems and prints the ratios; `bench-heavy` measures runs in
//! processes of their own and `bench-durable` the journal, which the other systems do not have.

pub mod driver;
pub mod durable;
pub mod exchange;
pub mod group;
pub mod heavy;
pub mod histogram;
pub mod limits;
pub mod load;
pub mod measure;
pub mod memory;
pub mod page;
pub mod proc;
pub mod render;
pub mod summary;
pub mod system;
pub mod target;
pub mod workload;
