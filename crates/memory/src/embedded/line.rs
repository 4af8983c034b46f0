//! Who waits for a lock or a message, in the order of their coming. The first is told when there may be something for it, and
//! looks for itself: so one that is given up in between loses nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

/// A line.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<(u64, Arc<Notify>)>,
    last: u64,
}

/// A place in a line.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) told: Arc<Notify>,
}

impl Line {
    /// A place at its end.
    pub(super) fn join(&mut self) -> Place {
        self.last += 1;
        let told = Arc::new(Notify::new());
        self.waiting.push_back((self.last, Arc::clone(&told)));
        Place { number: self.last, told }
    }

    /// Whether whoever has this place, or has none, is next.
    pub(super) fn is_first(&self, place: Option<u64>) -> bool {
        self.waiting.front().is_none_or(|(first, _)| Some(*first) == place)
    }

    /// One waits no more, for it has what it waited for or is given up: the next one may have a look.
    pub(super) fn leave(&mut self, place: u64) {
        self.waiting.retain(|(number, _)| *number != place);
        self.tell_first();
    }

    /// There may be something for the first.
    pub(super) fn tell_first(&self) {
        if let Some((_, first)) = self.waiting.front() {
            first.notify_one();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
