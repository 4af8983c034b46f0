//! One walk over a page in document order that tries all rules on each element. It can stop where the page is not final
//! yet and go on from there when more of it is.

use ego_tree::{NodeId, NodeRef, Tree};
use scraper::Node;
use selectors::context::{
    MatchingContext, MatchingForInvalidation, MatchingMode, NeedsSelectorFlags, QuirksMode, SelectorCaches,
};

use super::candidate::Candidate;
use super::frontier::Frontier;
use super::rules::Rules;
use crate::calls::{Calls, Interrupted};
use crate::limits::ELEMENTS_PER_TICK;

/// The state of a walk.
#[derive(Debug)]
pub(super) struct Walk {
    /// What was visited last.
    cursor: Option<NodeId>,
    /// The matches of each rule so far, in document order, none beyond what the rule takes.
    found: Vec<Vec<NodeId>>,
    /// Rules that want further matches.
    wanting: Vec<usize>,
}

impl Walk {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            cursor: None,
            found: vec![Vec::new(); rules.list.len()],
            wanting: (0..rules.list.len()).filter(|&index| rules.list[index].matches_max > 0).collect(),
        }
    }

    /// Whether every rule has all the matches it takes.
    pub(super) fn is_satisfied(&self) -> bool {
        self.wanting.is_empty()
    }

    /// Matches of one rule, in document order.
    pub(super) fn found(&self, rule: usize) -> &[NodeId] {
        &self.found[rule]
    }

    /// Visits what is left of the tree, up to the frontier if there is one.
    ///
    /// # Errors
    /// [`Interrupted`] when the attempt was given up.
    pub(super) fn advance(
        &mut self,
        tree: &Tree<Node>,
        rules: &Rules,
        frontier: Option<&Frontier>,
        calls: &mut dyn Calls,
    ) -> Result<(), Interrupted> {
        // The caches know elements by their addresses, which change when the tree grows: they last for one advance.
        let mut caches = SelectorCaches::default();
        let mut matching = MatchingContext::new(
            MatchingMode::Normal,
            None,
            &mut caches,
            QuirksMode::NoQuirks,
            NeedsSelectorFlags::No,
            MatchingForInvalidation::No,
        );
        let mut place = match self.cursor {
            Some(cursor) => following(tree.get(cursor).expect("nothing is ever removed from the tree"), frontier),
            None => Some(tree.root()),
        };
        let mut until_tick = ELEMENTS_PER_TICK;
        while let Some(here) = place {
            if self.wanting.is_empty() || frontier.is_some_and(|frontier| frontier.is_loose(here.id())) {
                break;
            }
            self.cursor = Some(here.id());
            if let Some(candidate) = Candidate::wrap(here) {
                let found = &mut self.found;
                let mut satisfied = false;
                for &index in &self.wanting {
                    let rule = &rules.list[index];
                    if rule.selector.matches(&candidate, &mut matching) {
                        found[index].push(here.id());
                        satisfied |= found[index].len() == rule.matches_max;
                    }
                }
                if satisfied {
                    self.wanting.retain(|&index| found[index].len() < rules.list[index].matches_max);
                }
                until_tick -= 1;
                if until_tick == 0 {
                    until_tick = ELEMENTS_PER_TICK;
                    calls.tick()?;
                }
            }
            place = following(here, frontier);
        }
        Ok(())
    }
}

/// What comes after `here` in document order. Behind an element that may still grow comes, so far, nothing.
fn following<'a>(here: NodeRef<'a, Node>, frontier: Option<&Frontier>) -> Option<NodeRef<'a, Node>> {
    if let Some(child) = here.first_child() {
        return Some(child);
    }
    let mut left = here;
    loop {
        if frontier.is_some_and(|frontier| frontier.grows(left.id())) {
            return None;
        }
        if let Some(sibling) = left.next_sibling() {
            return Some(sibling);
        }
        left = left.parent()?;
    }
}
