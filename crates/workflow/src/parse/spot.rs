//! One value of the document and its place: reads itself as what is expected, or files why it cannot.

use std::cell::Cell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;

use super::report::{Finding, Place, Report};
use super::units;
use crate::suggest;

/// A value and its place.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a, 'p> {
    pub(crate) value: &'a Value<'a>,
    pub(crate) place: Place<'p>,
}

/// The kind of a value, for a sentence.
pub(crate) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}

impl<'a, 'p> Spot<'a, 'p> {
    /// Where it stands, in bytes.
    pub(crate) fn range(&self) -> Range<usize> {
        let range = self.value.range();
        range.start..range.end
    }

    /// Files a finding about it.
    pub(crate) fn refuse(&self, finding: Finding, report: &mut Report<'_>) {
        report.add(finding, self.range(), &self.place);
    }

    /// Files that something else was expected.
    pub(crate) fn expected(&self, what: &str, report: &mut Report<'_>) {
        self.refuse(self.mismatch(what), report);
    }

    /// The finding that something else was expected.
    pub(crate) fn mismatch(&self, what: &str) -> Finding {
        Finding::new("wrong-type", format!("expected {what}, found {}", kind(self.value)))
    }

    /// A string.
    pub(crate) fn string(&self, report: &mut Report<'_>) -> Option<&'a str> {
        match self.value {
            Value::StringLit(text) => Some(&text.value),
            Value::NumberLit(number) => {
                self.refuse(self.mismatch("a string").help(format!("write \"{}\"", number.value)), report);
                None
            }
            Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
                self.expected("a string", report);
                None
            }
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, T)], report: &mut Report<'_>) -> Option<T> {
        let text = self.string(report)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let finding =
                Finding::new("invalid-value", format!("`{}` is not one of {}", clip(text), suggest::list(&known)));
            self.refuse(
                finding.help_if(suggest::nearest(text, known).map(|near| format!("did you mean `{near}`?"))),
                report,
            );
        }
        found
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, report: &mut Report<'_>) -> Option<bool> {
        if let Value::BooleanLit(flag) = self.value {
            return Some(flag.value);
        }
        let mut finding = self.mismatch("true or false");
        if let Value::StringLit(text) = self.value
            && ["true", "false"].contains(&&*text.value)
        {
            finding = finding.help(format!("write {} without quotes", text.value));
        }
        self.refuse(finding, report);
        None
    }

    /// A whole number in a range.
    pub(crate) fn integer(&self, range: RangeInclusive<u64>, report: &mut Report<'_>) -> Option<u64> {
        let expected = if *range.end() == u64::MAX {
            format!("a whole number from {}", range.start())
        } else {
            format!("a whole number from {} to {}", range.start(), range.end())
        };
        match self.value {
            Value::NumberLit(number) => match number.value.parse::<u64>() {
                Ok(value) if range.contains(&value) => return Some(value),
                Ok(_) | Err(_) => self.refuse(
                    Finding::new("invalid-value", format!("expected {expected}, found {}", clip(number.value))),
                    report,
                ),
            },
            Value::StringLit(text)
                if !text.value.is_empty() && text.value.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                let help = format!("write {} without quotes", clip(&text.value));
                self.refuse(self.mismatch(&expected).help(help), report);
            }
            Value::StringLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
                self.expected(&expected, report);
            }
        }
        None
    }

    /// A number in a range.
    pub(crate) fn number(&self, range: RangeInclusive<f64>, report: &mut Report<'_>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let Value::NumberLit(number) = self.value else {
            self.expected(&expected, report);
            return None;
        };
        let value = number.value.parse::<f64>().ok().filter(|value| range.contains(value));
        if value.is_none() {
            let message = format!("expected {expected}, found {}", clip(number.value));
            self.refuse(Finding::new("invalid-value", message), report);
        }
        value
    }

    /// A duration, longer than nothing.
    pub(crate) fn timeout(&self, report: &mut Report<'_>) -> Option<Duration> {
        let duration = self.duration(report)?;
        if duration.is_zero() {
            self.refuse(Finding::new("invalid-duration", "expected a duration longer than zero"), report);
            return None;
        }
        Some(duration)
    }

    /// A duration.
    pub(crate) fn duration(&self, report: &mut Report<'_>) -> Option<Duration> {
        match self.value {
            Value::StringLit(text) => match units::duration(&text.value) {
                Ok(duration) => return Some(duration),
                Err(finding) => self.refuse(finding, report),
            },
            Value::NumberLit(number) => {
                let message = "a duration is a string with a unit, not a bare number";
                self.refuse(Finding::new("invalid-duration", message).help(units::duration_hint(number.value)), report);
            }
            Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
                self.expected("a duration such as \"30s\"", report);
            }
        }
        None
    }

    /// A size in bytes, from 1 to `max`.
    pub(crate) fn size(&self, max: u64, report: &mut Report<'_>) -> Option<u64> {
        let size = match self.value {
            Value::StringLit(text) => match units::size(&text.value) {
                Ok(size) => size,
                Err(finding) => {
                    self.refuse(finding, report);
                    return None;
                }
            },
            Value::NumberLit(number) => {
                let message = "a size is a string with a unit, not a bare number";
                self.refuse(Finding::new("invalid-size", message).help(units::size_hint(number.value)), report);
                return None;
            }
            Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
                self.expected("a size such as \"10MiB\"", report);
                return None;
            }
        };
        if (1..=max).contains(&size) {
            return Some(size);
        }
        let message = format!("expected a size from 1B to {}", units::shown_size(max));
        self.refuse(Finding::new("invalid-size", message), report);
        None
    }

    /// The members of an object.
    pub(crate) fn object(self, what: &str, report: &mut Report<'_>) -> Option<Fields<'a, 'p>> {
        let object = self.value.as_object();
        if object.is_none() {
            self.expected(what, report);
        }
        object.map(|object| Fields::new(object, self.place))
    }

    /// The elements of a list.
    pub(crate) fn list(&self, what: &str, report: &mut Report<'_>) -> Option<&'a [Value<'a>]> {
        let list = self.value.as_array();
        if list.is_none() {
            self.expected(what, report);
        }
        list.map(|list| list.elements.as_slice())
    }

    /// One element of this list.
    pub(crate) fn element(&self, index: usize, value: &'a Value<'a>) -> Spot<'a, '_> {
        Spot { value, place: self.place.index(index) }
    }
}

