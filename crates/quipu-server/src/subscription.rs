//! Subscriptions: making, changing, moving and explaining them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use quipu_api::subscription::{
    DeletedAnswer, DeliveryCounts, DeliverySums, DueDelivery, ExplainAnswer, LagBody, SeekAnswer, SeekRequest,
    StandstillBody, read_definition,
};
use quipu_api::{CreateSubscription, Problem, SubscriptionAnswer, SubscriptionsAnswer};
use quipu_domain::{Permission, Subscription};
use quipu_engine::{Explained, Lag, NotDone, SeekPreview, Standstill, SubscriptionInfo, Tenant};

use crate::pusher::Standing;
use crate::refusal::{ask, ask_pushers};
use crate::webhook::Secret;
use crate::{App, answer, audited, body, problem, publish, secret};

pub(crate) async fn create(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_create(app, request).await.map_err(Problem::hushed))
}

async fn run_create(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = read_body(&app, request, CreateSubscription::from_json).await?;
    let CreateSubscription { name, definition } = asked;
    app.demand_for(Permission::Manage, &name)?;
    demand_answers(&app, &definition)?;
    let (created, made) = ask_pushers(&app, "/push", move |pushers, tenant| {
        let created = pushers.create(&name, definition)?;
        Ok((created, tenant.subscription(&name).map_err(NotDone::from)?))
    })
    .await?;
    app.tell_of(format!("subscriptions/{}", made.name), told(&made));
    let mut response = defined(&made, created.secret.as_ref());
    if created.is_new {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// Whoever makes an endpoint one whose answers are appended lets it publish, for as long as the subscription is there.
fn demand_answers(app: &App, definition: &Subscription) -> Result<(), Problem> {
    if definition.answers { app.demand_whole(Permission::Publish) } else { Ok(()) }
}

/// The answer to a definition, with the secret that was made for it.
fn defined(info: &SubscriptionInfo, secret: Option<&Secret>) -> Response {
    match secret.map(|secret| secret.expose().to_string()) {
        None => json(&body_of(info)),
        secret => json(&SubscriptionAnswer { secret, ..body_of(info) }),
    }
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>) -> Response {
    let access = app.access().clone();
    let all = ask(&app, move |tenant| {
        let mut all = tenant.subscriptions();
        all.retain(|info| access.has_for(Permission::Observe, &info.name));
        let subscriptions = all.iter().map(body_of).collect();
        Ok(json(&SubscriptionsAnswer { subscriptions }))
    });
    problem::answer(all.await)
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    let name = name(&request);
    problem::answer(ask(&app, move |tenant| Ok(json(&body_of(&tenant.subscription(&name)?)))).await)
}

pub(crate) async fn change(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_change(app, request).await.map_err(Problem::hushed))
}

async fn run_change(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = name(&request);
    let definition = read_body(&app, request, read_definition).await?;
    demand_answers(&app, &definition)?;
    let (secret, info) = ask_pushers(&app, "/push", move |pushers, tenant| {
        let secret = pushers.change(&name, definition)?;
        Ok((secret, tenant.subscription(&name).map_err(NotDone::from)?))
    })
    .await?;
    app.tell(told(&info));
    Ok(defined(&info, secret.as_ref()))
}

/// A definition for the audit trail. The path and the query of a URL are often secrets.
fn told(info: &SubscriptionInfo) -> serde_json::Value {
    let mut definition = info.definition.as_ref().clone();
    if let Some(push) = &mut definition.push {
        audited::without_path(&mut push.url);
    }
    serde_json::to_value(&definition).expect("a definition is JSON")
}

pub(crate) async fn delete(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    let name = name(&request);
    let deleted = ask_pushers(&app, "/push", move |pushers, _| {
        pushers.delete(&name)?;
        Ok(json(&DeletedAnswer { deleted: name }))
    });
    problem::answer(deleted.await)
}

pub(crate) async fn pause(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(hold_back(app, request, true).await)
}

pub(crate) async fn resume(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(hold_back(app, request, false).await)
}

async fn hold_back(app: Arc<App>, request: Request, is_paused: bool) -> Result<Response, Problem> {
    let name = name(&request);
    ask(&app, move |tenant| {
        if tenant.definition(&name)?.paused != is_paused {
            tenant.pause_subscription(&name, is_paused)?;
        }
        Ok(json(&body_of(&tenant.subscription(&name)?)))
    })
    .await
}

pub(crate) async fn seek(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_seek(app, request).await)
}

