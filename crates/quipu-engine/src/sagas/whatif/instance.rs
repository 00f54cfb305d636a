//! An instance of the new declaration, in memory. It is stepped as the stage steps one; what it sends is taken as sent once the instance
//! that there was sent the same, and what others answered that one they answer this one if it asks the same of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::saga::{
    Answer, Attempt, Due, Effect, Input, NodeId, Note, Outcome, Plan, Purpose, Role, State, Status, Waiting, What,
    explain, step,
};

use super::super::mapping::{Answered, Asker};
use super::super::ready::Ready;
use super::facts::{Began, Facts, after, said};
use super::real::Known;
use super::world::{Stop, World};

pub(super) struct Would {
    pub key: Box<str>,
    /// The number of the instance that there was.
    pub real: Option<u64>,
    /// Whether there may have been one that is not remembered.
    pub is_forgotten: bool,
    /// Whether nobody knows if it would have begun: the one before it of its key, of which the doubt is, may not have ended. It is never
    /// stepped.
    pub is_begun_in_doubt: bool,
    /// What that is stepped by.
    of: Option<Arc<Ready>>,
    pub state: State,
    at: Timestamp,
    commands: Vec<(Attempt, Sent)>,
    /// What endpoints and sagas within it told the one that there was.
    facts: Facts,
    /// What of that it is to be told, in the order of time.
    coming: VecDeque<(Timestamp, Coming)>,
    /// Each run of a step that was begun to be done, or to be undone.
    pub steps: BTreeSet<(NodeId, u16, bool)>,
    /// From where on nobody knows what would have become of it.
    pub doubt: Option<(Attempt, Doubt)>,
}

/// A command whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The instance that there was did not send it yet: no time passes for it.
    Held,
    /// Both sent it.
    Known,
    /// Only the instance that there was sent it so far.
    Passed,
    /// It is no command, and nobody knows what it would come to.
    Unknown(Doubt),
}

/// Why nobody knows what would have become of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It waits for the answer to what nobody was ever sent.
    NobodySent,
    /// It would have sent it later than it was sent, and answered perhaps.
    SentBefore,
    /// The answer may be one to an attempt that it would not have made by then.
    OtherAttempt,
    /// It would ask for something else than was asked for.
    OtherSaid,
    /// What was asked for is not known any more.
    NotKept,
    /// What was asked for was given up sooner than it would be.
    CutShort,
    /// What was asked for was never answered, and not given up.
    NotHeard,
}

#[derive(Clone, Copy)]
enum Coming {
    Answered(Attempt, Answer, u64),
    Child(Attempt, Outcome),
}

/// What an instance is told at once.
enum Follows {
    Sent(Attempt),
    NotSent(Attempt, String),
    Told(NodeId, u16, Answered),
}

impl Follows {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Sent(attempt) => Input::Sent { attempt: *attempt },
            Self::NotSent(attempt, reason) => Input::NotSent { attempt: *attempt, reason },
            Self::Told(node, iteration, told) => Input::Told { node: *node, iteration: *iteration, told: told.told() },
        }
    }
}

impl Coming {
    fn input(&self) -> Input<'_> {
        match *self {
            Self::Answered(attempt, answer, position) => Input::Answered { attempt, answer, position, text: "" },
            Self::Child(attempt, outcome) => Input::Child { attempt, outcome },
        }
    }
}

impl Would {
    /// Before it begins.
    pub fn new(key: Box<str>, real: Option<u64>, is_forgotten: bool) -> Self {
        Self {
            key,
            real,
            is_forgotten,
            is_begun_in_doubt: false,
            facts: Facts::none(),
            of: None,
            state: State::default(),
            at: Timestamp(i64::MIN),
            commands: Vec::new(),
            coming: VecDeque::new(),
            steps: BTreeSet::new(),
            doubt: None,
        }
    }

    /// One that nobody knows of whether it would have begun.
    pub fn in_doubt(key: Box<str>, real: Option<u64>, doubt: (Attempt, Doubt)) -> Self {
        Self { is_begun_in_doubt: true, doubt: Some(doubt), ..Self::new(key, real, false) }
    }

    /// Takes in what is known of the instance that there was.
    pub fn know(&mut self, world: &mut World<'_>, known: Known) -> Result<(), Stop> {
        self.facts = Facts::of(&known, world)?;
        self.of = Some(known.ready);
        Ok(())
    }

