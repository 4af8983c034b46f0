//! Control groups around workers (cgroups(7), version 2): a worker is born in one, and whatever it starts is in it too.
//!
//! They limit memory and processes where the group that was left to us has the controllers; and without any they freeze,
//! kill and count all processes of a worker at once. Making a group costs more than a turn, so they are kept and used
//! again. Where there are none everything goes on by resource limits and signals. Version 1 is left alone: an ordinary user is
//! never given a part of it, and it cannot be born into.

mod files;
mod group;
mod place;
mod tree;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

pub use self::group::Group;
pub(crate) use self::group::{Limits, Meter, Spent};
pub use self::place::{Choice, NoGroups, Place, Title};
pub use self::tree::Missing;
use crate::limits::GROUPS_KEPT_MAX;

/// The groups for the workers of one supervisor. Dropped, they are removed, and whoever is still in one is killed.
#[derive(Debug)]
pub struct Groups {
    place: Place,
    directory: PathBuf,
    missing: Vec<Missing>,
    made: u32,
    /// Those that no worker has, the longest free first.
    free: VecDeque<Group>,
    /// Whether one could not be made, which was told then.
    refused: bool,
    /// Whether no worker is to have one any more.
    given_up: bool,
    /// Groups that nobody is to be born in any more, and that could not be removed yet.
    leaving: Vec<PathBuf>,
}

impl Groups {
    /// Finds a place for them and prepares it; `id` names the supervisor. Those that an earlier one of this name left are removed
    /// first, with whoever is in them.
    ///
    /// # Errors
    /// [`NoGroups`].
    pub fn set_up(choice: &Choice, id: &str) -> Result<Self, NoGroups> {
        let place = place::find(choice)?;
        let (directory, missing) = tree::prepare(&place, id)?;
        let (free, leaving) = (VecDeque::new(), Vec::new());
        Ok(Self { place, directory, missing, made: 0, free, refused: false, given_up: false, leaving })
    }

    /// The directory in which they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The group that was left to us.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The controllers they do not have.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// One for a worker that is about to be forked. `None` when there is none to be had.
    pub fn take(&mut self) -> Option<Group> {
        if self.given_up {
            return None;
        }
        // Whoever had it last may still be on its way out.
        let at = self.free.iter().position(|group| !group.is_inhabited());
        let mut group = match at.and_then(|at| self.free.remove(at)) {
            Some(group) => group,
            None => self.make()?,
        };
        group.begin();
        Some(group)
    }

    fn make(&mut self) -> Option<Group> {
        self.made += 1;
        let made = Group::make(&self.directory, self.made);
        if let Err(error) = &made
            && !std::mem::replace(&mut self.refused, true)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "a worker has no control group: none could be made");
        }
        made.ok()
    }

    /// Takes one back. Its worker has ended; what that left behind ends here.
    pub(crate) fn give_back(&mut self, mut group: Group) {
        if group.is_inhabited() {
            group.kill();
        }
        let thawed = !group.is_frozen() || group.freeze(false).is_ok();
        if thawed && !group.was_killed() && self.free.len() < GROUPS_KEPT_MAX {
            self.free.push_back(group);
        } else {
            self.leaving.push(group.directory().to_owned());
        }
        // Somebody may be on its way out of one still; then it is removed the next time, or at the end.
        self.leaving.retain(|directory| std::fs::remove_dir(directory).is_err());
    }

    /// From now on workers have none.
    pub(crate) fn give_up(&mut self, why: &str) {
        self.given_up = true;
        tracing::warn!(directory = %self.directory.display(), why, "workers have no control groups any more");
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.free.clear();
        tree::remove(&self.directory);
    }
}

/// Those of a supervisor that starts, or none; either way it says so.
///
/// # Errors
/// [`NoGroups`] when a group was named and cannot be had.
pub(crate) fn begin(choice: &Choice, id: &str) -> Result<Option<Groups>, NoGroups> {
    match Groups::set_up(choice, id) {
        Ok(groups) => {
            let missing: Vec<_> = groups.missing.iter().map(|missing| missing.controller).collect();
            tracing::info!(directory = %groups.directory.display(), ?missing, "workers have control groups of their own");
            Ok(Some(groups))
        }
        Err(why) if matches!(choice, Choice::At(_)) => Err(why),
        Err(why) => {
            tracing::info!(%why, "workers have no control groups of their own");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use super::*;

    /// Groups in a directory of plain files; making one there fails for want of `cgroup.freeze`.
    fn groups(folder: &Path) -> Groups {
        let place = Place { directory: folder.to_owned(), title: Title::Named, inhabited: false };
        let directory = folder.join("workers-1");
        fs::create_dir(&directory).unwrap();
        Groups {
            place,
            directory,
            missing: Vec::new(),
            made: 0,
            free: VecDeque::new(),
            refused: false,
            given_up: false,
            leaving: Vec::new(),
        }
    }

    #[test]
    fn what_cannot_be_made_is_tried_again_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut groups = groups(folder.path());
        assert!(groups.take().is_none() && groups.take().is_none());
        assert_eq!((groups.made, groups.refused), (2, true));
        assert_eq!(fs::read_dir(groups.directory()).unwrap().count(), 0);
        groups.give_up("nobody can be born in one");
        assert!(groups.take().is_none());
        assert_eq!(groups.made, 2);
        drop(groups);
        assert!(!folder.path().join("workers-1").exists());
    }
}
