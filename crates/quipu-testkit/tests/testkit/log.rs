//! The log alone on the faulty disk: thousands of short lives, each ended by a power cut, a kill or a failed write.
//! Faster than the whole engine, and a failure here is a failure of the log.

use std::sync::Arc;

use bytes::Bytes;
use quipu_domain::Timestamp;
use quipu_store::{Commit, Fault, FileLog, FileLogOptions, Locator, Log, Record, RecordKind};
use quipu_testkit::{Dice, FailedSync, FaultyDisk, Kind, Trigger};

struct Lives {
    dice: Dice,
    disk: FaultyDisk,
    segment_bytes: u64,
    /// Every commit that was submitted and may be in the log, in order.
    commits: Vec<Commit>,
    /// How many of them are durable.
    durable: usize,
    time: i64,
}

impl Lives {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let segment_bytes = dice.between(300, 5_000);
        Self { disk: FaultyDisk::new(dice.roll()), dice, segment_bytes, commits: Vec::new(), durable: 0, time: 100 }
    }

    fn open(&mut self) -> Result<FileLog, Fault> {
        // The log expects its folder's parents to last: whoever makes them syncs them.
        let options = FileLogOptions { segment_bytes: self.segment_bytes };
        let nonce = std::sync::atomic::AtomicU64::new(self.dice.roll());
        let random = move || nonce.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        FileLog::open(Arc::new(self.disk.clone()), "log", options, Timestamp(self.time), random).map(|(log, _)| log)
    }

    /// What is in the log must be what was submitted, at least as far as it is durable.
    fn check(&mut self, log: &FileLog) -> Result<(), String> {
        let mut found = 0;
        let mut at = log.seek(1);
        let mut records = Vec::new();
        loop {
            let chunk = log.scan(at, 700).map_err(|fault| fault.to_string())?;
            if chunk.commits.is_empty() {
                break;
            }
            at = chunk.next;
            for (start, commit) in &chunk.commits {
                let each = commit.records.iter().map(|record| (start + u64::from(record.offset), record.body.clone()));
                records.extend(each);
                let expected = self.commits.get(found).ok_or("more commits than were submitted")?;
                let is_same = commit.number == expected.number
                    && commit.recorded_time == expected.recorded_time
                    && commit.chain_before == expected.chain_before
                    && commit.chain_after() == expected.chain_after();
                if !is_same {
                    return Err(format!("expected {expected:?}, found {commit:?}"));
                }
                found += 1;
            }
        }
        check_together(log, &records)?;
        if found < self.durable {
            return Err(format!("{} commits are durable, {found} are found", self.durable));
        }
        let tail = log.tail_at_opening();
        let chain = self.commits[..found].last().map_or([0; 32], Commit::chain_after);
        if (tail.number, tail.chain) != (found as u64, chain) {
            return Err(format!("{found} commits are found, the tail is {tail:?}"));
        }
        self.commits.truncate(found);
        // Opening made them durable before it told of them.
        self.durable = found;
        Ok(())
    }

    fn submit(&mut self, log: &FileLog, dice: &mut Dice) -> Result<(), Fault> {
        let expected_tail = self.commits.len() as u64;
        let first = self.commits.len();
        for _ in 0..dice.between(1, 3) {
            self.time += dice.below(3) as i64;
            let last = self.commits.last();
            let records = (0..dice.between(1, 3))
                .map(|_| {
                    let bytes_max = *dice.pick(&[600, 600, 600, 3_000]);
                    Record::new(RecordKind::Event, vec![7; dice.below(bytes_max) as usize])
                })
                .collect();
            self.commits.push(Commit {
                number: self.commits.len() as u64 + 1,
                epoch: 1,
                recorded_time: Timestamp(self.time),
                first_position: last.map_or(1, |last| last.first_position + last.event_count()),
                chain_before: last.map_or([0; 32], Commit::chain_after),
                records,
            });
        }
        log.submit(expected_tail, &self.commits[first..], &mut Vec::new())
    }

    /// One process: it appends until it ends in one way or another.
    fn live(&mut self) -> Result<(), String> {
        let mut dice = self.dice.fork();
        if dice.chance(30) {
            self.disk.crash_at(self.disk.calls() + dice.between(1, 60));
        }
        if let Err(error) = self.try_to_live(&mut dice) {
            let is_ours = error.contains("simulated") || error.contains("no room");
            if !is_ours {
                return Err(error);
            }
        }
        self.disk.fail(Kind::Sync, Trigger::Never);
        self.disk.fail(Kind::Write, Trigger::Never);
        self.disk = match dice.below(3) {
            0 => self.disk.kill(),
            _ => self.disk.crash_and_recover(dice.roll()),
        };
        Ok(())
    }

    fn try_to_live(&mut self, dice: &mut Dice) -> Result<(), String> {
        let log = self.open().map_err(|fault| fault.to_string())?;
        self.check(&log)?;
        if dice.chance(20) {
            self.disk.failed_sync(*dice.pick(&[FailedSync::StayDirty, FailedSync::Dropped, FailedSync::Clean]));
            self.disk.fail(Kind::Sync, Trigger::At(dice.between(1, 8)));
        }
        if dice.chance(10) {
            self.disk.fail(Kind::Write, Trigger::At(dice.between(1, 20)));
        }
        for _ in 0..dice.between(0, 30) {
            let fault = |fault: Fault| fault.to_string();
            match dice.below(10) {
                0..5 => self.submit(&log, dice).map_err(fault)?,
                5..9 => self.durable = log.complete().map_err(fault)? as usize,
                _ => log.rest().map_err(fault)?,
            }
        }
        Ok(())
    }
}

/// Records that are fetched together, all of them or some, are what a scan finds.
fn check_together(log: &FileLog, records: &[(Locator, Bytes)]) -> Result<(), String> {
    for step in [1, 2, 7] {
        let (locators, expected): (Vec<_>, Vec<_>) = records.iter().step_by(step).cloned().unzip();
        for bytes_max in [usize::MAX, 40, 1] {
            let found = log.fetch_all(&locators, RecordKind::Event, bytes_max).map_err(|fault| fault.to_string())?;
            let mut bytes = 0;
            // Until there are so many, and the one with which there are.
            let expected = expected.iter().take_while(|body| {
                let is_short = bytes < bytes_max;
                bytes += body.len();
                is_short
            });
            if !found.iter().map(|fetched| &fetched.body).eq(expected) {
                return Err(format!("of {bytes_max} bytes what is fetched at {locators:?} is not what a scan finds"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_log_keeps_what_is_durable_through_many_lives() {
    for seed in 0..600 {
        let mut lives = Lives::new(seed);
        lives.disk.crash_at(u64::MAX);
        // The folder itself is somebody else's business.
        quipu_store::Storage::create_dir(&lives.disk, "log").unwrap();
        quipu_store::Storage::sync_dir(&lives.disk, "").unwrap();
        for life in 0..8 {
            if let Err(error) = lives.live() {
                panic!("seed {seed}, life {life}: {error}");
            }
        }
    }
}
