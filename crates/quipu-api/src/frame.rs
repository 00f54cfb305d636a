//! What goes over a WebSocket besides CloudEvents: what a client asks for, and what it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::delivery::{AnswerBody, CREDITS_MAX, Delivery, check_answers};
use crate::{AnswersAnswer, Code, Problem, PublishResult};

/// A control object from the client: exactly one of its members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlFrame {
    /// Begin to deliver; replaces an earlier subscription. The names are those of the query parameters of the tail;
    /// a value is a string, a number or an array of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Map<String, Value>>,
    /// `true`: deliver nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<bool>,
    /// Begin to push deliveries of a durable subscription, as long as credits last. Up to 16 on a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consume: Option<Credits>,
    /// Add credits to a subscription that is consumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Credits>,
    /// Say what became of deliveries of a subscription, wherever they were handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerFrame>,
    /// Push no more deliveries of this subscription. What was pushed can still be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
}

/// What a control object asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Deliver events from a position on.
    Subscribe(Map<String, Value>),
    /// Deliver nothing more.
    Unsubscribe,
    /// Push deliveries of a durable subscription.
    Consume(Credits),
    /// Add credits.
    Credit(Credits),
    /// Say what became of deliveries.
    Answer(AnswerFrame),
    /// Push nothing more of a subscription.
    Stop(String),
}

impl ControlFrame {
    /// The names of what may be asked for.
    pub const NAMES: [&str; 6] = ["subscribe", "unsubscribe", "consume", "credit", "answer", "stop"];

    /// The one thing that it asks for, checked.
    ///
    /// # Errors
    /// `invalid-request`.
    pub fn command(self) -> Result<Command, Problem> {
        let Self { subscribe, unsubscribe, consume, credit, answer, stop } = self;
        let asked = [
            subscribe.map(Command::Subscribe),
            unsubscribe.filter(|is_meant| *is_meant).map(|_| Command::Unsubscribe),
            consume.map(Command::Consume),
            credit.map(Command::Credit),
            answer.map(Command::Answer),
            stop.map(Command::Stop),
        ];
        let mut asked = asked.into_iter().flatten();
        let (Some(command), None) = (asked.next(), asked.next()) else {
            let detail = format!("expected exactly one of {}, found none or several", Self::NAMES.join(", "));
            return Err(Problem::new(Code::InvalidRequest, detail));
        };
        match &command {
            Command::Consume(credits) => check_credits(credits.credits, "/consume")?,
            Command::Credit(credits) => check_credits(credits.credits, "/credit")?,
            Command::Answer(frame) => {
                check_answers(&frame.answers, "/answer")?;
                frame.credits.map_or(Ok(()), |credits| check_credits(credits, "/answer"))?;
            }
            Command::Subscribe(_) | Command::Unsubscribe | Command::Stop(_) => {}
        }
        Ok(command)
    }
}

fn check_credits(credits: u32, pointer: &str) -> Result<(), Problem> {
    if (1..=CREDITS_MAX).contains(&credits) {
        return Ok(());
    }
    let detail = format!("expected 1 to {CREDITS_MAX} credits, found {credits}");
    Err(Problem::pointer(format!("{pointer}/credits"), detail))
}

/// How many deliveries may be pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credits {
    /// The name of the subscription.
    pub subscription: String,
    /// 1 to 10,000, and never more than 10,000 at once. A delivery that is pushed takes one.
    pub credits: u32,
}

/// Answers to deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerFrame {
    /// The name of the subscription.
    pub subscription: String,
    /// 1 to 10,000 answers, taken in this order.
    pub answers: Vec<AnswerBody>,
    /// Credits to add at the same time, if the subscription is consumed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<u32>,
}

/// A frame from the server, other than a delivered event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerFrame {
    /// What became of a published event, in the order of publishing.
    Ack(Ack),
    /// A frame could not be read; the connection goes on.
    Error(Problem),
    /// A subscription has begun.
    Subscribed(Subscribed),
    /// The subscription has ended.
    Unsubscribed(Subscribed),
    /// Deliveries of a durable subscription are pushed from now on, or it has more credits; with what it has now.
    Consuming(Credits),
    /// Deliveries; each has taken a credit.
    Deliveries(DeliveriesFrame),
    /// What became of answers.
    Answered(AnsweredFrame),
    /// No more deliveries of this subscription are pushed.
    Stopped(Stopped),
}

/// Deliveries that are pushed together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeliveriesFrame {
    /// The name of the subscription.
    pub subscription: String,
    /// The deliveries, in the order in which those of one key are to be answered.
    pub deliveries: Vec<Delivery>,
}

/// What became of the answers of one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnsweredFrame {
    /// The name of the subscription.
    pub subscription: String,
    /// What became of each.
    #[serde(flatten)]
    pub answered: AnswersAnswer,
}

/// A subscription that is not consumed any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// Its name.
    pub subscription: String,
}

/// What became of a published event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ack {
    /// Its `id`.
    pub id: String,
    /// Its `source`.
    pub source: String,
    /// What became of it.
    #[serde(flatten)]
    pub result: PublishResult,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscribed {
    /// Everything that matches after this position is delivered.
    pub after: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_object_asks_for_exactly_one_thing() {
        let read = |text: &str| serde_json::from_str::<ControlFrame>(text).unwrap().command();
        for good in [
            r#"{"subscribe":{}}"#,
            r#"{"unsubscribe":true}"#,
            r#"{"consume":{"subscription":"a","credits":10000}}"#,
            r#"{"credit":{"subscription":"a","credits":1}}"#,
            r#"{"answer":{"subscription":"a","answers":[{"position":1,"token":"f","outcome":"ack"}],"credits":1}}"#,
            r#"{"stop":"a"}"#,
        ] {
            assert!(read(good).is_ok(), "{good}");
            assert!(ControlFrame::NAMES.iter().any(|name| good.contains(&format!("{{\"{name}\""))), "{good}");
        }
        for (bad, pointer) in [
            (r#"{}"#, None),
            (r#"{"unsubscribe":false}"#, None),
            (r#"{"subscribe":{},"stop":"a"}"#, None),
            (r#"{"consume":{"subscription":"a","credits":0}}"#, Some("/consume/credits")),
            (r#"{"credit":{"subscription":"a","credits":10001}}"#, Some("/credit/credits")),
            (r#"{"answer":{"subscription":"a","answers":[]}}"#, Some("/answer/answers")),
        ] {
            let problem = read(bad).expect_err(bad);
            assert_eq!(problem.code, "invalid-request");
            assert_eq!(problem.members.get("pointer").and_then(Value::as_str), pointer, "{bad}");
        }
    }
}
