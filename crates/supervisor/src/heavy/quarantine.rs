//! How many workers one run may cost. Whatever kills its worker each time it is tried would do so for ever: after a few the
//! run is given up, and says what each of them died of.

use runlet_proto::failure::Failure;

use crate::limits::WORKERS_PER_RUN_MAX;

/// The workers of one run that ended before their work did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deaths {
    causes: Vec<String>,
}

impl Deaths {
    /// Those that an earlier supervisor counted.
    pub(crate) fn restored(causes: &[String]) -> Self {
        Self { causes: causes.to_vec() }
    }

    /// Counts one. The failure of what it executed: another attempt may be made, if the block's policy has one, until there
    /// have been [`WORKERS_PER_RUN_MAX`]; then it is the run's own, and final.
    pub(crate) fn count(&mut self, failure: Failure) -> Failure {
        self.causes.push(format!("{}: {}", failure.code, failure.message));
        if self.is_last() { self.quarantine() } else { Failure { retryable: true, ..failure } }
    }

    /// Why the run is given up.
    pub(crate) fn quarantine(&self) -> Failure {
        let message = format!("the run has cost {} workers and is tried no more ({})", self.causes.len(), self.told());
        Failure::workflow("quarantined", message)
            .with_help("`runlet inspect` shows the block, what it was given, and how its last worker ended")
    }

    /// Whether the run is to have no further worker.
    pub(crate) fn is_last(&self) -> bool {
        self.causes.len() >= WORKERS_PER_RUN_MAX
    }

    /// Code and message of each, in order.
    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    fn told(&self) -> String {
        (1..).zip(&self.causes).map(|(at, cause)| format!("{at}. {cause}")).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_death_names_all_of_them_and_is_final() {
        let mut deaths = Deaths::default();
        for count in 1..WORKERS_PER_RUN_MAX {
            let failure = deaths.count(Failure::workflow("out-of-memory", format!("death {count}")));
            assert!(failure.retryable && failure.code == "out-of-memory" && !deaths.is_last());
        }
        let failure = deaths.count(Failure::workflow("seccomp", "the last one"));
        assert!(!failure.retryable && deaths.is_last());
        assert_eq!(failure.code, "quarantined");
        for named in ["1. out-of-memory: death 1", "2. out-of-memory: death 2", "3. seccomp: the last one"] {
            assert!(failure.message.contains(named), "{}", failure.message);
        }
    }
}
