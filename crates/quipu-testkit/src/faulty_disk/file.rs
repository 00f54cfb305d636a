//! An open file of the faulty disk: its bytes are read, written and made durable, or not, as the disk decides.

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use quipu_store::File;

use super::{Fate, Kind, State};

pub(super) struct FaultyFile {
    pub state: Arc<Mutex<State>>,
    pub content: usize,
    pub is_writable: bool,
}

impl FaultyFile {
    fn writable(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if !self.is_writable {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "opened for reading only"));
        }
        if state.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(state)
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.begin(Some(Kind::Read))?.answer()?;
        let bytes = &state.contents[self.content].now;
        let from = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        let len = buffer.len().min(bytes.len() - from);
        buffer[..len].copy_from_slice(&bytes[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.writable()?;
        let fate = state.begin(Some(Kind::Write))?;
        let at = offset as usize;
        let growth = (offset + bytes.len() as u64).saturating_sub(state.contents[self.content].now.len() as u64);
        let lacking = growth.saturating_sub(state.room()) as usize;
        if fate == Fate::Succeeds && lacking == 0 {
            state.contents[self.content].write(at, bytes);
            return Ok(());
        }
        // What failed may have been written in part.
        let possible = bytes.len().saturating_sub(lacking) as u64;
        let len = state.dice.below(possible + 1) as usize;
        if len > 0 {
            state.contents[self.content].write(at, &bytes[..len]);
        }
        fate.answer()?;
        Err(state.no_room())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let fate = state.begin(Some(Kind::Sync))?;
        let State { contents, dice, failed_sync, .. } = &mut *state;
        let content = &mut contents[self.content];
        match fate {
            Fate::Succeeds => content.sync(),
            // What it had written already is up to the recovery.
            Fate::Crashes => {}
            Fate::Fails => content.fail_sync(*failed_sync, dice),
        }
        // As over NFS, or where blocks are given out late: only the sync finds that there is no room.
        if fate == Fate::Fails && state.calls.is_multiple_of(4) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        fate.answer()
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.look()?;
        Ok(state.contents[self.content].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let content = self.content;
        let mut state = self.writable()?;
        state.change(|state| state.contents[content].set_len(len as usize))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let content = self.content;
        let mut state = self.writable()?;
        if !state.reserves {
            return state.look();
        }
        let growth = len.saturating_sub(state.contents[content].now.len() as u64);
        if growth > state.room() {
            state.look()?;
            return Err(state.no_room());
        }
        state.change(|state| state.contents[content].allocate(len as usize))
    }
}
