//! What the router does while the patterns are compiled anew: whoever compiles holds them, so a test that holds them is a
//! compilation that takes as long as it likes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use quipu_domain::Subscription;
use tempfile::TempDir;

use crate::options::Options;
use crate::still::{self, publish};
use crate::tenant::Tenant;

fn tenant(folder: &TempDir) -> Arc<Tenant> {
    still::tenant(folder.path(), Options::default())
}

fn wanting(kind: &str) -> Subscription {
    serde_json::from_str(&format!(r#"{{"pattern":{{"type":["{kind}"]}}}}"#)).unwrap()
}

fn pulled(tenant: &Tenant) -> Vec<u64> {
    tenant.pull("s", 100).unwrap().iter().map(|handed| handed.id.position).collect()
}

#[test]
fn events_are_routed_while_patterns_are_compiled() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    tenant.create_subscription("s", wanting("a")).unwrap();
    assert!(pulled(&tenant).is_empty());
    let compiling = tenant.subscriptions.patterns.lock();
    publish(&tenant, "a", "1").unwrap();
    publish(&tenant, "b", "2").unwrap();
    tenant.route().unwrap();
    assert_eq!(tenant.subscriptions.routed_to.load(Ordering::Acquire), 2);
    assert_eq!(pulled(&tenant), [1]);
    drop(compiling);
}

#[test]
fn an_event_that_comes_while_the_new_pattern_is_compiled_is_not_passed_over() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    tenant.create_subscription("s", wanting("a")).unwrap();
    assert!(pulled(&tenant).is_empty());
    let running = tenant.running("s").unwrap();
    let before = running.compiled();
    thread::scope(|scope| {
        let compiling = tenant.subscriptions.patterns.lock();
        let update = scope.spawn(|| tenant.update_subscription("s", wanting("b")).unwrap());
        while Arc::ptr_eq(&before, &running.compiled()) {
            thread::yield_now();
        }
        for id in ["1", "2"] {
            assert!(pulled(&tenant).is_empty());
            publish(&tenant, "b", id).unwrap();
            tenant.route().unwrap();
        }
        assert!(pulled(&tenant).is_empty());
        drop(compiling);
        update.join().unwrap();
    });
    assert_eq!(pulled(&tenant), [1, 2]);
}

#[test]
fn an_update_without_another_pattern_compiles_nothing() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    tenant.create_subscription("s", wanting("a")).unwrap();
    let name = &tenant.running("s").unwrap().name;
    let pattern = || std::ptr::from_ref(tenant.subscriptions.patterns.lock().get(name).unwrap());
    let before = pattern();
    tenant.pause_subscription("s", true).unwrap();
    assert_eq!(before, pattern());
    tenant.update_subscription("s", wanting("b")).unwrap();
    assert_ne!(before, pattern());
}
