//! What the README shows is true: its commands run, its definitions are valid, its answer is the one that comes.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Command;

use runlet_tests::http;
use runlet_tests::process::Process;
use runlet_tests::readme::{Fenced, fenced};
use runlet_tests::runlet::{Installation, Port4000, binary, code};
use runlet_tests::tidy::repository::root;

/// Commands that are not run here: this test is one of those the script runs.
const NOT_RUN: &[&str] = &["scripts/test"];

/// The gateway's address in the text; the test's own listens elsewhere.
const ADDRESS: &str = "127.0.0.1:8080";

fn readme() -> Vec<Fenced> {
    fenced(&std::fs::read_to_string(root().join("README.md")).expect("the README"))
}

/// What the document says so far is up.
struct Reader {
    installation: Installation,
    up: Option<(Process, SocketAddr)>,
    last_answer: Option<String>,
}

impl Reader {
    /// Does what a line says.
    fn run(&mut self, line: &str) {
        if let Some(arguments) = line.strip_prefix("cargo run --release -- up") {
            let arguments: Vec<&str> = arguments.split_whitespace().collect();
            self.up = Some(self.installation.up(&arguments));
        } else if let Some(url) = line.strip_prefix("curl ") {
            let address = self.up.as_ref().expect("`up` comes before `curl` in the README").1;
            let path = url.trim().strip_prefix(&format!("http://{ADDRESS}")).expect("a plain `curl URL`");
            let answer = http::get(address, path);
            assert_eq!(answer.status, 200, "{line}: {answer:?}");
            self.last_answer = Some(answer.text());
        } else {
            self.shell(line);
        }
    }

    /// `runlet` is found on the `PATH`, the current folder is the repository, and everything else is this installation.
    fn shell(&self, line: &str) {
        let bin = self.installation.folder().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut command: Command = self.installation.command([""; 0]);
        let environment: Vec<_> =
            command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
        command = Command::new("sh");
        command.args(["-eu", "-c", line]).current_dir(root()).env_clear().envs(environment).env("PATH", path);
        Process::start(line, &mut command, b"").finish().expect_code(code::OK, line);
    }
}

#[test]
fn the_commands_run_and_the_answer_is_the_one_shown() {
    let _port = Port4000::take();
    let mut reader = Reader { installation: Installation::new(), up: None, last_answer: None };
    let bin = reader.installation.folder().join("bin");
    std::fs::create_dir(&bin).expect("a folder in the test's own");
    symlink(binary(), bin.join("runlet")).expect("a link in the test's own folder");

    let blocks = readme();
    let mut run = 0;
    for block in &blocks {
        if let (Some(answer), "json") = (&reader.last_answer, block.language.as_str()) {
            assert_eq!(*answer, block.text.trim_end(), "README.md:{}", block.line);
            reader.last_answer = None;
        }
        for line in block.text.lines().filter(|_| block.language == "sh") {
            if !NOT_RUN.contains(&line) {
                reader.run(line);
                run += 1;
            }
        }
    }
    assert!(run >= 5, "only {run} commands were found in the README");
    assert_eq!(reader.last_answer, None, "the last answer is not shown in the README");
    for line in NOT_RUN {
        let shown = blocks.iter().any(|block| block.language == "sh" && block.text.lines().any(|one| one == *line));
        assert!(shown, "`{line}` is not in the README: take it off the list");
    }
}

#[test]
fn the_definitions_are_valid() {
    let installation = Installation::new();
    let mut checked = 0;
    for block in readme() {
        let definition = match block.language.as_str() {
            "json" => block.text.starts_with('['),
            "jsonc" => true,
            _ => false,
        };
        if definition {
            let file = installation.write(&format!("line-{}.jsonc", block.line), &block.text);
            installation.ok(&["check", file.to_str().expect("text")]);
            checked += 1;
        }
    }
    assert!(checked >= 2, "only {checked} definitions were found in the README");
}
