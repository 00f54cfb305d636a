//! A disk in memory that does what real ones do on their worst day: power cuts, torn and reordered writes, names that
//! were never synced, I/O errors, no room, flipped bits. Which of it happens, the seed and the caller decide.
//!
//! It keeps to the contract of [`Storage`] and to nothing more: what was not synced may be anything.

mod file;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use quipu_store::{File, OpenMode, Storage};

use self::file::FaultyFile;
use crate::content::{Content, FailedSync};
use crate::names::{Names, Node, parent};
use crate::{Dice, VirtualClock};

/// What a call says whose error was asked for.
pub(crate) const IO_ERROR: &str = "simulated I/O error";
/// What a call says that has no power.
pub(crate) const POWER_CUT: &str = "simulated power cut";

/// The disk. Clones are handles on the same one.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

/// The kinds of calls that an I/O error can be injected into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::sync`].
    Sync,
    /// Making, renaming, removing and locking a name, removing a folder, and changing a file's length or room.
    Change,
    /// [`Storage::sync_dir`].
    SyncDir,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Sync, Self::Change, Self::SyncDir];
}

/// Which calls of a kind fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// None.
    Never,
    /// Each with this probability, in percent.
    Percent(u64),
    /// The k-th from now on, counted from 1; the others succeed.
    At(u64),
}

struct State {
    names: Names,
    contents: Vec<Content>,
    locks: BTreeSet<String>,
    dice: Dice,
    calls: u64,
    /// Calls that failed because they were meant to.
    failed: u64,
    /// Those of them that read, or had no power.
    failed_reads: u64,
    crash_at: Option<u64>,
    is_dead: bool,
    triggers: [Trigger; Kind::ALL.len()],
    failed_sync: FailedSync,
    bytes_max: Option<u64>,
    reserves: bool,
    is_read_only: bool,
    spoiled: Option<&'static str>,
    /// A clock that every call moves on, by up to so many milliseconds.
    latency: Option<(Arc<VirtualClock>, i64)>,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Succeeds,
    /// The power is cut during this call.
    Crashes,
    /// It reports an I/O error.
    Fails,
}

impl Fate {
    /// What the call answers.
    fn answer(self) -> io::Result<()> {
        match self {
            Self::Succeeds => Ok(()),
            Self::Crashes => Err(power_cut()),
            Self::Fails => Err(io_error()),
        }
    }
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new(seed: u64) -> Self {
        Self::with(Names::default(), Vec::new(), Dice::new(seed))
    }

