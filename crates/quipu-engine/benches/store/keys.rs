//! What a key costs a request: from the text in its header to what its holder may do, and the question whether an event may
//! be published, in a tenant with as many keys as there may be.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use quipu_domain::Event;
use quipu_domain::access::Token;
use quipu_engine::{KEYS_MAX, NewKey};

use crate::{Report, engine, quantile};

const ROUNDS: usize = 5;
const EACH: usize = 200_000;

/// The median of some rounds.
fn measure(report: &mut Report, name: &str, mut step: impl FnMut(usize)) {
    let round = |_| {
        let begin = Instant::now();
        (0..EACH).for_each(&mut step);
        begin.elapsed().as_nanos() as f64 / EACH as f64
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
    let median = quantile(&mut rounds, 0.5);
    report.add(name, &[("ns", median), ("fastest", rounds[0]), ("slowest", rounds[ROUNDS - 1])]);
}

pub fn run(folder: &Path, report: &mut Report) {
    let engine = engine(&folder.join("keys"));
    let tenant = engine.tenant("bench").expect("it opens");
    let grants = r#"[{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}],"source":["/shop"]}}]"#;
    let texts: Vec<String> = (0..KEYS_MAX)
        .map(|number| {
            let grants = serde_json::from_str(grants).expect("grants");
            let new = NewKey { name: format!("key {number}"), grants, user: None, certificate: None, life_ms: None };
            let (info, secret) = tenant.create_key(new).expect("there is room");
            secret.token("t", &info.id).to_string()
        })
        .collect();
    let check = |text: &str| {
        let token = Token::parse(text)?;
        tenant.authenticate(token.id, &token.secret)
    };
    measure(report, "keys: a key", |n| assert!(check(black_box(&texts[n % texts.len()])).is_some()));
    // The last digit of the secret, and the first of the id, is another.
    let other = |digit: char| if digit == '0' { '1' } else { '0' };
    let spoil = |text: &String, at: usize| {
        let mut digits: Vec<char> = text.chars().collect();
        digits[at] = other(digits[at]);
        digits.into_iter().collect::<String>()
    };
    let wrong: Vec<String> = texts.iter().map(|text| spoil(text, text.len() - 1)).collect();
    measure(report, "keys: a key with another secret", |n| {
        _ = black_box(check(black_box(&wrong[n % wrong.len()])).is_some())
    });
    let absent: Vec<String> = texts.iter().map(|text| spoil(text, "qp_t_".len())).collect();
    measure(report, "keys: a key that does not exist", |n| {
        _ = black_box(check(black_box(&absent[n % absent.len()])).is_some())
    });
    let shown = check(&texts[0]).expect("it is known");
    measure(report, "keys: whether it still is good", |_| assert!(black_box(&tenant).is_key_good(black_box(&shown))));
    let event = Event::builder("1", "/shop", "order.placed").subject("order/1").json("{\"total\":5}").build();
    let event = event.expect("a valid event");
    measure(report, "keys: whether an event may be published", |_| {
        assert!(shown.key().access().may_publish(black_box(&event)))
    });
}
