//! Which definitions are read by idle workers in advance: those whose runs come again and again.
//!
//! Reading a definition is most of what a worker does before a short run's first block begins. A worker that has read one is
//! given runs of that one only: a definition may hold what other workflows are not to know.

use std::collections::VecDeque;

use crate::limits::{FAVOURITE_STAYS_RUNS, FAVOURITES_MAX};
use crate::registry::Program;

/// The definitions that are read in advance.
#[derive(Debug, Default)]
pub(super) struct Favourites {
    all: Vec<Favourite>,
    /// Those of the last runs, the latest last.
    seen: VecDeque<Program>,
    /// Runs that workers were given.
    runs: u64,
}

#[derive(Debug)]
struct Favourite {
    program: Program,
    /// Which of the runs was the last of it.
    last_run: u64,
}

impl Favourites {
    /// A worker is given a run of this definition. One that came before, not long ago, becomes a favourite, in the place of
    /// one that did not; so definitions that take turns, more than there are places, do not drive each other out.
    pub(super) fn note(&mut self, program: &Program) {
        self.runs += 1;
        let runs = self.runs;
        if let Some(known) = self.all.iter_mut().find(|favourite| favourite.program.is_same_version(program)) {
            known.last_run = runs;
        } else if self.seen.iter().any(|seen| seen.is_same_version(program)) {
            let favourite = Favourite { program: program.clone(), last_run: runs };
            if self.all.len() < FAVOURITES_MAX {
                self.all.push(favourite);
            } else if let Some(oldest) = self.all.iter_mut().min_by_key(|favourite| favourite.last_run)
                && oldest.last_run + FAVOURITE_STAYS_RUNS < runs
            {
                *oldest = favourite;
            }
        }
        if self.seen.len() == FAVOURITES_MAX * 2 {
            self.seen.pop_front();
        }
        self.seen.push_back(program.clone());
    }

    /// A worker ended while it read this definition, or after.
    pub(super) fn forget(&mut self, program: &Program) {
        self.all.retain(|favourite| !favourite.program.is_same_version(program));
        self.seen.retain(|seen| !seen.is_same_version(program));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Program> {
        self.all.iter().map(|favourite| &favourite.program)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use runlet_proto::control::SourceText;
    use runlet_proto::ids::RunId;
    use runlet_proto::worker::Confinement;
    use tokio::sync::mpsc;

    use super::super::link::Told;
    use super::super::worker::Job;
    use super::super::workers::{WorkerId, Workers};
    use super::*;
    use crate::limits::WORKERS_SPARE;

    fn program(name: &str) -> Program {
        let text = format!(r#"{{"name": "{name}", "blocks": [{{"type": "transform", "parameter": {{"jq": "."}}}}]}}"#);
        Program::new(runlet_workflow::parse("x.json", &text).unwrap(), SourceText { file: "x.json".into(), text })
    }

    fn names(favourites: &Favourites) -> Vec<&str> {
        favourites.iter().map(|program| program.definition.name.as_str()).collect()
    }

    #[test]
    fn what_comes_again_is_a_favourite() {
        let mut favourites = Favourites::default();
        let (a, b) = (program("a"), program("b"));
        favourites.note(&a);
        assert_eq!(names(&favourites), [""; 0]);
        favourites.note(&b);
        favourites.note(&program("a"));
        assert_eq!(names(&favourites), ["a"]);
        favourites.note(&b);
        assert_eq!(names(&favourites), ["a", "b"]);
        favourites.forget(&a);
        assert_eq!(names(&favourites), ["b"]);
    }

    #[test]
    fn those_that_take_turns_stay_and_those_that_came_long_ago_go() {
        let mut favourites = Favourites::default();
        let all = ["a", "b", "c"].map(program);
        for _ in 0..20 {
            all.iter().for_each(|program| favourites.note(program));
        }
        assert_eq!(names(&favourites), ["a", "b"]);
        for _ in 0..=FAVOURITE_STAYS_RUNS {
            favourites.note(&all[2]);
            favourites.note(&all[1]);
        }
        assert_eq!(names(&favourites), ["c", "b"]);
    }

    /// A worker is there and idle; what it is told.
    fn come(workers: &mut Workers) -> (WorkerId, mpsc::Receiver<Told>) {
        let (sender, told) = mpsc::channel(4);
        let worker = workers.next_id();
        workers.insert(worker, sender, None);
        workers.ready(worker, Confinement::default());
        workers.prepare();
        (worker, told)
    }

    #[test]
    fn a_worker_that_has_read_a_definition_executes_no_other() {
        let mut workers = Workers::default();
        let (a, b) = (program("a"), program("b"));
        workers.favourites.note(&a);
        workers.favourites.note(&a);
        let (all, mut told): (Vec<_>, Vec<_>) =
            std::iter::repeat_with(|| come(&mut workers)).take(WORKERS_SPARE + 3).unzip();
        // The first are for any definition; so is the last, since enough have read this one.
        let prepared: Vec<_> = told.iter_mut().map(|told| told.try_recv().is_ok()).collect();
        assert_eq!(prepared, [false, false, true, true, false]);
        let job = |run| Job { run: RunId::from_u128(run), memory_bytes_max: 0, cpu_s_max: 0, processes_max: None };
        for (run, fits) in [(1, all[2]), (2, all[3]), (3, all[0])] {
            assert_eq!(workers.next_for(&a), Some(fits));
            workers.give(fits, job(run));
        }
        assert_eq!(workers.next_for(&b), Some(all[1]));
        workers.give(all[1], job(4));
        workers.give(all[4], job(5));
        let (further, _told): (Vec<_>, Vec<_>) =
            std::iter::repeat_with(|| come(&mut workers)).take(WORKERS_SPARE + 1).unzip();
        for spare in 0..WORKERS_SPARE as u128 {
            let next = workers.next_for(&b).unwrap();
            workers.give(next, job(6 + spare));
        }
        assert_eq!((workers.next_for(&b), workers.next_for(&a)), (None, further.last().copied()));
        // Once it is no favourite any more, what was read is of no use.
        workers.favourites.forget(&a);
        workers.prepare();
        assert_eq!((workers.next_for(&a), workers.spare()), (None, 0));
    }
}
