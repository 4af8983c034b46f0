//! The definitions of `examples/`, as they were when the binary was built.

use runlet_proto::control::SourceText;

/// File name and text of each, by name.
const EXAMPLES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/examples.rs"));

/// All examples.
pub(crate) fn all() -> impl Iterator<Item = SourceText> {
    EXAMPLES.iter().map(|(file, text)| SourceText { file: (*file).to_owned(), text: (*text).to_owned() })
}
