//! An element as the selector engine sees it.
//!
//! `scraper` brings such a view of its own; this one decides the same, but reads classes where they stand instead of
//! interning each class of each element it meets.

use ego_tree::NodeRef;
use html5ever::{Namespace, local_name, ns};
use scraper::Node;
use scraper::node::Element;
use scraper::selector::{CssLocalName, CssString, NonTSPseudoClass, PseudoElement, Simple};
use selectors::OpaqueElement;
use selectors::attr::{AttrSelectorOperation, CaseSensitivity, NamespaceConstraint};
use selectors::bloom::BloomFilter;
use selectors::matching::{ElementSelectorFlags, MatchingContext};

/// An element of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    place: NodeRef<'a, Node>,
    element: &'a Element,
}

impl<'a> Candidate<'a> {
    /// `None` for text, comments and the like.
    pub(super) fn wrap(place: NodeRef<'a, Node>) -> Option<Self> {
        place.value().as_element().map(|element| Self { place, element })
    }

    pub(super) fn element(&self) -> &'a Element {
        self.element
    }
}

impl selectors::Element for Candidate<'_> {
    type Impl = Simple;

    fn opaque(&self) -> OpaqueElement {
        OpaqueElement::new(self.element)
    }

    fn parent_element(&self) -> Option<Self> {
        self.place.parent().and_then(Self::wrap)
    }

    fn parent_node_is_shadow_root(&self) -> bool {
        false
    }

    fn containing_shadow_host(&self) -> Option<Self> {
        None
    }

    fn is_pseudo_element(&self) -> bool {
        false
    }

    fn prev_sibling_element(&self) -> Option<Self> {
        self.place.prev_siblings().find_map(Self::wrap)
    }

    fn next_sibling_element(&self) -> Option<Self> {
        self.place.next_siblings().find_map(Self::wrap)
    }

    fn first_element_child(&self) -> Option<Self> {
        self.place.children().find_map(Self::wrap)
    }

    fn is_html_element_in_html_document(&self) -> bool {
        self.element.name.ns == ns!(html)
    }

    fn has_local_name(&self, name: &CssLocalName) -> bool {
        self.element.name.local == name.0
    }

    fn has_namespace(&self, namespace: &Namespace) -> bool {
        self.element.name.ns == *namespace
    }

    fn is_same_type(&self, other: &Self) -> bool {
        self.element.name == other.element.name
    }

    fn attr_matches(
        &self,
        namespace: &NamespaceConstraint<&Namespace>,
        local_name: &CssLocalName,
        operation: &AttrSelectorOperation<&CssString>,
    ) -> bool {
        self.element.attrs.iter().any(|(name, value)| {
            let namespace_fits = match namespace {
                NamespaceConstraint::Any => true,
                NamespaceConstraint::Specific(wanted) => **wanted == name.ns,
            };
            namespace_fits && local_name.0 == name.local && operation.eval_str(value)
        })
    }

    fn match_non_ts_pseudo_class(&self, class: &NonTSPseudoClass, _: &mut MatchingContext<'_, Simple>) -> bool {
        match *class {}
    }

    fn match_pseudo_element(&self, pseudo: &PseudoElement, _: &mut MatchingContext<'_, Simple>) -> bool {
        match *pseudo {}
    }

    fn apply_selector_flags(&self, _: ElementSelectorFlags) {}

    fn is_link(&self) -> bool {
        self.element.name.local == local_name!("link")
    }

    fn is_html_slot_element(&self) -> bool {
        true
    }

    fn has_id(&self, id: &CssLocalName, case: CaseSensitivity) -> bool {
        let own = self.element.attrs.iter().find(|(name, _)| name.local == local_name!("id"));
        own.is_some_and(|(_, own)| case.eq(id.0.as_bytes(), own.as_bytes()))
    }

    fn has_class(&self, class: &CssLocalName, case: CaseSensitivity) -> bool {
        self.element
            .attrs
            .iter()
            .filter(|(name, _)| name.local == local_name!("class"))
            .flat_map(|(_, value)| value.split_ascii_whitespace())
            .any(|own| case.eq(own.as_bytes(), class.0.as_bytes()))
    }

    fn has_custom_state(&self, _: &CssLocalName) -> bool {
        false
    }

    fn imported_part(&self, _: &CssLocalName) -> Option<CssLocalName> {
        None
    }

    fn is_part(&self, _: &CssLocalName) -> bool {
        false
    }

    fn is_empty(&self) -> bool {
        !self.place.children().any(|child| child.value().is_element() || child.value().is_text())
    }

    fn is_root(&self) -> bool {
        self.place.parent().is_some_and(|parent| parent.value().is_document())
    }

    fn add_element_unique_hashes(&self, _: &mut BloomFilter) -> bool {
        false
    }
}
