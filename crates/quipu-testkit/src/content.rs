//! The bytes of one file of the faulty disk: what the page cache shows, what is on the platter, and the changes
//! between the two, each of which a power cut may lose, keep or tear.

use crate::Dice;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// One file's bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// What a read sees.
    pub now: Vec<u8>,
    /// What is on the platter.
    pub durable: Vec<u8>,
    /// What was done since the last sync, oldest first.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
    Allocate(usize),
}

/// What a failed sync does to the writes that it was to make durable. Applications cannot tell which it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedSync {
    /// They stay dirty; a later sync may still write them.
    #[default]
    StayDirty,
    /// They are gone: reads show what is on the platter (btrfs, or any file system once the page is evicted).
    Dropped,
    /// Reads still show them, but no later sync writes them: pages marked clean (ext4 and XFS on Linux).
    Clean,
}

impl FailedSync {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StayDirty, Self::Dropped, Self::Clean];
}

impl Content {
    /// A file whose bytes are all on the platter.
    pub fn durable(bytes: Vec<u8>) -> Self {
        Self { now: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.apply(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub fn set_len(&mut self, len: usize) {
        self.apply(Change::SetLen(len));
    }

    pub fn allocate(&mut self, len: usize) {
        self.apply(Change::Allocate(len));
    }

    fn apply(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    /// Makes every pending change durable.
    pub fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that failed: some changes reached the platter, the others do what `outcome` says.
    pub fn fail_sync(&mut self, outcome: FailedSync, dice: &mut Dice) {
        if outcome == FailedSync::StayDirty {
            return;
        }
        self.durable = self.after_power_cut(dice);
        self.pending.clear();
        if outcome == FailedSync::Dropped {
            self.now = self.durable.clone();
        }
    }

    /// Flips a bit, on the platter and in the cache.
    pub fn flip(&mut self, offset: usize, bit: u8) {
        for bytes in [&mut self.now, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// The bytes that a power cut leaves. One time in four nothing unsynced survives, one time in four all of it;
    /// else each change has its own fate, half of the time out of order. An older write over a newer one is not
    /// absurd: it is what a disk shows whose cache was written back between the two.
    pub fn after_power_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mood = dice.below(4);
        if mood == 0 {
            return bytes;
        }
        let mut changes: Vec<&Change> = self.pending.iter().collect();
        if mood == 3 {
            dice.shuffle(&mut changes);
        }
        for change in changes {
            match (mood, dice.below(3), change) {
                (1, ..) | (_, 0, _) => change.apply(&mut bytes),
                (_, 1, Change::Write { offset, bytes: written }) => tear(&mut bytes, *offset, written, dice),
                _ => {}
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => overwrite(file, *offset, bytes),
            Self::SetLen(len) => file.resize(*len, 0),
            Self::Allocate(len) => file.resize(file.len().max(*len), 0),
        }
    }
}

/// Writes a prefix, or some of the sectors; the file grows to its new length as often as not.
fn tear(file: &mut Vec<u8>, offset: usize, written: &[u8], dice: &mut Dice) {
    if dice.chance(50) {
        let len = dice.below(written.len() as u64 + 1) as usize;
        overwrite(file, offset, &written[..len]);
    } else {
        let end = offset + written.len();
        let mut from = offset;
        while from < end {
            let to = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            if dice.chance(50) {
                overwrite(file, from, &written[from - offset..to - offset]);
            }
            from = to;
        }
    }
    if dice.chance(50) {
        file.resize(file.len().max(offset + written.len()), 0);
    }
}

fn overwrite(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
