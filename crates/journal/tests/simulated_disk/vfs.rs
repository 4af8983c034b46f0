//! A disk under SQLite that keeps an account of itself: a VFS that passes everything on to the operating system's, records
//! what is written, truncated and synced, and fails where it is told to. The one place of these tests with `unsafe`.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use rusqlite::ffi;

use super::disk::{Disk, Kind, Verdict};

/// Makes a disk known to SQLite under a name of its own. It stays known for the life of the process.
pub(crate) fn register(disk: &Arc<Disk>, name: &str) {
    // SAFETY: a null name asks for the default VFS, which SQLite never frees.
    let found = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    assert!(!found.is_null(), "SQLite has a default VFS");
    // SAFETY: it was found just now and is a plain structure, meant to be copied by shims.
    let mut vfs = unsafe { ptr::read(found) };
    let below = Below { vfs: found, disk: Arc::clone(disk) };
    vfs.szOsFile += c_int::try_from(SHIM_BYTES).expect("a few bytes");
    vfs.zName = CString::new(name).expect("a name without zeros").into_raw();
    vfs.pAppData = Box::into_raw(Box::new(below)).cast();
    vfs.pNext = ptr::null_mut();
    vfs.xOpen = Some(open);
    vfs.xDelete = Some(delete);
    // SAFETY: the structure, its name and its data are leaked, so they outlive every connection.
    let registered = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) };
    assert_eq!(registered, ffi::SQLITE_OK);
}

/// What the shim passes on to.
struct Below {
    vfs: *mut ffi::sqlite3_vfs,
    disk: Arc<Disk>,
}

/// The shim's part of a file; the part of the VFS below follows it in memory.
#[repr(C)]
struct ShimFile {
    base: ffi::sqlite3_file,
    below: *const Below,
    kind: Option<Kind>,
}

/// Bytes of [`ShimFile`], so that what follows is aligned for anything.
const SHIM_BYTES: usize = size_of::<ShimFile>().next_multiple_of(16);

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The file of the VFS below.
fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    file.wrapping_byte_add(SHIM_BYTES)
}

/// The methods of a file that is open.
fn methods(file: *mut ffi::sqlite3_file) -> &'static ffi::sqlite3_io_methods {
    // SAFETY: SQLite calls a method of a file only between a successful open and its close.
    let methods = unsafe { (*file).pMethods };
    // SAFETY: the method tables of a VFS are static.
    unsafe { &*methods }
}

fn shim(file: *mut ffi::sqlite3_file) -> (&'static Disk, Option<Kind>) {
    // SAFETY: a file with our methods was filled in by `open`.
    let shim = unsafe { &*file.cast::<ShimFile>() };
    // SAFETY: what `register` leaked lives on.
    let below = unsafe { &*shim.below };
    (&below.disk, shim.kind)
}

extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let below = below(vfs);
    // SAFETY: SQLite never frees its default VFS.
    let open = unsafe { (*below.vfs).xOpen }.expect("every VFS opens files");
    // SAFETY: the arguments are SQLite's own; the memory after the shim's part is as much as the VFS below asked for.
    let result = unsafe { open(below.vfs, name, real(file), flags, out_flags) };
    let kind = match flags {
        flags if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 => Some(Kind::Database),
        flags if flags & ffi::SQLITE_OPEN_WAL != 0 => Some(Kind::Log),
        flags if flags & ffi::SQLITE_OPEN_MAIN_JOURNAL != 0 => Some(Kind::Rollback),
        _ => None,
    };
    // SAFETY: the VFS below sets the methods of its file, to null when it failed.
    let opened = !unsafe { (*real(file)).pMethods }.is_null();
    let methods: *const ffi::sqlite3_io_methods = if opened { &raw const METHODS } else { ptr::null() };
    let shim = ShimFile { base: ffi::sqlite3_file { pMethods: methods }, below: ptr::from_ref(below), kind };
    // SAFETY: SQLite allocated `szOsFile` bytes, which begin with the shim's part.
    unsafe { ptr::write(file.cast::<ShimFile>(), shim) };
    result
}

fn below(vfs: *mut ffi::sqlite3_vfs) -> &'static Below {
    // SAFETY: SQLite passes the structure that was registered, which is leaked.
    let data = unsafe { (*vfs).pAppData };
    // SAFETY: it points to what `register` leaked.
    unsafe { &*data.cast::<Below>() }
}

extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    let below = below(vfs);
    // SAFETY: SQLite passes a text that ends with a zero.
    let text = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    if let Some(kind) = Kind::of_path(&text) {
        below.disk.deleted(kind);
    }
    // SAFETY: SQLite never frees its default VFS.
    let delete = unsafe { (*below.vfs).xDelete }.expect("every VFS deletes files");
    // SAFETY: the arguments are SQLite's own.
    unsafe { delete(below.vfs, name, sync_directory) }
}

extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, bytes: c_int, offset: i64) -> c_int {
    if let (disk, Some(kind)) = shim(file) {
        let length = usize::try_from(bytes).expect("a length");
        // SAFETY: SQLite passes a buffer of this many bytes.
        let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) };
        if disk.write(kind, usize::try_from(offset).expect("an offset"), data) == Verdict::Fail {
            return ffi::SQLITE_FULL;
        }
    }
    let write = methods(real(file)).xWrite.expect("every file can be written");
    // SAFETY: the arguments are SQLite's own.
    unsafe { write(real(file), data, bytes, offset) }
}

extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    if let (disk, Some(kind)) = shim(file) {
        disk.truncated(kind, usize::try_from(size).expect("a size"));
    }
    let truncate = methods(real(file)).xTruncate.expect("every file can be truncated");
    // SAFETY: the arguments are SQLite's own.
    unsafe { truncate(real(file), size) }
}

extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    if let (disk, Some(kind)) = shim(file)
        && disk.sync(kind) == Verdict::Fail
    {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    let sync = methods(real(file)).xSync.expect("every file can be synced");
    // SAFETY: the arguments are SQLite's own.
    unsafe { sync(real(file), flags) }
}

/// A method that does what the one below does.
macro_rules! pass {
    ($name:ident, $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {
        extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $type)*) $(-> $result)? {
            let method = methods(real(file)).$method.expect("the default VFS has all methods of its version");
            // SAFETY: the arguments are SQLite's own.
            unsafe { method(real(file) $(, $argument)*) }
        }
    };
}

pass!(close, xClose() -> c_int);
pass!(read, xRead(buffer: *mut c_void, bytes: c_int, offset: i64) -> c_int);
pass!(file_size, xFileSize(size: *mut i64) -> c_int);
pass!(lock, xLock(level: c_int) -> c_int);
pass!(unlock, xUnlock(level: c_int) -> c_int);
pass!(check_reserved_lock, xCheckReservedLock(result: *mut c_int) -> c_int);
pass!(file_control, xFileControl(operation: c_int, argument: *mut c_void) -> c_int);
pass!(sector_size, xSectorSize() -> c_int);
pass!(device_characteristics, xDeviceCharacteristics() -> c_int);
pass!(shm_map, xShmMap(page: c_int, bytes: c_int, extend: c_int, mapped: *mut *mut c_void) -> c_int);
pass!(shm_lock, xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int);
pass!(shm_barrier, xShmBarrier());
pass!(shm_unmap, xShmUnmap(delete: c_int) -> c_int);
