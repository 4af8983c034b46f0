//! What the commands take that are about shared memory and channels, and where a supervisor is told that they lie.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};
use runlet_supervisor::config;
use runlet_workflow::{parse_duration, parse_size};

use super::Table;
use crate::limits::{MEMORY_BYTES_DEFAULT, MEMORY_MESSAGE_BYTES_DEFAULT, MEMORY_VALUE_DEFAULT};

/// Where what workflows share lies. In the configuration file it has a table of its own: `[memory]`, `url = …`.
#[derive(Debug, Clone, Args)]
pub(crate) struct MemoryOptions {
    /// Where shared memory lies: `embedded:`, in the supervisor and its journal; `redis://HOST:PORT` or `rediss://…`, in a Redis
    /// or Valkey server, where several supervisors meet.
    #[arg(id = "memory_url", long = "memory-url", value_name = "URL", env = "RUNLET_MEMORY_URL", hide_env_values = true, value_parser = url, default_value = config::Memory::EMBEDDED)]
    pub(crate) url: String,
    /// Keys that one namespace may have.
    #[arg(id = "memory_keys", long = "memory-keys", value_name = "N", env = "RUNLET_MEMORY_KEYS", default_value_t = runlet_supervisor::limits::MEMORY_KEYS_DEFAULT)]
    pub(crate) keys: u64,
    /// Bytes that the keys and values of one namespace may take.
    #[arg(id = "memory_bytes", long = "memory-bytes", value_name = "SIZE", env = "RUNLET_MEMORY_BYTES", value_parser = parse_size, default_value = MEMORY_BYTES_DEFAULT)]
    pub(crate) bytes: u64,
    /// Bytes that one value or one message may take.
    #[arg(id = "memory_value", long = "memory-value", value_name = "SIZE", env = "RUNLET_MEMORY_VALUE", value_parser = parse_size, default_value = MEMORY_VALUE_DEFAULT)]
    pub(crate) value: u64,
    /// Messages that one channel may hold, dead ones included.
    #[arg(id = "memory_messages", long = "memory-messages", value_name = "N", env = "RUNLET_MEMORY_MESSAGES", default_value_t = runlet_supervisor::limits::MEMORY_MESSAGES_DEFAULT)]
    pub(crate) messages: u64,
    /// Bytes that the messages of one channel may take.
    #[arg(id = "memory_message_bytes", long = "memory-message-bytes", value_name = "SIZE", env = "RUNLET_MEMORY_MESSAGE_BYTES", value_parser = parse_size, default_value = MEMORY_MESSAGE_BYTES_DEFAULT)]
    pub(crate) message_bytes: u64,
}

/// How `[memory]` in the configuration file is called on the command line.
pub(crate) const MEMORY_PREFIX: &str = "memory-";

/// The option that may hold a password.
pub(crate) const MEMORY_URL: &str = "memory-url";

fn url(text: &str) -> Result<String, String> {
    let memory = config::Memory { url: text.to_owned(), ..config::Memory::default() };
    memory.check().map(|()| text.to_owned())
}

impl MemoryOptions {
    /// The same for a supervisor.
    pub(crate) fn config(&self) -> config::Memory {
        config::Memory {
            url: self.url.clone(),
            keys_max: self.keys,
            bytes_max: self.bytes,
            value_bytes_max: self.value,
            messages_max: self.messages,
            message_bytes_max: self.message_bytes,
        }
    }

    /// The same as variables of a process's environment: arguments can be read by everybody on the machine.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 6] {
        [
            ("RUNLET_MEMORY_URL", self.url.clone().into()),
            ("RUNLET_MEMORY_KEYS", self.keys.to_string().into()),
            ("RUNLET_MEMORY_BYTES", format!("{}B", self.bytes).into()),
            ("RUNLET_MEMORY_VALUE", format!("{}B", self.value).into()),
            ("RUNLET_MEMORY_MESSAGES", self.messages.to_string().into()),
            ("RUNLET_MEMORY_MESSAGE_BYTES", format!("{}B", self.message_bytes).into()),
        ]
    }
}

/// `runlet memory`.
#[derive(Debug, Subcommand)]
pub(crate) enum Memory {
    /// List the namespaces, or the keys of one.
    Ls(MemoryLs),
    /// Print what a key holds, as JSON.
    Get(OneKey),
    /// Write a key.
    Set(MemorySet),
    /// Remove keys.
    Rm(MemoryRm),
    /// Print each change of a namespace as it comes, until Ctrl-C.
    Watch(MemoryWatch),
}

/// `runlet memory ls`.
#[derive(Debug, Args)]
pub(crate) struct MemoryLs {
    /// The namespace whose keys are listed.
    #[arg(value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Only keys that begin with this.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "namespace")]
    pub(crate) prefix: String,
    /// Only keys after this one: the last of a listing, for the next.
    #[arg(long, value_name = "KEY", requires = "namespace")]
    pub(crate) after: Option<String>,
    /// At most so many.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) table: Table,
}

/// One key of a namespace.
#[derive(Debug, Args)]
pub(crate) struct OneKey {
    /// The namespace.
    #[arg(value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// The key.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
}

/// `runlet memory set`.
#[derive(Debug, Args)]
pub(crate) struct MemorySet {
    #[command(flatten)]
    pub(crate) key: OneKey,
    /// JSON, `@FILE`, or `-` for stdin. Text is written with quotes: '"text"'.
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) value: String,
    /// How long the key lives: `30s`, `10m`, `7d`.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Only if the key has this version, which `runlet memory ls NAMESPACE` shows; 0: only if it is not there.
    #[arg(long = "if-version", value_name = "N")]
    pub(crate) if_version: Option<u64>,
}

/// `runlet memory rm`.
#[derive(Debug, Args)]
pub(crate) struct MemoryRm {
    /// The namespace.
    #[arg(value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// The keys.
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
}

/// `runlet memory watch`.
#[derive(Debug, Args)]
pub(crate) struct MemoryWatch {
    /// The namespace.
    #[arg(value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// Only keys that begin with this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
}

/// `runlet channel`.
#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// List the channels that have messages or receivers.
    Ls(Table),
    /// Send a message; prints its number.
    Send(ChannelSend),
    /// List the next messages of a channel, which stay there.
    Peek(ChannelPeek),
}

/// `runlet channel send`.
#[derive(Debug, Args)]
pub(crate) struct ChannelSend {
    /// The channel.
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
    /// JSON, `@FILE`, or `-` for stdin. Text is written with quotes: '"text"'.
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) message: String,
}

/// `runlet channel peek`.
#[derive(Debug, Args)]
pub(crate) struct ChannelPeek {
    /// The channel.
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
    /// At most so many.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) table: Table,
}

/// `runlet dead messages` and what can be done to them.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List messages that were received as often as their receivers allow, and never acknowledged.
    Messages(DeadMessages),
    /// Put a dead message at the end of its channel again.
    Revive(OneMessage),
    /// Remove a dead message.
    Rm(OneMessage),
}

/// `runlet dead messages`.
#[derive(Debug, Args)]
pub(crate) struct DeadMessages {
    /// Of this channel only.
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: Option<String>,
    /// At most so many, the oldest.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) table: Table,
}

/// One message of a channel.
#[derive(Debug, Args)]
pub(crate) struct OneMessage {
    /// The channel.
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
    /// The message's number, which `runlet dead messages` shows.
    #[arg(value_name = "ID")]
    pub(crate) id: u64,
}
