//! The conditional append: all or nothing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::{AcknowledgeBody, AppendRequest, Problem};
use quipu_domain::delivery::DeliveryId;
use quipu_domain::{Condition, Permission, Refusal};
use quipu_engine::{Answer, Append, Appended, NotAppended, Prepared, Tenant};
use tokio::sync::oneshot;

use crate::refusal::{not_done, refused};
use crate::timer::{self, Named};
use crate::{App, answer, body, consume, problem, publish};

/// An append for which the engine has to look at more than this before it takes it goes to a thread where it holds up
/// nobody. The usual one rests on what was just read: a few words against a few hundred positions, which are in memory.
const INLINE_LOOKS_MAX: u64 = 4_096;

pub(crate) async fn append(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run(app, request).await)
}

async fn run(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let request = app.demand_rate_of(request).await?;
    let whole = body::json(&app, request).await?;
    let is_quick = publish::is_quick(whole.bytes.len());
    let (Asked { mut append, named, answered }, held) = publish::parse(&app, whole, read).await?;
    if let Some(named) = &named {
        let (tenant, names) = (Arc::clone(&app.tenant), named.clone());
        append = app.home.blocking(move || names.found(&tenant, append)).await?;
    }
    let writing = Writing { cancels: named.as_ref().map_or(append.cancels.len(), Named::cancels), acknowledged: None };
    if let Some(answered) = answered {
        let tenant = Arc::clone(&app.tenant);
        // To its end, also if the client goes away: the events and the acknowledgement belong together.
        let work = move || {
            let _held = held;
            Ok(answered.append(&tenant, append, writing))
        };
        let appended = app.home.blocking(work).await?;
        return appended.map(answer::json).map_err(|problem| timer::without_others(&app, problem));
    }
    let is_quick = is_quick && !append.events.iter().chain(&append.timers).any(Prepared::has_payload);
    let is_quick = is_quick && looks(&append.conditions, app.tenant.position()) <= INLINE_LOOKS_MAX;
    let (sender, reply) = oneshot::channel();
    let replied = move |appended| {
        // The receiver is gone if the client is; the append is decided all the same.
        let _ = sender.send(appended);
    };
    if is_quick {
        app.tenant.append(append, replied);
    } else {
        let tenant = Arc::clone(&app.tenant);
        let submit = move || {
            tenant.append(append, replied);
            Ok(())
        };
        problem::blocking(submit).await?;
    }
    match reply.await {
        Ok(Ok(appended)) => Ok(answer::json(writing.write(&appended))),
        Ok(Err(NotAppended::Refused(refusal))) => Err(timer::without_others(&app, refusal.into())),
        Ok(Err(NotAppended::Fault(fault))) => Err(problem::fault(&fault)),
        Err(_) => Err(problem::no_answer()),
    }
}

/// How much the engine may have to look at before it takes an append: for each condition on a query, all types and
/// tags of that, once for themselves and once for every position that the client has not seen.
fn looks(conditions: &[Condition], newest: u64) -> u64 {
    let of_condition = |condition: &Condition| match condition {
        Condition::Stream { .. } => 1,
        Condition::NoneAfter { position, query } => {
            let words = query.items.iter().map(|item| item.types.len() + item.tags.len()).sum::<usize>();
            let unseen = newest.saturating_sub(*position);
            unseen.saturating_add(1).saturating_mul(u64::try_from(words.max(1)).unwrap_or(u64::MAX))
        }
    };
    conditions.iter().map(of_condition).fold(0, u64::saturating_add)
}

/// An append as it was asked for.
struct Asked {
    append: Append,
    /// The timers that it names, if these have to be looked at first.
    named: Option<Named>,
    answered: Option<Answered>,
}

/// The delivery that led to the events of an append.
struct Answered {
    subscription: String,
    id: DeliveryId,
    token: u64,
}

impl Answered {
    fn read(app: &App, body: &AcknowledgeBody) -> Result<Self, Problem> {
        let AcknowledgeBody { subscription, position, dead_letter, replay, token } = body;
        app.demand_for(Permission::Consume, subscription)?;
        let token = consume::token(token).ok_or_else(|| refused(&consume::late(*position)))?;
        let id = consume::delivery_id(*position, *dead_letter, *replay);
        Ok(Self { subscription: subscription.clone(), id, token })
    }

