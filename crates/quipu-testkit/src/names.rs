//! The names on the faulty disk: what a listing shows, what is on the platter, and the creations, renames and
//! removals between the two. A folder's changes become durable together when it is synced; a power cut before that
//! keeps or loses each of them.

use std::collections::BTreeMap;

use crate::Dice;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    /// The number of a content.
    File(usize),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    now: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Link {
        path: String,
        node: Node,
    },
    Unlink {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        node: Node,
    },
    /// The last of a folder that is removed with all that is in it. A folder of that name is another one after it.
    RemoveDir {
        path: String,
    },
}

impl Names {
    pub fn get(&self, path: &str) -> Option<Node> {
        if path.is_empty() { Some(Node::Folder) } else { self.now.get(path).copied() }
    }

    /// Every file and what it is.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.now.iter().filter_map(|(path, node)| match node {
            Node::File(content) => Some((path.as_str(), *content)),
            Node::Folder => None,
        })
    }

    /// The names in a folder.
    pub fn list(&self, dir: &str) -> Vec<String> {
        self.now.keys().filter(|path| parent(path) == dir).map(|path| name(path).to_owned()).collect()
    }

    /// A folder and all that is below it, the deepest first.
    pub fn below(&self, dir: &str) -> Vec<String> {
        let paths: Vec<&String> = self.now.keys().filter(|path| is_below(path, dir)).collect();
        paths.into_iter().rev().cloned().collect()
    }

    pub fn link(&mut self, path: &str, node: Node) {
        self.change(Change::Link { path: path.to_owned(), node });
    }

    pub fn unlink(&mut self, path: &str) {
        self.change(Change::Unlink { path: path.to_owned() });
    }

    /// Removes a folder with all that is in it. A power cut before the folder above is synced leaves any part of it.
    pub fn remove_dir(&mut self, dir: &str) {
        let below = self.below(dir);
        below.iter().filter(|path| *path != dir).for_each(|path| self.unlink(path));
        self.change(Change::RemoveDir { path: dir.to_owned() });
    }

    pub fn rename(&mut self, from: &str, to: &str, node: Node) {
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    /// Makes a folder's names durable. A rename between folders belongs to the one that it leads to.
    pub fn sync(&mut self, dir: &str) {
        let mut left = Vec::new();
        for change in self.pending.drain(..) {
            if change.folder() != dir {
                left.push(change);
                continue;
            }
            change.apply(&mut self.durable);
            if let Change::RemoveDir { path } = &change {
                // What was done in it before is nothing that could come back.
                left.retain(|before: &Change| !is_below(before.folder(), path));
            }
        }
        self.pending = left;
    }

    /// The names that a power cut leaves. What stands in a folder whose own name was lost is lost with it.
    pub fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let mut left = self.durable.clone();
        let percent = *dice.pick(&[0, 50, 100]);
        for change in &self.pending {
            if dice.chance(percent) {
                change.apply(&mut left);
            }
        }
        let folders: Vec<String> =
            left.iter().filter(|(_, node)| **node == Node::Folder).map(|(path, _)| path.clone()).collect();
        let reachable = |path: &str| {
            let mut up = parent(path);
            while !up.is_empty() {
                if folders.binary_search_by(|folder| folder.as_str().cmp(up)).is_err() {
                    return false;
                }
                up = parent(up);
            }
            true
        };
        left.retain(|path, _| reachable(path));
        Self { now: left.clone(), durable: left, pending: Vec::new() }
    }
}

impl Change {
    fn folder(&self) -> &str {
        match self {
            Self::Link { path, .. } | Self::Unlink { path } | Self::RemoveDir { path } => parent(path),
            Self::Rename { to, .. } => parent(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Link { path, node } => {
                names.insert(path.clone(), *node);
            }
            Self::Unlink { path } => {
                names.remove(path);
            }
            Self::RemoveDir { path } => names.retain(|other, _| !is_below(other, path)),
            Self::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// Whether a path is that folder, or stands below it.
fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folder that a path stands in; the root is the empty path.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
