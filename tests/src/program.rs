//! A supervisor that allows one program, and runs of it.

use serde_json::{Value, json};

use crate::process::Process;
use crate::runlet::Installation;
use crate::system::tool;
use crate::wait::wait_until;

/// A script that does what its first argument says.
const SCRIPT: &str = r#"
case $1 in
    nothing) echo '{}' ;;
    echo) read -r line; printf '{"got": %s, "args": "%s|%s|%s"}' "$line" "$#" "$2" "$3" ;;
    item) printf '%s' "$2" ;;
    surroundings) printf '{"path": "%s", "home": "%s", "lang": "%s", "here": "%s"}' "$PATH" "$HOME" "$LANG" "$(pwd)" ;;
    say) echo one >&2; echo two >&2; echo '{}' ;;
    fail) echo "no such key" >&2; exit 3 ;;
    crash) kill -SEGV $$ ;;
    text) echo 'no JSON' ;;
    lines) cat ;;
    flood) while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done ;;
    complain) while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx >&2; done ;;
    burn) while :; do :; done ;;
    leave) "$0" burn & echo '{}' ;;
    multiply) i=0; while :; do "$0" burn & i=$((i+1)); echo "started $i" >&2; done ;;
    wait) echo ready >&2; sleep 1000 ;;
    clean) trap 'echo cleaned >&2; exit 0' TERM; echo ready >&2; sleep 1000 & wait ;;
    heeds) trap 'echo "\"USR1\""; exit 0' USR1; echo ready >&2; sleep 1000 & wait ;;
    stubborn) trap '' TERM; echo ready >&2; sleep 1000 ;;
    all) trap 'kill 0' EXIT; sleep 1000 & echo '{}' ;;
esac
"#;

/// A supervisor that allows one script under the name of its file, with `cat` and `sleep`.
#[derive(Debug)]
pub struct Place {
    /// The supervisor's process. First, so that it is ended first.
    pub supervisor: Process,
    /// Where it runs.
    pub installation: Installation,
    /// The program's name, which no other process of this system has.
    pub name: String,
}

impl Place {
    /// `None` on a host where no programs are executed, since they could not be confined.
    ///
    /// # Panics
    /// When the program does not run otherwise.
    #[must_use]
    pub fn new(installation: Installation) -> Option<Self> {
        let suffix = installation.folder().to_string_lossy().rsplit('-').next().map_or_else(String::new, str::to_owned);
        let name = format!("xp-{suffix}");
        let script = installation.program(&name, &format!("#!{}{SCRIPT}", tool("sh")));
        let allowed = format!("{},{},{}", script.display(), tool("cat"), tool("sleep"));
        let supervisor = installation.supervisor_with(&["--allow-exec", &allowed]);
        let place = Self { supervisor, installation, name };
        place.deploy("nothing", &json!({}), &json!(["nothing"]), &json!({}));
        let run = place.installation.run_detached("nothing");
        let ended = place.wait_ended(&run);
        if ended["error"]["code"] == "isolation" {
            eprintln!("SKIPPED: {}", ended["error"]["message"]);
            return None;
        }
        assert_eq!(ended["state"], "COMPLETED", "{ended}");
        Some(place)
    }

    /// Deploys a workflow of the script with these arguments and whatever else its block and the workflow say.
    ///
    /// # Panics
    /// When it is refused.
    pub fn deploy(&self, workflow: &str, block: &Value, arguments: &Value, about: &Value) {
        let mut argv = vec![json!(self.name)];
        argv.extend(arguments.as_array().expect("a list").iter().cloned());
        let mut exec = json!({ "id": "program", "type": "exec", "parameter": { "argv": argv } });
        merge(&mut exec, block);
        let mut definition = json!({ "blocks": [exec] });
        merge(&mut definition, about);
        self.installation.deploy(workflow, &definition);
    }

    /// Deploys, runs, and returns the ended run.
    ///
    /// # Panics
    /// When it is refused, or does not end.
    #[must_use]
    pub fn run(&self, workflow: &str, block: &Value, arguments: &Value, about: &Value, input: &Value) -> Value {
        self.deploy(workflow, block, arguments, about);
        let run = self.installation.ok(&["run", workflow, "--detach", "--input", &input.to_string()]);
        self.wait_ended(run.trim())
    }

    /// What `runlet inspect` says.
    ///
    /// # Panics
    /// When there is no such run.
    #[must_use]
    pub fn inspect(&self, run: &str) -> Value {
        serde_json::from_str(&self.installation.ok(&["inspect", run])).expect("JSON")
    }

    /// The run once it and its worker have ended.
    ///
    /// # Panics
    /// When that takes too long.
    #[must_use]
    pub fn wait_ended(&self, run: &str) -> Value {
        wait_until(&format!("run {run} to end"), || {
            let told = self.inspect(run);
            let ended = matches!(told["state"].as_str(), Some("COMPLETED" | "FAILED" | "STOPPED"));
            (ended && (told["worker"].is_null() || !told["worker"]["ended"].is_null())).then_some(told)
        })
    }

    /// Starts a run of the script and waits until it has said that it is ready.
    ///
    /// # Panics
    /// When that takes too long.
    #[must_use]
    pub fn start(&self, argument: &str) -> String {
        self.deploy(argument, &json!({}), &json!([argument]), &json!({}));
        let run = self.installation.run_detached(argument);
        wait_until("the program to be ready", || self.installation.ok(&["logs", &run]).contains("ready").then_some(()));
        run
    }
}

/// Puts the members of one object into another, and into those below.
fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().expect("an object") {
        match (&mut into[key], value) {
            (below @ Value::Object(_), Value::Object(_)) => merge(below, value),
            (place, value) => *place = value.clone(),
        }
    }
}
