//! The crash matrix: one scripted workload, and for every k a run in which the power is cut at the k-th storage call,
//! recovered in several ways, opened again and checked. It ends with the first k that the workload does not reach.

use std::sync::Arc;

use parking_lot::Mutex;
use quipu_domain::{Checkpoint, Condition, Event, StreamExpectation};
use quipu_engine::{Options, Tenant, World};

use crate::checker::answers::{Left, settle};
use crate::checker::pages::read_log;
use crate::checker::{self, Violation, violated};
use crate::machine::BEGIN;
use crate::submit::{prepare, submit};
use crate::{Answer, Dice, Draft, Entry, FOLDER, FaultyDisk, Model, Operation, Proposal, SeededRandom, VirtualClock};

/// What the matrix covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatrixReport {
    /// Storage calls of the whole workload: so many points to crash at.
    pub calls: u64,
    /// Recoveries that were checked.
    pub recoveries: u64,
    /// The least and the most operations that survived a crash.
    pub kept: (usize, usize),
    /// Segments that the workload leaves.
    pub segments: u64,
}

/// A scripted workload and how it is crashed.
#[derive(Clone, Copy, Debug)]
pub struct CrashMatrix {
    /// How many ways to recover from each crash.
    pub seeds: u64,
    /// Segments are small, so that the script crosses several.
    pub segment_bytes: u64,
}

impl CrashMatrix {
    /// Runs every row.
    ///
    /// # Errors
    /// The first violation, with the call at which the power was cut and the seed of the recovery.
    pub fn run(self) -> Result<MatrixReport, String> {
        let mut report = MatrixReport { kept: (usize::MAX, 0), ..MatrixReport::default() };
        for call in 1.. {
            let disk = FaultyDisk::new(call);
            disk.crash_at(call);
            let history = self.workload(&disk);
            if !disk.is_dead() {
                report.calls = call - 1;
                report.segments = disk.files().iter().filter(|path| path.ends_with(".seg")).count() as u64;
                let kept =
                    self.check(disk.kill(), history, 0).map_err(|violation| format!("without a crash: {violation}"))?;
                report.kept.1 = report.kept.1.max(kept);
                return Ok(report);
            }
            for seed in 0..self.seeds {
                let kept = self
                    .check(disk.crash_and_recover(seed), history.clone(), seed)
                    .map_err(|violation| format!("power cut at call {call}, recovery of seed {seed}: {violation}"))?;
                report.recoveries += 1;
                report.kept = (report.kept.0.min(kept), report.kept.1.max(kept));
            }
        }
        unreachable!("the workload ends")
    }

    fn open(self, disk: &FaultyDisk, seed: u64) -> Result<Arc<Tenant>, quipu_engine::Fault> {
        // About a tenth of the script's events have a payload, of which each costs several calls.
        let options = Options {
            segment_bytes: self.segment_bytes,
            claim_check_bytes: 320,
            run_events: 20,
            threads: 1,
            ..Options::default()
        };
        let clock = Arc::new(VirtualClock::new(BEGIN));
        let random = Arc::new(SeededRandom::new(seed));
        Tenant::open(&World { storage: Arc::new(disk.clone()), clock, random }, FOLDER, options)
    }

    /// Appends with several records, publishes, rolls segments, writes index runs, a mark and snapshots, and stops
    /// cleanly. Faults end it early; what was answered is in the history.
    fn workload(self, disk: &FaultyDisk) -> Vec<Entry> {
        let mut history = Vec::new();
        let Ok(tenant) = self.open(disk, 1) else { return history };
        let replies: Arc<Mutex<Vec<(usize, Answer)>>> = Arc::default();
        for (index, operation) in script().into_iter().enumerate() {
            let Ok(prepared) = prepare(&tenant, operation.drafts()) else { break };
            let to = Arc::clone(&replies);
            submit(&tenant, &operation, prepared, move |answer| to.lock().push((index, answer)));
            history.push(Entry::asked(operation, index as u64));
            tenant.decide();
            // Some commits share a sync.
            if index % 3 != 1 {
                tenant.flush();
            }
            if index % 4 == 3 && tenant.maintain().and_then(|_| tenant.search_payloads(1)).is_err() {
                break;
            }
            if index % 7 == 6 {
                tenant.idle();
            }
        }
        // The fault, if there was one, is seen by what was answered.
        let _ = tenant.close();
        for (index, answer) in replies.lock().drain(..) {
            history[index].answer = Some(answer);
        }
        history
    }

