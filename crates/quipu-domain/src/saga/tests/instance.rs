//! One instance, driven as an engine does it: what is published is told at once, and time passes from one timer to the next.

use std::collections::VecDeque;

use serde_json::{Value as Json, json};

use crate::Timestamp;
use crate::saga::{
    Act, ActKind, Answer, Attempt, Effect, Finding, Input, Note, Plan, Question, Role, Saga, State, Status, Told, What,
    step,
};

/// A declaration from text as in YAML's flow style, so that tables are short: bare words are texts, and `reply` is the member
/// that no source of this crate may spell.
pub fn json(text: &str) -> Json {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_.*-/:".contains(c);
        if first == '\'' {
            let (quoted, after) = rest[1..].split_once('\'').expect("a closing quote");
            out.push_str(&Json::from(quoted).to_string());
            rest = after;
        } else if is_word(first) && first != ':' {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let word = rest[..end].trim_end_matches(':');
            rest = &rest[word.len()..];
            let word = if word == "reply" { concat!("a", "wait") } else { word };
            let is_json = word.parse::<f64>().is_ok() || matches!(word, "true" | "false");
            out.push_str(&if is_json { word.to_owned() } else { Json::from(word).to_string() });
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// A saga of these steps.
pub fn saga(steps: &str) -> Saga {
    saga_with(steps, "{}")
}

/// A saga of these steps, and more members.
pub fn saga_with(steps: &str, more: &str) -> Saga {
    let mut whole = json!({"saga": "s", "starts_on": "start", "completes_with": "done", "fails_with": "failed", "steps": json(steps)});
    for (member, value) in json(more).as_object().unwrap() {
        whole[member] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

pub fn plan(saga: &Saga) -> Plan {
    Plan::compile(saga).unwrap_or_else(|findings: Vec<Finding>| panic!("{findings:?}"))
}

/// Something that was carried out: what it was, and the name of the attempt.
pub type Sent = (String, String);

pub struct Instance {
    pub plan: Plan,
    pub state: State,
    pub now: Timestamp,
    pub position: u64,
    /// What was carried out since it was last looked at.
    sent: Vec<Sent>,
    pub notes: Vec<Note>,
    /// What conditions answer, the first first; true when there is none left.
    pub answers: VecDeque<bool>,
    /// Whether the variables cannot be evaluated.
    pub fails_mappings: bool,
    /// Types that cannot be published.
    pub refused_types: Vec<String>,
}

impl Instance {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            state: State::default(),
            now: Timestamp(0),
            position: 0,
            sent: Vec::new(),
            notes: Vec::new(),
            answers: VecDeque::new(),
            fails_mappings: false,
            refused_types: Vec::new(),
        }
    }

    pub fn of(steps: &str) -> Self {
        let mut instance = Self::new(plan(&saga(steps)));
        instance.start();
        instance
    }

    pub fn with(steps: &str, more: &str) -> Self {
        let mut instance = Self::new(plan(&saga_with(steps, more)));
        instance.start();
        instance
    }

    pub fn start(&mut self) -> &mut Self {
        self.position += 1;
        self.feed(Input::Start { number: 7, position: self.position, parent: None, variables: None })
    }

    /// Feeds an input, and back what has to be answered at once.
    pub fn feed(&mut self, input: Input<'_>) -> &mut Self {
        let mut effects = VecDeque::from(self.step(input));
        while !effects.is_empty() {
            let mut answers = Vec::new();
            for effect in effects.drain(..) {
                answers.extend(self.carry_out(effect));
            }
            for answer in answers {
                effects.extend(self.step(answer));
            }
        }
        self
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Effect> {
        // As it is read back after a crash.
        let bytes = postcard::to_stdvec(&self.state).unwrap();
        let state: State = postcard::from_bytes(&bytes).unwrap();
        let step = step(&self.plan, state, input, self.now);
        self.state = step.state;
        self.notes.extend(step.notes);
        step.effects
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input<'static>> {
        let (what, attempt, answer) = match effect {
            Effect::Send(attempt) => {
                let kind = self.plan.message(attempt, &self.state).expect("a message").kind.to_string();
                let answer = match self.refused_types.contains(&kind) {
                    true => return Some(Input::NotSent { attempt, reason: "the schema refuses it" }),
                    false => Some(Input::Sent { attempt }),
                };
                (kind, attempt, answer)
            }
            Effect::Call(attempt) => (self.plan.call(attempt).expect("a call").http.url.clone(), attempt, None),
            Effect::Begin(attempt) => {
                (format!("begin {}", self.plan.child(attempt).expect("a saga").saga), attempt, None)
            }
            Effect::UndoChild(attempt) => ("undo child".to_owned(), attempt, None),
            Effect::Tell { parent, outcome } => (format!("tell {}", outcome.as_str()), parent.attempt, None),
            Effect::Ask { node, iteration } => {
                let question = self.plan.question(node).expect("a question");
                let told = match question {
                    _ if self.fails_mappings => Told::Failed("null has no keys"),
                    Question::Variables(_) => Told::Variables(r#"{"x":1}"#),
                    _ => Told::Holds(self.answers.pop_front().unwrap_or(true)),
                };
                return Some(Input::Told { node, iteration, told });
            }
        };
        self.sent.push((what, attempt.to_string()));
        answer
    }

    /// An event of this type comes, caused by an attempt of this name if one is given.
    pub fn event(&mut self, kind: &str, cause: &str) -> &mut Self {
        self.position += 1;
        let event = json!({ "type": kind }).to_string();
        let is_taken = |pattern: &crate::Pattern| pattern.matches(event.as_bytes()).unwrap();
        let listens = self.plan.listens().iter().filter(|listen| is_taken(&listen.pattern));
        let roles: Vec<Role> = listens.map(|listen| listen.role).collect();
        let cause = (!cause.is_empty()).then(|| cause.parse::<Attempt>().unwrap());
        self.feed(Input::Event { position: self.position, roles: &roles, cause })
    }

    /// The call of this name is answered; that it was done is an event.
    pub fn answered(&mut self, name: &str, answer: Answer) -> &mut Self {
        let is_event = answer == Answer::Done;
        self.position += u64::from(is_event);
        let position = if is_event { self.position } else { 0 };
        self.feed(Input::Answered { attempt: name.parse().unwrap(), answer, position, text: "answered" })
    }

    /// Time passes, timer by timer.
    pub fn wait(&mut self, ms: i64) -> &mut Self {
        let until = self.now.plus_ms(ms);
        while let Some(due) = self.state.due().filter(|due| due.at <= until) {
            self.now = self.now.max(due.at);
            self.feed(Input::Due { until: due.at });
        }
        self.now = until;
        self
    }

    pub fn act(&mut self, what: ActKind) -> &mut Self {
        self.feed(Input::Act(Act { what, operation: 0, reason: "because" }))
    }

    /// What was carried out since it was last asked, as `type name`.
    #[track_caller]
    pub fn sends(&mut self, expected: &[&str]) -> &mut Self {
        let sent: Vec<String> = self.sent.drain(..).map(|(kind, name)| format!("{kind} {name}")).collect();
        assert_eq!(sent, expected);
        self
    }

    #[track_caller]
    pub fn is(&mut self, status: Status) -> &mut Self {
        assert_eq!(self.state.status(), Some(status));
        self
    }

    #[track_caller]
    pub fn noted(&mut self, what: What) -> &mut Self {
        assert_eq!(self.notes.last().map(|note| note.what), Some(what));
        self
    }
}
