//! The machine that a simulation runs on: a faulty disk, virtual time, dice, and the process on it, which is a tenant.
//! It says how a process ends and begins; what it is asked for meanwhile is its simulation's business.

mod caches;
mod faults;

use std::fmt;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_engine::{Fault, Options, Tenant, World};

use crate::checker::{self, Violation, violated};
use crate::{Dice, FailedSync, FaultyDisk, Kind, SeededRandom, Trigger, VirtualClock};

pub(crate) use caches::any_bit;
pub use caches::is_cache;

/// The folder of the tenant that is simulated.
pub const FOLDER: &str = "tenants/main";
/// 2026-01-01T00:00:00Z.
pub(crate) const BEGIN: Timestamp = Timestamp(1_767_225_600_000_000);

/// Whether a run says what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Only what went wrong is told, in the end.
    Quiet,
    /// Every step is printed to standard error.
    Verbose,
}

/// What one step of a simulation comes to.
pub(crate) type Step = Result<(), Violation>;

/// What was wrong, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that repeats it.
    pub seed: u64,
    /// At which step.
    pub step: u64,
    /// What was wrong.
    pub violation: Violation,
    /// What tells `simulate` which kind of run it was.
    pub options: &'static str,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} at step {}: {}\nrepeat with: cargo run -p quipu-testkit --bin simulate -- {} --seed {} -v",
            self.seed, self.step, self.violation, self.options, self.seed
        )
    }
}

/// One machine, and how often something happened to it.
pub(crate) struct Machine {
    pub seed: u64,
    pub voice: Voice,
    pub dice: Dice,
    /// For what came to the simulations later: the others roll as they did.
    pub own_dice: Dice,
    pub disk: FaultyDisk,
    pub clock: Arc<VirtualClock>,
    pub options: Options,
    /// None while nobody runs.
    pub tenant: Option<Arc<Tenant>>,
    /// Steps of the scheduler.
    pub steps: u64,
    pub opens: u64,
    pub power_cuts: u64,
    /// Injected errors.
    pub faults: u64,
    /// Calls that had failed on this disk when the process began.
    failed_before: u64,
}

impl Machine {
    /// A new one, whose tenant the dice decide about.
    pub fn new(seed: u64, voice: Voice, options: impl FnOnce(&mut Dice) -> Options) -> Self {
        let mut dice = Dice::new(seed);
        let options = options(&mut dice);
        Self {
            seed,
            voice,
            disk: FaultyDisk::new(dice.roll()),
            dice,
            own_dice: Self::own_dice(seed),
            clock: Arc::new(VirtualClock::new(BEGIN)),
            options,
            tenant: None,
            steps: 0,
            opens: 0,
            power_cuts: 0,
            faults: 0,
            failed_before: 0,
        }
    }

    pub fn own_dice(seed: u64) -> Dice {
        Dice::new(!seed)
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.voice == Voice::Verbose {
            eprintln!("{:>4} {}", self.steps, text());
        }
    }

    /// What a run came to, with the seed if it went wrong.
    pub fn judged(&self, outcome: Step, options: &'static str) -> Result<(), Failure> {
        outcome.map_err(|violation| Failure { seed: self.seed, step: self.steps, violation, options })
    }

    pub fn tenant(&self) -> Arc<Tenant> {
        Arc::clone(self.tenant.as_ref().expect("a tenant is open between two steps"))
    }

    /// Whether the disk failed in this process, as it was asked to.
    pub fn has_failed(&self) -> bool {
        self.disk.failed() > self.failed_before
    }

    /// An error is fine where one was injected.
    pub fn tolerate(&self, what: &'static str, fault: &Fault) -> Step {
        self.say(|| format!("{what}: {fault}"));
        if !self.has_failed() {
            return Err(violated(what, format!("nothing failed that leads to: {fault}")));
        }
        checker::simulated(what, fault)
    }

    pub fn cut_power(&mut self) {
        self.power_cuts += 1;
        let seed = self.dice.roll();
        self.say(|| "power cut".into());
        self.disk = self.disk.crash_and_recover(seed);
    }

