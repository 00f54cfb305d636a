//! A delivery as a server sends it, read once. One that cannot be read is no delivery of a server that this library knows.

use std::sync::Arc;

use quipu_api::delivery::{Delivery as Body, DeliveryHandle};
use quipu_domain::delivery::{DeliveryId, Key};
use quipu_domain::{Timestamp, parse_recorded};

use crate::Delivery;
use crate::delivery::{Content, Sent};

/// Says what was expected and what was found if it cannot be read.
pub(super) fn read(subscription: &str, body: &Body) -> Result<Delivery, String> {
    let (text, outcome) = match (&body.event, &body.transformed, &body.attributes) {
        (Some(event), ..) => (event, None),
        (None, Some(outcome), Some(attributes)) => (attributes, Some(outcome.get())),
        _ => return Err("expected a delivery with an event, or transformed and attributes, found neither".into()),
    };
    let DeliveryHandle { position, dead_letter, replay, token, attempt, deadline, idempotency_key, key, .. } =
        &body.delivery;
    let invalid = |name: &str, found: &str| format!("expected a delivery with a {name}, found {found:?}");
    let (event, stamp) = parse_recorded(text.get()).map_err(|invalid| invalid.to_string())?;
    let event = match outcome {
        Some(outcome) => event.with_json(Some(outcome)),
        None => event,
    };
    let (event, idempotency_key) = (event.into_owned(), idempotency_key.clone());
    Ok(Delivery {
        subscription: subscription.to_owned(),
        id: DeliveryId { position: *position, dead_letter: dead_letter.unwrap_or(0), replay: replay.unwrap_or(0) },
        token: u64::from_str_radix(token, 16).map_err(|_| invalid("token", token))?,
        key: key.as_ref().map(|key| Key::from_str_radix(key, 16).map_err(|_| invalid("key", key))).transpose()?,
        attempt: *attempt,
        deadline: Timestamp::parse(deadline).ok_or_else(|| invalid("deadline", deadline))?,
        content: Content::Sent(Arc::new(Sent { event, stamp, idempotency_key })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(event: &str, key: &str) -> Body {
        let handle = format!(
            r#""delivery":{{"position":7,"deadletter":3,"token":"00000000000000ff","attempt":2,{key}
            "deadline":"2026-01-31T09:30:30.000Z","idempotencykey":"billing/7","redriven":true}}"#
        );
        serde_json::from_str(&format!("{{{event}{handle}}}")).unwrap()
    }

    #[test]
    fn a_delivery_is_read_as_the_server_writes_it() {
        let event = r#""event":{"specversion":"1.0","id":"1","source":"/s","type":"t","position":7,
            "recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}},"#;
        let delivery = read("billing", &body(event, r#""key":"0000000000000000000000000000000a","#)).unwrap();
        assert_eq!(delivery.id(), DeliveryId { dead_letter: 3, ..DeliveryId::routed(7) });
        assert_eq!((delivery.token(), delivery.key(), delivery.attempt()), (255, Some(10), 2));
        assert_eq!((delivery.stamp().position, delivery.event().unwrap().kind()), (7, "t"));
        assert_eq!((delivery.subscription(), &*delivery.idempotency_key()), ("billing", "billing/7"));
        assert!(delivery.is_redriven());
        assert_eq!(read("billing", &body(event, "")).unwrap().key(), None);
        assert!(read("billing", &body(event, r#""key":"x","#)).unwrap_err().contains("a key"));
    }

    #[test]
    fn the_outcome_of_a_transformation_takes_the_place_of_the_data() {
        let mut sent = body(r#""transformed":"9 EUR","#, "");
        let without = read("billing", &sent).unwrap_err();
        assert!(without.contains("attributes"), "{without}");
        let attributes = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","position":7,
            "recordedtime":"2026-01-31T09:30:00.000Z"}"#;
        sent.attributes = Some(serde_json::from_str(attributes).unwrap());
        let delivery = read("billing", &sent).unwrap();
        assert_eq!((delivery.stamp().position, delivery.event().unwrap().kind()), (7, "t"));
        assert_eq!(delivery.data::<String>().unwrap(), "9 EUR");
    }

    #[test]
    fn data_that_is_kept_beside_the_log_is_not_taken_for_none() {
        let event = |reference: &str| {
            let event = format!(
                r#""event":{{"specversion":"1.0","id":"1","source":"/s","type":"t",{reference}"position":7,
                "recordedtime":"2026-01-31T09:30:00.000Z"}},"#
            );
            read("billing", &body(&event, "")).unwrap().data::<Option<u64>>()
        };
        let missing = event(r#""dataref":"quipu:payload/blake3/00","#).unwrap_err();
        assert!(missing.to_string().contains("resolved"), "{missing}");
        assert_eq!(event("").unwrap(), None);
    }

    #[test]
    fn a_delivery_without_its_event_is_none() {
        assert!(read("billing", &body("", "")).is_err());
        assert!(read("billing", &body(r#""event":{"specversion":"1.0"},"#, "")).is_err());
    }
}
