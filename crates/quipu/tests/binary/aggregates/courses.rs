//! Decisions across aggregates: a course has so many seats, a student so many courses, and neither is a stream of the other.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use quipu::{Aggregate, Cause, Filter, NotHandled, Query, Quipu};
use serde::{Deserialize, Serialize};

const SEATS: usize = 3;
const COURSES_OF_A_STUDENT: usize = 2;

/// Who has taken which seat, of the courses and students that a decision looks at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Enrolment {
    taken: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Happened {
    #[serde(rename = "seat.taken")]
    Taken { course: String, student: String },
    #[serde(rename = "seat.left")]
    Left { course: String, student: String },
}

#[derive(Clone, Debug)]
struct Take {
    course: String,
    student: String,
}

#[derive(Clone, Debug, PartialEq)]
enum No {
    Full,
    Busy,
    ThereAlready,
}

impl Aggregate for Enrolment {
    const NAME: &'static str = "enrolment";
    type Command = Take;
    type Event = Happened;
    type Refusal = No;

    fn decide(&self, take: &Take) -> Result<Vec<Happened>, No> {
        let Take { course, student } = take;
        let of_course = self.taken.iter().filter(|(c, _)| c == course).count();
        let of_student = self.taken.iter().filter(|(_, s)| s == student).count();
        match (of_course, of_student) {
            _ if self.taken.iter().any(|(c, s)| c == course && s == student) => Err(No::ThereAlready),
            (SEATS.., _) => Err(No::Full),
            (_, COURSES_OF_A_STUDENT..) => Err(No::Busy),
            _ => Ok(vec![Happened::Taken { course: course.clone(), student: student.clone() }]),
        }
    }

    fn evolve(&mut self, event: Happened) {
        match event {
            Happened::Taken { course, student } => self.taken.push((course, student)),
            Happened::Left { course, student } => self.taken.retain(|(c, s)| *c != course || *s != student),
        }
    }

    fn tags(event: &Happened) -> Vec<String> {
        let (Happened::Taken { course, student } | Happened::Left { course, student }) = event;
        vec![format!("course:{course}"), format!("student:{student}")]
    }

    fn stream(event: &Happened) -> Option<String> {
        let (Happened::Taken { course, .. } | Happened::Left { course, .. }) = event;
        Some(format!("course/{course}"))
    }
}

/// All of the course and all of the student.
fn query(quipu: &Quipu, take: &Take) -> Query {
    let courses = quipu.aggregates::<Enrolment>();
    let of_course = courses.tagged([format!("course:{}", take.course)]);
    let of_student = courses.tagged([format!("student:{}", take.student)]);
    Query { items: [of_course.items, of_student.items].concat() }
}

/// The most that any course and any student ever had.
fn most(quipu: &Quipu) -> (usize, usize) {
    let (mut taken, mut most): (Vec<(String, String)>, _) = (Vec::new(), (0, 0));
    for recorded in quipu.events(Filter::default()) {
        let recorded = recorded.unwrap();
        let data: serde_json::Value = match recorded.event().data() {
            quipu::Data::Json(text) => serde_json::from_str(text).unwrap(),
            other => panic!("expected JSON, found {other:?}"),
        };
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        taken.push((text("course"), text("student")));
        let (course, student) = taken.last().unwrap();
        most.0 = most.0.max(taken.iter().filter(|(c, _)| c == course).count());
        most.1 = most.1.max(taken.iter().filter(|(_, s)| s == student).count());
    }
    most
}

