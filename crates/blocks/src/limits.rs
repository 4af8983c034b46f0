//! Every bound of the Block Processor, by name.

/// Up to this many bytes of input or answer a block is done in place by the supervisor's loop; more goes to a pool
/// thread.
pub const BRIEF_BYTES_MAX: usize = 16 * 1024;

/// Up to this many answers to elements of a `for_each` are taken in place by the supervisor's loop.
pub const STEP_ANSWERS_MAX: usize = 16;

/// The same: up to this many bytes in an element, and in what is copied for it.
pub const SMALL_PASS_BYTES_MAX: usize = 1024;

/// How many values of a JSON document are looked at to estimate its size in memory.
pub const ESTIMATE_VALUES_MAX: usize = 4_096;

/// Most elements of a `for_each` list.
pub const FOR_EACH_ITEMS_MAX: usize = 10_000;

/// Most memory the outputs of one `for_each` may take together, in bytes.
pub const FOR_EACH_OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Blocks whose derived forms (compiled selectors, ready requests and replies) one thread keeps.
pub const PREPARED_MAX: usize = 1_024;

/// First characters of a body shown in the message of a failed fetch, of a line in that of a failed program.
pub const EXCERPT_CHARS_MAX: usize = 200;

/// Deepest nesting of elements a page may have. The parser looks through all open elements at most tags, so deeper
/// pages would cost the square of their size; browsers stop at 512.
pub const PAGE_DEPTH_MAX: usize = 2_048;

/// Most elements and comments the parser may make of one page. Unclosed formatting elements are made anew in every
/// paragraph, so a small page could otherwise grow without end.
pub const PAGE_ELEMENTS_MAX: usize = 500_000;

/// Most bytes of text and HTML the rules of one block may take from a page: matches may contain each other.
pub const SCRAPED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes at the beginning of a page that are parsed where a block may take microseconds only, in the hope that they are
/// enough. When they are not, that work is lost: it is small beside a whole page.
pub const BRIEF_PARSE_BYTES_MAX: usize = 4 * 1024;

/// Longest page with which that is tried: what follows its beginning is searched for tags that reach back.
pub const BRIEF_PAGE_BYTES_MAX: usize = 128 * 1024;

/// Bytes parsed before it is first asked whether the rest of a page can matter.
pub const PAGE_CHUNK_BYTES_MIN: usize = 512;

/// Bytes behind the end of a chunk in which the end of a tag is looked for, so that no tag is torn.
pub const TAG_BYTES_AWAITED: usize = 512;

/// Names of tags and attributes a parser keeps ready.
pub const TAG_NAMES_KEPT: usize = 64;

/// Most bytes parsed between two ticks.
pub const PAGE_CHUNK_BYTES_MAX: usize = 32 * 1_024;

/// Elements matched between two ticks.
pub const ELEMENTS_PER_TICK: usize = 64;

/// Bytes of headers a reply may have.
pub const REPLY_HEADER_BYTES_MAX: usize = 64 * 1024;

/// Most bytes a program may write to its standard output: a little less than a frame carries.
pub const PROGRAM_OUTPUT_BYTES_MAX: usize = 15 * 1024 * 1024;

/// Bytes that the output of a `transform` may have as JSON text: a little less than a frame carries.
pub const TRANSFORMED_BYTES_MAX: usize = 15 * 1024 * 1024;
