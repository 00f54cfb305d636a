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
use crate::{App, answer, body, consume, problem, publish};

/// An append for which the engine has to look at more than this before it takes it goes to a thread where it holds up
/// nobody. The usual one rests on what was just read: a few words against a few hundred positions, which are in memory.
const INLINE_LOOKS_MAX: u64 = 4_096;

pub(crate) async fn append(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run(app, request).await)
}

async fn run(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    if let Err(over) = app.demand_rate() {
        body::linger(request.into_body());
        app.host.hold_back(&over).await;
        return Err(over);
    }
    let whole = body::json(&app, request).await?;
    let is_quick = publish::is_quick(whole.bytes.len());
    let ((append, answered), held) = publish::parse(&app, whole, read).await?;
    if let Some(answered) = answered {
        let tenant = Arc::clone(&app.tenant);
        // To its end, also if the client goes away: the events and the acknowledgement belong together.
        let work = move || {
            let _held = held;
            Ok(answered.append(&tenant, append))
        };
        return app.home.blocking(work).await?.map(answer::json);
    }
    let is_quick = is_quick && !append.events.iter().any(Prepared::has_payload);
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
        Ok(Ok(appended)) => Ok(answer::json(write(&appended, None))),
        Ok(Err(NotAppended::Refused(refusal))) => Err(refusal.into()),
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
    fn append(self, tenant: &Arc<Tenant>, append: Append) -> Result<Vec<u8>, Problem> {
        let is_there = match append.events.first().map(Prepared::event) {
            Some(event) => {
                tenant.event_by_id(event.source(), event.id()).map_err(|fault| problem::fault(&fault))?.is_some()
            }
            None => false,
        };
        if !is_there {
            tenant.may_acknowledge(&self.subscription, self.id, self.token).map_err(|reason| not_done(&reason))?;
        }
        match tenant.append_wait(append) {
            Ok(appended) => Ok(write(&appended, Some(self.acknowledge(tenant)))),
            Err(NotAppended::Refused(refusal @ (Refusal::IdConflict { .. } | Refusal::PartlyRepeated { .. }))) => {
                Err(Problem::from(refusal).with("acknowledged", self.acknowledge(tenant)))
            }
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

fn read(app: &App, bytes: &[u8]) -> Result<(Append, Option<Answered>), Problem> {
    let request: AppendRequest = body::object(bytes, "an object with events, conditions and checkpoint")?;
    request.check_counts()?;
    let (conditions, checkpoint) = (request.conditions()?, request.checkpoint()?);
    let answered = request.acknowledge.as_ref().map(|body| Answered::read(app, body)).transpose()?;
    // What stands for all events of a source is not for those who may publish some.
    if checkpoint.is_some() || request.events.is_empty() {
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
    Ok((Append { events, conditions, checkpoint, ..Append::default() }, answered))
}

fn write(appended: &Appended, acknowledged: Option<bool>) -> Vec<u8> {
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
    if let Some(acknowledged) = acknowledged {
        out.extend_from_slice(format!(",\"acknowledged\":{acknowledged}").as_bytes());
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::{Query, QueryItem, StreamExpectation};
    use quipu_engine::Place;

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
        for (appended, acknowledged) in [
            (Appended { commit: 7, events, ..Appended::default() }, None),
            (Appended { commit: 8, is_duplicate: true, ..Appended::default() }, Some(false)),
        ] {
            let written = write(&appended, acknowledged);
            let answer: quipu_api::AppendAnswer = serde_json::from_slice(&written).unwrap();
            assert_eq!((answer.commit, answer.duplicate), (appended.commit, appended.is_duplicate));
            assert_eq!(serde_json::to_vec(&answer).unwrap(), written);
        }
    }
}
