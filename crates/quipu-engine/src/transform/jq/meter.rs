//! What an evaluation has used up: steps, and the stack. The evaluator hands no context to the operators of its values,
//! so the count belongs to the thread, for as long as one evaluation lasts.
//!
//! Once stopped it stays stopped: operators fail, and the next counted step ends the evaluation in a way that the
//! expression cannot catch.

use std::cell::Cell;
use std::fmt;

/// A step is 0.1 to 3 µs of work: an evaluated path or call, a comparison, the copy of a few items or of 64 bytes. So
/// an evaluation ends within seconds; what was seen to take longest is in `docs/transformations.md`.
pub(super) const STEPS_MAX: u64 = 1_000_000;
/// Bytes that are copied in a step.
const BYTES_COPIED: usize = 64;
/// Bytes that are looked at in a step.
const BYTES_READ: usize = 512;
/// Bytes of JSON that are read in a step.
const BYTES_PARSED: usize = 16;
/// Items of an array or object that are copied in a step. An item is a tag and a counted pointer.
const ITEMS_COPIED: usize = 4;
/// Between two steps the evaluator descends at most through one expression, whose depth is limited, and one value,
/// whose depth is too. Both and this fit into 2 MiB, the stack of threads unless asked otherwise, even where nothing is
/// optimized and a level takes up to 8 KiB.
const STACK_BYTES_MAX: usize = 384 << 10;
/// Most steps of one path: `path(..)` of a value has at most its depth, a path beyond it only grows.
pub(super) const PATH_STEPS_MAX: usize = 256;

/// Why an evaluation was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// After this many.
    Steps(u64),
    Stack,
    Path,
    Bytes,
    Depth,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps_max) => write!(f, "stopped after {steps_max} steps"),
            Self::Stack => f.write_str("stopped: parts that evaluate each other too deeply"),
            Self::Path => write!(f, "stopped: a path of more than {PATH_STEPS_MAX} steps"),
            Self::Bytes => write!(f, "stopped: a value of more than {} bytes", super::value::BYTES_MAX),
            Self::Depth => write!(f, "stopped: a value of more than {} levels", super::value::DEPTH_MAX),
        }
    }
}

thread_local! {
    static STEPS_MAX_NOW: Cell<u64> = const { Cell::new(0) };
    static STEPS_LEFT: Cell<u64> = const { Cell::new(0) };
    static STOPPED: Cell<Option<Stop>> = const { Cell::new(None) };
    static EVALUATION: Cell<u64> = const { Cell::new(0) };
    static STACK_BASE: Cell<usize> = const { Cell::new(0) };
}

/// Runs one evaluation of at most this many steps, and says whether it was stopped.
pub(super) fn metered<T>(steps_max: u64, evaluate: impl FnOnce() -> T) -> (T, Option<Stop>) {
    STEPS_MAX_NOW.set(steps_max);
    STEPS_LEFT.set(steps_max);
    STOPPED.set(None);
    EVALUATION.set(EVALUATION.get() + 1);
    STACK_BASE.set(stack_position());
    let outcome = evaluate();
    (outcome, STOPPED.get())
}

/// What the last evaluation of this thread left.
pub(super) fn steps_left() -> u64 {
    STEPS_LEFT.get()
}

/// Which evaluation of this thread it is.
pub(super) fn evaluation() -> u64 {
    EVALUATION.get()
}

/// Stops this evaluation. The first reason stays.
pub(super) fn stop(why: Stop) {
    if STOPPED.get().is_none() {
        STOPPED.set(Some(why));
    }
    STEPS_LEFT.set(0);
}

pub(super) fn is_stopped() -> bool {
    STOPPED.get().is_some()
}

/// One step of the evaluator. False once it is stopped.
pub(super) fn step() -> bool {
    if STACK_BASE.get().abs_diff(stack_position()) > STACK_BYTES_MAX {
        stop(Stop::Stack);
    }
    steps(1)
}

/// Some steps at once. False once it is stopped.
pub(super) fn steps(count: usize) -> bool {
    match STEPS_LEFT.get().checked_sub(count as u64) {
        Some(left) if !is_stopped() => {
            STEPS_LEFT.set(left);
            true
        }
        _ => {
            stop(Stop::Steps(STEPS_MAX_NOW.get()));
            false
        }
    }
}

/// The steps of copying text.
pub(super) fn copied(bytes: usize) -> bool {
    steps(bytes / BYTES_COPIED + 1)
}

/// The steps of reading text that is compared or searched as it is.
pub(super) fn read(bytes: usize) -> bool {
    steps(bytes / BYTES_READ)
}

/// The steps of reading JSON.
pub(super) fn parsed(bytes: usize) -> bool {
    steps(bytes / BYTES_PARSED + 1)
}

/// The steps of copying items.
pub(super) fn copied_items(count: usize) -> bool {
    steps(count / ITEMS_COPIED + 1)
}

/// Where the stack is now, near enough: the address of a variable.
#[inline(never)]
fn stack_position() -> usize {
    let here = 0u8;
    std::hint::black_box(&raw const here) as usize
}