    /// Opens what survived and checks it: how many operations did.
    fn check(self, disk: FaultyDisk, mut history: Vec<Entry>, seed: u64) -> Result<usize, Violation> {
        let tenant = self.open(&disk, 2).map_err(|fault| violated("open", fault.to_string()))?;
        tenant.search_payloads(usize::MAX).map_err(|fault| violated("payloads", fault.to_string()))?;
        let log = read_log(&tenant)?;
        checker::gapless::check(&log)?;
        checker::acknowledged::check(&history, &log)?;
        checker::whole::check(&history, &log)?;
        let commits = tenant.stats().map_err(|fault| violated("stats", fault.to_string()))?.commits;
        let begin = Model { commits: self.own_commits(), ..Model::default() };
        let model = settle(&begin, &mut history, Left { log: &log, commits })?;
        for (source, number) in &model.checkpoints {
            if tenant.checkpoint(source) != Some(*number) {
                return Err(violated("checkpoint", format!("{source}: expected {number}")));
            }
        }
        checker::duplicates::check(&history, &log, None)?;
        // Looking everything up takes longer than the rest together; one recovery of each crash is enough for that.
        if seed == 0 {
            checker::indexes::check(&tenant, &log, &mut Dice::new(seed))?;
        }
        tenant.close().map_err(|fault| violated("close", fault.to_string()))?;
        checker::folder::check(&disk, FOLDER, log.len() as u64, commits)?;
        Ok(history.iter().filter(|entry| entry.is_kept).count())
    }

    /// Commits of the store itself, on an empty folder.
    fn own_commits(self) -> u64 {
        let tenant = self.open(&FaultyDisk::new(0), 0).ok();
        tenant.and_then(|tenant| tenant.stats().ok()).map_or(0, |stats| stats.commits)
    }
}

/// Forty operations on a few streams: appends of one to five events, some with a condition or a checkpoint, publishes
/// of up to three, a repeat of each kind.
fn script() -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    for number in 0..40u64 {
        let count = number % 5 + 1;
        let events: Vec<Draft> = (0..count).map(|part| draft(number, part)).collect();
        let operation = match number {
            13 | 29 => operations[number as usize - 3].clone(),
            _ if number % 4 == 0 => Operation::Publish(events.into_iter().take(3).collect()),
            _ => {
                let conditions = match number % 3 {
                    0 => vec![],
                    1 => {
                        vec![Condition::Stream { stream: "order/none".into(), expected: StreamExpectation::Version(0) }]
                    }
                    _ => vec![Condition::Stream { stream: "order/1".into(), expected: StreamExpectation::Exists }],
                };
                let checkpoint = (number % 6 == 1).then(|| Checkpoint { source: "table/orders".into(), number });
                Operation::Append(Proposal { events, conditions, checkpoint })
            }
        };
        operations.push(operation);
    }
    operations
}

fn draft(number: u64, part: u64) -> Draft {
    let builder =
        Event::builder(format!("{number}-{part}"), "/shop", ["order.placed", "order.paid.v2"][part as usize % 2])
            .subject(format!("order/{}", (number + part) % 4))
            .tag(format!("n:{}", number % 3))
            .correlation_id(format!("c{}", number % 5))
            .json(format!("\"{}\"", "x".repeat((number * 37 % 300) as usize)));
    Draft { event: builder.build().expect("the script makes valid events"), stream_version: None }
}