    fn with(names: Names, contents: Vec<Content>, dice: Dice) -> Self {
        let state = State {
            names,
            contents,
            locks: BTreeSet::new(),
            dice,
            calls: 0,
            failed: 0,
            failed_reads: 0,
            crash_at: None,
            is_dead: false,
            triggers: [Trigger::Never; Kind::ALL.len()],
            failed_sync: FailedSync::StayDirty,
            bytes_max: None,
            reserves: true,
            is_read_only: false,
            spoiled: None,
            latency: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// How many storage calls there were.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// How many of them failed because they were meant to: by an injected error, without power, for want of room.
    pub fn failed(&self) -> u64 {
        self.state.lock().failed
    }

    /// How many of those that failed were to read a file, or without power.
    pub fn failed_reads(&self) -> u64 {
        self.state.lock().failed_reads
    }

    /// Cuts the power at the k-th storage call, counted from 1 since the disk was made.
    pub fn crash_at(&self, call: u64) {
        self.state.lock().crash_at = Some(call);
    }

    /// Whether the power is cut: every call fails.
    pub fn is_dead(&self) -> bool {
        self.state.lock().is_dead
    }

    /// Cuts the power now, and gives a new disk with what survived. Everything that still holds the old one sees
    /// errors only.
    pub fn crash_and_recover(&self, seed: u64) -> Self {
        let mut state = self.state.lock();
        state.is_dead = true;
        let mut dice = Dice::new(seed);
        let names = state.names.after_power_cut(&mut dice);
        let contents =
            state.contents.iter().map(|content| Content::durable(content.after_power_cut(&mut dice))).collect();
        Self::with(names, contents, dice).with_latency_of(&state)
    }

    /// Ends the process that uses the disk (kill -9), but not the machine: the page cache survives, with all that is
    /// not synced. Everything that still holds the old handle sees errors only.
    pub fn kill(&self) -> Self {
        let mut state = self.state.lock();
        state.is_dead = true;
        let dice = state.dice.fork();
        Self::with(state.names.clone(), state.contents.clone(), dice).with_latency_of(&state)
    }

    fn with_latency_of(self, state: &State) -> Self {
        self.state.lock().latency.clone_from(&state.latency);
        self
    }

    /// Injects I/O errors into calls of a kind.
    pub fn fail(&self, kind: Kind, trigger: Trigger) {
        self.state.lock().triggers[kind as usize] = trigger;
    }

    /// What becomes of unsynced writes when an injected error hits their sync.
    pub fn failed_sync(&self, outcome: FailedSync) {
        self.state.lock().failed_sync = outcome;
    }

    /// Limits the sum of all files' lengths. Nothing means no limit.
    pub fn limit_bytes(&self, bytes_max: Option<u64>) {
        self.state.lock().bytes_max = bytes_max;
    }

    /// From now on no room can be reserved, as on file systems without `fallocate`: a disk is full in the middle of a write.
    pub fn reserve_nothing(&self) {
        self.state.lock().reserves = false;
    }

    /// Takes back every fault that was asked for and has not come.
    pub fn heal(&self) {
        for kind in Kind::ALL {
            self.fail(kind, Trigger::Never);
        }
        self.limit_bytes(None);
        self.crash_at(u64::MAX);
    }

    /// Lets every call take its time: the clock moves on by up to so many milliseconds.
    pub fn slow(&self, clock: &Arc<VirtualClock>, slowest_ms: i64) {
        self.state.lock().latency = Some((Arc::clone(clock), slowest_ms));
    }

    /// The sum of all files' lengths.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes()
    }

    /// Makes the disk read-only, or writable again.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.state.lock().is_read_only = is_read_only;
    }

    /// Spoils every file that is renamed to a name with this ending, though the call succeeds. Nothing means none.
    pub fn spoil_renamed(&self, ending: Option<&'static str>) {
        self.state.lock().spoiled = ending;
    }

    /// Flips one bit of a file, as it is on the platter and in the cache. False if there is no such byte.
    pub fn flip(&self, path: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.state.lock();
        let Some(Node::File(content)) = state.names.get(path) else { return false };
        let content = &mut state.contents[content];
        content.flip(offset as usize, bit);
        (offset as usize) < content.now.len()
    }

    /// Every file's path, sorted. Not a storage call.
    pub fn files(&self) -> Vec<String> {
        self.state.lock().names.files().map(|(path, _)| path.to_owned()).collect()
    }

    /// What a read of the whole file would show. Not a storage call.
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        match state.names.get(path)? {
            Node::File(content) => Some(state.contents[content].now.clone()),
            Node::Folder => None,
        }
    }

    /// Removes a file for good, as an operator would between two runs. Not a storage call.
    pub fn delete(&self, path: &str) {
        let mut state = self.state.lock();
        state.names.unlink(path);
        state.names.sync(parent(path));
    }
}

impl State {
    /// Counts a call, and says what becomes of it.
    fn begin(&mut self, kind: Option<Kind>) -> io::Result<Fate> {
        let fate = self.fate(kind);
        if !matches!(fate, Ok(Fate::Succeeds)) {
            self.failed += 1;
            self.failed_reads += u64::from(kind == Some(Kind::Read) || self.is_dead);
        }
        fate
    }

    fn fate(&mut self, kind: Option<Kind>) -> io::Result<Fate> {
        self.calls += 1;
        if let Some((clock, slowest_ms)) = &self.latency {
            clock.jump_ms(self.dice.below(*slowest_ms as u64 + 1) as i64);
        }
        if self.is_dead {
            return Err(power_cut());
        }
        if self.crash_at.is_some_and(|call| self.calls >= call) {
            self.is_dead = true;
            return Ok(Fate::Crashes);
        }
        let Some(kind) = kind else { return Ok(Fate::Succeeds) };
        let trigger = &mut self.triggers[kind as usize];
        let fails = match trigger {
            Trigger::Never => false,
            Trigger::Percent(percent) => self.dice.chance(*percent),
            Trigger::At(left) => {
                *left -= 1;
                let fails = *left == 0;
                if fails {
                    *trigger = Trigger::Never;
                }
                fails
            }
        };
        Ok(if fails { Fate::Fails } else { Fate::Succeeds })
    }

