use quipu_domain::access::Token;
use quipu_domain::{Event, Permission};
use tempfile::TempDir;

use super::*;
use crate::options::{Clock, Options};
use crate::still;

fn open(folder: &TempDir) -> Arc<Tenant> {
    still::tenant(folder.path(), Options::default())
}

fn new(permission: &str) -> NewKey {
    let grants = serde_json::from_str(&format!(r#"[{{"permissions":["{permission}"]}}]"#)).unwrap();
    NewKey { name: "a key".into(), grants, user: None, certificate: None, life_ms: None }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, NotDone>) -> KeyRefusal {
    match result {
        Err(NotDone::RefusedKey(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_known_by_its_secret_only_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut tenant = open(&folder);
    let (info, secret) = tenant.create_key(new("read")).unwrap();
    let (_, other) = tenant.create_key(new("publish")).unwrap();
    for _ in 0..2 {
        let shown = tenant.authenticate(&info.id, &secret).unwrap();
        let key = shown.key();
        assert!(key.access().has(Permission::Read) && !key.access().has(Permission::Publish));
        assert_eq!((key.id(), key.name()), (info.id.as_str(), "a key"));
        assert!(tenant.authenticate(&info.id, &other).is_none());
        assert!(tenant.authenticate("0000000000000000", &secret).is_none());
        assert!(tenant.authenticate(&info.id, &KeySecret::new([0; 32])).is_none());
        assert_eq!(tenant.keys().len(), 2);
        drop(tenant);
        tenant = open(&folder);
    }
}

#[test]
fn no_secret_is_written_down() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let (info, secret) = tenant.create_key(new("read")).unwrap();
    let (_, next) = tenant.rotate_key(&info.id, 1_000).unwrap();
    tenant.close().unwrap();
    let mut files = vec![folder.path().to_owned()];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        seen += usize::from(!bytes.is_empty());
        for secret in [&secret, &next] {
            let text = secret.token("t", &info.id);
            let (digits, raw) = (&text.as_bytes()[text.len() - 64..], &secret.bytes()[..]);
            for part in [digits, raw] {
                assert!(!bytes.windows(part.len()).any(|window| window == part), "{}", path.display());
            }
        }
    }
    assert!(seen > 0);
    assert!(!format!("{info:?} {secret:?}").contains(&*secret.token("t", &info.id)));
}

#[test]
fn a_secret_that_was_replaced_is_good_for_a_while_and_one_that_was_revoked_is_not() {
    let folder = TempDir::new().unwrap();
    let (tenant, clock) = still::tenant_with_clock(folder.path(), Options::default());
    let (info, first) = tenant.create_key(new("read")).unwrap();
    let (rotated, second) = tenant.rotate_key(&info.id, 60_000).unwrap();
    assert_eq!(rotated.rotating_until, Some(clock.now().plus_ms(60_000)));
    let is_known = |secret: &KeySecret| tenant.authenticate(&info.id, secret).is_some();
    assert_eq!((is_known(&first), is_known(&second)), (true, true));
    clock.wait_ms(60_000);
    assert_eq!((is_known(&first), is_known(&second)), (false, true));
    let held = tenant.authenticate(&info.id, &second).unwrap();
    assert!(tenant.is_key_good(&held));
    // Whoever rotates again before all have the new one locks out nobody.
    let (_, more) = tenant.rotate_key(&info.id, 60_000).unwrap();
    assert_eq!((is_known(&second), is_known(&more)), (true, true));
    let (_, third) = tenant.rotate_key(&info.id, 0).unwrap();
    assert!(!is_known(&more));
    assert!(!tenant.is_key_good(&held), "whoever holds the secret before holds nothing");
    assert_eq!((is_known(&second), is_known(&third)), (false, true));
    let held = tenant.authenticate(&info.id, &third).unwrap();
    assert!(tenant.is_key_good(&held));
    tenant.revoke_key(&info.id).unwrap();
    assert!(!is_known(&third) && !tenant.is_key_good(&held));
    assert_eq!(refusal(tenant.revoke_key(&info.id)), KeyRefusal::NotFound { id: info.id.clone() });
    assert_eq!(refusal(tenant.rotate_key(&info.id, 1)), KeyRefusal::NotFound { id: info.id.clone() });
}

#[test]
fn a_key_ends_when_its_time_is_over() {
    let folder = TempDir::new().unwrap();
    let (tenant, clock) = still::tenant_with_clock(folder.path(), Options::default());
    let (info, secret) = tenant.create_key(NewKey { life_ms: Some(1_000), ..new("read") }).unwrap();
    clock.wait_ms(999);
    assert!(tenant.authenticate(&info.id, &secret).is_some());
    clock.wait_ms(1);
    assert!(tenant.authenticate(&info.id, &secret).is_none());
}

#[test]
fn a_key_stays_bound_to_its_certificate() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let certificate = Some([7; 32].into());
    let (info, _) = tenant.create_key(NewKey { certificate, ..new("read") }).unwrap();
    let (rotated, secret) = tenant.rotate_key(&info.id, 1_000).unwrap();
    assert_eq!((info.certificate, rotated.certificate), (certificate, certificate));
    drop(tenant);
    let tenant = open(&folder);
    assert_eq!(tenant.authenticate(&info.id, &secret).unwrap().key().certificate(), certificate);
}

#[test]
fn when_a_key_was_used_last_is_kept_about_to_the_hour() {
    let folder = TempDir::new().unwrap();
    let (tenant, clock) = still::tenant_with_clock(folder.path(), Options::default());
    let (info, secret) = tenant.create_key(new("read")).unwrap();
    let used = |tenant: &Arc<Tenant>| tenant.key(&info.id).unwrap().used;
    assert_eq!(used(&tenant), None);
    let begun = clock.now();
    tenant.authenticate(&info.id, &secret).unwrap();
    tenant.note_key_uses().unwrap();
    let commit = tenant.commit();
    clock.wait_ms(USED_MS - 1);
    tenant.authenticate(&info.id, &secret).unwrap();
    tenant.note_key_uses().unwrap();
    assert_eq!((used(&tenant), tenant.commit()), (Some(begun.plus_ms(USED_MS - 1)), commit));
    drop(tenant);
    let tenant = open(&folder);
    assert_eq!(used(&tenant), Some(begun));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let refused = |new| refusal(tenant.create_key(new));
    for name in [String::new(), "a".repeat(129), "a\nb".into()] {
        assert_eq!(refused(NewKey { name, ..new("read") }), KeyRefusal::InvalidName { limit: 128 });
    }
    assert_eq!(refused(NewKey { grants: Vec::new(), ..new("read") }), KeyRefusal::NoGrants);
    assert!(matches!(refused(NewKey { user: Some("ada".into()), ..new("consume") }), KeyRefusal::Invalid(_)));
    assert!(matches!(refused(new("operate")), KeyRefusal::Invalid(_)));
    for ms in [0, LIFE_MS_MAX + 1, u64::MAX] {
        let life = KeyRefusal::InvalidLife { what: "lifems", ms, limit: LIFE_MS_MAX };
        assert_eq!(refused(NewKey { life_ms: Some(ms), ..new("read") }), life);
    }
    assert!(tenant.keys().is_empty());
}

#[test]
fn a_grant_that_is_not_understood_any_more_allows_nothing() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let (info, secret) = tenant.create_key(new("read")).unwrap();
    let mut key = tenant.known_key(&info.id).unwrap().folded.clone();
    key.grants[0].pattern = Some(serde_json::from_str(r#"{"type":[{"newer":1}]}"#).unwrap());
    tenant.write_records_wait(vec![KeyRecord::Made { id: info.id.clone(), key }.record()]).unwrap();
    drop(tenant);
    let tenant = open(&folder);
    let shown = tenant.authenticate(&info.id, &secret).unwrap();
    let (key, event) = (shown.key(), Event::builder("1", "/s", "a").build().unwrap());
    assert!(!key.access().has(Permission::Read) && !key.access().may_publish(&event));
    assert!(!key.access().visible().unwrap().shows(&event, None));
}

#[test]
fn the_text_of_a_key_leads_to_it() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let (info, secret) = tenant.create_key(new("read")).unwrap();
    let text = secret.token("acme", &info.id);
    let token = Token::parse(&text).unwrap();
    assert!(tenant.authenticate(token.id, &token.secret).is_some());
}

#[test]
fn a_key_never_takes_the_place_of_another() {
    let folder = TempDir::new().unwrap();
    let (first, secret) = open(&folder).create_key(new("read")).unwrap();
    // The randomness of these tests comes round: the last of these would have the id of the first one.
    let tenant = open(&folder);
    (0..27).for_each(|_| _ = tenant.create_key(new("publish")).unwrap());
    assert_eq!(tenant.keys().len(), 28);
    assert!(tenant.authenticate(&first.id, &secret).is_some_and(|shown| shown.key().access().has(Permission::Read)));
}