#[test]
fn events_across_aggregates_go_to_the_stream_that_they_say() {
    let quipu = Quipu::in_memory().unwrap();
    let take = Take { course: "db".into(), student: "ada".into() };
    let handled = quipu.aggregates::<Enrolment>().execute_where(&query(&quipu, &take), &take).unwrap();
    assert_eq!(handled.places[0].stream_version, Some(1));
    assert_eq!(quipu.stream("course/db").unwrap().version, 1);
    let refused = quipu.aggregates::<Enrolment>().execute_where(&query(&quipu, &take), &take).unwrap_err();
    assert_eq!(refused.refusal(), Some(&No::ThereAlready));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn many_who_decide_at_once_never_sell_a_seat_twice(
        takes in proptest::collection::vec((0..3u8, 0..6u8), 12..48),
        threads in 2..5usize,
        repeats in any::<bool>(),
    ) {
        let quipu = Quipu::in_memory().unwrap();
        let takes: Vec<Take> = takes
            .into_iter()
            .map(|(course, student)| Take { course: course.to_string(), student: student.to_string() })
            .collect();
        let recorded = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (quipu, takes, recorded) = (&quipu, &takes, &recorded);
                scope.spawn(move || {
                    for (index, take) in takes.iter().enumerate() {
                        // Each its own part, or all of them the same commands.
                        if !repeats && index % threads != thread {
                            continue;
                        }
                        let courses = quipu.aggregates::<Enrolment>().tries_max(1_000);
                        let courses = courses.caused_by(Cause::command(format!("take-{index}")));
                        match courses.execute_where(&query(quipu, take), take) {
                            Ok(handled) => {
                                recorded.fetch_add(u32::from(!handled.is_duplicate), Ordering::Relaxed);
                            }
                            Err(NotHandled::Refused(_)) => {}
                            Err(error) => panic!("expected a decision, found {error}"),
                        }
                    }
                });
            }
        });
        let most = most(&quipu);
        prop_assert!(most.0 <= SEATS && most.1 <= COURSES_OF_A_STUDENT, "{most:?}");
        prop_assert_eq!(u64::from(recorded.load(Ordering::Relaxed)), quipu.position());
        // Whoever could still have a seat has one: nothing was refused that was possible, in the end.
        for take in &takes {
            let again = quipu.aggregates::<Enrolment>().execute_where(&query(&quipu, take), take);
            prop_assert!(again.is_err(), "{:?} was refused and is possible", take);
        }
    }
}

/// Whoever reads a position behind what it has read would oversell: others append between every two steps.
#[test]
fn a_decision_that_others_overtake_is_made_again_and_given_up_when_it_is_always_overtaken() {
    /// A decision during which somebody else takes a seat, so many times.
    #[derive(Default, Serialize, Deserialize)]
    struct Overtaken;
    struct Meanwhile<'a>(&'a Quipu, AtomicU32);
    // The command carries the store, so that something happens in the middle of the decision.
    impl Aggregate for Overtaken {
        const NAME: &'static str = "overtaken";
        type Command = Meanwhile<'static>;
        type Event = Happened;
        type Refusal = ();
        fn decide(&self, Meanwhile(quipu, left): &Meanwhile<'static>) -> Result<Vec<Happened>, ()> {
            let still = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            if still {
                let id = quipu.position().to_string();
                let other = quipu::Event::builder(id, "/other", "seat.left").subject("overtaken/1").tag("course:db");
                quipu.publish(&other.json(r#"{"course":"db","student":"eve"}"#).build().unwrap()).unwrap();
            }
            Ok(vec![Happened::Taken { course: "db".into(), student: "ada".into() }])
        }
        fn evolve(&mut self, _: Happened) {}
        fn tags(_: &Happened) -> Vec<String> {
            vec!["course:db".into()]
        }
    }
    for is_across in [false, true] {
        let quipu: &'static Quipu = Box::leak(Box::new(Quipu::in_memory().unwrap()));
        let execute = |times: u32| {
            let all = quipu.aggregates::<Overtaken>().tries_max(4);
            let command = Meanwhile(quipu, AtomicU32::new(times));
            if is_across { all.execute_where(&all.tagged(["course:db"]), &command) } else { all.execute("1", &command) }
        };
        assert_eq!(execute(3).unwrap().events.len(), 1);
        assert_eq!(quipu.position(), 4);
        match execute(4) {
            Err(error @ NotHandled::Conflict { tries: 4, .. }) => {
                let text = error.to_string();
                assert!(text.contains("in one of 4 tries"), "{text}");
            }
            other => panic!("expected to be given up after 4 tries, found {other:?}"),
        }
        assert_eq!(quipu.position(), 8);
    }
}
