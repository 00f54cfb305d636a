//! Tenants as operators have them: made, listed, suspended, resumed, limited and deleted, also after a restart.

use std::path::Path;
use std::sync::Arc;

use quipu_domain::access::KeySecret;
use quipu_domain::{Permission, Quotas, Subscription};
use quipu_engine::{
    Engine, Fault, NewKey, NotDone, Options, SubscriptionRefusal, TENANT_SYSTEM, Tenant, TenantRefusal, TenantState,
};
use tempfile::TempDir;

use crate::support::{engine, event, small};

fn open(folder: &Path) -> Engine {
    let engine = engine(folder, small());
    engine.adopt_tenants().unwrap();
    engine
}

fn quotas(text: &str) -> Quotas {
    serde_json::from_str(text).unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, NotDone>) -> TenantRefusal {
    match result {
        Err(NotDone::RefusedTenant(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn publish(tenant: &Arc<Tenant>, id: &str) -> Result<(), Fault> {
    let prepared = tenant.prepare(&event(id, "s"), None).unwrap();
    tenant.publish_wait(vec![prepared]).map(drop)
}

fn names(engine: &Engine) -> Vec<(String, &'static str)> {
    engine.tenants().unwrap().into_iter().map(|info| (info.name, info.state.as_str())).collect()
}

fn delete(engine: &Engine, name: &str) {
    engine.suspend_tenant(name, "a test").unwrap();
    engine.begin_to_delete_tenant(name).unwrap();
    engine.finish_deleting_tenant(name).unwrap();
}

#[test]
fn a_tenant_is_made_with_a_key_that_may_administer_it() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path());
    let (info, key, secret) = engine.create_tenant("acme", quotas(r#"{"connections":2}"#)).unwrap();
    assert_eq!(
        (info.name.as_str(), info.state, info.quotas.connections.unwrap().get()),
        ("acme", TenantState::Active, 2)
    );
    let acme = engine.tenant("acme").unwrap();
    let shown = acme.authenticate(&key.id, &secret).unwrap();
    assert!(shown.key().access().has(Permission::Administer));
    assert!(!shown.key().access().has(Permission::Operate));
    assert_eq!(refusal(engine.create_tenant("acme", Quotas::default())), TenantRefusal::Exists { name: "acme".into() });
    for name in ["", "A", "../x", "a/b", TENANT_SYSTEM, &"a".repeat(65)] {
        assert!(matches!(refusal(engine.create_tenant(name, Quotas::default())), TenantRefusal::InvalidName { .. }));
    }
}

#[test]
fn what_was_done_to_tenants_is_there_after_a_restart_and_from_a_snapshot() {
    let folder = TempDir::new().unwrap();
    {
        let engine = open(folder.path());
        for name in ["acme", "beta", "gone"] {
            engine.create_tenant(name, Quotas::default()).unwrap();
        }
        engine.suspend_tenant("beta", "unpaid").unwrap();
        engine.set_tenant_quotas("acme", quotas(r#"{"storagebytes":9}"#)).unwrap();
        delete(&engine, "gone");
        engine.close().unwrap();
    }
    let engine = open(folder.path());
    assert_eq!(names(&engine), [("acme".to_owned(), "active"), ("beta".to_owned(), "suspended")]);
    assert_eq!(engine.tenant_info("beta").unwrap().state, TenantState::Suspended { reason: "unpaid".into() });
    assert_eq!(engine.tenant("acme").unwrap().quotas(), quotas(r#"{"storagebytes":9}"#));
    engine.resume_tenant("beta").unwrap();
    assert_eq!(names(&engine)[1].1, "active");
}

#[test]
fn tenants_of_the_library_and_of_older_versions_are_found() {
    let folder = TempDir::new().unwrap();
    {
        let engine = engine(folder.path(), small());
        engine.tenant("old").unwrap();
        assert_eq!(engine.tenant_names().unwrap(), ["old"], "nobody has needed the tenant system");
        engine.close().unwrap();
    }
    let engine = open(folder.path());
    assert_eq!(names(&engine), [("old".to_owned(), "active")]);
    assert!(engine.tenant_names().unwrap().contains(&TENANT_SYSTEM.to_owned()));
    engine.tenant("later").unwrap();
    // Nor is what somebody left behind taken for a new one.
    std::fs::create_dir_all(folder.path().join("tenants/left/secrets")).unwrap();
    for name in ["later", "left"] {
        assert!(matches!(refusal(engine.create_tenant(name, Quotas::default())), TenantRefusal::Exists { .. }));
    }
}

#[test]
fn a_tenant_is_deleted_in_two_steps_with_everything_of_it() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path());
    let (_, key, secret) = engine.create_tenant("acme", Quotas::default()).unwrap();
    let acme = engine.tenant("acme").unwrap();
    publish(&acme, "1").unwrap();
    let not_suspended = refusal(engine.begin_to_delete_tenant("acme"));
    assert!(matches!(not_suspended, TenantRefusal::WrongState { state: "active", expected: "suspended", .. }));
    engine.suspend_tenant("acme", "ends").unwrap();
    assert!(matches!(refusal(engine.finish_deleting_tenant("acme")), TenantRefusal::WrongState { .. }));
    engine.begin_to_delete_tenant("acme").unwrap();
    engine.begin_to_delete_tenant("acme").unwrap();
    assert_eq!(refusal(engine.finish_deleting_tenant("acme")), TenantRefusal::Busy { name: "acme".into() });
    assert!(matches!(publish(&acme, "2"), Err(Fault::Closed)));
    assert!(matches!(engine.tenant("acme"), Err(Fault::Closed)));
    assert!(matches!(refusal(engine.resume_tenant("acme")), TenantRefusal::WrongState { state: "deleting", .. }));
    drop(acme);
    engine.finish_deleting_tenant("acme").unwrap();
    assert!(!folder.path().join("tenants/acme").exists());
    assert_eq!(refusal(engine.tenant_info("acme").map(drop)), TenantRefusal::NotFound { name: "acme".into() });
    let (_, next, _) = engine.create_tenant("acme", Quotas::default()).unwrap();
    let acme = engine.tenant("acme").unwrap();
    assert_eq!((acme.position(), acme.keys().len()), (0, 1));
    assert!(acme.authenticate(&key.id, &secret).is_none());
    assert_ne!(key.id, next.id);
}

#[test]
fn a_deletion_that_a_crash_cut_short_goes_on_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    {
        let engine = open(folder.path());
        engine.create_tenant("acme", Quotas::default()).unwrap();
        engine.suspend_tenant("acme", "ends").unwrap();
        engine.begin_to_delete_tenant("acme").unwrap();
        assert!(folder.path().join("tenants/acme").exists());
    }
    let engine = engine(folder.path(), small());
    assert!(!folder.path().join("tenants/acme").exists());
    assert_eq!(names(&engine), []);
}

#[test]
fn a_tenant_whose_folder_is_gone_is_not_made_anew() {
    let folder = TempDir::new().unwrap();
    let engine_before = open(folder.path());
    engine_before.create_tenant("acme", Quotas::default()).unwrap();
    drop(engine_before);
    let (there, away) = (folder.path().join("tenants/acme"), folder.path().join("acme"));
    std::fs::rename(&there, &away).unwrap();
    let engine = open(folder.path());
    for failed in [engine.tenant("acme").map(drop).map_err(NotDone::from), engine.existing_tenant("acme").map(drop)] {
        assert!(matches!(&failed, Err(NotDone::Failed(Fault::Io { path, .. })) if path.contains("acme")), "{failed:?}");
    }
    assert!(engine.tenant_usage("acme").is_err() && !there.exists());
    // Once it is back all is well, without a restart.
    std::fs::rename(&away, &there).unwrap();
    assert_eq!(engine.existing_tenant("acme").unwrap().keys().len(), 1);
    assert_eq!(refusal(engine.existing_tenant("nobody").map(drop)), TenantRefusal::NotFound { name: "nobody".into() });
    assert!(!folder.path().join("tenants/nobody").exists());
}

#[test]
fn there_are_no_more_tenants_than_may_be() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path(), Options { tenants_max: 1, ..small() });
    engine.create_tenant("a", Quotas::default()).unwrap();
    assert_eq!(refusal(engine.create_tenant("b", Quotas::default())), TenantRefusal::TooMany { limit: 1 });
    delete(&engine, "a");
    engine.create_tenant("b", Quotas::default()).unwrap();
}

#[test]
fn only_keys_of_system_may_operate() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path());
    engine.create_tenant("acme", Quotas::default()).unwrap();
    let make = |tenant: &str| {
        let grants = serde_json::from_str(r#"[{"permissions":["operate"]}]"#).unwrap();
        let new = NewKey { name: "op".into(), grants, user: None, certificate: None, life_ms: None };
        engine.tenant(tenant).unwrap().create_key(new)
    };
    assert!(matches!(make("acme"), Err(NotDone::RefusedKey(_))));
    let (info, secret): (_, KeySecret) = make(TENANT_SYSTEM).unwrap();
    let system = engine.tenant(TENANT_SYSTEM).unwrap();
    assert!(system.authenticate(&info.id, &secret).unwrap().key().access().has(Permission::Operate));
}

#[test]
fn a_tenant_at_its_storage_quota_takes_no_events_and_all_else_goes_on() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path());
    engine.create_tenant("acme", Quotas::default()).unwrap();
    let acme = engine.tenant("acme").unwrap();
    publish(&acme, "1").unwrap();
    engine.set_tenant_quotas("acme", quotas(r#"{"storagebytes":100}"#)).unwrap();
    assert!(matches!(publish(&acme, "2"), Err(Fault::StorageQuota { limit: 100 })));
    assert_eq!(acme.position(), 1);
    assert!(acme.event_at(1).unwrap().is_some());
    acme.create_subscription("s", Subscription::default()).unwrap();
    engine.set_tenant_quotas("acme", Quotas::default()).unwrap();
    publish(&acme, "2").unwrap();
    // It is met without anybody looking.
    let bytes = acme.stats().unwrap().log_bytes;
    engine.set_tenant_quotas("acme", quotas(&format!(r#"{{"storagebytes":{}}}"#, bytes + 1))).unwrap();
    publish(&acme, "3").unwrap();
    assert!(matches!(publish(&acme, "4"), Err(Fault::StorageQuota { .. })));
}

#[test]
fn a_quota_of_subscriptions_goes_before_that_of_the_server() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path(), Options { quotas: quotas(r#"{"subscriptions":2}"#), ..small() });
    engine.create_tenant("acme", Quotas::default()).unwrap();
    let acme = engine.tenant("acme").unwrap();
    let make = |name: &str| acme.create_subscription(name, Subscription::default());
    make("a").unwrap();
    make("b").unwrap();
    let too_many = |made| matches!(made, Err(NotDone::Refused(SubscriptionRefusal::TooMany { limit })) if limit == 2);
    assert!(too_many(make("c")));
    engine.set_tenant_quotas("acme", quotas(r#"{"subscriptions":3}"#)).unwrap();
    make("c").unwrap();
    engine.set_tenant_quotas("acme", Quotas::default()).unwrap();
    assert!(too_many(make("d")));
}
