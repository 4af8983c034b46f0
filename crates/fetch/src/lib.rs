//! The one HTTP client every block shares: pooled connections, the rule about who may be fetched, redirects, limits,
//! decompression and character sets.
//!
//! [`Fetcher::fetch`] takes a rendered [`FetchCall`](runlet_proto::call::FetchCall) and answers with the response or
//! with a [`Failure`](runlet_proto::failure::Failure) that names the method, the URL, the cause and, where there is one,
//! the way out. What happens on the way, one module each:
//!
//! - `request` checks method, URL and header fields; `redirect` writes the next request of a chain;
//! - `address` says which addresses are public, `rule` applies that to a host and to every address a name resolves to;
//! - `names` asks the system's resolver, once for many callers; `connect` times DNS, TCP and TLS together;
//! - `tls` verifies certificates, reading the system's store only when the first `https` URL is fetched;
//! - `clients` keeps one reqwest client, and so one connection pool, per TLS setting and reach;
//! - `body` reads within the limit and the shared [`Budget`](Config::bodies_bytes_max), `coding` undoes `content-encoding`;
//! - `text` and `prescan` find the encoding, `cause` turns what went wrong into a failure.
//!
//! Absent on purpose: proxies from the environment (a fetch goes where its definition says, not where a variable of the
//! supervisor's shell says), cookies, caching, and retries other than the one that HTTP itself asks for, on a pooled
//! connection that the server closed at the same moment.

mod address;
mod body;
mod budget;
mod cause;
mod clients;
mod coding;
mod config;
mod connect;
mod exchange;
mod fetcher;
mod limits;
mod names;
mod prescan;
mod redirect;
mod request;
mod rule;
mod text;
mod tls;

pub use ipnet::IpNet;

pub use crate::budget::Held;
pub use crate::config::{Config, ConfigError};
pub use crate::fetcher::Fetcher;
