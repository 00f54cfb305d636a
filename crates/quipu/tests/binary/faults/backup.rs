//! A backup while its server is under load: the copy is the log as it was at some commit, with all that was
//! acknowledged before the backup began.

use super::ledger::Ledger;
use super::load::{End, Load};
use super::server::Serving;
use crate::process::User;

/// Segments are sealed and begun while they are copied.
const SETTINGS: &[&str] = &["segment_bytes=1048576"];
const COPIES: usize = 8;

#[test]
fn a_backup_under_load_is_the_beginning_of_the_log_with_all_that_was_acknowledged_before_it() {
    let user = User::new();
    let (mut ledger, mut load, mut copies) = (Ledger::default(), Load::default(), Vec::new());
    let server = Serving::start(&user, SETTINGS);
    let ends = load.run(&server.address(), &mut ledger, |progress| {
        let mut meanwhile = 0;
        for _ in 0..COPIES {
            progress.wait_for(100);
            let (copy, before) = (User::new(), progress.ledger().clone());
            let backup = ["store", "backup", &user.path("data"), &copy.path("data"), "-o", "json"];
            let report = user.run(&backup).ok().json();
            assert_eq!(report[0]["state"], "sound", "{report}");
            meanwhile += progress.catch_up();
            copies.push((copy, before));
        }
        assert!(meanwhile > 0, "nothing was acknowledged while {COPIES} copies were made");
    });
    assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
    assert_eq!(server.stop(), 0);

    let export = |user: &User| user.run(&["store", "export", &user.path("data")]).ok().stdout;
    let log = export(&user);
    for (copy, mut before) in copies {
        assert!(log.starts_with(&export(&copy)), "the copy is the beginning of the log");
        let server = Serving::start(&copy, SETTINGS);
        before.read_again(&server.address());
        assert_eq!(server.stop(), 0);
    }
}
