//! Reads definitions from files and directories.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use runlet_proto::control::SourceText;

use crate::limits::{DEFINITION_BYTES_MAX, DEFINITIONS_MAX};

/// A definition that could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The system said no.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// No definition is that long.
    #[error("{} is longer than {DEFINITION_BYTES_MAX} bytes, the limit of a definition", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not text.
    #[error("{} is not UTF-8: byte {offset} begins no character", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Offset of the first bad byte.
        offset: usize,
    },
    /// A directory without definitions.
    #[error("{} holds no *.json or *.jsonc file", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// More files than one command takes.
    #[error("more than {DEFINITIONS_MAX} definitions; deploy them in several commands")]
    TooMany,
}

/// Whether a name looks like a definition's file.
pub(crate) fn is_definition(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc")
}

/// Reads every path: a file as it is, a directory's `*.json` and `*.jsonc` by name, not the directories in it.
///
/// # Errors
/// [`SourceError`] for the first path that cannot be read.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<SourceText>, SourceError> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in files_in(path)? {
                add(&mut sources, &file)?;
            }
        } else {
            add(&mut sources, path)?;
        }
    }
    Ok(sources)
}

/// Reads one definition.
///
/// # Errors
/// [`SourceError`] when it cannot be read, is too long, or is not UTF-8.
pub(crate) fn read(path: &Path) -> Result<SourceText, SourceError> {
    let unreadable = |cause| SourceError::Unreadable { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file at the limit from one over it, whatever its metadata say.
    fs::File::open(path)
        .map_err(unreadable)?
        .take(DEFINITION_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > DEFINITION_BYTES_MAX {
        return Err(SourceError::TooLong { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| SourceError::NotText { path: path.to_owned(), offset: error.utf8_error().valid_up_to() })?;
    Ok(SourceText { file: path.display().to_string(), text })
}

fn add(sources: &mut Vec<SourceText>, path: &Path) -> Result<(), SourceError> {
    if sources.len() == DEFINITIONS_MAX {
        return Err(SourceError::TooMany);
    }
    sources.push(read(path)?);
    Ok(())
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |cause| SourceError::Unreadable { path: directory.to_owned(), cause };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_definition(&path) && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(SourceError::Empty { path: directory.to_owned() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn a_directory_gives_its_definitions_by_name() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("b.json", "b"), ("a.jsonc", "a"), ("README.md", "no")] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let texts: Vec<_> =
            read_all(&[directory.path().to_owned()]).unwrap().into_iter().map(|source| source.text).collect();
        assert_eq!(texts, ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("binary.json");
        fs::write(&binary, b"[\xff").unwrap();
        assert!(matches!(read(&binary), Err(SourceError::NotText { offset: 1, .. })));
        let missing = directory.path().join("missing.json");
        assert!(read(&missing).unwrap_err().to_string().contains("missing.json"));
        let empty = directory.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert!(matches!(read_all(&[empty]), Err(SourceError::Empty { .. })));
    }
}
