//! What one question may take.

use std::cell::Cell;
use std::sync::Arc;

use quipu_domain::StartAt;
use quipu_domain::saga::Saga;

use super::super::InstanceState;
use super::{Limits, WhatIf, WhatIfDifference, WhatIfVerdict};
use crate::options::Options;
use crate::still;
use crate::tenant::Tenant;

/// Counts to a hundred.
const COUNTS: &str = r#"{"saga": "counts", "starts_on": "placed", "steps": [
    {"rounds": {"loop": {"max": 200, "until": ".vars.n == 100", "steps": [
        {"one": {"send": "one.do", "compensate": "none", "set": "{n: ((.vars.n // 0) + 1)}"}}]}}}]}"#;

const RESTS: &str = r#"{"saga": "rests", "starts_on": "placed", "steps": [{"rest": {"sleep": "1s"}}]}"#;

fn orders(count: usize) -> (tempfile::TempDir, Arc<Tenant>) {
    let folder = tempfile::tempdir().unwrap();
    let tenant = still::tenant(folder.path(), Options::default());
    (0..count).for_each(|order| still::publish(&tenant, "placed", &format!("o{order}")).unwrap());
    (folder, tenant)
}

fn ask(tenant: &Arc<Tenant>, text: &str, is_wanted: &dyn Fn() -> bool, limits: Limits) -> Option<WhatIf> {
    let saga: Saga = serde_json::from_str(text).unwrap();
    tenant.what_if_within(saga, &StartAt::Beginning, &StartAt::Now, is_wanted, limits).unwrap()
}

fn within(tenant: &Arc<Tenant>, text: &str, limits: Limits) -> WhatIf {
    ask(tenant, text, &|| true, limits).unwrap()
}

#[test]
fn what_takes_more_memory_than_a_question_may_is_left_out_and_counted() {
    let (_folder, tenant) = orders(50);
    let all = within(&tenant, RESTS, Limits::default());
    assert_eq!((all.only_new, all.left_out), (50, 0));
    let bytes = 16 << 10;
    let found = within(&tenant, RESTS, Limits { bytes, ..Limits::default() });
    assert!(found.only_new > 5 && found.left_out > 5, "{found:?}");
    assert_eq!(found.only_new + found.left_out, 50, "each is found or left out");
    // The same where they grow after they have begun.
    let grown = within(&tenant, COUNTS, Limits { bytes, ..Limits::default() });
    assert!((1..found.only_new).contains(&grown.only_new), "{grown:?}");
    assert_eq!(grown.only_new + grown.left_out, 50);
    let two = within(&tenant, RESTS, Limits { instances: 2, ..Limits::default() });
    assert_eq!((two.only_new, two.left_out), (2, 48));
}

#[test]
fn what_takes_more_steps_of_jq_than_a_question_may_is_left_out_and_is_no_failure() {
    let (_folder, tenant) = orders(20);
    let all = within(&tenant, COUNTS, Limits::default());
    let ended = |found: &WhatIf| {
        let is_completed = |one: &&WhatIfDifference| one.would_be == Some(InstanceState::Completed);
        found.differences.iter().filter(is_completed).count()
    };
    assert_eq!((all.only_new, ended(&all), all.left_out), (20, 20, 0));
    let found = within(&tenant, COUNTS, Limits { jq_steps: 50_000, ..Limits::default() });
    assert!(found.only_new > 0 && found.left_out > 0, "{found:?}");
    assert_eq!((found.only_new + found.left_out, ended(&found) as u64), (20, found.only_new), "none fails by it");
    assert!(found.differences.iter().all(|one| one.verdict == WhatIfVerdict::OnlyNew), "{found:?}");
}

#[test]
fn who_is_gone_is_noticed_before_each_evaluation() {
    let (_folder, tenant) = orders(1);
    let asked = Cell::new(0);
    let is_wanted = || {
        asked.set(asked.get() + 1);
        asked.get() < 50
    };
    assert_eq!(ask(&tenant, COUNTS, &is_wanted, Limits::default()), None);
    assert_eq!(asked.get(), 50, "it is not asked again");
}
