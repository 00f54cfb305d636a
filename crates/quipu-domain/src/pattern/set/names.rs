//! The names that patterns look at, as a tree from the outermost in. A node is a path; its number is what everything
//! else calls the path. Nodes are only ever added, so numbers stay; flat arrays, so that a copy is a few memcpys.
//!
//! Dots in names are not escaped in the language, so `{"a": {"b": …}}` and `{"a.b": …}` are one path, and a name with
//! dots in an event walks several nodes.

use std::ops::Range;

use super::hash::{hash, mix};

/// Bytes of a name that are compared as one number; few names are longer.
const HEAD_BYTES: usize = 16;

/// The number of a path.
pub(super) type Node = u32;

/// The empty path.
pub(super) const ROOT: Node = 0;
/// `specversion`, which tells a CloudEvent from other objects.
pub(super) const SPECVERSION: Node = 1;

#[derive(Clone)]
pub(super) struct Names {
    entries: Vec<Entry>,
    /// All names, one behind the other.
    text: Vec<u8>,
    /// Open addressing: number of a node, or 0 (the root, which nothing looks up). At most half full.
    slots: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Entry {
    parent: Node,
    start: usize,
    bytes: u32,
    hash: u32,
    head: u128,
    /// Which of 64 classes the names of the children are in: most names of an event end here.
    children: u64,
    /// Whether a pattern asks for a value here.
    is_field: bool,
}

impl Names {
    pub(super) fn new() -> Names {
        let root = Entry { parent: ROOT, start: 0, bytes: 0, hash: 0, head: 0, children: 0, is_field: false };
        let mut names = Names { entries: vec![root], text: Vec::new(), slots: vec![ROOT; 16] };
        let specversion = names.add("specversion");
        assert_eq!(specversion, SPECVERSION, "the first name of a new tree has the first number");
        names
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of a path, if it has one.
    pub(super) fn find(&self, path: &str) -> Option<Node> {
        self.walk(ROOT, path.as_bytes()).filter(|&node| self.is_field(node))
    }

    /// Makes a path a field.
    pub(super) fn add(&mut self, path: &str) -> Node {
        let node = path.split('.').fold(ROOT, |node, name| match self.child(node, name.as_bytes()) {
            Some(child) => child,
            None => self.add_child(node, name.as_bytes()),
        });
        self.entries[node as usize].is_field = true;
        node
    }

    fn add_child(&mut self, parent: Node, name: &[u8]) -> Node {
        let node = self.entries.len() as Node;
        let (start, head) = (self.text.len(), head(name));
        let hash = slot_hash(parent, name, head);
        self.text.extend_from_slice(name);
        self.entries[parent as usize].children |= class(name);
        let bytes = name.len() as u32;
        self.entries.push(Entry { parent, start, bytes, hash, head, children: 0, is_field: false });
        if self.entries.len() * 2 > self.slots.len() {
            self.slots = vec![ROOT; self.slots.len() * 2];
            (1..=node).for_each(|node| self.place(node));
        } else {
            self.place(node);
        }
        node
    }

    fn place(&mut self, node: Node) {
        let mask = self.slots.len() - 1;
        let mut at = self.entries[node as usize].hash as usize & mask;
        while self.slots[at] != ROOT {
            at = (at + 1) & mask;
        }
        self.slots[at] = node;
    }

    #[inline]
    pub(super) fn is_field(&self, node: Node) -> bool {
        self.entries[node as usize].is_field
    }

    #[inline]
    pub(super) fn has_children(&self, node: Node) -> bool {
        self.entries[node as usize].children != 0
    }

    /// The child of a name without dots.
    pub(super) fn child(&self, parent: Node, name: &[u8]) -> Option<Node> {
        self.child_in(parent, name, 0..name.len())
    }

    /// The child of the name without dots that stands at a place in a text.
    #[inline]
    pub(super) fn child_in(&self, parent: Node, text: &[u8], place: Range<usize>) -> Option<Node> {
        let name = &text[place.clone()];
        if self.entries[parent as usize].children & class(name) == 0 {
            return None;
        }
        let head = head_in(text, place);
        let hash = slot_hash(parent, name, head);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let node = self.slots[at];
            if node == ROOT {
                return None;
            }
            let entry = &self.entries[node as usize];
            let is_alike = entry.head == head && entry.bytes as usize == name.len() && entry.parent == parent;
            if is_alike && (name.len() <= HEAD_BYTES || self.name(entry) == name) {
                return Some(node);
            }
            at = (at + 1) & mask;
        }
    }

