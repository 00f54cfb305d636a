//! What an event says at the paths that patterns look at: its leaves in the order of the document, those of one path
//! linked, and the elements of arrays that they are below. The memory is used again for the next event.

use super::super::value::{Kind, Value};
use super::names::{Node, SPECVERSION};

/// No leaf, no element, no array.
pub(super) const NONE: u32 = u32::MAX;

/// The leaves of one event.
#[derive(Default)]
pub(super) struct Leaves {
    all: Vec<Leaf>,
    /// By path.
    ends: Vec<Ends>,
    elements: Vec<Element>,
    arrays: Vec<Array>,
    /// Strings that do not stand in the event's text as they are: decoded ones, and attributes.
    pub(super) decoded: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(super) struct Leaf {
    pub(super) node: Node,
    /// The next leaf of the same path.
    pub(super) next: u32,
    /// The innermost element that it is below; elements that are leaves themselves count for nothing.
    pub(super) element: u32,
    start: u32,
    bytes: u32,
    kind: Kind,
    source: Source,
}

/// Where a leaf's text is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Source {
    Input,
    Decoded,
}

#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
    /// How much there is to compare: one for each leaf, and for [`COMPARED_BYTES`] of it.
    size: u32,
    is_below_elements: bool,
}

/// Bytes of a value that count for a value of their own, since some operators look at all of them.
const COMPARED_BYTES: usize = 64;

const NO_LEAVES: Ends = Ends { first: NONE, last: NONE, size: 0, is_below_elements: false };

/// An object or array in an array, and its leaves.
#[derive(Clone, Copy)]
pub(super) struct Element {
    /// The element around its array.
    pub(super) outer: u32,
    pub(super) array: u32,
    pub(super) first_leaf: u32,
    pub(super) end_leaf: u32,
}

/// The leaves in all elements of one array.
#[derive(Clone, Copy)]
pub(super) struct Array {
    pub(super) first_leaf: u32,
    pub(super) end_leaf: u32,
    /// Whether it has leaves between its objects and arrays.
    pub(super) is_mixed: bool,
}

impl Leaves {
    /// Empties it for an event, with room for so many paths.
    pub(super) fn reset(&mut self, paths: usize) {
        for leaf in &self.all {
            self.ends[leaf.node as usize] = NO_LEAVES;
        }
        self.all.clear();
        self.elements.clear();
        self.arrays.clear();
        self.decoded.clear();
        if self.ends.len() < paths {
            self.ends.resize(paths, NO_LEAVES);
        }
    }

    #[inline]
    pub(super) fn push(&mut self, node: Node, kind: Kind, source: Source, text: (usize, usize), element: u32) {
        let index = self.all.len() as u32;
        let ends = &mut self.ends[node as usize];
        if ends.first == NONE {
            ends.first = index;
        } else {
            self.all[ends.last as usize].next = index;
        }
        ends.last = index;
        ends.is_below_elements |= element != NONE;
        ends.size += 1 + ((text.1 - text.0) / COMPARED_BYTES) as u32;
        let (start, bytes) = (text.0 as u32, (text.1 - text.0) as u32);
        self.all.push(Leaf { node, next: NONE, element, start, bytes, kind, source });
    }

    /// Adds a leaf that has no place in the event's text.
    pub(super) fn push_text(&mut self, node: Node, kind: Kind, text: &[u8]) {
        let start = self.decoded.len();
        self.decoded.extend_from_slice(text);
        self.push(node, kind, Source::Decoded, (start, self.decoded.len()), NONE);
    }

    pub(super) fn open_array(&mut self) -> u32 {
        let first_leaf = self.all.len() as u32;
        self.arrays.push(Array { first_leaf, end_leaf: first_leaf, is_mixed: false });
        self.arrays.len() as u32 - 1
    }

    pub(super) fn close_array(&mut self, array: u32, is_mixed: bool) {
        let end = self.all.len() as u32;
        let whole = &mut self.arrays[array as usize];
        (whole.end_leaf, whole.is_mixed) = (end, is_mixed);
        if whole.first_leaf == end {
            self.arrays.truncate(array as usize);
        }
    }

    pub(super) fn open_element(&mut self, outer: u32, array: u32) -> u32 {
        let first_leaf = self.all.len() as u32;
        self.elements.push(Element { outer, array, first_leaf, end_leaf: first_leaf });
        self.elements.len() as u32 - 1
    }

    pub(super) fn close_element(&mut self, element: u32) {
        let end = self.all.len() as u32;
        let whole = &mut self.elements[element as usize];
        whole.end_leaf = end;
        if whole.first_leaf == end {
            self.elements.truncate(element as usize);
        }
    }

    #[inline]
    pub(super) fn all(&self) -> &[Leaf] {
        &self.all
    }

    #[inline]
    pub(super) fn leaf(&self, index: u32) -> &Leaf {
        &self.all[index as usize]
    }

    pub(super) fn element(&self, index: u32) -> &Element {
        &self.elements[index as usize]
    }

    pub(super) fn array(&self, index: u32) -> &Array {
        &self.arrays[index as usize]
    }

    #[inline]
    pub(super) fn has_elements(&self) -> bool {
        !self.elements.is_empty()
    }

    /// Whether a leaf of the path is below an element of an array.
    pub(super) fn is_below_elements(&self, node: Node) -> bool {
        self.ends[node as usize].is_below_elements
    }

    /// How much there is to compare at a path.
    #[inline]
    pub(super) fn size(&self, node: Node) -> usize {
        self.ends[node as usize].size as usize
    }

    /// The first leaf of a path, or [`NONE`].
    #[inline]
    pub(super) fn first(&self, node: Node) -> u32 {
        self.ends[node as usize].first
    }

    /// The indexes of the leaves of a path.
    pub(super) fn of(&self, node: Node) -> impl Iterator<Item = u32> {
        let step = |index: &u32| Some(self.leaf(*index).next).filter(|&next| next != NONE);
        std::iter::successors(Some(self.first(node)).filter(|&first| first != NONE), step)
    }

    /// The value of a leaf of the event that was read from `input`.
    #[inline]
    pub(super) fn value<'a>(&'a self, input: &'a [u8], leaf: &Leaf) -> Value<'a> {
        let source = if leaf.source == Source::Input { input } else { &self.decoded };
        Value { kind: leaf.kind, text: &source[leaf.start as usize..][..leaf.bytes as usize] }
    }

    /// Whether the event is a CloudEvent: a string stands at `specversion`.
    pub(super) fn is_cloud_event(&self) -> bool {
        self.of(SPECVERSION).any(|index| self.leaf(index).kind == Kind::String)
    }
}
