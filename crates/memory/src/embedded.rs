//! The store in the supervisor's own memory.
