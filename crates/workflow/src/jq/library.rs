//! jq's own definitions, of which a program gets those it may reach.
//!
//! A compiler that is given all of them compiles all of them, which takes it ten times as long as most programs take to run.
//! They are parsed once in a process, and a forked worker has them from the process it was forked from.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use jaq_core::load::parse::Def;

type Definition = Def<&'static str>;

struct Library {
    /// In their order: each may use those before it, and itself.
    definitions: Vec<Entry>,
    /// Places of all definitions of a name, which may differ in their arguments.
    by_name: HashMap<&'static str, Vec<usize>>,
}

struct Entry {
    definition: Definition,
    /// Definitions that its body names.
    uses: Vec<usize>,
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let definitions: Vec<Definition> = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).collect();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, definition) in definitions.iter().enumerate() {
            by_name.entry(bare(definition.name)).or_default().push(at);
        }
        let entry = |definition: Definition| {
            // As text it names at least what it uses; what it names besides does no harm.
            let uses = named_in(&format!("{:?}", definition.body), &by_name);
            Entry { definition, uses }
        };
        Library { definitions: definitions.into_iter().map(entry).collect(), by_name }
    })
}

/// The definitions that a program may reach, in their order: those whose names stand in it, in whatever role, and those that
/// they reach.
pub(super) fn reachable_from(text: &str) -> Vec<Definition> {
    let library = library();
    let mut open = named_in(text, &library.by_name);
    let mut reached = HashSet::new();
    while let Some(at) = open.pop() {
        if reached.insert(at) {
            open.extend(&library.definitions[at].uses);
        }
    }
    let mut places: Vec<usize> = reached.into_iter().collect();
    places.sort_unstable();
    places.into_iter().map(|at| library.definitions[at].definition.clone()).collect()
}

/// Places of the definitions whose names are words of the text.
fn named_in(text: &str, by_name: &HashMap<&str, Vec<usize>>) -> Vec<usize> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter_map(|word| by_name.get(word)).flatten().copied().collect()
}

/// The name of a definition as a word: formats begin with `@`.
fn bare(name: &'static str) -> &'static str {
    name.trim_start_matches('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        reachable_from(text).iter().map(|definition| definition.name).collect()
    }

    #[test]
    fn a_program_gets_what_it_names_and_what_that_needs() {
        assert_eq!(names(".a + 1"), Vec::<&str>::new());
        assert_eq!(names("select(. > 1)"), ["empty", "select"]);
        assert_eq!(names("[.[] | @html]"), ["tostring", "@html"]);
        assert!(names("group_by(.a) | unique").contains(&"unique_by"));
    }

    /// Nothing that the whole library knows is unknown to a part of it.
    #[test]
    fn each_definition_compiles_with_what_it_reaches_alone() {
        for Entry { definition, .. } in &library().definitions {
            let arguments = vec!["."; definition.args.len()].join("; ");
            let text = if arguments.is_empty() {
                definition.name.to_owned()
            } else {
                format!("{}({arguments})", definition.name)
            };
            let compiled = crate::jq::Program::compile(&text);
            assert!(compiled.is_ok(), "{text}: {:?}", compiled.err());
        }
    }
}
