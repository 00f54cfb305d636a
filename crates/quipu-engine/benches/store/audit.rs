//! What the audit trail costs an administrative act: a key that gets another secret, with and without being written down, by
//! turns.

use std::path::Path;
use std::time::Instant;

use quipu_engine::{Act, Actor, NewKey, NotDone};

use crate::{Report, engine, quantile};

const ROUNDS: usize = 10;
const EACH: usize = 200;

pub fn run(folder: &Path, report: &mut Report) {
    let engine = engine(&folder.join("audit"));
    let tenant = engine.tenant("bench").expect("it opens");
    let grants = serde_json::from_str(r#"[{"permissions":["publish"]}]"#).expect("grants");
    let new = NewKey { name: "a key".into(), grants, user: None, certificate: None, life_ms: None };
    let (info, _) = tenant.create_key(new).expect("there is room");
    let act = || {
        let actor = Actor { id: "key:0123456789abcdef".into(), name: Some("admin".into()) };
        let act = tenant.act("key.rotate", actor, format!("keys/{}", info.id));
        Act { address: Some("192.0.2.1".into()), details: serde_json::json!({ "keepms": 0 }), ..act }
    };
    let bare = || tenant.rotate_key(&info.id, 0).map(drop).expect("it is there");
    let audited = || {
        let done = tenant.audited(act(), |tenant, _| tenant.rotate_key(&info.id, 0).map(drop));
        done.map_err(|error: NotDone| error.to_string()).expect("it is there");
    };
    let timed = |step: &dyn Fn()| {
        let begin = Instant::now();
        (0..EACH).for_each(|_| step());
        begin.elapsed().as_secs_f64() * 1e6 / EACH as f64
    };
    audited();
    let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (bare, audited) = (timed(&bare), timed(&audited));
        without.push(bare);
        with.push(audited);
        ratios.push(audited / bare);
    }
    let (without, with) = (quantile(&mut without, 0.5), quantile(&mut with, 0.5));
    let numbers = [("us", with), ("us_without", without), ("ratio", quantile(&mut ratios, 0.5))];
    report.add("audit: an act that is written down", &numbers);
}