    /// That another answer to the same delivery would have the same ids.
    fn check(&self, app: &App, events: &[Prepared]) -> Result<(), Problem> {
        let is_other = |event: &Prepared| !app.tenant.is_of_delivery(&self.subscription, self.id, event.event().id());
        let expected = "an id that is the idempotency key of the delivery, / and a word, such as its number";
        match events.iter().position(is_other) {
            _ if events.is_empty() => Err(Problem::pointer(
                "/events",
                "expected at least one event; acknowledge without one as other deliveries",
            )),
            Some(index) => {
                let found = events[index].event().id().to_owned();
                let detail = format!("expected {expected}, found {}", found.chars().take(128).collect::<String>());
                Err(Problem::pointer(format!("/events/{index}/id"), detail))
            }
            None => Ok(()),
        }
    }

    /// Appends what the delivery has led to, unless its time is over, and acknowledges it. If events of these ids are there it was
    /// answered before: with the same it is a repeat, and with others the first answer stands. It is acknowledged all the same.
    fn append(self, tenant: &Arc<Tenant>, append: Append, writing: Writing) -> Result<Vec<u8>, Problem> {
        let events = append.events.len();
        let is_there = match append.events.first().map(Prepared::event) {
            Some(event) => {
                tenant.event_by_id(event.source(), event.id()).map_err(|fault| problem::fault(&fault))?.is_some()
            }
            None => false,
        };
        if !is_there {
            tenant.may_acknowledge(&self.subscription, self.id, self.token).map_err(|reason| not_done(&reason))?;
        }
        // The ids of timers are anybody's: what is taken of them says nothing of an answer.
        let is_of_answer = |index: usize| is_there || index < events;
        match tenant.append_wait(append) {
            Ok(appended) => Ok(Writing { acknowledged: Some(self.acknowledge(tenant)), ..writing }.write(&appended)),
            Err(NotAppended::Refused(
                refusal @ (Refusal::IdConflict { index, .. }
                | Refusal::WaitsAlready { index, .. }
                | Refusal::PartlyRepeated { index, .. }),
            )) if is_of_answer(index) => Err(Problem::from(refusal).with("acknowledged", self.acknowledge(tenant))),
            Err(NotAppended::Refused(refusal)) => Err(refusal.into()),
            Err(NotAppended::Fault(fault)) => Err(problem::fault(&fault)),
        }
    }

    /// Whether it was with this worker still. If not, it was acknowledged before, or comes again.
    fn acknowledge(&self, tenant: &Tenant) -> bool {
        let taken = tenant.answer(&self.subscription, vec![(self.id, self.token, Answer::Ack)]);
        taken.is_ok_and(|taken| taken.iter().all(Result::is_ok))
    }
}

fn read(app: &App, bytes: &[u8]) -> Result<Asked, Problem> {
    let request: AppendRequest = body::object(bytes, "an object with events, conditions, checkpoint and timers")?;
    request.check_counts()?;
    let (conditions, checkpoint) = (request.conditions()?, request.checkpoint()?);
    let answered = request.acknowledge.as_ref().map(|body| Answered::read(app, body)).transpose()?;
    // What stands for all events of a source is not for those who may publish some.
    if checkpoint.is_some() {
        app.demand_whole(Permission::Publish)?;
    }
    // Whether there is an event that matches a query is for those to know who may read all.
    if conditions.iter().any(|condition| matches!(condition, Condition::NoneAfter { .. })) {
        app.demand_whole(Permission::Read)?;
    }
    let mut events = Vec::with_capacity(request.events.len());
    for (index, text) in request.events.iter().enumerate() {
        let prepared = app.prepare(text.get().as_bytes());
        events.push(
            prepared.map_err(|problem| problem.with("pointer", format!("/events/{index}")).with("index", index))?,
        );
    }
    if let Some(answered) = &answered {
        answered.check(app, &events)?;
    }
    let mut timers = Vec::with_capacity(request.timers.len());
    for (index, timer) in request.timers.iter().enumerate() {
        let prepared = timer::prepare(app, timer);
        timers.push(prepared.map_err(|problem| timer::of_append(problem, index, events.len()))?);
    }
    let cancels = request.cancel.iter().map(timer::name).collect();
    let named = Named::of(app, &request.timers, &request.cancel);
    Ok(Asked { append: Append { events, conditions, checkpoint, cancels, timers }, named, answered })
}

