//! A file to begin with: every option with what it means and its default, all of it switched off by `#`.

use clap::Arg;
use serde_json::json;

use super::effective::toml_of;
use super::options::is_list;
use super::{SECTIONS, Section};

/// Longest line of text.
const COLUMNS: usize = 100;

const HEAD: &str = "\
Configuration of Runlet. A flag goes before the environment, that before this file, and this before a default;
`runlet config show --origin` prints what is in force, and why. What has `#` before it is not in force.
A daemon reads this file at its start, and again at SIGHUP (`systemctl reload`); what then needs a restart it says.";

/// The text of the file.
pub(crate) fn text() -> String {
    let mut text = comment(HEAD);
    for section in SECTIONS {
        if let Some(table) = section.table() {
            text += &format!("\n[{table}]\n");
        }
        for option in section.options() {
            text += &described(section, &option);
        }
    }
    text
}

fn described(section: Section, option: &Arg) -> String {
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    let variable =
        option.get_env().map(|name| format!(" Environment: {}.", name.to_string_lossy())).unwrap_or_default();
    let ended = if help.ends_with('.') { help } else { help + "." };
    let key = option.get_long().unwrap_or_default();
    format!("\n{}# {key} = {}\n", comment(&(ended + &variable)), shown(section, key, option))
}

/// The default, or something that could stand there.
fn shown(section: Section, key: &str, option: &Arg) -> String {
    let default = option.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let value = match (default, section, key) {
        (Some(default), ..) => default,
        (None, Section::Common, "socket") => "/run/runlet/control.sock".to_owned(),
        (None, _, "state") => "/var/lib/runlet".to_owned(),
        (None, _, "ca-file") => "authorities.pem".to_owned(),
        (None, _, "allow-exec") => "/usr/bin/jq".to_owned(),
        (None, _, "threads") => "2".to_owned(),
        (None, _, "admin") => "127.0.0.1:9464".to_owned(),
        (None, ..) => String::new(),
    };
    let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
    toml_of(&if is_list(option) { json!([value]) } else { value })
}

/// Lines that begin with `# `, broken between words.
fn comment(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::from("#"));
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            lines += &line;
            lines.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_there_and_could_be_switched_on() {
        let text = text();
        for section in SECTIONS {
            for key in section.keys() {
                assert!(text.contains(&format!("\n# {key} = ")), "{key}");
            }
        }
        // As a person would: the hash before each option goes, that before each explanation stays.
        let is_option = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key[2..].contains(' '));
        let lines = text.lines().map(|line| if line.starts_with("# ") && is_option(line) { &line[2..] } else { line });
        let on: String = lines.map(|line| line.to_owned() + "\n").collect();
        let parsed = super::super::File::parse_text("/etc/runlet/runlet.toml".as_ref(), &on);
        assert!(parsed.is_ok(), "{parsed:?}\n{on}");
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }
}
