//! Snapshots are caches: whatever becomes of them, and of the log behind them, a load gives what the events say.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use quipu::{Aggregate, Quipu};
use serde::{Deserialize, Serialize};

use super::account::{Account, Ask, Entry, No};

/// The same account, which has no snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Plain(Account);

impl Aggregate for Plain {
    const NAME: &'static str = Account::NAME;
    const SNAPSHOT_EVERY: u64 = 0;
    type Command = Ask;
    type Event = Entry;
    type Refusal = No;
    fn decide(&self, ask: &Ask) -> Result<Vec<Entry>, No> {
        self.0.decide(ask)
    }
    fn evolve(&mut self, event: Entry) {
        self.0.evolve(event);
    }
}

/// The same account again, with another version of `evolve`, which counts all credits twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Changed<const VERSION: u32>(Account);

impl<const VERSION: u32> Aggregate for Changed<VERSION> {
    const NAME: &'static str = Account::NAME;
    const SNAPSHOT_EVERY: u64 = Account::SNAPSHOT_EVERY;
    const EVOLVE_VERSION: u32 = VERSION;
    type Command = Ask;
    type Event = Entry;
    type Refusal = No;
    fn decide(&self, ask: &Ask) -> Result<Vec<Entry>, No> {
        self.0.decide(ask)
    }
    fn evolve(&mut self, event: Entry) {
        if let (Entry::Credited { amount }, 2) = (&event, VERSION) {
            self.0.balance += amount;
        }
        self.0.evolve(event);
    }
}

fn folder_of(store: &Path) -> PathBuf {
    store.join("tenants/default/aggregates")
}

/// The snapshots of a store.
fn snapshots(store: &Path) -> Vec<PathBuf> {
    let inside = |path: &Path| fs::read_dir(path).map(|all| all.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
    let names = inside(&folder_of(store)).unwrap_or_default();
    let folders = names.iter().flat_map(|name| inside(name).unwrap());
    folders.flat_map(|folder| inside(&folder).unwrap()).collect()
}

fn deposit(quipu: &Quipu, times: usize) {
    for _ in 0..times {
        quipu.aggregates::<Account>().execute("ada", &Ask::Deposit(1.0)).unwrap();
    }
}

fn balance<A: Aggregate>(quipu: &Quipu, balance: impl Fn(A) -> f64) -> f64 {
    balance(quipu.aggregates::<A>().load("ada").unwrap_or_else(|_| panic!("loaded")).state)
}

#[test]
fn a_snapshot_is_kept_every_so_many_events_and_used_by_the_next_load() {
    let folder = tempfile::tempdir().unwrap();
    let quipu = Quipu::open(folder.path()).unwrap();
    deposit(&quipu, 9);
    assert_eq!(snapshots(folder.path()).len(), 0);
    deposit(&quipu, 1);
    let snapshot = snapshots(folder.path()).remove(0);
    let first = fs::read(&snapshot).unwrap();
    deposit(&quipu, 9);
    assert_eq!(fs::read(&snapshot).unwrap(), first);
    deposit(&quipu, 1);
    assert_ne!(fs::read(&snapshot).unwrap(), first);
    // That it is used shows in the one case where it may not be: `evolve` was changed and does not say so.
    let unsaid = |quipu: &Quipu| balance::<Changed<2>>(quipu, |account| account.0.balance);
    assert_eq!(unsaid(&quipu), 40.0);
    deposit(&quipu, 1);
    assert_eq!(balance::<Account>(&quipu, |account| account.balance), 21.0);
}

#[test]
fn a_snapshot_of_another_version_of_the_code_is_not_used() {
    let quipu = Quipu::in_memory().unwrap();
    deposit(&quipu, 25);
    for _ in 0..2 {
        assert_eq!(balance::<Changed<1>>(&quipu, |account| account.0.balance), 25.0);
        assert_eq!(balance::<Changed<2>>(&quipu, |account| account.0.balance), 50.0);
        assert_eq!(balance::<Changed<3>>(&quipu, |account| account.0.balance), 25.0);
        assert_eq!(balance::<Account>(&quipu, |account| account.balance), 25.0);
    }
}

#[test]
fn a_snapshot_whose_state_has_other_fields_is_not_used() {
    /// As an account was before it had notes; the name and the version are the same.
    mod before {
        use super::*;
        #[derive(Default, Serialize, Deserialize)]
        pub struct State {
            pub balance: f64,
        }
        impl Aggregate for State {
            const NAME: &'static str = Account::NAME;
            const SNAPSHOT_EVERY: u64 = 10;
            type Command = Ask;
            type Event = Entry;
            type Refusal = No;
            fn decide(&self, _: &Ask) -> Result<Vec<Entry>, No> {
                Ok(Vec::new())
            }
            fn evolve(&mut self, event: Entry) {
                if let Entry::Credited { amount } = event {
                    self.balance += amount;
                }
            }
        }
    }
    let quipu = Quipu::in_memory().unwrap();
    deposit(&quipu, 25);
    assert_eq!(balance::<before::State>(&quipu, |state| state.balance), 25.0);
    let account = quipu.aggregates::<Account>().load("ada").unwrap();
    assert_eq!(account.state.by_size.values().sum::<u64>(), 25);
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8, Ask),
    /// Many at once, by somebody who has no aggregates.
    Import(u8, u8),
    Load(u8),
    Reopen,
    DeleteSnapshots,
    Damage {
        bit: usize,
        cuts: bool,
    },
    /// The snapshots of one stream for another.
    Swap,
    /// Everything but the snapshots as it was at an earlier step.
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0..3u8;
    let ask = prop_oneof![
        6 => (1..1_000_000u32).prop_map(|cents| Ask::Deposit(f64::from(cents) / 700.0)),
        3 => (1..1_000_000u32).prop_map(|cents| Ask::Withdraw(f64::from(cents) / 900.0)),
        1 => "[a-zü\"]{0,9}".prop_map(Ask::Note),
    ];
    let step = prop_oneof![
        40 => (id.clone(), ask).prop_map(|(id, ask)| Step::Ask(id, ask)),
        3 => (id.clone(), 0..40u8).prop_map(|(id, count)| Step::Import(id, count)),
        4 => id.prop_map(Step::Load),
        1 => Just(Step::Reopen),
        1 => Just(Step::DeleteSnapshots),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(bit, cuts)| Step::Damage { bit, cuts }),
        1 => Just(Step::Swap),
        1 => Just(Step::Restore),
    ];
    proptest::collection::vec(step, 1..120)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy(&path, &to) } else { fs::copy(path, to).map(drop).unwrap() }
    }
}

