//! What an operator may delete and a disk may damage without a loss: indexes and snapshots.

use super::Machine;
use crate::Dice;

impl Machine {
    /// The indexes and snapshots that there are.
    pub fn caches(&self) -> Vec<String> {
        self.disk.files().into_iter().filter(|path| is_cache(path)).collect()
    }

    /// Bytes of a file; 0 of one that is not there.
    pub fn len_of(&self, path: &str) -> u64 {
        self.disk.contents(path).map_or(0, |bytes| bytes.len() as u64)
    }

    /// Damages or deletes some indexes and snapshots, whatever the process before left.
    pub fn spoil_caches(&mut self) {
        for path in self.caches() {
            let len = self.len_of(&path);
            let (offset, bit) = any_bit(&mut self.own_dice, len);
            match self.own_dice.below(3) {
                0 => {
                    self.say(|| format!("flipping bit {bit} at {offset} of {path}"));
                    self.disk.flip(&path, offset, bit);
                }
                1 => {
                    self.say(|| format!("deleting {path}"));
                    self.disk.delete(&path);
                }
                _ => {}
            }
        }
    }
}

/// Whether the file may be deleted at any time: an index or a snapshot.
pub fn is_cache(path: &str) -> bool {
    path.ends_with(".run") || path.ends_with(".snapshot")
}

/// A byte of so many, and a bit of it.
pub(crate) fn any_bit(dice: &mut Dice, len: u64) -> (u64, u8) {
    (dice.below(len.max(1)), dice.below(8) as u8)
}
