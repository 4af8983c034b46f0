//! Where this process may make control groups: below one that is left to it, and nowhere else.
//!
//! A group belongs to whoever made it, which is the service manager as a rule; who makes others in it uninvited has them taken
//! away, or breaks the accounts of somebody else. So the group this process is in is taken only if it says that it was
//! delegated, by the attribute that systemd sets for `Delegate=` (systemd.resource-control(5), CGROUP_DELEGATION of systemd),
//! or if it is the root of what can be seen: then there is no manager here to meddle with, as in a container.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::files;

/// Which group is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The one this process is in, if it is left to it.
    Auto,
    /// None.
    Off,
    /// The one with this directory, whatever it says of itself.
    At(PathBuf),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') => Ok(Self::At(path.into())),
            _ => Err("`auto`, `off`, or the directory of a control group, such as /sys/fs/cgroup/runlet".to_owned()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::At(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why there are no groups.
#[derive(Debug, thiserror::Error)]
pub enum NoGroups {
    /// Nobody wants any.
    #[error("switched off by --cgroup off")]
    Off,
    /// This kernel has no groups of version 2, or they are mounted nowhere.
    #[error("no cgroup2 file system is mounted here")]
    NotMounted,
    /// A container sees a part of them in which it is not.
    #[error("the control group of this process, {0}, is outside of what is mounted here")]
    OutOfSight(String),
    /// It belongs to somebody else.
    #[error("{} is not delegated to this process", .0.display())]
    NotDelegated(PathBuf),
    /// What was named is something else.
    #[error("{} is no directory of a cgroup2 file system", .0.display())]
    NotAGroup(PathBuf),
    /// The system does not let us.
    #[error("{step}: {source}")]
    Refused {
        /// What was tried.
        step: String,
        /// What the system said.
        source: io::Error,
    },
}

/// By what a group is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Title {
    /// It was named.
    Named,
    /// It was delegated.
    Delegated,
    /// It is the root of all that can be seen.
    Root,
}

impl Title {
    /// A word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Delegated => "delegated",
            Self::Root => "root",
        }
    }
}

/// A group below which we may make others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its directory.
    pub directory: PathBuf,
    /// By what it is ours.
    pub title: Title,
    /// Whether this process is in it, and must leave it for one below before that can have controllers.
    pub(super) inhabited: bool,
}

/// The group below which ours may be made.
///
/// # Errors
/// [`NoGroups`], but for `Refused`.
pub(super) fn find(choice: &Choice) -> Result<Place, NoGroups> {
    match choice {
        Choice::Off => Err(NoGroups::Off),
        Choice::At(directory) => named(directory),
        Choice::Auto => {
            let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
            let (own, directory) = own(&read("cgroup"), &read("mountinfo"))?;
            if own == "/" {
                return Ok(Place { directory, title: Title::Root, inhabited: false });
            }
            delegated(directory, is_delegated)
        }
    }
}

fn named(directory: &Path) -> Result<Place, NoGroups> {
    let not_a_group = || NoGroups::NotAGroup(directory.to_owned());
    let directory = fs::canonicalize(directory).map_err(|_| not_a_group())?;
    let found = statfs(&directory).map_err(|_| not_a_group())?;
    if !directory.is_dir() || found.filesystem_type() != CGROUP2_SUPER_MAGIC {
        return Err(not_a_group());
    }
    // The root of all has no type, and may have processes and controllers at once.
    let is_inner = directory.join("cgroup.type").exists();
    let inhabited = is_inner && files::lists(&directory, "cgroup.procs", &std::process::id().to_string());
    Ok(Place { directory, title: Title::Named, inhabited })
}

/// This process's group as the kernel names it, and its directory; from cgroups(7) and proc_pid_mountinfo(5).
fn own(groups: &str, mounts: &str) -> Result<(String, PathBuf), NoGroups> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).ok_or(NoGroups::NotMounted)?;
    let mut mounted = mounts.lines().filter_map(mount).peekable();
    mounted.peek().ok_or(NoGroups::NotMounted)?;
    let directory = mounted.find_map(|(root, point)| {
        let below = Path::new(own).strip_prefix(root).ok()?;
        Some(point.join(below).components().collect::<PathBuf>())
    });
    directory.map(|directory| (own.to_owned(), directory)).ok_or_else(|| NoGroups::OutOfSight(own.to_owned()))
}

