//! Who may import whom: the crate table of `ARCHITECTURE.md` as data, checked against manifests and source.

use super::repository::{Package, Repository, TextFile};
use super::tokens::Tokens;
use super::{Finding, source};

/// What one crate may and must never import. The limits are on what is shipped; tests may use more.
struct Layer {
    package: &'static str,
    /// Which of our own crates it may depend on.
    ours: &'static [&'static str],
    /// Foreign crates it must never depend on.
    never: &'static [&'static str],
    /// Paths its source must never name.
    paths_never: &'static [&'static str],
}

/// The table. A new crate needs a line here first.
const LAYERS: &[Layer] = &[
    Layer {
        package: "runlet-proto",
        ours: &[],
        never: &["tokio", "serde_json", "nix", "hyper", "reqwest", "redis"],
        paths_never: &["std::fs", "std::net", "std::env", "std::process", "std::thread", "Instant::now", "SystemTime"],
    },
    Layer {
        package: "runlet-workflow",
        ours: &[],
        never: &["tokio", "bincode", "nix", "hyper", "reqwest", "redis"],
        paths_never: &["std::fs", "std::net", "std::env", "std::process", "std::thread", "Instant::now", "SystemTime"],
    },
    Layer {
        package: "runlet-kernel",
        ours: &["runlet-proto"],
        never: &["tokio", "nix", "redis", "hyper", "reqwest", "rand", "uuid", "tracing", "log", "serde_json"],
        paths_never: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::io",
            "std::process",
            "std::thread",
            "Mutex",
            "RwLock",
            "Condvar",
            "atomic",
            "mpsc",
            "Instant",
            "SystemTime",
            "RandomState",
            "println",
            "eprintln",
        ],
    },
    Layer {
        package: "runlet-ipc",
        ours: &["runlet-proto"],
        never: &["redis", "hyper", "reqwest", "serde_json"],
        paths_never: &["TcpStream", "TcpListener", "UdpSocket", "std::env"],
    },
    Layer {
        package: "runlet-blocks",
        ours: &["runlet-proto", "runlet-workflow"],
        never: &["tokio", "reqwest", "redis", "hyper", "nix"],
        paths_never: &["std::fs", "std::net", "std::os", "std::env", "std::process", "std::thread"],
    },
    Layer {
        package: "runlet-fetch",
        ours: &["runlet-proto"],
        never: &["interprocess", "nix", "redis", "rusqlite"],
        paths_never: &["UnixStream", "UnixListener", "UnixSocket"],
    },
    Layer {
        package: "runlet-journal",
        ours: &["runlet-proto"],
        never: &["tokio", "hyper", "reqwest", "redis", "nix", "bincode"],
        paths_never: &["std::net", "std::env", "std::process"],
    },
    Layer {
        package: "runlet-memory",
        ours: &["runlet-proto", "runlet-journal"],
        never: &["hyper", "reqwest", "nix", "bincode", "rusqlite"],
        paths_never: &["std::fs", "std::net", "std::env", "std::process"],
    },
    Layer {
        package: "runlet-otel",
        ours: &[],
        never: &["opentelemetry", "opentelemetry_sdk", "opentelemetry-otlp", "nix", "redis", "rusqlite", "serde_json"],
        paths_never: &["UnixStream", "std::process", "std::env"],
    },
    Layer {
        package: "runlet-supervisor",
        ours: &[
            "runlet-proto",
            "runlet-workflow",
            "runlet-kernel",
            "runlet-ipc",
            "runlet-fetch",
            "runlet-blocks",
            "runlet-journal",
            "runlet-memory",
            "runlet-otel",
        ],
        never: &["hyper", "axum", "clap", "reqwest", "redis", "bincode"],
        paths_never: &["TcpListener"],
    },
    Layer {
        package: "runlet-worker",
        ours: &["runlet-proto", "runlet-workflow", "runlet-ipc", "runlet-blocks"],
        never: &["tokio", "hyper", "reqwest", "redis", "rusqlite", "clap", "bincode"],
        paths_never: &["TcpStream", "TcpListener", "UdpSocket", "std::thread"],
    },
    Layer {
        package: "runlet-gateway",
        ours: &["runlet-proto", "runlet-ipc"],
        never: &["reqwest", "redis", "rusqlite", "clap", "scraper", "minijinja"],
        paths_never: &["std::process"],
    },
    Layer {
        package: "runlet",
        ours: &[
            "runlet-proto",
            "runlet-workflow",
            "runlet-ipc",
            "runlet-supervisor",
            "runlet-gateway",
            "runlet-worker",
        ],
        never: &["redis", "rusqlite", "reqwest", "bincode"],
        paths_never: &[],
    },
    Layer {
        package: "runlet-hostile",
        ours: &["runlet-proto", "runlet-worker"],
        never: &["tokio", "bincode"],
        paths_never: &[],
    },
    Layer { package: "runlet-bench", ours: &[], never: &["bincode"], paths_never: &[] },
    Layer { package: "runlet-tests", ours: &[], never: &["bincode", "interprocess"], paths_never: &[] },
];