    /// How many bytes of memory it takes, and what it is found by: some 160 beside itself.
    pub fn bytes(&self) -> usize {
        // A set has room for twice as much.
        let steps = self.steps.len() * 2 * size_of::<(NodeId, u16, bool)>();
        let lists = self.commands.capacity() * size_of::<(Attempt, Sent)>()
            + self.coming.capacity() * size_of::<(Timestamp, Coming)>();
        size_of::<Self>() + 160 + self.key.len() + self.state.heap_bytes() + self.facts.heap_bytes() + steps + lists
    }

    /// Whether another begins under its key, unless there is a doubt.
    pub fn has_ended(&self) -> bool {
        matches!(self.state.status(), Some(Status::Ended(_)) | None)
    }

    pub fn start(&mut self, world: &mut World<'_>, number: u64, position: u64, now: Timestamp) -> Result<(), Stop> {
        self.feed(world, &Input::Start { number, position, parent: None, variables: None }, now)
    }

    /// Lets time pass.
    pub fn advance(&mut self, world: &mut World<'_>, to: Timestamp) -> Result<(), Stop> {
        while self.doubt.is_none() {
            let due = self.state.due().filter(|due| due.at <= to);
            let coming = self.coming.front().copied().filter(|(at, _)| *at <= to);
            match (coming, due) {
                (Some((at, coming)), due) if due.is_none_or(|due| at <= due.at) => {
                    self.coming.pop_front();
                    self.feed(world, &coming.input(), at)?;
                }
                (_, Some(due)) => self.feed(world, &Input::Due { until: due.at }, due.at)?,
                _ => break,
            }
        }
        Ok(())
    }

    /// The instance that there was published a command.
    pub fn pass(
        &mut self,
        world: &mut World<'_>,
        attempt: Attempt,
        kind: &str,
        sent: Timestamp,
        recorded: Timestamp,
    ) -> Result<(), Stop> {
        self.advance(world, recorded)?;
        let plan = &world.ready.plan;
        let Some(attempt) = self.same(plan, attempt) else { return Ok(()) };
        let is_it = plan.message(attempt, &self.state).is_some_and(|message| &*message.kind == kind);
        let Some(ms) = plan.timeout_ms(attempt).filter(|_| is_it) else { return Ok(()) };
        match self.commands.iter_mut().find(|(other, _)| *other == attempt) {
            Some((_, place)) if *place == Sent::Held => {
                *place = Sent::Known;
                self.state.wait(attempt, Some(Due { since: sent, at: after(sent, ms) }));
            }
            Some(_) => {}
            None => self.commands.push((attempt, Sent::Passed)),
        }
        Ok(())
    }

    /// An event of its key came.
    pub fn event(
        &mut self,
        world: &mut World<'_>,
        position: u64,
        roles: &[Role],
        cause: Option<Attempt>,
        at: Timestamp,
    ) -> Result<(), Stop> {
        self.advance(world, at)?;
        // One that answers what this one has no step for answers nothing that it asked.
        let other = |attempt: Attempt| Attempt { node: NodeId::MAX, ..attempt };
        let cause = cause.map(|attempt| self.same(&world.ready.plan, attempt).unwrap_or_else(|| other(attempt)));
        if self.doubt.is_none() {
            self.doubt = self.doubt_about(&world.ready.plan, roles, cause);
        }
        if self.doubt.is_some() {
            return Ok(());
        }
        self.feed(world, &Input::Event { position, roles, cause }, at)
    }

    /// The attempt of this declaration's step of the same name, if that sends the same.
    fn same(&self, plan: &Plan, attempt: Attempt) -> Option<Attempt> {
        let of = &self.of.as_ref()?.plan;
        let same = Attempt { node: plan.step_named(of.step_name(attempt.node))?, ..attempt };
        let kind = |plan: &Plan, attempt| plan.message(attempt, &self.state).map(|message| message.kind.clone());
        (attempt.purpose != Purpose::End && kind(of, attempt) == kind(plan, same)).then_some(same)
    }

    /// Whether nobody knows if the event would have come.
    fn doubt_about(&self, plan: &Plan, roles: &[Role], cause: Option<Attempt>) -> Option<(Attempt, Doubt)> {
        let place = |attempt: Attempt| self.commands.iter().find(|(other, _)| *other == attempt).map(|(_, sent)| *sent);
        if let Some(cause) = cause {
            let has_sent = self.newest(cause.node, is_undo(cause)).is_some();
            return match place(cause) {
                Some(Sent::Passed) if has_sent => Some((cause, Doubt::OtherAttempt)),
                Some(Sent::Held) => Some((cause, Doubt::NobodySent)),
                _ => None,
            };
        }
        roles.iter().filter_map(|role| about(*role)).find_map(|(node, of_undo)| {
            let newest = self.newest(node, of_undo)?;
            let is_later = |(other, sent): &(Attempt, Sent)| {
                *sent == Sent::Passed && run(*other) == run(newest) && other.number > newest.number
            };
            if place(newest) == Some(Sent::Held) && self.is_open(plan, newest) {
                Some((newest, Doubt::NobodySent))
            } else if self.commands.iter().any(is_later) {
                Some((newest, Doubt::OtherAttempt))
            } else {
                None
            }
        })
    }