fn same(quipu: &Quipu) -> Result<(), TestCaseError> {
    for id in ["0", "1", "2"] {
        let with = quipu.aggregates::<Account>().load(id).unwrap();
        let without = quipu.aggregates::<Plain>().load(id).unwrap();
        prop_assert_eq!((with.state, with.version), (without.state.0, without.version));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_load_with_snapshots_gives_what_one_without_gives(steps in steps()) {
        let (folder, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = folder.path().join("store");
        let mut quipu = Quipu::open(&store).unwrap();
        let mut imported = 0;
        for step in steps {
            match step {
                // A refusal is an answer as good as any.
                Step::Ask(id, ask) => drop(quipu.aggregates::<Account>().execute(&id.to_string(), &ask)),
                Step::Import(id, count) => {
                    let events = (0..count).map(|_| {
                        imported += 1;
                        let event = quipu::Event::builder(imported.to_string(), "/import", "account.credited");
                        event.subject(format!("account/{id}")).json(r#"{"amount":0.1}"#).build().unwrap()
                    });
                    drop(quipu.append(quipu::Append::of(events.collect::<Vec<_>>())));
                }
                Step::Load(id) => drop(quipu.aggregates::<Account>().load(&id.to_string()).unwrap()),
                Step::Reopen => {
                    quipu.close().unwrap();
                    drop(quipu);
                    if !earlier.path().join("store").exists() {
                        copy(&store, &earlier.path().join("store"));
                    }
                    quipu = Quipu::open(&store).unwrap();
                }
                Step::DeleteSnapshots => drop(fs::remove_dir_all(folder_of(&store))),
                Step::Damage { bit, cuts } => {
                    for path in snapshots(&store) {
                        let mut bytes = fs::read(&path).unwrap();
                        // Cut down to nothing before.
                        if bytes.is_empty() {
                            continue;
                        }
                        let at = bit % (bytes.len() * 8);
                        if cuts { bytes.truncate(at / 8) } else { bytes[at / 8] ^= 1 << (at % 8) }
                        fs::write(path, bytes).unwrap();
                    }
                }
                Step::Swap => {
                    if let [one, .., other] = &snapshots(&store)[..] {
                        fs::copy(one, other).unwrap();
                    }
                }
                Step::Restore => {
                    let backup = earlier.path().join("store");
                    if backup.exists() {
                        quipu.close().unwrap();
                        drop(quipu);
                        let kept = folder.path().join("kept");
                        copy_if_there(&folder_of(&store), &kept);
                        fs::remove_dir_all(&store).unwrap();
                        copy(&backup, &store);
                        drop(fs::remove_dir_all(folder_of(&store)));
                        copy_if_there(&kept, &folder_of(&store));
                        drop(fs::remove_dir_all(kept));
                        quipu = Quipu::open(&store).unwrap();
                    }
                }
            }
        }
        same(&quipu)?;
        quipu.close().unwrap();
    }
}

fn copy_if_there(from: &Path, to: &Path) {
    if from.exists() {
        copy(from, to);
    }
}

#[test]
fn a_disk_that_refuses_snapshots_refuses_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let quipu = Quipu::open(folder.path()).unwrap();
    // A file where the folder has to be.
    fs::write(folder_of(folder.path()), "").unwrap();
    deposit(&quipu, 25);
    assert_eq!(balance::<Account>(&quipu, |account| account.balance), 25.0);
    assert!(quipu.refuses_appends().is_none());
}