    /// Runs a call that changes something besides a file's bytes. At a crash or an error it has happened or not.
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        let fate = self.begin(Some(Kind::Change))?;
        if self.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if fate == Fate::Succeeds || self.dice.chance(50) {
            change(self);
        }
        fate.answer()
    }

    /// Runs a call that changes nothing.
    fn look(&mut self) -> io::Result<()> {
        self.begin(None)?.answer()
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn folder(&self, path: &str) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&mut self, path: &str) -> usize {
        self.contents.push(Content::default());
        let content = self.contents.len() - 1;
        self.names.link(path, Node::File(content));
        content
    }

    fn no_room(&mut self) -> io::Error {
        self.failed += 1;
        io::ErrorKind::StorageFull.into()
    }

    fn bytes(&self) -> u64 {
        self.names.files().map(|(_, content)| self.contents[content].now.len() as u64).sum()
    }

    /// How many of the bytes beyond a file's end there is room for.
    fn room(&self) -> u64 {
        self.bytes_max.map_or(u64::MAX, |max| max.saturating_sub(self.bytes()))
    }
}

fn power_cut() -> io::Error {
    io::Error::other(POWER_CUT)
}

fn io_error() -> io::Error {
    io::Error::other(IO_ERROR)
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyDisk {:?}", self.files())
    }
}

impl Storage for FaultyDisk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        let content = match mode {
            OpenMode::Read => {
                state.look()?;
                state.file(path)?
            }
            OpenMode::ReadWrite => {
                state.look()?;
                let content = state.file(path)?;
                if state.is_read_only {
                    return Err(io::ErrorKind::ReadOnlyFilesystem.into());
                }
                content
            }
            OpenMode::CreateNew | OpenMode::CreatePrivate => {
                if state.names.get(path).is_some() {
                    state.look()?;
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                state.folder(parent(path))?;
                state.change(|state| {
                    state.create(path);
                })?;
                state.file(path)?
            }
        };
        Ok(Arc::new(FaultyFile { state: Arc::clone(&self.state), content, is_writable: mode != OpenMode::Read }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.look()?;
        state.folder(dir)?;
        Ok(state.names.list(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut missing = Vec::new();
        let mut path = dir;
        while !path.is_empty() && state.names.get(path).is_none() {
            missing.push(path);
            path = parent(path);
        }
        state.folder(path)?;
        if missing.is_empty() {
            return state.look();
        }
        state.change(|state| missing.iter().rev().for_each(|path| state.names.link(path, Node::Folder)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let content = state.file(from)?;
        state.folder(parent(to))?;
        state.change(|state| state.names.rename(from, to, Node::File(content)))?;
        if state.spoiled.is_some_and(|ending| to.ends_with(ending)) {
            let content = &mut state.contents[content];
            content.flip(content.now.len() - 1, 0);
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.file(path)?;
        state.change(|state| state.names.unlink(path))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.names.get(dir).is_none() {
            return state.look();
        }
        state.folder(dir)?;
        let fate = state.begin(Some(Kind::Change))?;
        if state.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if fate == Fate::Succeeds {
            state.names.remove_dir(dir);
            return Ok(());
        }
        // What is in a folder goes before it. A call that is cut short has come as far as chance lets it.
        let mut gone = state.names.below(dir);
        let count = state.dice.below(gone.len() as u64 + 1) as usize;
        gone.truncate(count);
        gone.iter().for_each(|path| state.names.unlink(path));
        fate.answer()
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let fate = state.begin(Some(Kind::SyncDir))?;
        state.folder(dir)?;
        fate.answer()?;
        state.names.sync(dir);
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state.lock();
        if state.names.get(path).is_none() {
            state.folder(parent(path))?;
            state.change(|state| {
                state.create(path);
            })?;
        } else {
            state.look()?;
            if state.is_read_only {
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { state: Arc::clone(&self.state), path: path.to_owned() }))
    }

    fn display(&self, path: &str) -> String {
        format!("/disk/{path}")
    }
}

struct Lock {
    state: Arc<Mutex<State>>,
    path: String,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.state.lock().locks.remove(&self.path);
    }
}