/// What the kernel must not be linked with, even through others.
const KERNEL_TREE_NEVER: &[&str] =
    &["tokio", "mio", "nix", "redis", "hyper", "reqwest", "tracing", "log", "interprocess", "serde_json", "rusqlite"];

/// Every import rule.
#[must_use]
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &repository.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let Some(layer) = LAYERS.iter().find(|layer| layer.package == package.name) else {
            let message = format!("`{}` is not in the crate table of the tidy rules", package.name);
            findings.push(Finding::new("layer", manifest, 0, message));
            continue;
        };
        findings.extend(check_dependencies(layer, package, &manifest));
        findings.extend(check_map(repository, package));
        let sources = shipped(repository, package);
        findings.extend(sources.iter().flat_map(|(file, tokens)| check_paths(layer, &file.path, tokens)));
        findings.extend(unused_dependencies(package, &sources, &manifest));
        let inherits = repository.file(&manifest).is_none_or(|file| file.text.contains("[lints]\nworkspace = true"));
        if !inherits {
            let message = "must inherit the lints: `[lints]` with `workspace = true`";
            findings.push(Finding::new("lints", manifest, 0, message));
        }
    }
    findings.extend(check_kernel_tree(&repository.kernel_tree));
    findings
}

/// The source a package ships: not its tests and benches. Text that is no Rust is a finding of the source rules already.
fn shipped<'a>(repository: &'a Repository, package: &Package) -> Vec<(&'a TextFile, Tokens)> {
    let folder = format!("{}/src/", package.folder);
    let files = repository.rust_files().into_iter().filter(|file| file.path.starts_with(&folder));
    let mut parsed: Vec<_> = files.filter_map(|file| Some((file, Tokens::parse(&file.text).ok()?))).collect();
    let tests = source::test_files(parsed.iter().map(|(file, tokens)| (&*file.path, tokens)));
    parsed.retain(|(file, _)| !tests.iter().any(|prefix| file.path.starts_with(prefix)));
    parsed
}

/// Every crate has its line in the table of `ARCHITECTURE.md`.
fn check_map(repository: &Repository, package: &Package) -> Option<Finding> {
    let folder = &package.folder;
    let named =
        |line: &str| line.starts_with(&format!("| `{folder}` |")) || line.starts_with(&format!("| `{folder}/` |"));
    let map = repository.file("ARCHITECTURE.md")?;
    let message = format!("the table of crates has no line for `{folder}`");
    (!map.text.lines().any(named)).then(|| Finding::new("map", "ARCHITECTURE.md", 0, message))
}

fn check_dependencies(layer: &Layer, package: &Package, manifest: &str) -> Vec<Finding> {
    let is_ours = |name: &str| name == "runlet" || name.starts_with("runlet-");
    let mut findings = Vec::new();
    for name in &package.dependencies {
        let name = name.as_str();
        if is_ours(name) && !layer.ours.contains(&name) || layer.never.contains(&name) {
            let message = format!("`{}` must not depend on `{name}`: see ARCHITECTURE.md", layer.package);
            findings.push(Finding::new("layer", manifest, 0, message));
        }
    }
    findings
}

fn check_paths(layer: &Layer, path: &str, tokens: &Tokens) -> Vec<Finding> {
    let mut findings = Vec::new();
    for used in tokens.paths.iter().filter(|used| !tokens.is_test(used.line)) {
        let named = layer.paths_never.iter().find(|never| {
            let never: Vec<&str> = never.split("::").collect();
            used.segments.windows(never.len()).any(|window| window == never)
        });
        if let Some(named) = named {
            let message = format!("`{}` must not use `{named}`: see ARCHITECTURE.md", layer.package);
            findings.push(Finding::new("layer", path, used.line, message));
        }
    }
    findings
}

