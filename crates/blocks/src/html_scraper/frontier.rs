//! How far into the tree of a half-parsed page things are as they will be in the end.
//!
//! Whatever the parser does next, it does by the handles it holds. It appends to an open element; it puts nodes before
//! an open table (foster parenting); it takes apart what an open formatting element contains (the adoption agency).
//! Everything that lies, in document order, before all such places is final. Two things reach back further, attributes
//! of a second `<html>` or `<body>` and a `<frameset>` that replaces the body: they are left to [`super::roots`].

use ego_tree::{NodeId, NodeRef, Tree};
use html5ever::{LocalName, local_name, ns};
use scraper::Node;

/// The limits of what is final.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    /// Elements that may get further children, and all that contain such an element; sorted.
    growing: Vec<NodeId>,
    /// Elements that things may be put before or taken out of; few.
    loose: Vec<NodeId>,
}

impl Frontier {
    /// The frontier for what the parser has `handles` of.
    pub(super) fn new(tree: &Tree<Node>, mut handles: Vec<NodeId>) -> Self {
        forget_pointers(tree, &mut handles);
        let mut frontier = Self { growing: Vec::with_capacity(handles.len() + 8), loose: Vec::new() };
        for id in handles {
            let place = tree.get(id).expect("the parser's handles are of this tree");
            if html_name(place).is_some_and(may_be_rearranged) {
                frontier.loose.push(id);
            }
            let mut next = Some(place);
            while let Some(place) = next.filter(|place| !frontier.has(place.id())) {
                frontier.growing.push(place.id());
                next = place.parent();
            }
        }
        frontier.growing.sort_unstable();
        frontier
    }

    /// Whether `id` is among the growing ones found so far. The newest first: an open element lies in the one before
    /// it, nearly always.
    fn has(&self, id: NodeId) -> bool {
        self.growing.iter().rev().any(|&growing| growing == id)
    }

    /// Whether something may still be added inside `id`.
    pub(super) fn grows(&self, id: NodeId) -> bool {
        self.growing.binary_search(&id).is_ok()
    }

    /// Whether `id` may still be moved, or something be put right before it.
    pub(super) fn is_loose(&self, id: NodeId) -> bool {
        self.loose.contains(&id)
    }
}

/// Takes away the head and the form the parser remembers. Once there is a body nothing is put into the head any more,
/// and to a form that is not open nothing is added.
fn forget_pointers(tree: &Tree<Node>, handles: &mut Vec<NodeId>) {
    let name = |id: &NodeId| tree.get(*id).and_then(html_name);
    let has_body = matches!(handles.get(2).and_then(name), Some(&(local_name!("body") | local_name!("frameset"))));
    if !has_body {
        return;
    }
    match handles.as_slice() {
        [.., head, form] if name(head) == Some(&local_name!("head")) && name(form) == Some(&local_name!("form")) => {
            handles.truncate(handles.len() - 2);
        }
        [.., head] if name(head) == Some(&local_name!("head")) => {
            handles.pop();
        }
        _ => {}
    }
}

fn html_name(place: NodeRef<'_, Node>) -> Option<&LocalName> {
    let name = &place.value().as_element()?.name;
    (name.ns == ns!(html)).then_some(&name.local)
}

/// Tables and formatting elements.
fn may_be_rearranged(name: &LocalName) -> bool {
    matches!(
        *name,
        local_name!("table")
            | local_name!("a")
            | local_name!("b")
            | local_name!("big")
            | local_name!("code")
            | local_name!("em")
            | local_name!("font")
            | local_name!("i")
            | local_name!("nobr")
            | local_name!("s")
            | local_name!("small")
            | local_name!("strike")
            | local_name!("strong")
            | local_name!("tt")
            | local_name!("u")
    )
}
