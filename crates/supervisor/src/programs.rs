//! The programs that the operator allows `exec` blocks to run. Read once, at the start: which files a program needs to be
//! executed is found out then, and that it is there.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::str::FromStr;

use runlet_proto::failure::Failure;
use runlet_proto::worker::{self, AllowedProgram};
use runlet_workflow::Definition;
use runlet_workflow::block::exec::{PROGRAM_NAME_HELP, is_program_name};
use runlet_workflow::limits::RUN_PROCESSES_DEFAULT;

use crate::interpreter;
use crate::limits::PROGRAM_PATHS_BYTES_MAX;

/// What an operator writes to allow a program: `NAME=/its/file`, and further files or directories behind commas. Without a
/// name it has that of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowProgram {
    name: String,
    path: String,
    further: Vec<String>,
}

/// What is wrong with what an operator wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    /// A path does not begin at the root.
    #[error("`{0}` is no absolute path; write NAME=/path/of/the/program, then further files behind commas")]
    Relative(String),
    /// The whole file system.
    #[error("`/` would show every file of this system; name the files and directories that the program needs")]
    Root,
    /// It cannot be called that.
    #[error("`{0}` is no name of a program: {PROGRAM_NAME_HELP}; write NAME=/path/of/the/program")]
    Name(String),
}

/// A program that is allowed and cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A file is not there.
    #[error("the program `{name}` is allowed, but {path} cannot be read: {source}")]
    Unreadable {
        /// The program.
        name: String,
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// It is a directory or a device.
    #[error("the program `{name}` is allowed, but {path} is no file")]
    NoFile {
        /// The program.
        name: String,
        /// Its file.
        path: String,
    },
    /// Nobody may execute it.
    #[error("the program `{name}` is allowed, but {path} is not executable")]
    NotExecutable {
        /// The program.
        name: String,
        /// Its file.
        path: String,
    },
    /// Two have one name.
    #[error("the program `{0}` is allowed twice")]
    Twice(String),
    /// There are too many.
    #[error("the names and paths of all programs that are allowed may have {PROGRAM_PATHS_BYTES_MAX} bytes together")]
    TooMany,
}

impl FromStr for AllowProgram {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let (name, paths) = match text.split_once('=') {
            Some((name, paths)) if !name.contains('/') => (Some(name), paths),
            _ => (None, text),
        };
        let mut paths = paths.split(',').map(absolute);
        let path = paths.next().unwrap_or_else(|| Err(AllowError::Relative(String::new())))?;
        let further = paths.collect::<Result<_, _>>()?;
        let name = name.unwrap_or_else(|| path.rsplit('/').next().unwrap_or_default()).to_owned();
        if is_program_name(&name) { Ok(Self { name, path, further }) } else { Err(AllowError::Name(name)) }
    }
}

fn absolute(path: &str) -> Result<String, AllowError> {
    match path {
        _ if !path.starts_with('/') => Err(AllowError::Relative(path.to_owned())),
        _ if path.chars().all(|c| c == '/' || c == '.') => Err(AllowError::Root),
        _ => Ok(path.to_owned()),
    }
}

impl fmt::Display for AllowProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.path)?;
        self.further.iter().try_for_each(|path| write!(f, ",{path}"))
    }
}

/// All programs that are allowed, by name.
#[derive(Debug, Default)]
pub(crate) struct Programs(BTreeMap<String, AllowedProgram>);

