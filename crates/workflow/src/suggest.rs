//! The nearest known name to a misspelt one.

/// The candidate most like `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    // Comparing costs the product of both lengths, and the name may be anything at all.
    if wanted.is_empty() || wanted.len() > NAME_BYTES_MAX {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= NAME_BYTES_MAX)
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(wanted.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Longer names are not compared.
const NAME_BYTES_MAX: usize = 128;

/// `did you mean …?`, or the list of what is known while it is short.
pub(crate) fn help(name: &str, known: &[&str]) -> Option<String> {
    const LISTED_MAX: usize = 24;
    if let Some(nearest) = nearest(name, known.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    (!known.is_empty() && known.len() <= LISTED_MAX).then(|| format!("known: {}", list(known)))
}

/// Names for a sentence: `a`, `b`, `c`.
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("selecter", ["selector", "tags"]), Some("selector"));
        assert_eq!(nearest("URL", ["url", "method"]), Some("url"));
        assert_eq!(nearest("frobnicate", ["url", "method"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["x"]), None);
    }
}
