//! Payloads as files: written and synced before the transaction that names them, shared by their hash, removed when nobody
//! names them any more.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::entry::Stored;
use crate::kept::{FileRef, Hash, Kept};
use crate::limits::HASHED_BYTES_AT_ONCE;

/// The directory of the files: `outputs/ab/ab01…`, by the first byte of the hash.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    root: PathBuf,
}

impl Outputs {
    /// Those of a journal's directory.
    pub(crate) fn of(directory: &Path) -> Self {
        Self { root: directory.join("outputs") }
    }

    /// Where the files lie.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a payload.
    pub(crate) fn path(&self, hash: &Hash) -> PathBuf {
        let name = hex(hash);
        self.root.join(&name[..2]).join(name)
    }

    /// Writes a payload that nothing names yet, so that it is there after a crash. A file that is there already is written
    /// anew: it may be what was left by a write or a sync that failed, of which a second sync would not tell.
    pub(crate) fn store(&self, file: &FileRef, bytes: &Bytes) -> io::Result<()> {
        let path = self.path(&file.hash);
        let parent = path.parent().expect("the path of a file has a directory");
        match DirBuilder::new().mode(0o700).create(parent) {
            Ok(()) => sync(&self.root)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let part = path.with_extension(PART);
        let written = write_whole(&part, bytes).and_then(|()| fs::rename(&part, &path));
        if let Err(error) = written {
            // What is left of it takes space that is wanted; a failure to remove it is an orphan's, not this one's.
            fs::remove_file(&part).ok();
            return Err(error);
        }
        sync(parent)
    }

    /// The payload of a file, if the file is there and as it was.
    pub(crate) fn load(&self, file: &FileRef) -> Result<Bytes, String> {
        let path = self.path(&file.hash);
        let bytes =
            fs::read(&path).map_err(|error| format!("its output {} cannot be read: {error}", path.display()))?;
        if bytes.len() as u64 != file.bytes || Hash::from(Sha256::digest(&bytes)) != file.hash {
            return Err(format!("its output {} is not what was written: its hash differs", path.display()));
        }
        Ok(bytes.into())
    }

    /// A payload with what lies in a file loaded.
    pub(crate) fn restore(&self, kept: Kept) -> Result<Stored, String> {
        Ok(match kept {
            Kept::Nothing => Stored::Nothing,
            Kept::Inline(sort, bytes) => sort.stored(bytes),
            Kept::File(sort, file) => sort.stored(self.load(&file)?),
        })
    }

    /// Whether the file is there and as it was, without holding it in memory.
    pub(crate) fn verify(&self, file: &FileRef) -> Result<(), String> {
        let path = self.path(&file.hash);
        let shown = path.display();
        let found = hash_of(&path).map_err(|error| format!("the output file {shown} cannot be read: {error}"))?;
        if found == file.hash { Ok(()) } else { Err(format!("the output file {shown} is damaged: its hash differs")) }
    }

    /// Removes a file; how many bytes went. One that is not there is removed already.
    pub(crate) fn remove(&self, hash: &Hash) -> io::Result<u64> {
        remove(&self.path(hash))
    }

    /// Every file there is, with the hash it is named by; `None` for one that is no payload's, such as a half-written one.
    pub(crate) fn list(&self) -> io::Result<Vec<(PathBuf, Option<Hash>)>> {
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?.path();
            if !folder.is_dir() {
                files.push((folder, None));
                continue;
            }
            for file in fs::read_dir(&folder)? {
                let path = file?.path();
                let hash = path.file_name().and_then(|name| unhex(name.to_str()?));
                files.push((path, hash));
            }
        }
        Ok(files)
    }
}

/// Removes a file that may be gone; how many bytes went.
pub(crate) fn remove(path: &Path) -> io::Result<u64> {
    let bytes = fs::metadata(path).map_or(0, |found| found.len());
    match fs::remove_file(path) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Ending of a file that is being written.
const PART: &str = "part";

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn hash_of(path: &Path) -> io::Result<Hash> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASHED_BYTES_AT_ONCE];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn hex(hash: &Hash) -> String {
    use std::fmt::Write;
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

fn unhex(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (hex(&hash) == text).then_some(hash)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn file(bytes: &[u8]) -> FileRef {
        FileRef { hash: Sha256::digest(bytes).into(), bytes: bytes.len() as u64 }
    }

    #[test]
    fn a_payload_is_read_as_it_was_written_and_a_changed_one_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let outputs = Outputs::of(directory.path());
        fs::create_dir(outputs.root()).unwrap();
        let bytes = Bytes::from_static(b"a page");
        let file = file(&bytes);
        outputs.store(&file, &bytes).unwrap();
        outputs.store(&file, &bytes).unwrap();
        assert_eq!(outputs.load(&file).unwrap(), bytes);
        assert_eq!(outputs.list().unwrap(), [(outputs.path(&file.hash), Some(file.hash))]);
        outputs.verify(&file).unwrap();

        fs::write(outputs.path(&file.hash), b"b page").unwrap();
        assert!(outputs.load(&file).unwrap_err().contains("its hash differs"));
        assert!(outputs.verify(&file).unwrap_err().contains("is damaged"));
        outputs.store(&file, &bytes).unwrap();
        assert_eq!(outputs.load(&file).unwrap(), bytes, "what was there is not believed");
        assert_eq!(outputs.remove(&file.hash).unwrap(), 6);
        assert_eq!(outputs.remove(&file.hash).unwrap(), 0);
        assert!(outputs.load(&file).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_name_is_a_hash_only_as_it_is_written() {
        let hash = file(b"x").hash;
        assert_eq!(unhex(&hex(&hash)), Some(hash));
        assert_eq!(unhex(&hex(&hash).to_uppercase()), None);
        assert_eq!(unhex(&format!("{}.part", hex(&hash))), None);
        assert_eq!(unhex("é"), None);
    }
}
