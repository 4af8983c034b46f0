//! What the system needs besides a file to execute it: the interpreter that a script or a program for dynamic linking names.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// How many interpreters of interpreters the system follows (execve(2)).
const DEPTH_MAX: usize = 5;

/// Longest path of an interpreter, in bytes: a page, with the system's own `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4096;

/// Most program headers that are looked through; there are about a dozen.
const HEADERS_MAX: usize = 256;

/// The interpreters of a file, from that of the file itself on; none for what is no script and no program.
///
/// # Errors
/// Whatever open(2) and pread(2) say of the file; what cannot be read of an interpreter ends the chain.
pub(crate) fn of(path: &Path) -> io::Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let mut next = of_file(&File::open(path)?)?;
    while let Some(interpreter) = next.filter(|next| found.len() < DEPTH_MAX && !found.contains(next)) {
        next = File::open(&interpreter).and_then(|file| of_file(&file)).unwrap_or(None);
        found.push(interpreter);
    }
    Ok(found)
}

fn of_file(file: &File) -> io::Result<Option<String>> {
    // What the system itself looks at (BINPRM_BUF_SIZE of linux/binfmts.h).
    let mut head = [0; 256];
    let count = read_at(file, &mut head, 0)?;
    match head.get(..count).unwrap_or_default() {
        [b'#', b'!', line @ ..] => Ok(of_script(line)),
        [0x7f, b'E', b'L', b'F', 2, 1, ..] => of_elf(file, &head),
        _ => Ok(None),
    }
}

/// The first word behind `#!`.
fn of_script(line: &[u8]) -> Option<String> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| b" \t\0".contains(byte)).find(|word| !word.is_empty())?;
    String::from_utf8(word.to_vec()).ok().filter(|word| word.starts_with('/'))
}

/// `PT_INTERP` of a file of 64 bits whose numbers begin with their lowest byte (elf(5)).
fn of_elf(file: &File, head: &[u8]) -> io::Result<Option<String>> {
    /// `e_phoff`, `e_phentsize` and `e_phnum` of `Elf64_Ehdr`.
    const TABLE: (usize, usize, usize) = (32, 54, 56);
    /// `p_type`, `p_offset` and `p_filesz` of `Elf64_Phdr`, and its length.
    const HEADER: (usize, usize, usize, usize) = (0, 8, 32, 56);
    const PT_INTERP: u64 = 3;
    let (Some(table), Some(entry_bytes), Some(entries)) =
        (number::<8>(head, TABLE.0), number::<2>(head, TABLE.1), number::<2>(head, TABLE.2))
    else {
        return Ok(None);
    };
    for index in 0..entries.min(HEADERS_MAX as u64) {
        let mut header = [0; HEADER.3];
        let at = table.saturating_add(index.saturating_mul(entry_bytes));
        if read_at(file, &mut header, at)? < header.len() {
            return Ok(None);
        }
        if number::<4>(&header, HEADER.0) != Some(PT_INTERP) {
            continue;
        }
        let (Some(at), Some(bytes)) = (number::<8>(&header, HEADER.1), number::<8>(&header, HEADER.2)) else { break };
        let mut path = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(PATH_BYTES_MAX)];
        let count = read_at(file, &mut path, at)?;
        path.truncate(path.iter().take(count).position(|byte| *byte == 0).unwrap_or(count));
        return Ok(String::from_utf8(path).ok().filter(|path| path.starts_with('/')));
    }
    Ok(None)
}

fn number<const BYTES: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(BYTES)?)?;
    Some(part.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// As many bytes as there are; at a place that no file reaches, none.
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    if i64::try_from(at.saturating_add(into.len() as u64)).is_err() {
        return Ok(count);
    }
    while let Some(rest) = into.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(count as u64)) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of_text(bytes: &[u8]) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        of(file.path()).unwrap()
    }

    #[test]
    fn a_script_names_its_own_and_that_has_one_too() {
        let of_shell = of(Path::new("/bin/sh")).unwrap();
        let of_script = of_text(b"#! /bin/sh -eu\necho\n");
        assert_eq!(of_script[0], "/bin/sh");
        assert_eq!(of_script[1..], of_shell);
        assert_eq!(of_text(b"#!/no/such/interpreter"), ["/no/such/interpreter"]);
    }

    #[test]
    fn a_program_of_this_machine_names_its_linker() {
        // Linked statically, this test itself has none.
        let own = std::env::current_exe().unwrap();
        for interpreter in of(&own).unwrap() {
            assert!(Path::new(&interpreter).exists(), "{interpreter}");
        }
    }

    #[test]
    fn what_is_neither_or_broken_has_none() {
        let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1];
        elf.resize(64, 0xff);
        for bytes in [&b""[..], b"#!", b"#!\n", b"#! env", b"\x7fELF", b"plain text", &elf] {
            assert_eq!(of_text(bytes), [""; 0], "{bytes:?}");
        }
        let looped = tempfile::NamedTempFile::new().unwrap();
        let path = looped.path().to_str().unwrap();
        std::fs::write(looped.path(), format!("#!{path}\n")).unwrap();
        assert_eq!(of(looped.path()).unwrap(), [path]);
    }
}
