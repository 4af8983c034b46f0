//! The kernel's promises one by one, each in a story of a few events.

mod blocks;
mod driver;
mod lanes;
mod limits;
mod long;
mod order;
mod restore;
