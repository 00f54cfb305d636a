//! Bits rot in a sealed segment or a payload: whatever is read is what was written or an error that names the file, and the check
//! finds it. Then the operator puts the good copy back.

use quipu_domain::Direction;
use quipu_engine::Fault;
use quipu_store::SEGMENT_HEADER_BYTES;

use super::Simulation;
use crate::checker::pages::to_logged;
use crate::checker::violated;
use crate::machine::{Step, any_bit};
use crate::{FOLDER, Logged};

const NAME: &str = "rot";

impl Simulation {
    /// Flips a bit of a sealed segment while nobody runs, looks at what the next process makes of it, and flips it back.
    pub(super) fn rot(&mut self) -> Step {
        let mut segments: Vec<String> = self.machine.disk.files();
        segments.retain(|path| path.ends_with(".seg"));
        // The last one is still written to: what is broken at its end may never have been acknowledged. That is also so of
        // the one before, if the making of the next was interrupted before it said what it goes on after.
        while segments.pop_if(|path| self.machine.len_of(path) <= SEGMENT_HEADER_BYTES).is_some() {}
        segments.pop();
        // A payload that was read is referred to, and durable.
        segments.extend(self.log.iter().filter_map(payload_path).filter(|path| self.machine.len_of(path) > 0));
        if segments.is_empty() {
            return Ok(());
        }
        let path = self.machine.own_dice.pick(&segments).clone();
        let len = self.machine.len_of(&path);
        let (offset, bit) = any_bit(&mut self.machine.own_dice, len);
        self.machine.say(|| format!("rot: bit {bit} at {offset} of {path}"));
        self.machine.disk.flip(&path, offset, bit);
        let found = self.look_at_rot(&path);
        self.machine.disk.flip(&path, offset, bit);
        found
    }

    fn look_at_rot(&mut self, path: &str) -> Step {
        let report = quipu_store::check(&self.machine.disk, FOLDER, &mut |_, _| {})
            .map_err(|fault| violated(NAME, format!("the check cannot read the folder: {fault}")))?;
        if report.problems.is_empty() {
            return Err(violated(NAME, format!("expected the check to find the damage in {path}, it found none")));
        }
        let tenant = match self.machine.open_as_it_is() {
            Ok(tenant) => tenant,
            Err(fault) => return named(path, &fault),
        };
        for (position, expected) in (1..).zip(&self.log) {
            match tenant.event_at(position) {
                Ok(Some(found)) => match to_logged(&tenant, &found) {
                    Ok(found) if found == *expected => {}
                    Err(fault) => named(path, &fault)?,
                    other => return Err(violated(NAME, format!("event_at({position}): {other:?}"))),
                },
                Err(fault) => named(path, &fault)?,
                other => return Err(violated(NAME, format!("event_at({position}): {other:?}"))),
            }
        }
        let mut from = None;
        loop {
            let page = match tenant.read(&Default::default(), Direction::Forward, from, 20) {
                Ok(page) => page,
                Err(fault) => return named(path, &fault),
            };
            for found in &page.events {
                // What came since the log was read last is not known here.
                let Some(expected) = self.log.get(found.stamp.position as usize - 1) else { continue };
                let found = match to_logged(&tenant, found) {
                    Ok(found) => found,
                    Err(fault) => return named(path, &fault),
                };
                if found != *expected {
                    return Err(violated(NAME, format!("expected {expected:?}, found {found:?}")));
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }
}

/// Where the data of an event is if it is kept beside the log.
fn payload_path(logged: &Logged) -> Option<String> {
    let (bytes, _) = logged.event.data().bytes()?;
    let hex = blake3::hash(bytes).to_hex();
    Some(format!("{FOLDER}/payloads/{}/{}", &hex[..2], &hex[2..]))
}

/// Whether an error says that this file is damaged.
fn named(path: &str, fault: &Fault) -> Step {
    match fault {
        Fault::Damaged { path: found, .. } if found.ends_with(path) => Ok(()),
        _ => Err(violated(NAME, format!("expected {path} to be named as damaged, found {fault}"))),
    }
}
