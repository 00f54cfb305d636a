//! Replays whose subscription is deleted: they end in the commit that deletes it, so that none goes to another of its name.

use quipu_store::Record;

use crate::operations::Work;
use crate::operations::records::OperationRecord;
use crate::subscriptions::Standing;
use crate::tenant::Tenant;

impl Tenant {
    /// Holds the replays to a subscription that is being deleted. Their numbers, and what is written of their end.
    pub(crate) fn conclude_replays_to(&self, name: &str) -> (Vec<u64>, Vec<Record>) {
        let time = self.world.clock.now();
        let (mut ids, mut records) = (Vec::new(), Vec::new());
        for (id, one) in self.operations.lock().running().filter(|(_, one)| one.ending.is_none()) {
            let (Work::Replay(replay), Some(run)) = (&one.folded.work, &mut one.replay) else { continue };
            if replay.to != name {
                continue;
            }
            if let Standing::Held(counts) | Standing::Open(_, counts) = self.replaying(id, name) {
                run.counts = counts;
            }
            run.ended = Some("its subscription was deleted".to_owned());
            one.is_held = true;
            one.verdict = one.conclude(0, false);
            records.extend(one.verdict.clone().map(|verdict| OperationRecord::Concluded { id, verdict }.record()));
            records.push(OperationRecord::Ended { id, is_cancelled: false, time }.record());
            ids.push(id);
        }
        (ids, records)
    }

    /// The deletion is in the log, and so is their end; or it is not, and they go on.
    pub(crate) fn replays_concluded(&self, ids: &[u64], is_written: bool) {
        let time = self.world.clock.now();
        let mut operations = self.operations.lock();
        for id in ids {
            let Ok(one) = operations.get_mut(*id) else { continue };
            one.is_held = false;
            if is_written {
                one.folded.ended = Some((false, time));
            } else if let Some(run) = &mut one.replay {
                (run.ended, one.verdict) = (None, None);
            }
        }
    }
}
