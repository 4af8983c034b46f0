//! The configuration of a block: what stands under `parameter`, and for some kinds on the block itself.

use super::report::{Finding, Report};
use super::spot::{Fields, Spot, clip};
use crate::field::{self, Field};
use crate::{suggest, unavailable};

/// The fields of one kind of block.
pub(crate) struct Kind {
    /// Its fields.
    pub(crate) fields: &'static [Field],
    /// Which of them may also stand on the block itself, as in the founding document.
    pub(crate) bare: &'static [&'static str],
    /// Those that are for later.
    pub(crate) unavailable: &'static [&'static str],
}

/// Where a block's configuration is read from.
pub(crate) struct Config<'a, 'p> {
    block: &'p Fields<'a, 'p>,
    parameter: Option<Fields<'a, 'p>>,
    /// Whether `parameter` is there and no object: then nothing can be missing in it.
    unreadable: bool,
    kind: &'static Kind,
}

impl<'a, 'p> Config<'a, 'p> {
    /// The configuration of a block whose `parameter` is an object, if it is there at all.
    pub(crate) fn new(
        block: &'p Fields<'a, 'p>,
        parameter: Option<Spot<'a, 'p>>,
        kind: &'static Kind,
        report: &mut Report<'_>,
    ) -> Self {
        let given = parameter.is_some();
        let parameter = parameter.and_then(|spot| spot.object("an object with the block's parameters", report));
        Self { block, unreadable: given && parameter.is_none(), parameter, kind }
    }

    /// Takes a field.
    pub(crate) fn take<'f>(&'f self, name: &'static str, report: &mut Report<'_>) -> Option<Spot<'a, 'f>> {
        debug_assert!(self.kind.fields.iter().any(|field| field.name == name), "`{name}` is in the table of fields");
        let below = self.parameter.as_ref().and_then(|fields| fields.take(name));
        let bare = if self.kind.bare.contains(&name) { self.block.take(name) } else { None };
        if let (Some(_), Some(bare)) = (&below, &bare) {
            let finding =
                Finding::new("duplicate-key", format!("`{name}` is there twice: on the block and under `parameter`"));
            bare.refuse(finding.help("keep one of them"), report);
        }
        below.or(bare)
    }

    /// Takes a field that is written in one of two ways.
    pub(crate) fn take_either<'f>(
        &'f self,
        name: &'static str,
        alias: &'static str,
        report: &mut Report<'_>,
    ) -> Option<Spot<'a, 'f>> {
        let (first, second) = (self.take(name, report), self.take(alias, report));
        if let (Some(_), Some(second)) = (&first, &second) {
            let finding = Finding::new("duplicate-key", format!("`{alias}` and `{name}` are the same field"));
            second.refuse(finding.help("keep one of them"), report);
        }
        first.or(second)
    }

    /// Files that a required field is missing.
    pub(crate) fn missing(&self, name: &str, help: &str, report: &mut Report<'_>) {
        if !self.unreadable {
            self.parameter.as_ref().unwrap_or(self.block).missing(name, help, report);
        }
    }

    /// Files what nobody took, on both levels.
    pub(crate) fn finish(&self, common: &[&'static str], report: &mut Report<'_>) {
        let names = field::names(self.kind.fields);
        if let Some(parameter) = &self.parameter {
            for (name, range) in parameter.left() {
                let finding = self.unknown(name).unwrap_or_else(|| {
                    let finding = Finding::new("unknown-field", format!("there is no parameter `{}` here", clip(name)));
                    if common.contains(&name) {
                        finding.help(format!("`{name}` stands on the block itself, beside `type`"))
                    } else {
                        finding.help_if(suggest::help(name, &names))
                    }
                });
                report.add(finding, range, &parameter.place.key(name));
            }
        }
        let known: Vec<&'static str> = common.iter().chain(self.kind.bare).copied().collect();
        for (name, range) in self.block.left() {
            let finding = self.unknown(name).unwrap_or_else(|| {
                let finding = Finding::new("unknown-field", format!("there is no field `{}` here", clip(name)));
                if names.contains(&name) {
                    finding.help(format!("`{name}` belongs under `parameter`"))
                } else {
                    finding.help_if(suggest::help(name, &known))
                }
            });
            report.add(finding, range, &self.block.place.key(name));
        }
    }

    fn unknown(&self, name: &str) -> Option<Finding> {
        self.kind.unavailable.contains(&name).then(|| unavailable::finding(&format!("`{name}`")))
    }
}
