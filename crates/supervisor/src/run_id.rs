//! New run ids: UUID version 7, strictly increasing within one supervisor.

use std::hash::{BuildHasher, RandomState};

use runlet_proto::ids::RunId;

/// Makes run ids without a system call each. Ids are unique and sortable, not secret.
#[derive(Debug)]
pub(crate) struct RunIds {
    random: u64,
    last_unix_ms: u64,
    sequence: u32,
}

impl RunIds {
    /// Seeded from the standard library's per-process random keys.
    pub(crate) fn new() -> Self {
        Self { random: RandomState::new().hash_one(std::process::id()), last_unix_ms: 0, sequence: 0 }
    }

    /// The next id, created at `unix_ms`. A clock that stands still or steps back does not break the order.
    pub(crate) fn next(&mut self, unix_ms: u64) -> RunId {
        if unix_ms > self.last_unix_ms {
            self.last_unix_ms = unix_ms;
            self.sequence = 0;
        } else {
            // 26 bits of sequence follow the time (RFC 9562, section 6.2, method 1); beyond them the time moves on.
            self.sequence += 1;
            if self.sequence >= 1 << 26 {
                self.last_unix_ms += 1;
                self.sequence = 0;
            }
        }
        let random = self.next_random();
        let mut bytes = [0; 10];
        // Version and variant overwrite the upper four bits of bytes 0 and the upper two of byte 2, so the sequence is
        // laid around them: 12 bits in bytes 0 and 1, 14 bits in bytes 2 and 3.
        bytes[..2].copy_from_slice(&((self.sequence >> 14) as u16).to_be_bytes());
        bytes[2..4].copy_from_slice(&((self.sequence & 0x3fff) as u16).to_be_bytes());
        bytes[4..].copy_from_slice(&random.to_le_bytes()[..6]);
        RunId::new(self.last_unix_ms, &bytes)
    }

    /// A pseudo-random number (SplitMix64); also serves the jitter of retries.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_while_the_clock_stands_still_or_steps_back() {
        let mut ids = RunIds::new();
        let times = std::iter::repeat_n(5_000, 20_000).chain([4_000, 5_001, 5_001]);
        let made: Vec<RunId> = times.map(|unix_ms| ids.next(unix_ms)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_id_says_when_it_was_made() {
        assert_eq!(RunIds::new().next(1_700_000_000_123).unix_ms(), 1_700_000_000_123);
    }
}
