//! An import of many types at every power cut: all of it is there, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_engine::{CatalogAsked, Declaration, ImportedType, ImportedVersion, NewSchema, Options, Tenant, World};
use quipu_store::Fault;
use quipu_testkit::{FaultyDisk, SeededRandom, VirtualClock};

const TYPES: usize = 5;

fn open(disk: &FaultyDisk) -> Result<Arc<Tenant>, Fault> {
    let clock = Arc::new(VirtualClock::new(Timestamp(0)));
    let world = World { storage: Arc::new(disk.clone()), clock, random: Arc::new(SeededRandom::new(1)) };
    let options = Options { segment_bytes: 64 << 10, threads: 1, ..Options::default() };
    Tenant::open(&world, "tenants/default", options)
}

fn types() -> BTreeMap<String, ImportedType> {
    let imported = |number: usize| {
        let text = format!(r#"{{"type":"object","description":"{}"}}"#, "x".repeat(500));
        let schema = NewSchema { version: Some(1), text, ..NewSchema::default() };
        let declaration = Declaration { channel: Some(format!("channel {number}")), ..Declaration::default() };
        ImportedType { versions: vec![ImportedVersion { schema, deprecated: Some("old".to_owned()) }], declaration }
    };
    (0..TYPES).map(|number| (format!("a.t{number}"), imported(number))).collect()
}

/// How many types have a schema, are deprecated, and are declared.
fn there(tenant: &Tenant) -> [usize; 3] {
    let types = tenant.catalog(&CatalogAsked::default()).unwrap().types;
    let versions = || types.iter().flat_map(|of| &of.versions);
    [
        versions().filter(|version| version.is_registered).count(),
        versions().filter(|version| version.deprecated.is_some()).count(),
        types.iter().filter(|of| of.is_declared).count(),
    ]
}

#[test]
fn a_power_cut_at_any_call_leaves_all_of_an_import_or_nothing() {
    let (mut seen, mut is_over, mut call) = ([0, 0], false, 0);
    while !is_over {
        call += 1;
        let disk = FaultyDisk::new(call);
        disk.crash_at(call);
        let is_told = open(&disk).is_ok_and(|tenant| tenant.import_types(&types()).is_ok());
        is_over = !disk.is_dead();
        for seed in 0..12 {
            let how = format!("power cut at call {call}, recovery {seed}");
            let tenant = open(&disk.crash_and_recover(seed)).unwrap_or_else(|fault| panic!("{how}: {fault}"));
            let found = there(&tenant);
            assert!(found == [TYPES; 3] || (found == [0; 3] && !is_told), "{how}: {found:?}, told: {is_told}");
            seen[usize::from(found == [TYPES; 3])] += 1;
            // Whoever was told nothing asks again.
            tenant.import_types(&types()).unwrap_or_else(|fault| panic!("{how}: {fault:?}"));
            assert_eq!(there(&tenant), [TYPES; 3], "{how}");
        }
    }
    assert!(seen.iter().all(|count| *count > 12), "both were seen: {seen:?}");
}
