//! What the black-box scenarios and the tidy checks share. Knows Runlet only from outside: its binary, its sockets, its
//! files; never its crates.

pub mod certificate;
pub mod cgroup;
pub mod collector;
pub mod exposition;
pub mod host;
pub mod http;
pub mod process;
pub mod program;
pub mod readme;
pub mod redis_server;
pub mod runlet;
pub mod service;
pub mod system;
pub mod tidy;
pub mod upstream;
pub mod wait;
