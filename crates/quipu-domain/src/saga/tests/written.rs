use super::*;
use crate::saga::{State, Status, may, step};

fn plan() -> Plan {
    let written = r#"{"saga": "order", "version": 1, "starts_on": "order.placed", "hears": ["payment.charged"]}"#;
    Plan::of_written(&serde_json::from_str(written).unwrap()).unwrap()
}

/// An instance, and what its code is told to want.
struct Driven {
    plan: Plan,
    state: State,
    now: i64,
    /// The types that were published, and those that a schema refuses.
    sent: Vec<String>,
    refused: Vec<&'static str>,
    notes: Vec<What>,
    /// What the code was asked.
    asked: Vec<Asked>,
}

impl Driven {
    fn new() -> Self {
        let (plan, state) = (plan(), State::default());
        Self { plan, state, now: 1_000_000, sent: vec![], refused: vec![], notes: vec![], asked: vec![] }
    }

    /// Tells it something; the code answers as `code` says.
    fn feed(&mut self, input: Input<'_>, code: impl Fn(&Asked) -> Result<Wanted, String>) {
        let mut effects = self.step(input);
        while !effects.is_empty() {
            let mut later = Vec::new();
            for effect in effects {
                let answered = match effect {
                    Effect::Send(attempt) => {
                        let kind = self.state.sending(attempt).expect("it is in the outbox").kind.to_string();
                        match self.refused.iter().find(|refused| **refused == kind) {
                            Some(_) => self.step(Input::NotSent { attempt, reason: "its schema" }),
                            None => {
                                self.sent.push(kind);
                                self.step(Input::Sent { attempt })
                            }
                        }
                    }
                    Effect::Ask { node, iteration } => {
                        let asked = self.state.asked().expect("something is asked").clone();
                        self.asked.push(asked.clone());
                        match code(&asked) {
                            Ok(wanted) => self.step(Input::Told { node, iteration, told: Told::Wanted(&wanted) }),
                            Err(reason) => self.step(Input::Told { node, iteration, told: Told::Failed(&reason) }),
                        }
                    }
                    other => panic!("{other:?}"),
                };
                later.extend(answered);
            }
            effects = later;
        }
        // As it is after it was written.
        let read: State = postcard::from_bytes(&postcard::to_stdvec(&self.state).unwrap()).unwrap();
        assert_eq!(read, self.state, "nothing that is not written is left");
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Effect> {
        let stepped = step(&self.plan, std::mem::take(&mut self.state), input, Timestamp(self.now));
        self.state = stepped.state;
        self.notes.extend(stepped.notes.into_iter().map(|note| note.what));
        stepped.effects
    }

    fn start(&mut self, code: impl Fn(&Asked) -> Result<Wanted, String>) {
        self.feed(Input::Start { number: 7, position: 3, parent: None, variables: None }, code);
    }

    fn act(&mut self, what: ActKind, code: impl Fn(&Asked) -> Result<Wanted, String>) {
        self.feed(Input::Act(Act { what, operation: 0, reason: "why" }), code);
    }
}

fn wants(sends: &[&str], timers: &[(&str, Option<Wait>)], ends: Option<Outcome>) -> Result<Wanted, String> {
    let sending = |kind: &&str| Sending { kind: (*kind).into(), subject: None, data: None };
    Ok(Wanted {
        state: "{}".into(),
        sends: sends.iter().map(sending).collect(),
        timers: timers.iter().map(|(name, wait)| ((*name).into(), *wait)).collect(),
        ends,
    })
}

fn nothing(_: &Asked) -> Result<Wanted, String> {
    wants(&[], &[], None)
}

fn event(position: u64) -> Input<'static> {
    Input::Event { position, roles: &[Role::Reply(0)], cause: None }
}

#[test]
fn it_listens_to_what_it_declares() {
    let plan = plan();
    let roles: Vec<Role> = plan.listens().iter().map(|listen| listen.role).collect();
    assert_eq!((plan.is_written(), plan.len(), roles), (true, 1, vec![Role::Start, Role::Reply(0)]));
    assert_eq!(
        plan.mermaid(),
        "flowchart TD\n    start([\"order.placed\"])\n    n0[[\"order: written in Rust, hears payment.charged\"]]\n    start --> n0\n    completed([\"completed\"])\n    n0 --> completed\n"
    );
}