/// A dependency that no source file names only costs build time.
fn unused_dependencies(package: &Package, sources: &[(&TextFile, Tokens)], manifest: &str) -> Vec<Finding> {
    let is_used = |name: &str| {
        let name = name.replace('-', "_");
        sources.iter().flat_map(|(_, tokens)| &tokens.paths).any(|used| used.segments.contains(&name))
    };
    let unused = package.dependencies.iter().filter(|name| !is_used(name));
    unused
        .map(|name| {
            let message = format!("`{name}` is not used by the source of `{}`: remove it", package.name);
            Finding::new("unused-dependency", manifest, 0, message)
        })
        .collect()
}

fn check_kernel_tree(tree: &[String]) -> Vec<Finding> {
    let linked = KERNEL_TREE_NEVER.iter().filter(|never| tree.iter().any(|name| name == *never));
    linked
        .map(|name| {
            let message = format!("the kernel is linked with `{name}`, which does I/O: see ARCHITECTURE.md");
            Finding::new("kernel-tree", "crates/kernel/Cargo.toml", 0, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(package: &str, dependencies: &[&str], source: &str) -> Repository {
        let folder = "crates/sample".to_owned();
        let file = |name: &str, text: &str| TextFile {
            path: format!("{folder}/{name}"),
            text: text.to_owned(),
            executable: false,
        };
        let files = vec![file("src/lib.rs", source), file("Cargo.toml", "[lints]\nworkspace = true\n")];
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        Repository {
            files,
            packages: vec![Package { name: package.to_owned(), folder, dependencies }],
            kernel_tree: Vec::new(),
        }
    }

    fn rules(package: &str, dependencies: &[&str], source: &str) -> Vec<&'static str> {
        check(&repository(package, dependencies, source)).into_iter().map(|finding| finding.rule).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn what_the_table_allows_passes() {
        let source = "//! Doc.\nuse runlet_proto::ids; use thiserror::Error; fn now(time: Time) {}";
        assert_eq!(rules("runlet-kernel", &["runlet-proto", "thiserror"], source), NONE);
    }

    #[test]
    fn a_forbidden_dependency_fails() {
        assert_eq!(rules("runlet-kernel", &["tokio"], "use tokio::net;"), ["layer"]);
        assert_eq!(rules("runlet-gateway", &["runlet-kernel"], "use runlet_kernel::Kernel;"), ["layer"]);
        assert_eq!(rules("runlet-proto", &["runlet-workflow"], "use runlet_workflow::Definition;"), ["layer"]);
    }

    #[test]
    fn a_forbidden_path_fails_however_it_is_written() {
        for source in ["use std::{fs, io};", "fn f() { std::fs::read(x); }", "fn f() { g!(std::fs::read(x)); }"] {
            assert_eq!(rules("runlet-workflow", &[], source), ["layer"], "{source}");
        }
        for source in ["fn f() { Instant::now(); }", "fn f() { std::env::var(x); }", "use std::time::SystemTime;"] {
            assert_eq!(rules("runlet-kernel", &[], source), ["layer"], "{source}");
        }
        assert_eq!(rules("runlet-workflow", &[], "#[cfg(test)] mod tests { use std::fs; }"), NONE);
    }

    #[test]
    fn a_crate_outside_the_table_fails() {
        assert_eq!(rules("runlet-utils", &[], ""), ["layer"]);
    }

    #[test]
    fn an_unused_dependency_fails() {
        assert_eq!(rules("runlet-ipc", &["bytes"], "// bytes\nfn f() {}"), ["unused-dependency"]);
    }

    #[test]
    fn a_crate_without_a_line_in_the_map_fails() {
        let mut sample = repository("runlet-ipc", &[], "");
        let map =
            |text: &str| TextFile { path: "ARCHITECTURE.md".to_owned(), text: text.to_owned(), executable: false };
        sample.files.push(map("| `crates/sample` | frames |\n"));
        assert_eq!(check(&sample), []);
        sample.files[2] = map("`crates/sample`\n| `crates/samples` | frames |\n");
        assert_eq!(check(&sample).len(), 1);
    }

    #[test]
    fn a_manifest_without_the_common_lints_fails() {
        let mut sample = repository("runlet-ipc", &[], "");
        sample.files[1].text = "[package]\n".to_owned();
        let findings = check(&sample);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].rule, "lints");
    }

    #[test]
    fn a_kernel_linked_with_a_runtime_fails() {
        let tree = ["runlet-kernel", "slab", "tokio"].map(str::to_owned);
        assert_eq!(check_kernel_tree(&tree).len(), 1);
        assert_eq!(check_kernel_tree(&tree[..2]), []);
    }
}