    /// The newest attempt that it has made of a step.
    fn newest(&self, node: NodeId, of_undo: bool) -> Option<Attempt> {
        let made = self.commands.iter().rev().filter(|(_, sent)| *sent != Sent::Passed).map(|(attempt, _)| *attempt);
        made.into_iter().find(|attempt| attempt.node == node && is_undo(*attempt) == of_undo)
    }

    /// Whether the answer to an attempt is waited for.
    fn is_open(&self, plan: &Plan, attempt: Attempt) -> bool {
        explain(plan, &self.state).iter().any(|waiting| match waiting {
            Waiting::Answer { attempt: open, .. } | Waiting::Endpoint { attempt: open } => *open == attempt,
            Waiting::Child { attempt: open, .. } => run(*open).0 == attempt.node && run(*open).1 == attempt.iteration,
            _ => false,
        })
    }

    /// All that it waits for the answer to, though nobody was sent it as far as was read, or nobody knows what it would come to, and why.
    pub fn held(&self, plan: &Plan) -> Vec<(Attempt, Option<Doubt>)> {
        let held = self.commands.iter().filter_map(|(attempt, sent)| match sent {
            Sent::Held => Some((*attempt, None)),
            Sent::Unknown(doubt) => Some((*attempt, Some(*doubt))),
            Sent::Known | Sent::Passed => None,
        });
        held.filter(|(attempt, _)| self.is_open(plan, *attempt)).collect()
    }

    /// Tells it something, and all that follows from it.
    fn feed(&mut self, world: &mut World<'_>, input: &Input<'_>, at: Timestamp) -> Result<(), Stop> {
        world.look()?;
        self.at = self.at.max(at);
        let mut follows = VecDeque::new();
        self.step(world, input.clone(), &mut follows)?;
        while let Some(told) = follows.pop_front() {
            self.step(world, told.input(), &mut follows)?;
        }
        Ok(())
    }

    fn step(&mut self, world: &mut World<'_>, input: Input<'_>, follows: &mut VecDeque<Follows>) -> Result<(), Stop> {
        let stepped = step(&world.ready.plan, std::mem::take(&mut self.state), input, self.at);
        self.state = stepped.state;
        self.steps.extend(stepped.notes.iter().filter_map(begun));
        for effect in stepped.effects {
            follows.extend(self.carry_out(world, effect)?);
        }
        Ok(())
    }

    fn carry_out(&mut self, world: &mut World<'_>, effect: Effect) -> Result<Option<Follows>, Stop> {
        let plan = &world.ready.plan;
        Ok(match effect {
            Effect::Send(attempt) => Some(match self.send(world, attempt)? {
                Ok(()) => Follows::Sent(attempt),
                Err(reason) => Follows::NotSent(attempt, reason),
            }),
            Effect::Call(attempt) => match self.ask(world, attempt)? {
                Ok(began) => {
                    let ms = plan.call(attempt).map_or(u64::MAX, |call| call.timeout_ms);
                    match began.and_then(|began| self.facts.call(attempt, began, ms)) {
                        Ok(answers) => self.comes(
                            answers
                                .into_iter()
                                .map(|(at, answer, position)| (at, Coming::Answered(attempt, answer, position))),
                        ),
                        Err(doubt) => self.is_unknown(attempt, doubt),
                    }
                    None
                }
                Err(reason) => Some(Follows::NotSent(attempt, reason)),
            },
            Effect::Begin(attempt) => match self.ask(world, attempt)? {
                Ok(Ok(_)) if self.facts.is_not_sent(attempt) => {
                    Some(Follows::NotSent(attempt, "it could not be begun".into()))
                }
                Ok(began) => {
                    let ms = plan.timeout_ms(attempt).unwrap_or(u64::MAX);
                    let ends = began.and_then(|began| Ok((began, self.facts.child(attempt, began, ms)?)));
                    match ends {
                        Ok((began, ends)) => {
                            // Its timeout counts from when it was begun.
                            self.state.wait(attempt, Some(Due { since: began.at, at: after(began.at, ms) }));
                            self.comes(ends.into_iter().map(|(at, end)| (at, Coming::Child(attempt, end))));
                        }
                        Err(doubt) => self.is_unknown(attempt, doubt),
                    }
                    None
                }
                Err(reason) => Some(Follows::NotSent(attempt, reason)),
            },
            Effect::UndoChild(attempt) => {
                let undo = Attempt { purpose: Purpose::Compensation, ..attempt };
                let undone = match self.is_begun(attempt) {
                    true => self.facts.undone(undo, self.at),
                    false => Err(Doubt::NobodySent),
                };
                match undone {
                    Ok(at) => self.comes([(at, Coming::Child(undo, Outcome::Compensated))]),
                    Err(doubt) => {
                        self.is_unknown(undo, doubt);
                        self.state.wait(Attempt { purpose: Purpose::Late, ..undo }, None);
                    }
                }
                None
            }
            Effect::Ask { node, iteration } => {
                let asker = Asker { ready: world.ready, key: &self.key, state: &self.state, attempt: None };
                Some(Follows::Told(node, iteration, world.ask(|tenant, cache| asker.answer(tenant, cache, node))?))
            }
            Effect::Tell { .. } => None,
        })
    }