#[test]
fn its_code_sends_sets_timers_and_ends() {
    let mut driven = Driven::new();
    driven.start(|_| wants(&["payment.charge"], &[("payment", Some(Wait::Ms(60_000)))], None));
    assert_eq!(driven.sent, ["payment.charge"]);
    assert_eq!(driven.state.status(), Some(Status::Running));
    assert_eq!(driven.state.due().unwrap().at, Timestamp(61_000_000));
    driven.feed(event(9), |_| wants(&["order.fulfilled"], &[("payment", None)], Some(Outcome::Completed)));
    assert_eq!(driven.sent, ["payment.charge", "order.fulfilled"]);
    assert_eq!((driven.state.status(), driven.state.due()), (Some(Status::Ended(Outcome::Completed)), None));
    // What comes later asks nobody.
    driven.feed(event(10), |_| panic!("it is over"));
    assert_eq!(driven.notes.last(), Some(&What::NotAsked));
    assert_eq!(driven.asked, [Asked::Event { position: 3 }, Asked::Event { position: 9 }]);
}

#[test]
fn timers_come_in_their_order_and_one_that_was_cancelled_does_not() {
    let mut driven = Driven::new();
    let timers = [("c", Some(Wait::Ms(3))), ("a", Some(Wait::Ms(1))), ("b", Some(Wait::Until(Timestamp(1_002_000))))];
    driven.start(|_| wants(&[], &timers, None));
    driven.now = 2_000_000;
    // The first cancels the third and sets itself again.
    driven.feed(Input::Due { until: Timestamp(2_000_000) }, |asked| match asked {
        Asked::Timer { name, .. } if &**name == "a" => wants(&[], &[("c", None), ("a", Some(Wait::Ms(5)))], None),
        _ => nothing(asked),
    });
    assert_eq!(names(&driven), ["a", "b"]);
    assert_eq!(driven.state.timers().map(|(name, due)| (name, due.at.0)).collect::<Vec<_>>(), [("a", 2_005_000)]);
}

/// The timers that its code was asked about.
fn names(driven: &Driven) -> Vec<&str> {
    let timer = |asked: &'_ Asked| matches!(asked, Asked::Timer { .. });
    let name = |asked: &'_ Asked| if let Asked::Timer { name, .. } = asked { name.to_string() } else { String::new() };
    driven.asked.iter().filter(|asked| timer(asked)).map(|asked| name(asked).leak() as &str).collect()
}

#[test]
fn a_timer_that_another_sets_anew_waits_as_long_as_it_says() {
    let mut driven = Driven::new();
    driven.start(|_| wants(&[], &[("a", Some(Wait::Ms(1))), ("b", Some(Wait::Ms(1)))], None));
    driven.now += 1_000;
    driven.feed(Input::Due { until: Timestamp(driven.now) }, |_| wants(&[], &[("b", Some(Wait::Ms(60_000)))], None));
    assert_eq!(names(&driven), ["a"]);
    assert_eq!(driven.state.due().unwrap().at, Timestamp(driven.now + 60_000_000));
}

#[test]
fn a_time_of_the_clock_does_not_move_by_a_pause() {
    let mut driven = Driven::new();
    driven.start(|_| wants(&[], &[("t", Some(Wait::Until(Timestamp(9_000_000))))], None));
    driven.act(ActKind::Pause { place: 3 }, |_| panic!("nothing is asked"));
    driven.now += 500_000;
    driven.act(ActKind::Resume, |_| panic!("nothing is asked"));
    let due = driven.state.due().unwrap();
    assert_eq!(
        (due.at, due.since <= Timestamp(0)),
        (Timestamp(9_000_000), true),
        "a clock that is set back is no matter"
    );
}

#[test]
fn another_start_is_nothing_to_its_code() {
    let mut driven = Driven::new();
    driven.start(nothing);
    driven.feed(Input::Event { position: 9, roles: &[], cause: None }, |_| panic!("it does not hear of it"));
    assert_eq!(driven.state.last(), 3);
}

#[test]
fn what_is_not_published_is_told() {
    let mut driven = Driven::new();
    driven.refused.push("payment.charge");
    driven.start(|asked| match asked {
        Asked::NotSent { kind, reason } => {
            assert_eq!((&**kind, &**reason), ("payment.charge", "its schema"));
            wants(&["order.failed"], &[], Some(Outcome::Compensated))
        }
        _ => wants(&["payment.charge", "mail.send"], &[], None),
    });
    assert_eq!(driven.sent, ["mail.send", "order.failed"]);
    assert_eq!(driven.state.status(), Some(Status::Ended(Outcome::Compensated)));
}