async fn run_seek(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = name(&request);
    let SeekRequest { to, preview } = read_body(&app, request, SeekRequest::from_json).await?;
    app.tell(serde_json::json!({ "to": to, "preview": preview }));
    let sought = ask(&app, move |tenant: &Arc<Tenant>| {
        let counted = if preview { tenant.preview_seek(&name, &to)? } else { None };
        if !preview {
            tenant.seek_subscription(&name, &to)?;
        }
        let position = tenant.subscription(&name)?.scan;
        let count = |of: fn(SeekPreview) -> u64| counted.map(of);
        let (again, skipped) = (count(|counted| counted.again), count(|counted| counted.skipped));
        Ok(SeekAnswer { preview, again, skipped, forgotten: count(|counted| counted.forgotten), position })
    });
    Ok(json(&sought.await?))
}

pub(crate) async fn explain(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    let name = name(&request);
    let pushers = Arc::clone(&app.home.pushers);
    let explained = ask(&app, move |tenant| {
        let standing = match &tenant.definition(&name)?.push {
            Some(_) => pushers.standing(&name).ok(),
            None => None,
        };
        let mut explained = tenant.explain_subscription(&name)?;
        if let Some(standing) = &standing {
            explained = at_the_endpoint(explained, standing);
        }
        Ok(json(&held_back(explanation(name, explained), standing.as_ref())))
    });
    problem::answer(explained.await)
}

/// Whoever pushes asks again when one of its webhooks is answered, or when its endpoint may have another on its way: what
/// is waited for is an answer, to its own webhooks or to those of others, unless there were some lately.
fn at_the_endpoint(mut explained: Explained, standing: &Standing) -> Explained {
    let is_waiting = standing.in_hand > 0 && (explained.in_flight_count > 0 || standing.is_crowded);
    let is_left = matches!(explained.standstill, Standstill::NobodyAsks { .. } | Standstill::CatchingUp { .. });
    if is_left && is_waiting && !explained.is_moving {
        let (deliveries, count) = (explained.in_flight.clone(), explained.in_flight_count);
        explained.standstill = Standstill::WaitingForAcks { deliveries, count };
    }
    explained
}

/// What holds the endpoint back comes before what the deliveries wait for. A pause, a definition that is not accepted, and
/// dead letters that are too many or not written, with which nothing is tried either, come before both; and an endpoint that may not be called for
/// a while holds back nothing where nothing would go.
fn held_back(mut answer: ExplainAnswer, standing: Option<&Standing>) -> ExplainAnswer {
    let is_pushed = standing.is_some_and(|standing| standing.held.is_none());
    match answer.standstill {
        StandstillBody::Paused { .. }
        | StandstillBody::DefinitionRefused { .. }
        | StandstillBody::TooManyDeadLetters { .. }
        | StandstillBody::DeadLettersUnwritten { .. } => return answer,
        StandstillBody::KeyParked { .. } | StandstillBody::NoMatchSince { .. } | StandstillBody::Idle { .. }
            if is_pushed =>
        {
            return answer;
        }
        _ => {}
    }
    if let Some((standing, sentence)) = standing.and_then(|standing| Some((standing, standing.sentence()?))) {
        let (circuit, until) = secret::circuit(standing);
        answer.sentence = sentence;
        answer.standstill = StandstillBody::EndpointHeld { circuit, until: until.map(|until| until.to_string()) };
    }
    answer
}

/// The name in the path, `/v1/subscriptions/{name}…`.
pub(crate) fn name(request: &Request) -> String {
    let raw = request.uri().path().split('/').nth(3).unwrap_or_default();
    // One that is no UTF-8 is nobody's name.
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

/// Reads a JSON body.
pub(crate) async fn read_body<T: Send + 'static>(
    app: &Arc<App>,
    request: Request,
    read: impl FnOnce(&[u8]) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let whole = body::json(app, request).await?;
    let (parsed, _held) = publish::parse(app, whole, |_, bytes| read(bytes)).await?;
    Ok(parsed)
}

/// An answer of a wire type.
pub(crate) fn json(body: &impl serde::Serialize) -> Response {
    answer::json(serde_json::to_vec(body).expect("a wire type is JSON"))
}

fn body_of(info: &SubscriptionInfo) -> SubscriptionAnswer {
    let (summary, counts) = (&info.summary, &info.counts);
    let mut definition = info.definition.as_ref().clone();
    let paused_reason = definition.paused_reason.take();
    SubscriptionAnswer {
        name: info.name.clone(),
        definition,
        paused_reason,
        position: info.scan,
        deliveries: DeliverySums {
            ready: summary.ready as u64,
            in_flight: summary.in_flight as u64,
            waiting: summary.waiting as u64,
            parked: summary.parked as u64,
            keys: summary.keys as u64,
        },
        counts: DeliveryCounts {
            handed_out: counts.handed_out,
            acknowledged: counts.acknowledged,
            failed: counts.failed,
            dead_lettered: counts.dead_lettered,
            expired: counts.expired,
        },
        dead_letters: info.dead_letters,
        secret: None,
    }
}

