//! Changes of one subscription by many at once: each is whole, and none takes back another.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::*;

#[test]
fn a_pause_beside_a_change_takes_nothing_of_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let definition = |width: u32| serde_json::from_str(&format!(r#"{{"maxinflight":{width}}}"#)).unwrap();
    tenant.create_subscription("s", definition(1)).unwrap();
    let pauses = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| {
            for _ in 0..300 {
                tenant.pause_subscription_because("s", "a test").unwrap();
                tenant.pause_subscription("s", false).unwrap();
                pauses.fetch_add(1, Ordering::Release);
            }
        });
        for width in 2.. {
            tenant.update_subscription("s", definition(width)).unwrap();
            // Whatever began beside it has ended then.
            let seen = pauses.load(Ordering::Acquire);
            while pauses.load(Ordering::Acquire) < seen + 2 && !pausing.is_finished() {
                std::thread::yield_now();
            }
            assert_eq!(tenant.definition("s").unwrap().max_in_flight, width, "a change was taken back");
            if pausing.is_finished() {
                break;
            }
        }
    });
}
