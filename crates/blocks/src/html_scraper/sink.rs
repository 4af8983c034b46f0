//! Builds the tree of a page with `scraper`'s own sink, and notes on the way what `scraper` has no need to know: what
//! reaches back to the root of the page, and whether the page outgrows its bounds.

use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};

use ego_tree::{NodeId, Tree};
use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::{Attribute, QualName, local_name, ns};
use scraper::{Html, HtmlTreeSink, Node};

use crate::limits::{PAGE_DEPTH_MAX, PAGE_ELEMENTS_MAX};

/// A page that is too much for the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Elements are nested deeper than [`PAGE_DEPTH_MAX`].
    Depth,
    /// More elements than [`PAGE_ELEMENTS_MAX`].
    Elements,
}

/// The tree under construction.
#[derive(Debug)]
pub(super) struct PageSink {
    inner: HtmlTreeSink,
    /// Whether elements keep their attributes. The tree builder has its own from the tags and never asks for them here.
    attributes: bool,
    /// The element that last got a child, the child, and what lies above: its length is the depth of the page there.
    path: RefCell<Vec<NodeId>>,
    elements: Cell<usize>,
    excess: Cell<Option<Excess>>,
    roots_changed: Cell<bool>,
    body_text: Cell<bool>,
}

impl PageSink {
    /// A sink that keeps attributes, or, for rules that look at none, drops them.
    pub(super) fn new(attributes: bool) -> Self {
        Self {
            attributes,
            inner: HtmlTreeSink::new(Html::new_document()),
            path: RefCell::default(),
            elements: Cell::new(0),
            excess: Cell::new(None),
            roots_changed: Cell::new(false),
            body_text: Cell::new(false),
        }
    }

    pub(super) fn tree(&self) -> Ref<'_, Tree<Node>> {
        Ref::map(self.inner.0.borrow(), |html| &html.tree)
    }

    /// Why parsing must stop here, if it must.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    /// Whether `html` or `body` got attributes, or the body was replaced by a frameset, since this was last asked.
    pub(super) fn take_roots_changed(&self) -> bool {
        self.roots_changed.take()
    }

    /// Whether the body has text by now, after which the parser ignores `<frameset>`.
    pub(super) fn body_text(&self) -> bool {
        self.body_text.get()
    }

    fn count(&self) {
        let elements = self.elements.get() + 1;
        self.elements.set(elements);
        if elements > PAGE_ELEMENTS_MAX {
            self.excess.set(Some(Excess::Elements));
        }
    }

    /// Follows the path from the root to the newest element; costs nothing much, since most elements are put into the
    /// last one or one of those just above it.
    fn deepen(&self, parent: NodeId, child: NodeId) {
        let mut path = self.path.borrow_mut();
        while path.last().is_some_and(|&last| last != parent) {
            path.pop();
        }
        if path.is_empty() {
            let tree = self.tree();
            let mut above = tree.get(parent);
            while let Some(place) = above {
                path.push(place.id());
                above = place.parent();
            }
            path.reverse();
        }
        path.push(child);
        if path.len() > PAGE_DEPTH_MAX {
            self.excess.set(Some(Excess::Depth));
        }
    }

    /// Text that is more than white space makes the parser forget about framesets, unless it is the raw text of an
    /// element such as `title`, which it handles apart.
    fn note_text(&self, parent: NodeId, text: &str) {
        if self.body_text.get() || text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')) {
            return;
        }
        let tree = self.tree();
        let Some(element) = tree.get(parent).and_then(|place| place.value().as_element()) else { return };
        let raw = matches!(
            element.name.local,
            local_name!("title")
                | local_name!("textarea")
                | local_name!("style")
                | local_name!("script")
                | local_name!("xmp")
                | local_name!("iframe")
                | local_name!("noembed")
                | local_name!("noframes")
                | local_name!("noscript")
        );
        self.body_text.set(element.name.ns == ns!(html) && !raw);
    }
}

impl TreeSink for PageSink {
    type Handle = NodeId;
    type Output = Html;
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) -> Html {
        self.inner.finish()
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> NodeId {
        self.inner.get_document()
    }

    fn elem_name<'a>(&'a self, target: &'a NodeId) -> Ref<'a, QualName> {
        self.inner.elem_name(target)
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, flags: ElementFlags) -> NodeId {
        self.count();
        self.inner.create_element(name, if self.attributes { attributes } else { Vec::new() }, flags)
    }

    fn create_comment(&self, text: StrTendril) -> NodeId {
        self.count();
        self.inner.create_comment(text)
    }

    fn create_pi(&self, target: StrTendril, data: StrTendril) -> NodeId {
        self.count();
        self.inner.create_pi(target, data)
    }

    fn append(&self, parent: &NodeId, child: NodeOrText<NodeId>) {
        match &child {
            NodeOrText::AppendNode(child) => self.deepen(*parent, *child),
            NodeOrText::AppendText(text) => self.note_text(*parent, text),
        }
        self.inner.append(parent, child);
    }

    fn append_based_on_parent_node(&self, element: &NodeId, previous: &NodeId, child: NodeOrText<NodeId>) {
        self.inner.append_based_on_parent_node(element, previous, child);
    }

    fn append_doctype_to_document(&self, name: StrTendril, public_id: StrTendril, system_id: StrTendril) {
        self.inner.append_doctype_to_document(name, public_id, system_id);
    }

    fn get_template_contents(&self, target: &NodeId) -> NodeId {
        self.inner.get_template_contents(target)
    }

    fn same_node(&self, x: &NodeId, y: &NodeId) -> bool {
        x == y
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.inner.set_quirks_mode(mode);
    }

    fn append_before_sibling(&self, sibling: &NodeId, child: NodeOrText<NodeId>) {
        self.inner.append_before_sibling(sibling, child);
    }

    fn add_attrs_if_missing(&self, target: &NodeId, attributes: Vec<Attribute>) {
        if self.attributes {
            self.roots_changed.set(true);
            self.inner.add_attrs_if_missing(target, attributes);
        }
    }

    fn remove_from_parent(&self, target: &NodeId) {
        self.path.borrow_mut().clear();
        if self.elem_name(target).local == local_name!("body") {
            self.roots_changed.set(true);
        }
        self.inner.remove_from_parent(target);
    }

    fn reparent_children(&self, from: &NodeId, to: &NodeId) {
        self.path.borrow_mut().clear();
        self.inner.reparent_children(from, to);
    }
}
