//! Circles: declarations that begin each other by what they publish, so that one event from outside may lead to events without end.
//!
//! A graph of all declarations of a tenant is looked at, from the one that is applied on: types and sources of events, what is
//! published in the commit that begins an instance, and which keys come round again. Nothing is known of what jq makes, of what else a
//! pattern asks for, and of what code publishes: what may go round for these is warned of or not seen, and never refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::declaration::Again;
use super::finding::Finding;
use super::key::Key;
use super::plan::{Kind, Plan};
use super::publishes::{Cause, Place};
use crate::pattern::Takes;

/// How often a type of event is held against a declaration at most: what 1,000 declarations come to that publish ten types each
/// with 100 followers among them. What is found takes some 60 bytes each, so 64 MB at once.
const LOOKS_MAX: usize = 1_000_000;
/// How many declarations of a circle are named.
const NAMED_MAX: usize = 32;

/// The circles that a declaration is in, the shortest of each type of event that it publishes and of each saga that it begins. The
/// others are the newest of all other names.
pub fn circles(own: &Plan, others: &[&Plan]) -> Vec<Finding> {
    let graph = Graph::from_first(std::iter::once(own).chain(others.iter().copied()).collect());
    let (mut told, mut findings) = (BTreeSet::new(), Vec::new());
    for sort in [Sort::Begun, Sort::Unanswered, Sort::AtOnce, Sort::AtOnceByNewIds, Sort::Possible] {
        for circle in graph.circles(sort) {
            if told.insert(circle[0].cause) {
                findings.push(graph.finding(sort, &circle));
            }
        }
    }
    if graph.is_cut {
        let sentence = format!(
            "expected declarations that can all be looked at for circles, found more than {LOOKS_MAX} ways from one to another: \
             not all circles are seen; narrow what begins them"
        );
        findings.push(Finding::warned("", sentence));
    }
    findings
}

/// Which circles are looked for, the worst first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Sagas that begin each other as steps.
    Begun,
    /// Rules and expectations alone: each surely takes what the one before it publishes if nobody else does anything.
    Unanswered,
    /// Sagas and rules that surely take what the one before them publishes as it begins, and begin anew by it.
    AtOnce,
    /// The same with a saga as a step: what that leads to has a new correlation id each time.
    AtOnceByNewIds,
    /// Everything else in which not all are rules. Those go no further than [`super::HOPS_MAX`].
    Possible,
}

/// One declaration may lead to another.
#[derive(Clone, Copy)]
struct Edge<'a> {
    from: usize,
    to: usize,
    cause: Cause<'a>,
    place: Place,
    /// The one takes all events of this type that the other publishes, and those are published at once, or by an expectation.
    is_sure: bool,
}

struct Graph<'a> {
    plans: Vec<&'a Plan>,
    /// Whether an instance has ended once it has begun.
    ends_at_once: Vec<bool>,
    /// What leads to each.
    into: Vec<Vec<Edge<'a>>>,
    is_cut: bool,
}

impl<'a> Graph<'a> {
    /// What the first one may lead to.
    fn from_first(plans: Vec<&'a Plan>) -> Self {
        let starts = Starts::of(&plans);
        let (mut ends_at_once, mut into) = (vec![false; plans.len()], vec![Vec::new(); plans.len()]);
        let (mut seen, mut open) = (BTreeSet::from([0]), vec![0]);
        let mut looks = 0;
        while let Some(from) = open.pop() {
            let (plan, source, at_once) = (plans[from], plans[from].source(), plans[from].at_once());
            ends_at_once[from] = at_once.ends;
            let is_sure = |place| at_once.has(place) || plan.kind() == Kind::Expectation;
            // Each type once: as what is published at once, if it is.
            let mut causes: Vec<_> = plan.causes().map(|(place, cause)| (cause, !is_sure(place), place)).collect();
            causes.sort_by_key(|(cause, is_late, _)| (*cause, *is_late));
            causes.dedup_by_key(|(cause, ..)| *cause);
            for (cause, is_late, place) in causes {
                for to in starts.of_cause(cause) {
                    looks += 1;
                    if looks > LOOKS_MAX {
                        return Self { plans, ends_at_once, into, is_cut: true };
                    }
                    let takes = match cause {
                        Cause::Event(kind) => plans[to].start.takes_from(kind, &source),
                        Cause::Step(_) => Takes::All,
                    };
                    // What asks for no type is meant for many other events.
                    if takes >= Takes::Some {
                        let is_sure = takes == Takes::All && !is_late;
                        into[to].push(Edge { from, to, cause, place, is_sure });
                        if seen.insert(to) {
                            open.push(to);
                        }
                    }
                }
            }
        }
        Self { plans, ends_at_once, into, is_cut: false }
    }

