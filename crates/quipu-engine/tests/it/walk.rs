//! Whoever follows commits gets each once, in order, whatever is written meanwhile, and notices a log that is not the one it knew.

use std::sync::Arc;

use quipu_engine::{Followed, Head, Tenant};
use tempfile::TempDir;

use crate::support::{event, open, publish, small};

fn follow(tenant: &Arc<Tenant>, from: Head) -> (Vec<(u64, u64)>, Head) {
    let (mut follower, mut seen) = (tenant.follow_commits(from), Vec::new());
    loop {
        match follower.next(tenant.head(), 200).unwrap() {
            Followed::Commits(commits) => {
                for commit in commits {
                    let positions = commit.events.iter().map(|recorded| (commit.head.commit, recorded.stamp.position));
                    seen.extend(positions);
                }
            }
            Followed::End => return (seen, follower.head()),
            Followed::Apart => panic!("it is of this log"),
        }
    }
}

#[test]
fn commits_come_once_and_in_order_while_others_are_written() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let writer = std::thread::spawn({
        let tenant = Arc::clone(&tenant);
        move || (0..2_000).for_each(|number| drop(publish(&tenant, &event(&format!("{number}"), "a"))))
    });
    let (mut positions, mut head) = (Vec::new(), Head::START);
    while positions.len() < 2_000 {
        let (seen, next) = follow(&tenant, head);
        positions.extend(seen.into_iter().map(|(_, position)| position));
        head = next;
    }
    writer.join().unwrap();
    assert_eq!(positions, (1..=2_000).collect::<Vec<_>>());
    // One follower all the way, which keeps its place in the file from one look to the next.
    let mut follower = tenant.follow_commits(Head::START);
    let end = tenant.head();
    let middle = match follower.next(end, 200).unwrap() {
        Followed::Commits(commits) => commits.last().unwrap().head,
        other => panic!("{other:?}"),
    };
    assert_eq!(follower.head(), middle);
    // An end in the middle of what is read at once holds back what is behind it.
    let mut held = tenant.follow_commits(Head::START);
    assert!(matches!(held.next(middle, 1 << 20).unwrap(), Followed::Commits(_)));
    assert_eq!(held.head(), middle);
    assert!(matches!(held.next(middle, 1 << 20).unwrap(), Followed::End));
    while let Followed::Commits(_) = held.next(end, 1 << 20).unwrap() {}
    assert_eq!(held.head(), end);
}

#[test]
fn a_head_of_another_log_is_noticed() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    (0..20).for_each(|number| drop(publish(&tenant, &event(&format!("{number}"), "a"))));
    let head = tenant.head();
    for other in [
        Head { chain: [7; 32], ..head },
        Head { commit: head.commit - 1, ..head },
        Head { commit: head.commit + 1, ..head },
    ] {
        let mut follower = tenant.follow_commits(other);
        let mut found = follower.next(head, 1 << 20).unwrap();
        while let Followed::Commits(_) = found {
            found = follower.next(head, 1 << 20).unwrap();
        }
        assert!(matches!(found, Followed::Apart), "{other}: {found:?}");
    }
}
