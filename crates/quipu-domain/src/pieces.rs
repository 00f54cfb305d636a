//! A list that grows a piece at a time. Doubling a vector of 50 MB copies it and touches as much new memory at once, for which appends
//! would wait some tens of milliseconds.

use std::ops::{Index, IndexMut};

/// Entries of a piece.
const PIECE: usize = 4_096;

/// As a `Vec`, as far as it goes. What is indexed must be there.
#[derive(Clone, Debug)]
pub struct Pieces<T> {
    /// All but the last in use are full; those after it are kept for later.
    pieces: Vec<Vec<T>>,
    len: usize,
}

impl<T> Pieces<T> {
    /// How many entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: T) {
        let at = self.len / PIECE;
        if at == self.pieces.len() {
            // The first grows as any vector: most tenants are small.
            let room = if at == 0 { 0 } else { PIECE };
            self.pieces.push(Vec::with_capacity(room));
        }
        self.pieces[at].push(entry);
        self.len += 1;
    }

    /// The entry at a place, if there is one.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pieces.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }

    /// Every entry in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// Empty again. Keeps its memory.
    pub fn clear(&mut self) {
        self.pieces.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }
}

impl<T> Index<usize> for Pieces<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.pieces[at / PIECE][at % PIECE]
    }
}

impl<T> IndexMut<usize> for Pieces<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pieces[at / PIECE][at % PIECE]
    }
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_also_when_used_again() {
        let mut list = Pieces::default();
        for count in [3, PIECE, 2 * PIECE + 1, PIECE - 1] {
            (0..count).for_each(|entry| list.push(entry));
            assert_eq!(list.len(), count);
            assert!(list.iter().copied().eq(0..count));
            list[0] += 1;
            *list.get_mut(0).unwrap() -= 1;
            assert_eq!((list[0], list[count - 1], list.get(count)), (0, count - 1, None));
            list.clear();
            assert_eq!((list.len(), list.iter().next()), (0, None));
        }
    }
}