/// The members of an object, each to be taken once; what is left over is unknown.
pub(crate) struct Fields<'a, 'p> {
    pub(crate) object: &'a Object<'a>,
    pub(crate) place: Place<'p>,
    taken: Vec<Cell<bool>>,
}

impl<'a, 'p> Fields<'a, 'p> {
    pub(crate) fn new(object: &'a Object<'a>, place: Place<'p>) -> Self {
        Self { object, place, taken: vec![Cell::new(false); object.properties.len()] }
    }

    /// Takes a member. Of duplicates, which are filed elsewhere, the first counts.
    pub(crate) fn take<'f>(&'f self, name: &'f str) -> Option<Spot<'a, 'f>> {
        let mut found = None;
        for (property, taken) in self.object.properties.iter().zip(&self.taken) {
            if property.name.as_str() == name {
                taken.set(true);
                found = found.or(Some(&property.value));
            }
        }
        found.map(|value| Spot { value, place: self.place.key(name) })
    }

    /// The members nobody took: name, bytes of the name.
    pub(crate) fn left(&self) -> impl Iterator<Item = (&'a str, Range<usize>)> {
        self.object.properties.iter().zip(&self.taken).filter(|(_, taken)| !taken.get()).map(|(property, _)| {
            let range = property.name.range();
            (property.name.as_str(), range.start..range.end)
        })
    }

    /// The bytes of the object.
    pub(crate) fn range(&self) -> Range<usize> {
        let range = self.object.range();
        range.start..range.end
    }

    /// Files every member nobody took, with the nearest of the known names.
    pub(crate) fn finish(&self, known: &[&'static str], report: &mut Report<'_>) {
        for (name, range) in self.left() {
            let finding = Finding::new("unknown-field", format!("there is no field `{}` here", clip(name)));
            report.add(finding.help_if(suggest::help(name, known)), range, &self.place.key(name));
        }
    }

    /// Files that a member is missing.
    pub(crate) fn missing(&self, name: &str, help: &str, report: &mut Report<'_>) {
        let start = self.range().start;
        let finding = Finding::new("missing-field", format!("`{name}` is missing")).help(help);
        report.add(finding, start..start + 1, &self.place);
    }
}

/// Text short enough for a message.
pub(crate) fn clip(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(end, _)| &text[..end])
}