#[test]
fn code_that_fails_asks_a_person_and_nothing_is_lost() {
    let fails = |_: &Asked| Err("a panic".to_owned());
    let too_much = |_: &Asked| Ok(Wanted { state: "x".repeat(20_000).into(), ..Wanted::default() });
    for code in [fails as fn(&Asked) -> _, too_much] {
        let mut driven = Driven::new();
        driven.start(|_| wants(&[], &[("t", Some(Wait::Ms(1_000)))], None));
        driven.feed(event(9), code);
        assert_eq!(driven.state.status(), Some(Status::NeedsPerson));
        assert_eq!((driven.state.paused().unwrap().place, driven.state.due()), (9, None));
        assert_eq!(may(&driven.plan, &driven.state, ActKind::Resume), Err(NotPossible::NotPaused));
        // The clock goes on for what waits.
        driven.now += 2_000_000;
        driven.act(ActKind::Retry { from: None }, |_| wants(&["mail.send"], &[], None));
        assert_eq!(driven.asked.iter().filter(|asked| **asked == Asked::Event { position: 9 }).count(), 2);
        assert_eq!((driven.state.status(), driven.sent.len()), (Some(Status::Running), 1));
        assert_eq!(driven.state.due().unwrap().at, Timestamp(2_000_000));
    }
}

#[test]
fn a_person_skips_resolves_and_pauses() {
    let mut driven = Driven::new();
    driven.start(|_| Err("no".into()));
    driven.act(ActKind::Skip, |_| panic!("it was skipped"));
    assert_eq!(driven.state.status(), Some(Status::Running));
    driven.feed(event(5), |_| wants(&[], &[("t", Some(Wait::Ms(1_000)))], None));
    driven.act(ActKind::Pause { place: 5 }, |_| panic!("nothing is asked"));
    assert_eq!((driven.state.status(), driven.state.due()), (Some(Status::Paused), None));
    driven.now += 500_000;
    driven.act(ActKind::Resume, |_| panic!("nothing is asked"));
    assert_eq!(driven.state.due().unwrap().at, Timestamp(2_500_000), "it waits as long as it did not stand still");
    driven.feed(event(6), |_| Err("no".into()));
    driven.act(ActKind::Resolve, |_| panic!("it is done by hand"));
    assert_eq!(driven.state.status(), Some(Status::Ended(Outcome::Resolved)));
}

#[test]
fn it_is_cancelled_by_its_code_and_undone_for_the_saga_that_began_it() {
    let undo = |asked: &Asked| match asked {
        Asked::Cancel { .. } => wants(&["payment.refund"], &[], Some(Outcome::Cancelled)),
        _ => wants(&["payment.charge"], &[], None),
    };
    let mut driven = Driven::new();
    driven.start(undo);
    driven.act(ActKind::Cancel, undo);
    assert_eq!((driven.sent.len(), driven.state.status()), (2, Some(Status::Ended(Outcome::Cancelled))));
    // Completed, and undone after that.
    let mut driven = Driven::new();
    driven.start(|_| wants(&["payment.charge"], &[], Some(Outcome::Completed)));
    driven.act(ActKind::Undo, undo);
    assert_eq!(driven.sent, ["payment.charge", "payment.refund"]);
    assert_eq!(driven.state.status(), Some(Status::Ended(Outcome::Cancelled)));
}

#[test]
fn limits_hold() {
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    let timers: Vec<(&str, Option<Wait>)> = many.iter().map(|name| (name.as_str(), Some(Wait::Ms(1)))).collect();
    let kinds: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "n".repeat(200);
    for wanted in [
        wants(&[], &timers, None),
        wants(&kinds, &[], None),
        wants(&[""], &[], None),
        wants(&[], &[(&long, None)], None),
        wants(&[], &[("t", Some(Wait::Ms(WAIT_MS_MAX + 1)))], None),
    ] {
        let mut driven = Driven::new();
        driven.start(|_| wanted.clone());
        assert_eq!((driven.state.status(), driven.sent.len()), (Some(Status::NeedsPerson), 0), "{wanted:?}");
    }
}
