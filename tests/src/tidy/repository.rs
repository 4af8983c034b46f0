//! The repository as the rules see it: the text of every tracked file, and what each member crate depends on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use serde_json::Value;

/// Everything the rules look at.
#[derive(Debug, Default)]
pub struct Repository {
    /// Tracked files that are text.
    pub files: Vec<TextFile>,
    /// Member crates.
    pub packages: Vec<Package>,
    /// Names of all packages the kernel is linked with, itself included.
    pub kernel_tree: Vec<String>,
}

/// A tracked file.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// Path from the top of the repository, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// A member crate.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder from the top of the repository.
    pub folder: String,
    /// Names of its normal and build dependencies.
    pub dependencies: Vec<String>,
}

/// The top of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate has a folder of its own").to_path_buf()
}

impl Repository {
    /// Reads the repository this crate is in.
    ///
    /// # Errors
    /// When a file cannot be read, or cargo cannot be asked; the message says which.
    pub fn load() -> io::Result<Self> {
        let root = root();
        let mut files = Vec::new();
        for path in tracked(&root)? {
            let full = root.join(&path);
            // Removed but not yet committed, or a folder of another repository: nothing to look at.
            let Ok(metadata) = fs::metadata(&full) else { continue };
            // What is not UTF-8 is not text: images, recordings.
            let Ok(text) = String::from_utf8(fs::read(&full)?) else { continue };
            files.push(TextFile { path, text, executable: is_executable(&metadata) });
        }
        let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"])?;
        let metadata: Value = serde_json::from_str(&metadata).map_err(io::Error::other)?;
        let tree =
            cargo(&["tree", "-p", "runlet-kernel", "-e", "normal", "--prefix", "none", "--offline", "--locked"])?;
        let kernel_tree = tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
        Ok(Self { files, packages: packages(&metadata, &root), kernel_tree })
    }

    /// The Rust source among the files.
    #[must_use]
    pub fn rust_files(&self) -> Vec<&TextFile> {
        self.files.iter().filter(|file| file.path.ends_with(".rs")).collect()
    }

    /// One file by its path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&TextFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn packages(metadata: &Value, root: &Path) -> Vec<Package> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let package = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder =
            manifest.parent().and_then(|folder| folder.strip_prefix(root).ok()).unwrap_or_else(|| Path::new(""));
        let normal = |dependency: &&Value| dependency["kind"] != "dev";
        Package {
            name: text(&package["name"]),
            folder: folder.to_string_lossy().into_owned(),
            dependencies: list(&package["dependencies"]).iter().filter(normal).map(|d| text(&d["name"])).collect(),
        }
    };
    list(&metadata["packages"]).iter().map(package).collect()
}

/// Paths git tracks or would track; in a copy without git, all files that are not build output.
fn tracked(root: &Path) -> io::Result<Vec<String>> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .stderr(Stdio::null())
        .output();
    match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let text = String::from_utf8(output.stdout).map_err(io::Error::other)?;
            Ok(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
        }
        Ok(_) | Err(_) => {
            let mut paths = Vec::new();
            walk(root, root, &mut paths)?;
            Ok(paths)
        }
    }
}

fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" && entry.file_name() != ".git" {
                walk(root, &path, paths)?;
            }
        } else if let Ok(relative) = path.strip_prefix(root) {
            paths.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> io::Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).current_dir(root()).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("cargo {}: {message}", arguments.join(" "))));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}