/// What of an answer the engine does not know.
#[derive(Clone, Copy, Default)]
struct Writing {
    /// How many timers the client has named to be cancelled.
    cancels: usize,
    acknowledged: Option<bool>,
}

impl Writing {
    fn write(self, appended: &Appended) -> Vec<u8> {
        let mut out = b"{\"commit\":".to_vec();
        answer::number(&mut out, appended.commit);
        out.extend_from_slice(if appended.is_duplicate { b",\"duplicate\":true" } else { b",\"duplicate\":false" });
        out.extend_from_slice(b",\"events\":[");
        for (index, place) in appended.events.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{".as_slice() } else { b",{" });
            answer::place(&mut out, place);
            out.push(b'}');
        }
        out.push(b']');
        if !appended.timers.is_empty() {
            let timers: Vec<_> = appended.timers.iter().map(|known| known.as_ref().map(timer::answer_of)).collect();
            out.extend_from_slice(b",\"timers\":");
            serde_json::to_writer(&mut out, &timers).expect("a wire type is JSON and a Vec takes it");
        }
        if self.cancels > 0 {
            out.extend_from_slice(b",\"cancelled\":");
            let cancelled = &appended.cancelled[..self.cancels.min(appended.cancelled.len())];
            serde_json::to_writer(&mut out, cancelled).expect("numbers are JSON and a Vec takes them");
        }
        if let Some(acknowledged) = self.acknowledged {
            out.extend_from_slice(format!(",\"acknowledged\":{acknowledged}").as_bytes());
        }
        out.push(b'}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::{Query, QueryItem, StreamExpectation, Timestamp};
    use quipu_engine::{Place, Published, Scheduled};

    #[test]
    fn a_condition_on_a_query_looks_at_every_word_for_every_unseen_position() {
        let item = QueryItem { types: vec!["a".into(), "b".into()], tags: vec!["k:v".into()] };
        let after =
            |position| Condition::NoneAfter { position, query: Query { items: vec![item.clone(), item.clone()] } };
        let stream = Condition::Stream { stream: "s".into(), expected: StreamExpectation::Exists };
        for (conditions, looked_at) in [
            (vec![], 0),
            (vec![stream.clone(), stream], 2),
            (vec![after(100)], 6),
            (vec![after(90), after(100)], 66 + 6),
            (vec![after(200)], 6),
        ] {
            assert_eq!(looks(&conditions, 100), looked_at, "{conditions:?}");
        }
    }

    #[test]
    fn the_answer_reads_as_the_wire_type_and_back() {
        let place = |position, stream_version| Place { position, stream_version };
        let events = vec![place(1, Some(1)), place(2, None)];
        let waits = Scheduled { timer: 3, due: Timestamp(0), is_duplicate: false };
        let timers = vec![Some(Published::Scheduled(waits)), Some(Published::Duplicate(place(1, Some(1)))), None];
        let cancelled = vec![Some(2), None, Some(9)];
        for (appended, cancels, acknowledged) in [
            (Appended { commit: 7, events, ..Appended::default() }, 0, None),
            (Appended { commit: 8, is_duplicate: true, ..Appended::default() }, 0, Some(false)),
            (Appended { commit: 9, timers, cancelled, ..Appended::default() }, 2, None),
        ] {
            let written = Writing { cancels, acknowledged }.write(&appended);
            let answer: quipu_api::AppendAnswer = serde_json::from_slice(&written).unwrap();
            assert_eq!((answer.commit, answer.duplicate), (appended.commit, appended.is_duplicate));
            assert_eq!((answer.timers.len(), answer.cancelled.len()), (appended.timers.len(), cancels));
            assert_eq!(serde_json::to_vec(&answer).unwrap(), written);
        }
    }
}