    fn kind(&self, at: usize) -> Kind {
        self.plans[at].kind()
    }

    /// Whether circles of a sort go this way.
    fn goes(&self, sort: Sort, edge: &Edge<'_>) -> bool {
        let is_of = |kind| self.kind(edge.from) == kind || self.kind(edge.to) == kind;
        match sort {
            Sort::Begun => matches!(edge.cause, Cause::Step(_)),
            Sort::Unanswered => edge.is_sure && !is_of(Kind::Saga),
            Sort::AtOnce => edge.is_sure && !is_of(Kind::Expectation) && self.begins(edge, false),
            Sort::AtOnceByNewIds => edge.is_sure && !is_of(Kind::Expectation) && self.begins(edge, true),
            Sort::Possible => true,
        }
    }

    /// Whether a circle of a sort has to go at least one way such as this.
    fn counts(&self, sort: Sort, edge: &Edge<'_>) -> bool {
        match sort {
            Sort::Begun | Sort::Unanswered | Sort::AtOnce => true,
            Sort::AtOnceByNewIds => self.has_new_id(edge),
            Sort::Possible => self.kind(edge.from) != Kind::Rule,
        }
    }

    /// A saga that is begun as a step has a correlation id of its own, unless its key stands elsewhere.
    fn has_new_id(&self, edge: &Edge<'_>) -> bool {
        matches!(edge.cause, Cause::Step(_)) && self.plans[edge.to].key == Key::Correlation
    }

    /// Whether it surely begins something each time: its key is another one, or what had the key has ended and may begin again.
    fn begins(&self, edge: &Edge<'_>, is_new_id: bool) -> bool {
        let plan = self.plans[edge.to];
        let is_key_new = match &plan.key {
            Key::Correlation => is_new_id,
            Key::Attribute(name) => &**name == "id",
            Key::Data(_) => false,
        };
        let begins_again = plan.again == Again::Begin && self.ends_at_once[edge.to];
        plan.kind() == Kind::Rule || matches!(edge.cause, Cause::Step(_)) || is_key_new || begins_again
    }

