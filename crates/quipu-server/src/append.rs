//! The conditional append: all or nothing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::{AcknowledgeBody, AppendRequest, Problem};
use quipu_domain::delivery::DeliveryId;
use quipu_domain::{Condition, Permission};
use quipu_engine::{Answer, Append, Appended, NotAppended, Prepared};
use tokio::sync::oneshot;

use crate::refusal::{ask, refused};
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
    let ((append, answered), _held) = publish::parse(&app, whole, read).await?;
    if let Some(Answered { subscription, id, token }) = answered.clone() {
        ask(&app, move |tenant| tenant.may_acknowledge(&subscription, id, token)).await?;
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
        Ok(Ok(appended)) => {
            let acknowledged = match answered {
                Some(answered) => Some(answered.acknowledge(&app).await?),
                None => None,
            };
            Ok(answer::json(write(&appended, acknowledged)))
        }
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
#[derive(Clone)]
struct Answered {
    subscription: String,
    id: DeliveryId,
    token: u64,
}

impl Answered {
    fn read(app: &App, body: AcknowledgeBody) -> Result<Self, Problem> {
        let AcknowledgeBody { subscription, position, dead_letter, token } = body;
        app.demand_for(Permission::Consume, &subscription)?;
        let token = consume::token(&token).ok_or_else(|| refused(&consume::late(position)))?;
        Ok(Self { subscription, id: DeliveryId { position, dead_letter: dead_letter.unwrap_or(0) }, token })
    }

    /// Whether it was in time: if not, it comes again, and the same append is a repeat then.
    async fn acknowledge(self, app: &App) -> Result<bool, Problem> {
        let Self { subscription, id, token } = self;
        let taken = ask(app, move |tenant| tenant.answer(&subscription, vec![(id, token, Answer::Ack)])).await?;
        Ok(taken.iter().all(Result::is_ok))
    }
}

fn read(app: &App, bytes: &[u8]) -> Result<(Append, Option<Answered>), Problem> {
    let request: AppendRequest = body::object(bytes, "an object with events, conditions and checkpoint")?;
    request.check_counts()?;
    let (conditions, checkpoint) = (request.conditions()?, request.checkpoint()?);
    let answered = request.acknowledge.map(|body| Answered::read(app, body)).transpose()?;
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
    Ok((Append { events, conditions, checkpoint }, answered))
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
            (Appended { commit: 7, events, is_duplicate: false }, None),
            (Appended { commit: 8, events: vec![], is_duplicate: true }, Some(false)),
        ] {
            let written = write(&appended, acknowledged);
            let answer: quipu_api::AppendAnswer = serde_json::from_slice(&written).unwrap();
            assert_eq!((answer.commit, answer.duplicate), (appended.commit, appended.is_duplicate));
            assert_eq!(serde_json::to_vec(&answer).unwrap(), written);
        }
    }
}