impl Programs {
    /// Looks at the files.
    ///
    /// # Errors
    /// [`ProgramError`] of the first that cannot be run.
    pub(crate) fn load(allowed: &[AllowProgram]) -> Result<Self, ProgramError> {
        let mut programs = BTreeMap::new();
        let mut bytes = 0;
        for allow in allowed {
            let program = look_at(allow)?;
            // In a message each text has its length before it, and so has the list of what it needs.
            let texts = [&program.name, &program.path].into_iter().chain(&program.further);
            bytes += size_of::<u64>() + texts.map(|text| text.len() + size_of::<u64>()).sum::<usize>();
            if bytes > PROGRAM_PATHS_BYTES_MAX {
                return Err(ProgramError::TooMany);
            }
            if programs.insert(allow.name.clone(), program).is_some() {
                return Err(ProgramError::Twice(allow.name.clone()));
            }
        }
        Ok(Self(programs))
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// What a worker of the definition may run; `None` if it runs no programs.
    ///
    /// # Errors
    /// When a program is not allowed: at the deployment it was.
    pub(crate) fn of(&self, definition: &Definition) -> Result<Option<worker::Programs>, Failure> {
        let mut allowed: Vec<AllowedProgram> = Vec::new();
        for (_, exec) in definition.programs() {
            if allowed.iter().any(|program| program.name == exec.program) {
                continue;
            }
            let program = self.0.get(&exec.program).ok_or_else(|| {
                let message = format!("the operator does not allow the program `{}`", exec.program);
                Failure::workflow("exec-not-allowed", message)
            })?;
            allowed.push(program.clone());
        }
        let processes_max = definition.limits.processes.unwrap_or(RUN_PROCESSES_DEFAULT);
        Ok((!allowed.is_empty()).then_some(worker::Programs { allowed, processes_max }))
    }
}

fn look_at(allow: &AllowProgram) -> Result<AllowedProgram, ProgramError> {
    let AllowProgram { name, path, further } = allow.clone();
    let unreadable = |path: &str| {
        let (name, path) = (name.clone(), path.to_owned());
        move |source: io::Error| ProgramError::Unreadable { name, path, source }
    };
    let metadata = std::fs::metadata(&path).map_err(unreadable(&path))?;
    if !metadata.is_file() {
        return Err(ProgramError::NoFile { name, path });
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(ProgramError::NotExecutable { name, path });
    }
    let mut needed = further.clone();
    for file in [&path].into_iter().chain(&further) {
        let metadata = std::fs::metadata(file).map_err(unreadable(file))?;
        if metadata.is_file() {
            needed.extend(interpreter::of(Path::new(file)).map_err(unreadable(file))?);
        }
    }
    needed.sort_unstable();
    needed.dedup();
    Ok(AllowedProgram { name, path, further: needed })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn allow(text: &str) -> AllowProgram {
        text.parse().unwrap()
    }

    #[test]
    fn what_an_operator_writes_is_read_and_written_again() {
        let plain = allow("/usr/bin/jq");
        assert_eq!((plain.name.as_str(), plain.path.as_str(), plain.further.len()), ("jq", "/usr/bin/jq", 0));
        let named = allow("thumb=/opt/thumb/run,/opt/thumb/data,/opt/a=b");
        assert_eq!((named.name.as_str(), named.path.as_str()), ("thumb", "/opt/thumb/run"));
        assert_eq!(named.further, ["/opt/thumb/data", "/opt/a=b"]);
        assert_eq!(allow(&named.to_string()), named);
        assert_eq!(allow("/a=b/c").name, "c");
        for (text, expected) in [
            ("", AllowError::Relative(String::new())),
            ("jq", AllowError::Relative("jq".into())),
            ("jq=", AllowError::Relative(String::new())),
            ("jq=/usr/bin/jq,", AllowError::Relative(String::new())),
            ("jq=/usr/bin/jq,lib", AllowError::Relative("lib".into())),
            ("jq=/usr/bin/jq,/", AllowError::Root),
            ("jq=/usr/bin/jq,//.", AllowError::Root),
            ("=/usr/bin/jq", AllowError::Name(String::new())),
            ("j q=/usr/bin/jq", AllowError::Name("j q".into())),
            ("/usr/bin/", AllowError::Name(String::new())),
        ] {
            assert_eq!(text.parse::<AllowProgram>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_program_must_be_there_and_executable() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let load = |text: &str| Programs::load(&[allow(text)]);
        let script = script.to_str().unwrap();
        assert!(matches!(load(script), Err(ProgramError::NotExecutable { .. })));
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let programs = load(script).unwrap();
        assert!(programs.0["script"].further.contains(&"/bin/sh".to_owned()), "{programs:?}");
        assert!(matches!(load("x=/no/such/file"), Err(ProgramError::Unreadable { .. })));
        assert!(matches!(load(&format!("{script},/no/such/file")), Err(ProgramError::Unreadable { .. })));
        assert!(matches!(load("x=/usr/bin"), Err(ProgramError::NoFile { .. })));
        assert!(
            matches!(Programs::load(&[allow(script), allow(script)]), Err(ProgramError::Twice(name)) if name == "script")
        );
        let many: Vec<_> = (0..1_000).map(|at| allow(&format!("p{at}={script}"))).collect();
        assert!(matches!(Programs::load(&many), Err(ProgramError::TooMany)));
    }

    #[test]
    fn a_worker_has_the_programs_of_its_definition_only() {
        let programs = Programs::load(&[allow("a=/bin/sh"), allow("b=/bin/sh"), allow("c=/bin/sh")]).unwrap();
        assert_eq!(programs.names(), ["a", "b", "c"]);
        let definition = |names: &[&str], processes: u32| {
            let blocks: Vec<_> =
                names.iter().map(|name| json!({ "type": "exec", "parameter": { "argv": [name] } })).collect();
            let blocks = [&[json!({ "type": "hook", "path": "x" })], &blocks[..]].concat();
            let text = json!({ "limits": { "processes": processes }, "blocks": blocks }).to_string();
            runlet_workflow::parse("test.json", &text).unwrap()
        };
        let given = programs.of(&definition(&["c", "a", "c"], 7)).unwrap().unwrap();
        let names: Vec<_> = given.allowed.iter().map(|program| program.name.as_str()).collect();
        assert_eq!((names, given.processes_max), (vec!["c", "a"], 7));
        assert_eq!(programs.of(&definition(&[], 1)).unwrap(), None);
        assert_eq!(programs.of(&definition(&["a", "d"], 1)).unwrap_err().code, "exec-not-allowed");
    }
}
