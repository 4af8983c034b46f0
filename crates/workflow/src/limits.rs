//! Every bound and default of the language, by name.

use std::time::Duration;

/// Longest definition in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of a definition's arrays and objects.
pub const DOCUMENT_DEPTH_MAX: usize = 64;
/// Most findings reported for one document; the last one says how many more there were.
pub const DIAGNOSTICS_MAX: usize = 200;
/// Most blocks in one definition.
pub const BLOCKS_MAX: usize = 1000;
/// Longest block id or workflow name in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// Most rules of one `html-scraper`.
pub const RULES_MAX: usize = 1000;
/// Highest priority.
pub const PRIORITY_MAX: u8 = 9;
/// Most attempts a retry policy may ask for.
pub const ATTEMPTS_MAX: u32 = 100;
/// Largest factor between two retry delays.
pub const BACKOFF_MAX: f64 = 100.0;
/// Most elements of a `for_each` under way at once.
pub const PARALLEL_MAX: usize = 256;
/// Longest duration that may be written.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Most redirects a fetch may follow.
pub const REDIRECTS_MAX: u16 = 50;
/// Largest memory limit of a run.
pub const RUN_MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024 * 1024;
/// Largest limit of what a run may write to its log.
pub const RUN_LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most processes that the programs of a run may have at once.
pub const RUN_PROCESSES_MAX: u32 = 512;
/// Largest request body a hook may take: it crosses to the supervisor in one frame of 16 MiB.
pub const HOOK_BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Largest body a fetch may take, after decompression.
pub const FETCH_BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Work one expression may do: one unit an instruction, and one for every 64 bytes it makes or reads. Enough for two
/// filters over a page of 10 MiB, and some milliseconds of an endless computation.
pub const TEMPLATE_FUEL: u64 = 400_000;
/// Nesting of evaluation inside an expression.
pub const TEMPLATE_RECURSION_MAX: usize = 64;
/// Largest text or JSON value a template may yield, in bytes: what one frame between two processes carries.
pub const TEMPLATE_OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most values in a list or object that an expression makes; a document that is merely passed on may have more.
pub const TEMPLATE_OUTPUT_VALUES_MAX: usize = 250_000;
/// Deepest JSON value a template may yield.
pub const TEMPLATE_OUTPUT_DEPTH_MAX: usize = 128;
/// Longest expression in bytes.
pub const TEMPLATE_EXPRESSION_BYTES_MAX: usize = 4096;
/// Most operators, brackets and members in one expression: its compiler works as deep as they nest.
pub const TEMPLATE_OPERATORS_MAX: usize = 256;
/// Most names of values in one expression: each may bring a document along.
pub const TEMPLATE_NAMES_MAX: usize = 64;
/// Most expressions in one string.
pub const TEMPLATE_EXPRESSIONS_MAX: usize = 100;

/// `priority` of a definition that names none.
pub const PRIORITY_DEFAULT: u8 = 5;
/// `max_body_size` of a hook.
pub const HOOK_BODY_BYTES_DEFAULT: u64 = 1024 * 1024;
/// `timeout` of a hook.
pub const HOOK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// `timeout` of a fetch.
pub const FETCH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// `connect_timeout` of a fetch.
pub const FETCH_CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// `max_redirects` of a fetch.
pub const REDIRECTS_DEFAULT: u16 = 10;
/// `max_body_size` of a fetch.
pub const FETCH_BODY_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
/// `attempts` of a retry policy.
pub const RETRY_ATTEMPTS_DEFAULT: u32 = 3;
/// `delay` of a retry policy.
pub const RETRY_DELAY_DEFAULT: Duration = Duration::from_millis(500);
/// `backoff` of a retry policy.
pub const RETRY_BACKOFF_DEFAULT: f64 = 2.0;
/// `max_delay` of a retry policy.
pub const RETRY_DELAY_MAX_DEFAULT: Duration = Duration::from_secs(30);

/// Processes that the programs of a run may have at once unless its workflow says otherwise.
pub const RUN_PROCESSES_DEFAULT: u32 = 16;

/// `timeout` of an `exec` block: a program that waits for ever holds its run's memory, and a turn at the CPU now and then.
pub const EXEC_TIMEOUT_DEFAULT: Duration = Duration::from_mins(5);

/// Most arguments of a program.
pub const EXEC_ARGUMENTS_MAX: usize = 256;

/// Longest arguments of a program together, in bytes: half of what the system takes as one (execve(2), `MAX_ARG_STRLEN`).
pub const EXEC_ARGUMENTS_BYTES_MAX: usize = 64 * 1024;

/// Longest jq program, in bytes.
pub const JQ_BYTES_MAX: usize = 64 * 1024;

/// Operators, brackets and words of a jq program that can nest.
pub const JQ_LEVELS_MAX: usize = 2_000;

/// Stack the jq compiler may need for one of them, in bytes: three times what was seen at most, without optimisation.
pub(crate) const JQ_LEVEL_STACK_BYTES: usize = 64 * 1024;

/// Stack the jq compiler needs for its own library, in bytes.
pub(crate) const JQ_STACK_BYTES: usize = 1024 * 1024;

/// Outputs of a jq program.
pub const JQ_OUTPUTS_MAX: usize = 100_000;

/// How deep an output of a jq program may be nested: as deep as JSON is read.
pub(crate) const JQ_OUTPUT_DEPTH_MAX: usize = 127;

/// Most namespaces that one workflow may declare.
pub const NAMESPACES_MAX: usize = 32;

/// Longest key of shared memory in bytes.
pub const MEMORY_KEY_BYTES_MAX: usize = 512;

/// Most keys that one `list` yields.
pub const MEMORY_LIST_MAX: u32 = 1_000;

/// `limit` of a `list`.
pub const MEMORY_LIST_DEFAULT: u32 = 100;

/// `timeout` of a `watch`.
pub const MEMORY_WATCH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Longest `ttl` of a lock: who forgets to give one back must not keep others out for a day.
pub const LOCK_TTL_MAX: Duration = Duration::from_hours(1);

/// `ttl` of a lock.
pub const LOCK_TTL_DEFAULT: Duration = Duration::from_secs(30);

/// `timeout` of a lock.
pub const LOCK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Most `deliveries` of a message.
pub const DELIVERIES_MAX: u32 = 100;

/// `deliveries` of a message.
pub const DELIVERIES_DEFAULT: u32 = 5;

/// Most workflows that one workflow, or one block, may depend on.
pub const WORKFLOW_DEPENDENCIES_MAX: usize = 64;

/// `max_age` of a dependency on a workflow.
pub const DEPENDENCY_AGE_DEFAULT: Duration = Duration::from_hours(24);
