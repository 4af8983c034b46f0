//! `memory` of a definition: the namespaces that its blocks reach.

use super::report::{Finding, Report};
use super::spot::{Spot, clip};
use super::{NAME_HELP, is_name};
use crate::definition::{Access, Namespace};
use crate::limits::NAMESPACES_MAX;

/// Reads the list. What is wrong with one hides no other.
pub(crate) fn namespaces(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Vec<Namespace> {
    let Some(list) = spot.list("a list of namespaces, such as [\"prices\", \"jobs:read\"]", report) else {
        return Vec::new();
    };
    if list.len() > NAMESPACES_MAX {
        let message = format!("{} namespaces; the limit is {NAMESPACES_MAX}", list.len());
        spot.refuse(Finding::new("too-many", message), report);
        return Vec::new();
    }
    let mut found: Vec<Namespace> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let element = spot.element(index, value);
        let Some(text) = element.string(report) else { continue };
        let (name, access) = match text.split_once(':') {
            None => (text, Access::ReadWrite),
            Some((name, "read")) => (name, Access::Read),
            Some((name, access)) => {
                let finding = Finding::new("invalid-value", format!("there is no access `{}`", clip(access)));
                let help = format!("write \"{}\" for reading and writing, \"{0}:read\" for reading only", clip(name));
                element.refuse(finding.help(help), report);
                (name, Access::ReadWrite)
            }
        };
        if !is_name(name) {
            let finding = Finding::new("invalid-name", format!("`{}` is no name of a namespace", clip(name)));
            element.refuse(finding.help(NAME_HELP), report);
        } else if found.iter().any(|known| known.name == name) {
            element.refuse(Finding::new("duplicate-name", format!("`{}` is there twice", clip(name))), report);
        } else {
            found.push(Namespace { name: name.to_owned(), access });
        }
    }
    found
}
