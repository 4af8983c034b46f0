//! Every bound of shared memory, by name.
