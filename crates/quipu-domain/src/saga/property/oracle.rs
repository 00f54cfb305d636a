//! What must be true of the world when an instance is over.

use std::collections::{BTreeMap, BTreeSet};

use super::driver::{Deed, node};
use super::shape::Shape;
use super::world::World;
use crate::saga::plan::Doing;
use crate::saga::step::Run;
use crate::saga::{Effect, NodeId, Outcome, Status, What};

pub fn judge(world: &World) {
    let Some(Status::Ended(outcome)) = world.ledger.state.status() else { panic!("it has not ended") };
    let is_completed = outcome == Outcome::Completed;
    let end = if is_completed { "done" } else { "failed" };
    let is_silent = world.ledger.is_end_skipped && world.ends.is_empty();
    assert!(is_silent || world.ends == [end], "{outcome:?} is announced once, and not as {:?}", world.ends);
    let is_partial = world.setting.shapes.iter().any(Shape::is_partial);
    let mut timeline = Timeline { world, lost: BTreeSet::new() };
    if is_completed && is_partial {
        assert!(timeline.finished_at((0, 0)).is_some(), "it is completed, and its steps are not");
        timeline.lose((0, 0), false);
    }
    for run in world.ledger.runs().filter(|run| world.plan.compensation(run.0).is_some()) {
        let stands = world.standing.contains(&run);
        let is_lost = !is_completed || timeline.lost.contains(&run);
        if is_lost {
            assert!(!stands || world.ledger.skipped.contains(&run), "{run:?} stands: {}", world.ledger.story());
            let is_undone = world.ledger.attempts(run, true) > 0 || world.undone_child(run);
            assert!(
                is_undone || world.ledger.is_refused(run),
                "{run:?} was in doubt, and was not undone: {}",
                world.ledger.story()
            );
        } else if timeline.first(run, &[What::Finished, What::Resolved]).is_some() {
            assert!(stands, "{run:?} was finished, and does not stand: {}", world.ledger.story());
        }
    }
    if !is_partial {
        check_order(world);
    }
}

impl World {
    fn undone_child(&self, run: Run) -> bool {
        let is_undo = |deed: &Deed| match deed {
            Deed::Effect(Effect::UndoChild(attempt)) => (attempt.node, attempt.iteration) == run,
            _ => false,
        };
        self.ledger.deeds.iter().any(is_undo)
    }
}

/// What ended last is undone first. What was refused, and took place after all, has no place in that order.
fn check_order(world: &World) {
    let mut ended: BTreeMap<Run, usize> = BTreeMap::new();
    let mut undone: BTreeSet<Run> = BTreeSet::new();
    let mut newest = usize::MAX;
    for (at, note) in world.ledger.notes.iter().enumerate() {
        let run = (note.node, note.iteration);
        match note.what {
            What::Finished | What::GivenUp | What::Resolved if !undone.contains(&run) => _ = ended.insert(run, at),
            What::LateRefusal | What::NotSent => _ = ended.remove(&run),
            What::UndoTried if undone.insert(run) => {
                let Some(at) = ended.get(&run) else { continue };
                assert!(*at < newest, "{run:?} is undone before what came after it: {}", world.ledger.story());
                newest = *at;
            }
            _ => {}
        }
    }
}

struct Timeline<'a> {
    world: &'a World,
    /// Runs of branches that others were faster than.
    lost: BTreeSet<Run>,
}

impl Timeline<'_> {
    /// When one of these was first noted of a run.
    fn first(&self, run: Run, what: &[What]) -> Option<usize> {
        let notes = &self.world.ledger.notes;
        notes.iter().position(|note| (note.node, note.iteration) == run && what.contains(&note.what))
    }

    /// How a condition was decided each time, and when.
    fn decisions(&self, run: Run) -> Vec<(usize, bool)> {
        let notes = self.world.ledger.notes.iter().enumerate();
        let of_run = notes.filter(|(_, note)| (note.node, note.iteration) == run);
        of_run
            .filter_map(|(at, note)| match note.what {
                What::Decided => Some((at, note.text.as_deref() == Some("true"))),
                What::Skipped => Some((at, false)),
                What::Resolved => Some((at, true)),
                _ => None,
            })
            .collect()
    }

    /// How many rounds a loop took; none if it reached its bound.
    fn rounds(&self, run: Run, max: u16, until: bool) -> Option<u16> {
        let held = self.decisions(run).iter().position(|(_, holds)| *holds);
        if until { held.map(|at| at as u16 + 1) } else { Some(max) }
    }

    /// When a run was finished, by its place in the timeline.
    fn finished_at(&self, run: Run) -> Option<usize> {
        match &node(&self.world.plan, run.0).doing {
            Doing::Sequence(of) => of.iter().try_fold(0, |_, id| self.finished_at((*id, run.1))),
            Doing::Parallel { of, need } => {
                let mut times = self.times(of, run.1);
                times.sort_unstable();
                times.get(usize::from(*need) - 1).map(|(at, _)| *at)
            }
            Doing::If { then, otherwise, .. } => {
                let (at, holds) = *self.decisions(run).first()?;
                let side = if holds { Some(then) } else { otherwise.as_ref() };
                side.map_or(Some(at), |side| self.finished_at((*side, run.1)))
            }
            Doing::Loop { body, until, max } => {
                let rounds = self.rounds(run, *max, until.is_some())?;
                let last = (0..rounds).try_fold(0, |_, round| self.finished_at((*body, run.1 * max + round)))?;
                Some(self.decisions(run).last().map_or(last, |(at, _)| *at))
            }
            Doing::Task(_) => self.first(run, &[What::Finished]),
            Doing::Complete | Doing::Fail | Doing::Written => None,
        }
    }

    fn times(&self, of: &[NodeId], iteration: u16) -> Vec<(usize, NodeId)> {
        of.iter().filter_map(|id| Some((self.finished_at((*id, iteration))?, *id))).collect()
    }

    /// Collects the runs that lost.
    fn lose(&mut self, run: Run, is_lost: bool) {
        match node(&self.world.plan, run.0).doing.clone() {
            Doing::Sequence(of) => of.iter().for_each(|id| self.lose((*id, run.1), is_lost)),
            Doing::Parallel { of, need } => {
                let mut times = self.times(&of, run.1);
                times.sort_unstable();
                let won: Vec<NodeId> = times.iter().take(usize::from(need)).map(|(_, id)| *id).collect();
                of.iter().for_each(|id| self.lose((*id, run.1), is_lost || !won.contains(id)));
            }
            Doing::If { then, otherwise, .. } => {
                [Some(then), otherwise].into_iter().flatten().for_each(|id| self.lose((id, run.1), is_lost));
            }
            Doing::Loop { body, max, .. } => (0..max).for_each(|round| self.lose((body, run.1 * max + round), is_lost)),
            Doing::Task(_) if is_lost => _ = self.lost.insert(run),
            Doing::Task(_) | Doing::Complete | Doing::Fail | Doing::Written => {}
        }
    }
}