    /// Whether a command would be published: what it is made of is evaluated, and what became of the one that there was counts.
    fn send(&mut self, world: &mut World<'_>, attempt: Attempt) -> Result<Result<(), String>, Stop> {
        let plan = &world.ready.plan;
        let Some(message) = plan.message(attempt, &self.state) else { return Ok(Err("there is no such step".into())) };
        let asker = Asker { ready: world.ready, key: &self.key, state: &self.state, attempt: Some(attempt) };
        for text in [&message.subject, &message.data].into_iter().flatten() {
            if let Err(reason) = world.ask(|tenant, cache| asker.apply(tenant, cache, text))? {
                return Ok(Err(reason));
            }
        }
        if self.facts.is_not_sent(attempt) {
            return Ok(Err("it could not be published".into()));
        }
        if plan.timeout_ms(attempt).is_some() {
            match self.commands.iter().any(|(other, _)| *other == attempt) {
                true => self.doubt = Some((attempt, Doubt::SentBefore)),
                false => self.hold(attempt),
            }
        }
        Ok(Ok(()))
    }

    /// No time passes for it until it is known that somebody was sent it.
    fn hold(&mut self, attempt: Attempt) {
        self.commands.push((attempt, Sent::Held));
        self.state.wait(attempt, None);
    }

    /// What is said to an endpoint or a saga, and when the instance that there was said the same, if it did; or why it cannot be said.
    fn ask(&self, world: &mut World<'_>, attempt: Attempt) -> Result<Result<Result<Began, Doubt>, String>, Stop> {
        let asker = Asker { ready: world.ready, key: &self.key, state: &self.state, attempt: Some(attempt) };
        let said = said(&asker, world)?;
        Ok(said.map(|said| self.facts.began(attempt, said, self.at)))
    }

    /// Whether the instance that there was began the same saga.
    fn is_begun(&self, attempt: Attempt) -> bool {
        let is_other = |(other, sent): &(Attempt, Sent)| {
            let is_other = matches!(sent, Sent::Unknown(Doubt::NobodySent | Doubt::OtherSaid | Doubt::NotKept));
            *other == attempt && is_other
        };
        !self.commands.iter().any(is_other)
    }

    /// No time passes for what nobody knows.
    fn is_unknown(&mut self, attempt: Attempt, doubt: Doubt) {
        if doubt == Doubt::SentBefore {
            self.doubt = Some((attempt, doubt));
        }
        self.commands.push((attempt, Sent::Unknown(doubt)));
        self.state.wait(attempt, None);
    }

    /// What it will be told.
    fn comes(&mut self, what: impl IntoIterator<Item = (Timestamp, Coming)>) {
        self.coming.extend(what);
        self.coming.make_contiguous().sort_by_key(|(at, _)| *at);
    }
}

/// A note that says that a run of a step was begun to be done or to be undone.
pub(super) fn begun(note: &Note) -> Option<(NodeId, u16, bool)> {
    match note.what {
        What::Tried => Some((note.node, note.iteration, false)),
        What::UndoTried => Some((note.node, note.iteration, true)),
        _ => None,
    }
}

fn is_undo(attempt: Attempt) -> bool {
    attempt.purpose != Purpose::Command
}

pub(super) fn run(attempt: Attempt) -> (NodeId, u16, bool) {
    (attempt.node, attempt.iteration, is_undo(attempt))
}

/// The step that a role is about, and whether it is about undoing it.
fn about(role: Role) -> Option<(NodeId, bool)> {
    match role {
        Role::Start => None,
        Role::Reply(node) | Role::Refusal(node) => Some((node, false)),
        Role::Undone(node) | Role::NotUndone(node) => Some((node, true)),
    }
}
