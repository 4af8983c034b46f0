//! The OpenMetrics text format, read strictly: what a scraper would only grumble about is an error here.

use std::collections::BTreeMap;

/// Name and value of labels.
pub type Labels = BTreeMap<String, String>;

/// A text that was read.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Families by name.
    pub families: BTreeMap<String, Family>,
    /// Values by name and labels.
    samples: BTreeMap<(String, Labels), f64>,
}

/// What is said of a family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it measures.
    pub help: String,
    /// Its unit; empty without one.
    pub unit: String,
}

impl Exposition {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("it does not end with `# EOF`")?;
        let mut read = Self::default();
        let mut current = String::new();
        for (number, line) in (1..).zip(body.lines()) {
            read.line(line, &mut current).map_err(|what| format!("line {number}: {what}: {line}"))?;
        }
        for (name, family) in &read.families {
            if family.kind.is_empty() || family.help.is_empty() {
                return Err(format!("{name} has no type or no help"));
            }
            if !family.unit.is_empty() && !name.ends_with(&format!("_{}", family.unit)) {
                return Err(format!("{name} does not end with its unit {}", family.unit));
            }
            if family.kind == "histogram" {
                read.check_histogram(name)?;
            }
        }
        Ok(read)
    }

    /// The value of the sample with exactly these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    fn line(&mut self, line: &str, current: &mut String) -> Result<(), String> {
        let Some(comment) = line.strip_prefix("# ") else {
            let (name, labels, value) = sample(line)?;
            self.belongs(&name, current)?;
            if self.families[current].kind != "gauge" && (value.is_nan() || value < 0.0) {
                return Err("what only grows is below zero".to_owned());
            }
            let known = self.samples.insert((name, labels), value);
            return if known.is_some() { Err("the sample was there before".to_owned()) } else { Ok(()) };
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
            return Err("a comment of the format has three words".to_owned());
        };
        is_name(name).then_some(()).ok_or("no name")?;
        if name != current {
            name.clone_into(current);
            if self.families.insert(name.to_owned(), Family::default()).is_some() {
                return Err("the family was there before".to_owned());
            }
        }
        let family = self.families.get_mut(name).ok_or("no such family")?;
        let field = match what {
            "TYPE" if ["counter", "gauge", "histogram"].contains(&text) => &mut family.kind,
            "HELP" => &mut family.help,
            "UNIT" => &mut family.unit,
            _ => return Err("no comment of the format".to_owned()),
        };
        if !field.is_empty() {
            return Err("it was said before".to_owned());
        }
        text.clone_into(field);
        Ok(())
    }

    /// Whether a sample stands below its own family.
    fn belongs(&self, name: &str, current: &str) -> Result<(), String> {
        let family = self.families.get(current).ok_or("a sample without a family")?;
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            _ => &["_bucket", "_sum", "_count"],
        };
        let fits = suffixes.iter().any(|suffix| name == format!("{current}{suffix}"));
        if fits { Ok(()) } else { Err(format!("no sample of {current}, a {}", family.kind)) }
    }

    /// Buckets grow in bound and count, and the last one holds all.
    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for ((sample, labels), value) in &self.samples {
            if *sample == format!("{name}_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").ok_or_else(|| format!("a bucket of {name} has no `le`"))?;
                let bound = if bound == "+Inf" { Ok(f64::INFINITY) } else { bound.parse() };
                let bound = bound.map_err(|_| format!("a bound of {name} is no number"))?;
                series.entry(labels).or_default().push((bound, *value));
            }
        }
        for (labels, mut buckets) in series {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            let grows = buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1);
            let all = buckets.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, count)| *count);
            let of = |suffix: &str| self.samples.get(&(format!("{name}{suffix}"), labels.clone())).copied();
            if !grows || all.is_none() || all != of("_count") || of("_sum").is_none() {
                return Err(format!("the buckets of {name} {labels:?} make no histogram"));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    is_name(name).then_some(()).ok_or("no name of a sample")?;
    let mut labels = Labels::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inside.split_once("=\"").ok_or("a label without a value")?;
            is_name(label).then_some(()).ok_or("no name of a label")?;
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err("a label twice".to_owned());
            }
            match after.strip_prefix(',') {
                Some(more) => inside = more,
                None => {
                    rest = after.strip_prefix('}').ok_or("labels without an end")?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = value.parse().map_err(|_| format!("`{value}` is no number"))?;
    Ok((name.to_owned(), labels, value))
}

/// A value up to its closing quote, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, char @ ('"' | '\\'))) => char,
                _ => return Err("no escape of the format".to_owned()),
            }),
            char => value.push(char),
        }
    }
    Err("a value without an end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_seconds What it is\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
        a_seconds_sum{x=\"1\"} 2.5\na_seconds_count{x=\"1\"} 3\na_seconds_bucket{x=\"1\",le=\"0.5\"} 1\n\
        a_seconds_bucket{x=\"1\",le=\"+Inf\"} 3\n# HELP b B\n# TYPE b counter\nb_total{w=\"q\\\"\\\\\\n\"} 7\n# EOF\n";

    #[test]
    fn a_text_of_the_format_is_read() {
        let read = Exposition::parse(GOOD).expect("it is one");
        assert_eq!(read.value("b_total", &[("w", "q\"\\\n")]), Some(7.0));
        assert_eq!(read.value("a_seconds_bucket", &[("le", "0.5"), ("x", "1")]), Some(1.0));
        assert_eq!(read.value("b_total", &[]), None);
    }

    #[test]
    fn what_is_not_of_the_format_is_refused() {
        for (from, to) in [
            ("# EOF\n", ""),
            ("b_total", "b"),
            ("b_total", "c_total"),
            (" 7\n", " seven\n"),
            (" 7\n", " -7\n"),
            ("# TYPE b counter\n", ""),
            ("# UNIT a_seconds seconds", "# UNIT a_seconds bytes"),
            ("le=\"+Inf\"} 3", "le=\"+Inf\"} 4"),
            ("le=\"0.5\"} 1", "le=\"0.5\"} 4"),
            ("\\n\"", "\\t\""),
            ("# HELP b B\n", "# HELP b B\n# HELP b B\n"),
        ] {
            assert!(Exposition::parse(&GOOD.replacen(from, to, 1)).is_err(), "{from} → {to}");
        }
    }
}
