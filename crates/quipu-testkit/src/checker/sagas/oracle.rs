//! What must be true of every instance when nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};

use quipu_domain::saga::{Action, Named, Need, Outcome, Status, Steps, What};
use quipu_engine::SagaDeclaration;

use super::{Account, Known, Ledger, RULES, Run, wrong};
use crate::checker::Verdict;

impl Ledger {
    /// Nothing is left to do.
    ///
    /// # Errors
    /// An instance has not ended, or not as it should.
    pub fn ended(&self) -> Verdict {
        for number in self.instances.keys() {
            self.judge(*number)?;
        }
        self.all_began()?;
        self.rules_once()
    }

    /// Every event that begins a saga began one instance of its key, and no more than one.
    fn all_began(&self) -> Verdict {
        let mut first: BTreeMap<&str, u64> = BTreeMap::new();
        for known in self.plans.values() {
            let from = first.entry(known.plan.name()).or_insert(known.from);
            *from = known.from.min(*from);
        }
        for (saga, from) in first {
            let kind = format!("start.{saga}");
            let keys: BTreeSet<&str> = self
                .events
                .iter()
                .filter(|heard| heard.kind == kind && heard.position > from)
                .map(|heard| heard.correlation.as_deref().unwrap_or(&heard.id))
                .collect();
            for key in keys {
                let of_key = |account: &&Account| account.key == key && self.plans[&account.plan].plan.name() == saga;
                let count = self.instances.values().filter(of_key).count();
                if count != 1 {
                    return Err(wrong(format!("expected one instance of {saga} with the key {key}, found {count}")));
                }
            }
        }
        Ok(())
    }

    /// A rule published one event for each that it takes.
    fn rules_once(&self) -> Verdict {
        for known in self.plans.values() {
            let SagaDeclaration::Rule(rule) = &known.declaration else { continue };
            let source = format!("{RULES}{}", rule.rule);
            let published = self.events.iter().filter(|heard| heard.source == source);
            let found: BTreeSet<u64> =
                published.filter_map(|heard| heard.id.rsplit_once('/')?.1.parse().ok()).collect();
            let taken = self.events.iter().filter(|heard| heard.position > known.from && heard.kind == "start.s0");
            let expected: BTreeSet<u64> = taken.map(|heard| heard.position).collect();
            if found != expected {
                return Err(wrong(format!(
                    "rule {}: expected one event each for {expected:?}, found {found:?}",
                    rule.rule
                )));
            }
        }
        Ok(())
    }

    fn judge(&self, number: u64) -> Verdict {
        let account = &self.instances[&number];
        let known = &self.plans[&account.plan];
        let fails = |why: String| {
            let name = known.plan.name();
            Err(wrong(format!("instance {number} of {name}, {:?}: {why}: {}", account.status, account.story())))
        };
        let Some(Status::Ended(outcome)) = account.state.status() else { return fails("it has not ended".to_owned()) };
        let SagaDeclaration::Saga(saga) = &known.declaration else { return Ok(()) };
        let is_completed = outcome == Outcome::Completed;
        self.ends_as(account, known, is_completed).or_else(fails)?;
        let partial = partial(&saga.steps, false);
        for run in account.newest.keys().filter(|(run, is_undo)| !is_undo && run.0 > 0).map(|(run, _)| *run) {
            let is_partial = partial.contains(known.plan.step_name(run.0));
            let verdict = match known.plan.action(run.0) {
                Some(Action::Begin(_)) => self.child(number, run, is_completed, is_partial),
                _ => self.run(number, run, is_completed, is_partial),
            };
            verdict.or_else(|why| fails(format!("{run:?} {why}")))?;
        }
        if partial.is_empty() {
            in_order(account).or_else(fails)?;
        }
        Ok(())
    }

    /// Its end is announced once; of one that was undone after it was completed, both.
    fn ends_as(&self, account: &Account, known: &Known, is_completed: bool) -> Result<(), String> {
        let name = known.plan.name();
        let [done, failed] = ["done", "failed"].map(|word| format!("{word}.{name}"));
        let ends: Vec<&str> = account.ends.iter().map(String::as_str).collect();
        let is_right = match is_completed {
            true => ends == [&*done],
            false => ends == [&*failed] || account.key.contains('/') && ends == [&*done, &*failed],
        };
        let is_silent = account.is_end_skipped && ends.is_empty();
        if is_right || is_silent { Ok(()) } else { Err(format!("is announced as {ends:?}")) }
    }

