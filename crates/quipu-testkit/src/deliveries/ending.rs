//! The end of a run: nothing fails any more, and consumers that ask only when they are told to acknowledge what comes. All
//! that is owed must be finished then, and nothing may come again.

use std::sync::atomic::Ordering;

use quipu_domain::delivery::Summary;
use quipu_engine::Counts;

use super::workers::Most;
use super::{DeliverySimulation, Step};
use crate::checker::deliveries::{Figures, Said};
use crate::checker::{Violation, violated};

/// Turns without anything to do after which nothing will come any more: more than the longest pause and deadline.
const QUIET_TURNS: u32 = 100;
const TURN_MS: i64 = 500;
/// Far more turns than any run needs.
const TURNS_MAX: u32 = 100_000;

impl DeliverySimulation {
    pub(super) fn end(&mut self) -> Step {
        self.machine.say(|| "the end: everything is acknowledged".into());
        self.machine.disk.heal();
        // What was injected before may show only now.
        self.restart()?;
        for name in self.ledger.names() {
            if let Some(terms) = self.ledger.terms(&name).filter(|terms| terms.is_paused).cloned() {
                self.pause(&name, terms)?;
            }
        }
        self.drain()?;
        // One key that waits does not keep others.
        self.ledger.ended_but_parked(self.now()).map_err(|wrong| self.with_explanation(wrong))?;
        while self.decide_all()? {
            self.drain()?;
        }
        self.redrive_some()?;
        self.drain()?;
        self.ledger.ended(self.now()).map_err(|wrong| self.with_explanation(wrong))?;
        self.account()?;
        self.close()?;
        self.open()?;
        self.account()?;
        // What was acknowledged does not come again.
        let before = self.deliveries;
        for name in self.ledger.names() {
            while self.pull_from(&name, Most::events(100))? > 0 {}
        }
        match self.deliveries - before {
            0 => self.close(),
            again => Err(violated("deliveries", format!("{again} came again after everything was finished"))),
        }
    }

    /// What every subscription says of itself is what happened, and durable.
    fn account(&self) -> Step {
        let accounted = |name: &String| self.ledger.accounted(name, &self.figures(name)?);
        self.ledger.names().iter().try_for_each(accounted)
    }

    /// What a subscription says of itself.
    pub(super) fn figures(&self, name: &str) -> Result<Figures, Violation> {
        let found = self.machine.tenant().subscription(name);
        let found = found.map_err(|refused| violated("subscription", format!("{name}: {refused}")))?;
        let Summary { ready, in_flight, waiting, parked, .. } = found.summary;
        let Counts { acknowledged, dead_lettered, expired, .. } = found.counts;
        let unfinished = (ready + in_flight + waiting + parked) as u64;
        Ok(Figures { acknowledged, dead_lettered, expired, unfinished })
    }

    /// Every worker that has something answers, and asks again when it is told to.
    fn drain(&mut self) -> Step {
        // Those whose worker died are left to their deadlines.
        self.held.clear();
        self.woken.values().for_each(|(flag, _)| flag.store(true, Ordering::Relaxed));
        let mut quiet = 0;
        for _ in 0..TURNS_MAX {
            self.advance(TURN_MS)?;
            let before = self.deliveries;
            for name in self.ledger.names() {
                while self.woken.get(&name).is_some_and(|(flag, _)| flag.swap(false, Ordering::Relaxed)) {
                    self.consume(&name)?;
                }
            }
            quiet = if self.deliveries > before { 0 } else { quiet + 1 };
            if quiet > QUIET_TURNS {
                return Ok(());
            }
        }
        Err(violated("deliveries", format!("there is no end: {:?}", self.ledger.unfinished().first())))
    }

    /// Asks until nothing comes.
    fn consume(&mut self, name: &str) -> Step {
        while self.pull_from(name, Most::events(100))? > 0 {
            let held = self.held.remove(name).unwrap_or_default();
            self.send(name, held.into_iter().map(|(id, token)| (id, token, Said::Ack)).collect())?;
        }
        Ok(())
    }

    fn with_explanation(&self, wrong: Violation) -> Violation {
        let explain = |name: String| {
            let explained = self.machine.tenant().explain_subscription(&name);
            format!("{name}: {:?}", explained.map(|explained| explained.standstill))
        };
        let all: Vec<String> = self.ledger.names().into_iter().map(explain).collect();
        Violation { detail: format!("{}; {}", wrong.detail, all.join("; ")), ..wrong }
    }
}
