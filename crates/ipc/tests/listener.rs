//! The socket's file: who may open it, who may take it over, and what is left behind.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use runlet_ipc::{BindError, ConnectError, Listener, connect};
use runlet_proto::hello::Role;
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A directory nobody else can enter.
fn private() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn socket_in(directory: &TempDir) -> PathBuf {
    directory.path().join("state/control.sock")
}

#[tokio::test]
async fn directory_and_socket_are_private_and_the_socket_goes_with_the_listener() {
    let directory = private();
    let path = socket_in(&directory);
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(listener.path(), path);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_live_socket_is_refused_by_name_and_stays() {
    let directory = private();
    let path = socket_in(&directory);
    let _first = Listener::bind(&path).unwrap();
    let error = Listener::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::AlreadyRunning(_)));
    assert!(error.to_string().starts_with("another supervisor is running"), "{error}");
    assert!(path.exists());
}

#[tokio::test]
async fn a_dead_socket_is_replaced() {
    let directory = private();
    let path = directory.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap()); // std leaves the file behind, as a killed process does
    assert!(matches!(connect(&path, Role::Cli).await, Err(ConnectError::Refused { .. })));
    Listener::bind(&path).unwrap();
}

#[tokio::test]
async fn of_many_that_find_a_dead_socket_exactly_one_replaces_it() {
    let directory = private();
    let path = directory.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    let attempts = (0..8).map(|_| {
        let path = path.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _guard = runtime.enter();
            // What was bound is kept until the end, as a running supervisor's is.
            Listener::bind(&path).map(std::mem::forget)
        })
    });
    let attempts: Vec<_> = attempts.collect();
    let results: Vec<_> = attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, BindError::AlreadyRunning(_) | BindError::Starting(_)), "{error}");
    }
}

#[tokio::test]
async fn a_listener_leaves_the_socket_of_its_successor_alone() {
    let directory = private();
    let path = directory.path().join("control.sock");
    let first = Listener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _second = Listener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}

#[tokio::test]
async fn a_directory_others_can_enter_is_refused_with_the_way_out() {
    let directory = private();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let error = Listener::bind(&directory.path().join("control.sock")).unwrap_err();
    assert!(matches!(error, BindError::NotPrivate { mode: 0o755, .. }));
    assert!(error.to_string().contains(&format!("chmod 700 {}", directory.path().display())), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = private();
    let path = directory.path().join("control.sock");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Listener::bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_path_that_is_too_long_is_named() {
    let directory = private();
    let path = directory.path().join("x".repeat(120)).join("control.sock");
    assert!(matches!(Listener::bind(&path), Err(BindError::PathTooLong(_))));
}

#[tokio::test]
async fn a_missing_socket_is_named_with_its_path() {
    let directory = private();
    let path = socket_in(&directory);
    let error = connect(&path, Role::Cli).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotFound { .. }) && error.is_absent());
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(error.path(), path);
}