    /// The shortest circles of a sort through the first declaration, one for each way out of it.
    fn circles(&self, sort: Sort) -> Vec<Vec<Edge<'a>>> {
        // Backwards from it: by which way on from each, once without and once with a way that counts.
        let mut on: Vec<[Option<(Edge<'a>, bool)>; 2]> = vec![[None; 2]; self.plans.len()];
        let (mut open, mut found) = (VecDeque::from([(0, false)]), BTreeMap::new());
        while let Some((at, has_counted)) = open.pop_front() {
            for edge in self.into[at].iter().filter(|edge| self.goes(sort, edge)) {
                let counts = has_counted || self.counts(sort, edge);
                if edge.from == 0 {
                    if counts && !found.contains_key(&edge.cause) {
                        found.insert(edge.cause, route(*edge, has_counted, &on));
                    }
                    continue;
                }
                let next = &mut on[edge.from][usize::from(counts)];
                if next.is_none() {
                    *next = Some((*edge, has_counted));
                    open.push_back((edge.from, counts));
                }
            }
        }
        found.into_values().collect()
    }

    fn finding(&self, sort: Sort, circle: &[Edge<'a>]) -> Finding {
        let own = self.plans[0];
        let (path, route) = (path(own, circle[0].place), self.route(circle));
        match sort {
            Sort::Begun => {
                let sentence = format!("expected a saga that does not begin {} in turn, found {route}", own.name());
                Finding::refused(format!("{path}/saga"), sentence)
            }
            Sort::Unanswered if circle.iter().all(|edge| self.kind(edge.from) == Kind::Rule) => {
                Finding::refused(path, format!("expected rules that do not set each other off for ever, found {route}"))
            }
            Sort::Unanswered => {
                let sentence = format!(
                    "expected events that come to an end, found {route}: while nothing else comes this goes round for ever; \
                     publish another type, or remind by a saga with a loop, which has an end"
                );
                Finding::refused(path, sentence)
            }
            Sort::AtOnce | Sort::AtOnceByNewIds => {
                let sentence = format!(
                    "expected events that come to an end, found {route}: nothing is waited for on the way, so one event leads to \
                     others without end; publish another type, or wait for something before it"
                );
                Finding::refused(path, sentence)
            }
            Sort::Possible => {
                let why = match self.closed_by(circle) {
                    Some(plan) => format!(
                        "while the key is remembered {} begins nothing by it; publish another type or narrow starts_on, or say again: \
                         begin if it is to begin anew",
                        plan.name()
                    ),
                    None => "it may go round for ever; publish another type or narrow what begins them, unless it is meant so"
                        .to_owned(),
                };
                Finding::warned(path, format!("expected events that come to an end, found {route}: {why}"))
            }
        }
    }

    /// A saga that begins nothing for the key that surely comes round: everything passes correlation ids on.
    fn closed_by(&self, circle: &[Edge<'a>]) -> Option<&'a Plan> {
        let is_closed = |edge: &&Edge<'a>| {
            let plan = self.plans[edge.to];
            let ignores = (&plan.key, plan.again) == (&Key::Correlation, Again::Ignore);
            plan.kind() == Kind::Saga && ignores && matches!(edge.cause, Cause::Event(_))
        };
        let closed = circle.iter().find(is_closed).filter(|_| !circle.iter().any(|edge| self.has_new_id(edge)));
        closed.map(|edge| self.plans[edge.to])
    }

    /// `s1 -> loop.b -> s2 -> loop.a -> s1`.
    fn route(&self, circle: &[Edge<'a>]) -> String {
        let name = |at: usize| match self.kind(at) {
            Kind::Saga => self.plans[at].name().to_owned(),
            Kind::Rule => format!("rule {}", self.plans[at].name()),
            Kind::Expectation => format!("expectation {}", self.plans[at].name()),
        };
        let mut route = name(0);
        let left_out = circle.len().saturating_sub(NAMED_MAX);
        for (number, edge) in circle.iter().enumerate() {
            match number + 1 {
                next if next < circle.len() && next >= NAMED_MAX => continue,
                next if next == circle.len() && left_out > 0 => route += &format!(" -> … {left_out} more …"),
                _ => {}
            }
            if let Cause::Event(kind) = edge.cause {
                route += &format!(" -> {kind}");
            }
            route += &format!(" -> {}", name(edge.to));
        }
        route
    }
}

fn route<'a>(first: Edge<'a>, has_counted: bool, on: &[[Option<(Edge<'a>, bool)>; 2]]) -> Vec<Edge<'a>> {
    let (mut circle, mut has_counted) = (vec![first], has_counted);
    while let Some((edge, after)) = circle.last().and_then(|last| on[last.to][usize::from(has_counted)]) {
        circle.push(edge);
        has_counted = after;
    }
    circle
}

fn path(plan: &Plan, place: Place) -> String {
    match (plan.kind(), place) {
        (Kind::Rule, _) => "/on".to_owned(),
        (Kind::Expectation, _) => "/otherwise".to_owned(),
        (Kind::Saga, Place::Step(node) | Place::Answer(node)) => format!("/steps/{}", plan.step_name(node)),
        (Kind::Saga, Place::Compensation(node)) => format!("/steps/{}/compensate", plan.step_name(node)),
        (Kind::Saga, Place::Completion) => "/completes_with".to_owned(),
        (Kind::Saga, Place::Failure) => "/fails_with".to_owned(),
    }
}

/// Declarations by what begins them, so that an event is held against few of them.
struct Starts<'a> {
    sagas: BTreeMap<&'a str, usize>,
    /// By how the types begin that they take.
    heads: BTreeMap<&'a str, Vec<usize>>,
    lengths: BTreeSet<usize>,
    /// Those that do not say how the types begin that they take.
    others: Vec<usize>,
}

impl<'a> Starts<'a> {
    fn of(plans: &[&'a Plan]) -> Self {
        let (sagas, heads) = (BTreeMap::new(), BTreeMap::new());
        let mut starts = Self { sagas, heads, lengths: BTreeSet::new(), others: Vec::new() };
        for (at, plan) in plans.iter().enumerate() {
            if plan.kind() == Kind::Saga {
                starts.sagas.insert(plan.name(), at);
            }
            let Some(heads) = plan.start.type_heads() else {
                starts.others.push(at);
                continue;
            };
            for head in heads {
                starts.heads.entry(head).or_default().push(at);
                starts.lengths.insert(head.len());
            }
        }
        starts
    }

    /// Those that may be begun by it.
    fn of_cause(&self, cause: Cause<'_>) -> BTreeSet<usize> {
        match cause {
            Cause::Step(saga) => self.sagas.get(saga).copied().into_iter().collect(),
            Cause::Event(kind) => {
                let heads = self.lengths.iter().filter_map(|length| self.heads.get(kind.get(..*length)?));
                heads.flatten().chain(&self.others).copied().collect()
            }
        }
    }
}