/// What is mounted and where, if it is cgroup2.
fn mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3).map(|field| PathBuf::from(unescaped(field)));
    let (root, point) = (fields.next()?, fields.next()?);
    kind.starts_with("cgroup2 ").then_some((root, point))
}

/// A path without the escapes that stand for a space, a tab, a line feed and a backslash.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// Name of the group for the supervisor itself: a group with processes has no groups with controllers below it. An administrator who writes
/// `DelegateSubgroup=supervisor` has it made, and so has a supervisor before this one.
pub(super) const LEAF: &str = "supervisor";

fn delegated(own: PathBuf, is_delegated: impl Fn(&Path) -> bool) -> Result<Place, NoGroups> {
    if is_delegated(&own) {
        return Ok(Place { directory: own, title: Title::Delegated, inhabited: true });
    }
    match own.parent().filter(|parent| own.ends_with(LEAF) && is_delegated(parent)) {
        Some(parent) => Ok(Place { directory: parent.to_owned(), title: Title::Delegated, inhabited: false }),
        None => Err(NoGroups::NotDelegated(own)),
    }
}

/// Whether the service manager says that it keeps its hands off the group. The first attribute is what a manager without
/// privileges can set, the second what nobody else can.
fn is_delegated(group: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].into_iter().any(|name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(group, name, &mut value[..]).is_ok_and(|count| value[..count] == *b"1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        let found = |groups: &str, mounts: &str| own(groups, mounts).map_err(|error| error.to_string());
        let unit = "4:memory:/elsewhere\n0::/system.slice/runlet.service\n";
        let directory = "/sys/fs/cgroup/unified/system.slice/runlet.service";
        assert_eq!(found(unit, HYBRID), Ok(("/system.slice/runlet.service".to_owned(), directory.into())));
        assert_eq!(found("0::/\n", HYBRID), Ok(("/".to_owned(), "/sys/fs/cgroup/unified".into())));
        // A container that sees its own part of the tree under its full name.
        let part = "36 35 0:31 /docker/ab /sys/fs/cg\\040roup ro,nosuid - cgroup2 cgroup rw\n";
        assert_eq!(found("0::/docker/ab/x\n", part), Ok(("/docker/ab/x".to_owned(), "/sys/fs/cg roup/x".into())));
        assert!(found("0::/docker/cd\n", part).is_err_and(|error| error.contains("/docker/cd")));
        assert!(found("4:memory:/\n", HYBRID).is_err());
        assert!(found("0::/\n", "31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n").is_err());
    }

    #[test]
    fn only_what_is_delegated_is_taken() {
        let take = |own: &str, given: &str| {
            let place = delegated(own.into(), |group| group == Path::new(given)).ok()?;
            Some((place.directory.to_string_lossy().into_owned(), place.inhabited))
        };
        assert_eq!(take("/cg/unit", "/cg/unit"), Some(("/cg/unit".to_owned(), true)));
        assert_eq!(take("/cg/unit/supervisor", "/cg/unit"), Some(("/cg/unit".to_owned(), false)));
        // What a manager was given is not given to those it starts.
        assert_eq!(take("/cg/user@1000.service/app.service", "/cg/user@1000.service"), None);
        assert_eq!(take("/cg/unit", "/cg"), None);
    }

    #[test]
    fn what_can_be_chosen_is_written_as_it_is_read() {
        for text in ["auto", "off", "/sys/fs/cgroup/runlet"] {
            assert_eq!(text.parse::<Choice>().map(|choice| choice.to_string()).as_deref(), Ok(text));
        }
        assert!("cgroup".parse::<Choice>().is_err_and(|error| error.contains("auto")));
    }

    #[test]
    fn what_is_no_group_is_not_taken() {
        for path in ["/proc", "/nowhere"] {
            assert!(matches!(find(&Choice::At(path.into())), Err(NoGroups::NotAGroup(_))), "{path}");
        }
        assert!(matches!(find(&Choice::Off), Err(NoGroups::Off)));
    }
}