    /// The node that a name, with or without dots, leads to.
    pub(super) fn walk(&self, from: Node, name: &[u8]) -> Option<Node> {
        name.split(|&c| c == b'.').try_fold(from, |node, part| self.child(node, part))
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        &self.text[entry.start..][..entry.bytes as usize]
    }
}

#[inline]
fn slot_hash(parent: Node, name: &[u8], head: u128) -> u32 {
    let short = mix(head as u64 ^ u64::from(parent) << 32, (head >> 64) as u64 ^ name.len() as u64);
    (if name.len() <= HEAD_BYTES { short } else { mix(short, hash(name)) }) as u32
}

/// The first bytes of a name as a number, zeros behind a shorter one.
fn head(name: &[u8]) -> u128 {
    let mut head = [0; HEAD_BYTES];
    head.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    u128::from_le_bytes(head)
}

/// The same for a name in a text, by one load where something follows it.
#[inline]
fn head_in(text: &[u8], place: Range<usize>) -> u128 {
    match text[place.start..].first_chunk::<HEAD_BYTES>() {
        Some(bytes) if place.len() < HEAD_BYTES => u128::from_le_bytes(*bytes) & ((1 << (8 * place.len())) - 1),
        Some(bytes) => u128::from_le_bytes(*bytes),
        None => head(&text[place]),
    }
}

/// One bit of 64 for a name, from its length and its ends.
#[inline]
fn class(name: &[u8]) -> u64 {
    let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
    1 << ((usize::from(first) * 5 + usize::from(last) * 3 + name.len() * 7) & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_number_however_it_is_nested() {
        let mut names = Names::new();
        let node = names.add("a.b");
        assert_eq!(names.add("a.b"), node);
        let a = names.child(ROOT, b"a").unwrap();
        assert_eq!((names.child(a, b"b"), names.walk(ROOT, b"a.b")), (Some(node), Some(node)));
        assert_eq!((names.is_field(a), names.is_field(node), names.find("a")), (false, true, None));
        assert_eq!(names.child(ROOT, b"b"), None);
        let empty = names.add("a..");
        assert_eq!(names.walk(a, b"."), Some(empty));
        assert_eq!(names.find("specversion"), Some(SPECVERSION));
    }

    #[test]
    fn a_name_in_a_text_is_found_whatever_its_length_and_whatever_follows() {
        let mut names = Names::new();
        let all: Vec<String> = (0..40).map(|length| "abcdefghij".repeat(4)[..length].to_owned()).collect();
        let nodes: Vec<Node> = all.iter().map(|name| names.add(name)).collect();
        for (name, node) in all.iter().zip(nodes) {
            for tail in ["", "x", "klmnopqrstuvwxyz0123456789"] {
                let text = format!("ab{name}{tail}");
                assert_eq!(names.child_in(ROOT, text.as_bytes(), 2..2 + name.len()), Some(node), "{name}");
            }
            assert_eq!(names.child(ROOT, format!("{name}\0").as_bytes()), None);
        }
    }

    #[test]
    fn thousands_of_names_are_found_again() {
        let mut names = Names::new();
        let added: Vec<Node> = (0..5_000).map(|n| names.add(&format!("data.field{}.x{n}", n % 70))).collect();
        for (n, &node) in added.iter().enumerate() {
            assert_eq!(names.find(&format!("data.field{}.x{n}", n % 70)), Some(node));
        }
        assert_eq!(names.find("data.field1.x2"), None);
    }
}
