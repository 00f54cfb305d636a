//! Compiled regular expressions, kept on the thread for the next event. What one costs is counted by its size, and again
//! in each evaluation, kept or not: an outcome depends on nothing but the event.

use std::cell::RefCell;
use std::rc::Rc;

use regex::{Regex, RegexBuilder};

use super::super::meter;

/// Longest expression. Bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// Compiling takes up to 65 µs a byte of the expression, as measured with `(?i:\p{L})` over and over.
const COMPILE_STEPS_A_BYTE: usize = 700;
/// Sizes of a compiled expression, and what each byte of text costs in one that has this size: measured 5 ns, 1.7 µs,
/// 6.5 µs and 50 µs at worst. `\d` takes 6 KiB, `\w` 53 KiB, `\w+@\w+\.\w+` 162 KiB, all of ASCII below 2 KiB.
const SIZES: [(usize, usize); 4] = [(2 << 10, 1), (16 << 10, 16), (64 << 10, 64), (192 << 10, 512)];
/// Compiling takes about this many times what a byte of text does.
const COMPILE_STEPS_A_BYTE_STEP: usize = 200;
/// What the matcher may remember besides. Bytes.
const CACHE_BYTES_MAX: usize = 256 << 10;
/// Most that one evaluation keeps, and most on a thread: together with their caches at most about 14 MiB.
const KEPT_MAX: usize = 16;
const KEPT_ON_THREAD_MAX: usize = 2 * KEPT_MAX;

/// A compiled expression, and what looking at one byte of text costs.
pub(super) struct Compiled {
    pub regex: Regex,
    pub byte_steps: usize,
}

struct Kept {
    key: String,
    compiled: Rc<Compiled>,
    /// The last one that used it.
    evaluation: u64,
}

thread_local! {
    /// Those of this evaluation are at the end, in the order in which it came upon them.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// The expression with these flags, compiled.
pub(super) fn compiled(text: &str, flags: &str) -> Result<Rc<Compiled>, String> {
    let key = format!("{flags}/{text}");
    let evaluation = meter::evaluation();
    let kept = KEPT.with_borrow_mut(|kept| {
        let at = kept.iter().position(|kept| kept.key == key)?;
        if kept[at].evaluation == evaluation {
            return Some((Rc::clone(&kept[at].compiled), true));
        }
        Some((kept.remove(at).compiled, false))
    });
    if let Some((compiled, true)) = kept {
        return Ok(compiled);
    }
    let compiled = match kept {
        Some((compiled, _)) if counted_before(text) => compiled,
        Some(_) => return Err("stopped".into()),
        None => Rc::new(compile(text, flags)?),
    };
    meter::steps(compiled.byte_steps * COMPILE_STEPS_A_BYTE_STEP);
    keep(Kept { key, compiled: Rc::clone(&compiled), evaluation });
    Ok(compiled)
}

/// What an evaluation keeps does not depend on what others on this thread kept before it.
fn keep(new: Kept) {
    KEPT.with_borrow_mut(|kept| {
        let of_evaluation = kept.iter().filter(|kept| kept.evaluation == new.evaluation).count();
        if of_evaluation == KEPT_MAX {
            kept.remove(kept.len() - KEPT_MAX);
        } else if kept.len() == KEPT_ON_THREAD_MAX {
            kept.remove(0);
        }
        kept.push(new);
    });
}

fn counted_before(text: &str) -> bool {
    meter::steps(text.len() * COMPILE_STEPS_A_BYTE)
}

fn compile(text: &str, flags: &str) -> Result<Compiled, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("expected a regular expression of at most {TEXT_BYTES_MAX} bytes, found {}", text.len()));
    }
    if !counted_before(text) {
        return Err("stopped".into());
    }
    let mut builder = RegexBuilder::new(text);
    builder.nest_limit(64).dfa_size_limit(CACHE_BYTES_MAX);
    for flag in flags.chars() {
        match flag {
            'g' | 'n' => &mut builder,
            'i' => builder.case_insensitive(true),
            'x' => builder.ignore_whitespace(true),
            's' => builder.dot_matches_new_line(true),
            'l' => builder.swap_greed(true),
            'p' => builder.multi_line(true).dot_matches_new_line(true),
            other => return Err(format!("expected flags of g, i, l, n, p, s and x, found {other}")),
        };
    }
    let (largest, most_steps) = SIZES[SIZES.len() - 1];
    for (size, byte_steps) in SIZES {
        match builder.size_limit(size).build() {
            Ok(regex) => return Ok(Compiled { regex, byte_steps }),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(error) => return Err(format!("cannot be used as a regular expression: {error}")),
        }
    }
    meter::steps(most_steps * COMPILE_STEPS_A_BYTE_STEP);
    Err(format!("cannot be used as a regular expression: compiled, it is larger than {largest} bytes"))
}