    fn run(&self, number: u64, run: Run, is_completed: bool, is_partial: bool) -> Result<(), String> {
        let account = &self.instances[&number];
        let plan = &self.plans[&account.plan].plan;
        let has = |what: &[What]| {
            account.notes.iter().any(|note| (note.node, note.iteration) == run && what.contains(&note.what))
        };
        let is_call = matches!(plan.action(run.0), Some(Action::Call(_)));
        let key = format!("{}.{}", run.0, run.1);
        if is_call && has(&[What::Finished]) && !self.called.contains_key(&(number, key)) {
            return Err("is finished, and its endpoint was never called".to_owned());
        }
        if plan.compensation(run.0).is_none() {
            return Ok(());
        }
        let stands = self.standing.contains(&(number, run));
        let is_undone = account.newest.contains_key(&(run, true));
        let is_lost = !is_completed || is_partial && is_undone;
        if is_lost {
            if stands && !account.skipped.contains(&run) {
                return Err("stands".to_owned());
            }
            if !is_undone && !account.is_refused(run) {
                return Err("was in doubt, and was not undone".to_owned());
            }
            return Ok(());
        }
        let is_over = has(&[What::Finished, What::Resolved]);
        if is_undone && !is_partial {
            return Err("was undone, and nothing failed".to_owned());
        }
        if is_over && !stands {
            return Err("was finished, and does not stand".to_owned());
        }
        // A branch that lost is undone unless it was surely refused.
        if is_partial && !is_over && stands {
            return Err("was given up, and stands".to_owned());
        }
        Ok(())
    }

    /// A saga within it has ended as the step that began it.
    fn child(&self, number: u64, run: Run, is_completed: bool, is_partial: bool) -> Result<(), String> {
        let account = &self.instances[&number];
        let plan = &self.plans[&account.plan].plan;
        let key = format!("{}/{number}/{}.{}", plan.name(), run.0, run.1);
        let Some(child) = self.instances.values().find(|child| child.key == key) else { return Ok(()) };
        let stands = child.state.status() == Some(Status::Ended(Outcome::Completed));
        let by_hand = account.by_hand.contains(&run) || account.skipped.contains(&run);
        let has = |what: What| account.notes.iter().any(|note| (note.node, note.iteration) == run && note.what == what);
        if !is_completed && stands && !by_hand {
            return Err("began a saga that is completed".to_owned());
        }
        if is_completed && !is_partial && !by_hand && has(What::Finished) && !stands {
            return Err(format!("is finished, and the saga that it began is {:?}", child.status));
        }
        Ok(())
    }
}

/// What ended last is undone first. What was refused, and took place after all, has no place in that order.
fn in_order(account: &Account) -> Result<(), String> {
    let mut ended: BTreeMap<Run, usize> = BTreeMap::new();
    let mut undone: BTreeSet<Run> = BTreeSet::new();
    let mut newest = usize::MAX;
    for (at, note) in account.notes.iter().enumerate() {
        let run = (note.node, note.iteration);
        match note.what {
            What::Finished | What::GivenUp | What::Resolved if !undone.contains(&run) => _ = ended.insert(run, at),
            What::LateRefusal | What::NotSent => _ = ended.remove(&run),
            What::UndoTried if undone.insert(run) => {
                let Some(at) = ended.get(&run) else { continue };
                if *at > newest {
                    return Err(format!("{run:?} is undone after what came before it"));
                }
                newest = *at;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The names of steps in a `parallel` that can do without a branch.
fn partial(steps: &Steps, is_within: bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for Named { name, step } in &steps.0 {
        if is_within {
            names.insert(name.clone());
        }
        let is_here = is_within
            || match (&step.parallel, step.need) {
                (Some(of), Some(Need::Count(need))) => usize::from(need) < of.0.len(),
                _ => false,
            };
        let inner = [&step.parallel, &step.then, &step.otherwise, &step.steps];
        let body = step.repeat.as_ref().map(|repeat| &repeat.steps);
        for steps in inner.into_iter().filter_map(Option::as_ref).chain(body) {
            names.extend(partial(steps, is_here));
        }
    }
    names
}
