//! Who goes first: priority, and inside a priority the attempts that still have their first quantum.

use runlet_proto::ids::Priority;

/// A place in the order of those who want a slot; the greater goes first.
///
/// An attempt that has used up a quantum is *long*. Inside a priority it goes behind those that are not: what needs a
/// millisecond does not stand in a line of pages that need a minute. Ageing keeps the long ones from starving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u8);

impl Rank {
    /// How many there are.
    pub const COUNT: usize = 2 * Priority::LEVELS;

    /// The rank of an attempt.
    #[must_use]
    pub const fn new(priority: Priority, long: bool) -> Self {
        Self(2 * priority.level() + if long { 0 } else { 1 })
    }

    /// All of them, the first to go first.
    pub fn descending() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).rev().map(Self)
    }

    /// The priority it is a part of.
    #[must_use]
    pub fn priority(self) -> Priority {
        Priority::new(self.0 / 2).expect("a rank is made of a priority")
    }

    /// Whether it is that of attempts that have used up a quantum.
    #[must_use]
    pub const fn is_long(self) -> bool {
        self.0.is_multiple_of(2)
    }

    /// From 0 for the last to go.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// The bit that stands for it in a set of ranks.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self.0
    }

    /// The first to go of a set of ranks; `None` of an empty one.
    #[must_use]
    pub const fn highest(set: u32) -> Option<Self> {
        match set.checked_ilog2() {
            Some(highest) => Some(Self(highest as u8)),
            None => None,
        }
    }
}