fn explanation(name: String, explained: Explained) -> ExplainAnswer {
    let Explained { standstill, lag, .. } = explained;
    let sentence = standstill.to_string();
    let standstill = match standstill {
        Standstill::Paused { reason } => StandstillBody::Paused { paused_reason: reason },
        Standstill::DefinitionRefused { reason: why } => StandstillBody::DefinitionRefused { why },
        Standstill::TooManyDeadLetters { open, limit } => StandstillBody::TooManyDeadLetters { open, limit },
        Standstill::DeadLettersUnwritten { count } => StandstillBody::DeadLettersUnwritten { count: count as u64 },
        Standstill::CatchingUp { events, per_second, eta_s } => {
            StandstillBody::CatchingUp { events, per_second, eta_seconds: eta_s }
        }
        Standstill::NobodyAsks { ready, unseen } => StandstillBody::NobodyAsks { ready: ready as u64, unseen },
        Standstill::RateLimited { until } => StandstillBody::RateLimited { until: until.to_string() },
        Standstill::WaitingForAcks { deliveries, count } => {
            let due = |(position, due): (u64, quipu_domain::Timestamp)| DueDelivery { position, due: due.to_string() };
            let deliveries = deliveries.into_iter().map(due).collect();
            StandstillBody::WaitingForAcks { count: count as u64, deliveries }
        }
        Standstill::WaitingForRetry { position, until, count } => {
            StandstillBody::WaitingForRetry { position, until: until.to_string(), count: count as u64 }
        }
        Standstill::KeyParked { position, dead_letter } => StandstillBody::KeyParked { position, dead_letter },
        Standstill::NoMatchSince { position, looked_at } => StandstillBody::NoMatchSince { position, looked_at },
        Standstill::Idle { position } => StandstillBody::Idle { position },
    };
    ExplainAnswer { name, sentence, standstill, lag: lag_of(lag) }
}

fn lag_of(lag: Lag) -> LagBody {
    let seconds = match lag.age_ms {
        Some(ms) => Some(ms as f64 / 1_000.0),
        // Nothing is unfinished, and that is known.
        None if lag.events == Some(0) && lag.unseen == 0 => Some(0.0),
        None => None,
    };
    LagBody { events: lag.events, unseen: lag.unseen, seconds }
}

#[cfg(test)]
mod tests {
    use quipu_domain::Timestamp;
    use quipu_domain::delivery::CircuitState;

    use super::*;

    #[test]
    fn what_is_unknown_of_a_lag_is_never_zero() {
        let lag = |events, unseen, age_ms| lag_of(Lag { events, unseen, age_ms });
        assert_eq!(lag(Some(0), 0, None).seconds, Some(0.0));
        assert_eq!(lag(Some(2), 0, Some(1_500)).seconds, Some(1.5));
        let unknown = lag(None, 7, None);
        assert_eq!((unknown.events, unknown.seconds), (None, None));
        assert_eq!(lag(Some(2), 0, None).seconds, None);
    }

    fn standing(in_hand: usize, is_crowded: bool) -> Standing {
        let (circuit, limited_until) = (CircuitState::Closed, None);
        Standing { endpoint: None, circuit, limited_until, in_hand, is_crowded, held: None }
    }

    #[test]
    fn an_endpoint_is_waited_for_while_something_is_there_and_nothing_is_answered() {
        let lag = Lag { events: None, unseen: 100, age_ms: None };
        let left = Standstill::CatchingUp { events: None, per_second: None, eta_s: None };
        let said = |in_hand, is_crowded, in_flight_count, is_moving| {
            let in_flight = (1..=in_flight_count as u64).map(|position| (position, Timestamp(0))).collect();
            let explained = Explained { standstill: left.clone(), lag, in_flight, in_flight_count, is_moving };
            at_the_endpoint(explained, &standing(in_hand, is_crowded)).standstill
        };
        let waiting = |count: usize| {
            let deliveries = (1..=count as u64).map(|position| (position, Timestamp(0))).collect();
            Standstill::WaitingForAcks { deliveries, count }
        };
        assert_eq!(said(2, false, 2, false), waiting(2));
        assert_eq!(said(2, false, 2, true), left, "there are answers, however new they are");
        assert_eq!(said(1, false, 0, false), left, "it is about to ask the engine");
        assert_eq!(said(1, true, 0, false), waiting(0));
        assert_eq!(said(0, true, 0, false), left);
    }
}