    pub fn kill(&mut self) {
        self.say(|| "kill".into());
        self.disk = self.disk.kill();
    }

    /// Lets some processes begin, with a chance in percent for one more, and cuts the power while the store recovers.
    pub fn die_while_opening(&mut self, chance: u64) -> Step {
        self.tenant = None;
        while self.dice.chance(chance) {
            self.disk.crash_at(self.disk.calls() + self.dice.between(1, 60));
            let opened = self.open_tenant();
            self.say(|| format!("open, dying: {:?}", opened.as_ref().err().map(ToString::to_string)));
            if let Err(fault) = &opened {
                self.tolerate("open", fault)?;
            }
            drop(opened);
            self.cut_power();
        }
        Ok(())
    }

    /// Lets some processes begin, with a chance in percent for one more, on a disk that fails or is full meanwhile. Nobody
    /// asks them for anything.
    pub fn fail_while_opening(&mut self, chance: u64) -> Step {
        self.tenant = None;
        while self.own_dice.chance(chance) {
            self.faults += 1;
            if self.own_dice.chance(25) {
                let bytes = self.disk.bytes() + self.own_dice.below(2_000);
                self.say(|| format!("inject: room for {bytes} bytes"));
                self.disk.limit_bytes(Some(bytes));
            } else {
                let (kind, call) = (*self.own_dice.pick(&Kind::ALL), *self.own_dice.pick(&[1, 2, 3, 5, 15]));
                let outcome = *self.own_dice.pick(&FailedSync::ALL);
                self.say(|| format!("inject: {kind:?} {call} fails, {outcome:?}"));
                self.disk.failed_sync(outcome);
                self.disk.fail(kind, Trigger::At(call));
            }
            let opened = self.open_tenant();
            self.say(|| format!("open, failing: {:?}", opened.as_ref().err().map(ToString::to_string)));
            if let Err(fault) = &opened {
                self.tolerate("open", fault)?;
            }
            drop(opened);
            self.disk.heal();
            if self.own_dice.chance(30) {
                self.cut_power();
            }
        }
        Ok(())
    }

    /// Injects an error of a call that changes names or lengths.
    pub fn fail_a_change(&mut self) {
        self.faults += 1;
        let (kind, call) = (*self.own_dice.pick(&[Kind::Change, Kind::SyncDir]), self.own_dice.between(1, 4));
        self.say(|| format!("inject: {kind:?} {call} fails"));
        self.disk.fail(kind, Trigger::At(call));
    }

    /// Cuts the power some calls ahead, whatever is under way then.
    pub fn cut_power_soon(&mut self) {
        let call = *self.own_dice.pick(&[1, 2, 3, 5, 8, 15, 30, 100]);
        self.say(|| format!("inject: a power cut at call {call}"));
        self.disk.crash_at(self.disk.calls() + call);
    }

    /// Begins a process whose storage works.
    pub fn open(&mut self) -> Result<Arc<Tenant>, Violation> {
        self.disk.heal();
        self.opens += 1;
        let tenant = self.open_tenant().map_err(|fault| violated("open", fault.to_string()))?;
        self.tenant = Some(Arc::clone(&tenant));
        Ok(tenant)
    }

    /// Begins a process on a disk whose power is cut at a call.
    pub fn open_and_cut(&mut self, call: u64) -> Result<(), Fault> {
        self.opens += 1;
        self.disk.crash_at(call);
        self.tenant = Some(self.open_tenant()?);
        Ok(())
    }

    /// Begins a process that nobody keeps.
    pub fn open_as_it_is(&mut self) -> Result<Arc<Tenant>, Fault> {
        self.disk.heal();
        self.open_tenant()
    }

    fn open_tenant(&mut self) -> Result<Arc<Tenant>, Fault> {
        self.failed_before = self.disk.failed();
        let world = World {
            storage: Arc::new(self.disk.clone()),
            clock: Arc::<VirtualClock>::clone(&self.clock),
            random: Arc::new(SeededRandom::new(self.dice.roll())),
        };
        Tenant::open(&world, FOLDER, self.options.clone())
    }
}
