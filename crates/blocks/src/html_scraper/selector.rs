//! A rule's selector, compiled, and what is known of it before a page is seen: whether elements that come later can
//! change what it matches.

use cssparser::Parser as CssParser;
use html5ever::{LocalName, local_name, ns};
use scraper::selector::{Parser, Simple};
use selectors::SelectorList;
use selectors::matching::{MatchingContext, matches_selector_list};
use selectors::parser::{Combinator, Component, NthType, ParseRelative, Selector as Complex};

use super::candidate::Candidate;

/// A compiled selector.
#[derive(Debug)]
pub(super) struct Selector {
    list: SelectorList<Simple>,
    /// The selector is nothing but a type name: by far the commonest, and one comparison.
    type_only: Option<TypeName>,
    traits: Traits,
}

#[derive(Debug)]
struct TypeName {
    as_written: LocalName,
    lower: LocalName,
}

/// What the outcome for a closed element may still depend on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// On elements that come after it or inside its ancestors: `:last-child`, `:has`, `:empty` and their kin.
    pub(super) looks_ahead: bool,
    /// On attributes of `html` or `body`, which later tags of those names can still add.
    pub(super) reads_root_attributes: bool,
    /// On attributes of any element.
    pub(super) reads_attributes: bool,
}

impl Selector {
    /// Compiles what the definition's parser has already accepted; `None` if it is no selector after all.
    pub(super) fn compile(text: &str) -> Option<Self> {
        let list = SelectorList::parse(&Parser, &mut CssParser::new(text), ParseRelative::No).ok()?;
        let mut traits = Traits::default();
        for selector in list.slice() {
            traits.inspect(selector, false);
        }
        let type_only = type_name(&list);
        Some(Self { list, type_only, traits })
    }

    pub(super) fn traits(&self) -> Traits {
        self.traits
    }

    pub(super) fn matches(&self, candidate: &Candidate<'_>, matching: &mut MatchingContext<'_, Simple>) -> bool {
        if let Some(wanted) = &self.type_only {
            let name = &candidate.element().name;
            let wanted = if name.ns == ns!(html) { &wanted.lower } else { &wanted.as_written };
            return name.local == *wanted;
        }
        matches_selector_list(&self.list, candidate, matching)
    }
}

fn type_name(list: &SelectorList<Simple>) -> Option<TypeName> {
    let [selector] = list.slice() else { return None };
    let mut components = selector.iter_raw_match_order();
    let (Some(Component::LocalName(name)), None) = (components.next(), components.next()) else { return None };
    Some(TypeName { as_written: name.name.0.clone(), lower: name.lower_name.0.clone() })
}

impl Traits {
    /// Looks at one complex selector. `typed`: whether what stands around it already says that its subject is neither
    /// `html` nor `body`.
    fn inspect(&mut self, selector: &Complex<Simple>, typed: bool) {
        let components: Vec<&Component<Simple>> = selector.iter_raw_match_order().collect();
        let mut compounds = components.split(|component| component.is_combinator());
        if let Some(subject) = compounds.next() {
            self.inspect_compound(subject, typed);
        }
        for compound in compounds {
            self.inspect_compound(compound, false);
        }
        for component in &components {
            if let Component::Combinator(combinator) = component {
                self.looks_ahead |= match combinator {
                    Combinator::Child | Combinator::Descendant | Combinator::NextSibling | Combinator::LaterSibling => {
                        false
                    }
                    Combinator::PseudoElement | Combinator::SlotAssignment | Combinator::Part => true,
                };
            }
        }
    }

    fn inspect_compound(&mut self, compound: &[&Component<Simple>], typed: bool) {
        let typed = typed || compound.iter().any(|component| names_other_type(component));
        for component in compound {
            self.inspect_component(component, typed);
        }
    }

    fn inspect_component(&mut self, component: &Component<Simple>, typed: bool) {
        match component {
            Component::LocalName(_)
            | Component::ExplicitUniversalType
            | Component::ExplicitAnyNamespace
            | Component::ExplicitNoNamespace
            | Component::DefaultNamespace(_)
            | Component::Namespace(..)
            | Component::Root
            | Component::Scope
            | Component::Invalid(_)
            // Combinators are looked at by the caller.
            | Component::Combinator(_) => {}
            Component::ID(_)
            | Component::Class(_)
            | Component::AttributeInNoNamespaceExists { .. }
            | Component::AttributeInNoNamespace { .. }
            | Component::AttributeOther(_) => {
                self.reads_root_attributes |= !typed;
                self.reads_attributes = true;
            }
            Component::Negation(list) | Component::Where(list) | Component::Is(list) => {
                for selector in list.slice() {
                    self.inspect(selector, typed);
                }
            }
            Component::Nth(nth) => self.looks_ahead |= counts_from_end(nth.ty),
            Component::NthOf(nth) => {
                self.looks_ahead |= counts_from_end(nth.nth_data().ty);
                for selector in nth.selectors() {
                    self.inspect(selector, false);
                }
            }
            Component::Empty
            | Component::Has(_)
            | Component::ImplicitScope
            | Component::ParentSelector
            | Component::NonTSPseudoClass(_)
            | Component::Slotted(_)
            | Component::Part(_)
            | Component::Host(_)
            | Component::PseudoElement(_)
            | Component::RelativeSelectorAnchor => {
                // What stands inside is not looked at: it may read whatever it likes.
                self.looks_ahead = true;
                self.reads_attributes = true;
            }
        }
    }
}

/// Whether it is a type name other than `html` and `body`.
fn names_other_type(component: &Component<Simple>) -> bool {
    if let Component::LocalName(name) = component {
        return !matches!(name.lower_name.0, local_name!("html") | local_name!("body"));
    }
    false
}

fn counts_from_end(ty: NthType) -> bool {
    match ty {
        NthType::Child | NthType::OfType => false,
        NthType::LastChild | NthType::OnlyChild | NthType::LastOfType | NthType::OnlyOfType => true,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;

    fn traits(text: &str) -> (bool, bool) {
        let traits = Selector::compile(text).unwrap().traits();
        (traits.looks_ahead, traits.reads_root_attributes)
    }

    #[test]
    fn selectors_that_look_ahead_are_known() {
        for text in [
            ":last-child",
            "ul > li:last-of-type",
            "p:only-child",
            "p:only-of-type",
            "p:nth-last-child(2)",
            "p:nth-last-of-type(2n)",
            "div:empty",
            "div:has(> p)",
            "h1, p:not(:last-child)",
            "a:is(b:empty c)",
        ] {
            assert!(traits(text).0, "{text}");
        }
        for text in ["h1", "*", "ul > li:first-child", "p:nth-child(2n+1)", "h1 + p ~ a", "p:not(.x)", ":root > body"] {
            assert!(!traits(text).0, "{text}");
        }
    }

    #[test]
    fn selectors_that_read_attributes_of_html_or_body_are_known() {
        for text in [".x", "#x p", "[lang] p", "body.x", "html[lang] h1", ":is(.a) h1", "li:is(.a b)", "*|*[a]"] {
            assert!(traits(text).1, "{text}");
        }
        for text in ["h1", "h1.x", "div#x > p[a=b]", "li:not(.x)", "a:is(.x, .y)", "html p"] {
            assert!(!traits(text).1, "{text}");
        }
    }

    #[test]
    fn only_a_bare_type_takes_the_short_way() {
        assert!(Selector::compile("H1").unwrap().type_only.is_some());
        for text in ["h1.x", "*", "h1, h2", "div h1", "h1:first-child"] {
            assert!(Selector::compile(text).unwrap().type_only.is_none(), "{text}");
        }
    }
}
