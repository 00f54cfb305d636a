//! jq, by jaq, for expressions of strangers.
//!
//! jaq itself knows no bounds: an expression may run for ever, or fill the memory, or the stack. So it is given values
//! of our own ([`value::Value`]) that have a largest size and depth and count what is done with them, and each
//! expression is rewritten so that every loop passes a counter ([`rewrite`]). Functions may not call themselves
//! ([`check`]), and only those are known that look at nothing but the event ([`library`]). What was stopped cannot be
//! caught by the expression.

mod access;
mod arithmetic;
mod check;
mod contents;
mod library;
mod meter;
mod natives;
mod number;
mod object;
mod read;
mod regex;
mod rewrite;
mod seam;
mod text;
mod value;
mod write;

use std::panic::{AssertUnwindSafe, catch_unwind};

use jaq_core::data::JustLut;
use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{Arena, File, Lexer, Loader, Parser};
use jaq_core::{Compiler, Ctx, Vars};

use super::{JQ_CHARS_MAX, check_length};
use library::Library;
use value::Value;

/// What is wrong, and at which byte of the text.
type Misplaced = (usize, String);
type Filter = jaq_core::Filter<JustLut<Value>>;

/// Most steps of one evaluation.
pub(crate) const JQ_STEPS_MAX: u64 = meter::STEPS_MAX;
/// The definition that holds the expression. An expression cannot call it: `check` knows only the library's names.
const MAIN: &str = "quipu_main";
/// Lexer, parser and compiler recurse once or twice a character at worst, with up to 8 KiB each time where nothing is
/// optimized. It is address space: what is not used costs nothing.
const COMPILE_STACK_BYTES: usize = 128 << 20;

/// A compiled expression.
pub(crate) struct Jq {
    text: String,
    filter: Filter,
    steps_max: u64,
}

impl std::fmt::Debug for Jq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Jq").field(&self.text).finish()
    }
}

impl Jq {
    /// Checks and compiles an expression.
    ///
    /// # Errors
    /// What was expected, and where.
    pub fn compile(text: &str) -> Result<Self, Misplaced> {
        check_length(text, JQ_CHARS_MAX)?;
        let filter = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("quipu-jq-compile".into()).stack_size(COMPILE_STACK_BYTES);
            let thread = thread.spawn_scoped(scope, || compile(text));
            let thread = thread.map_err(|error| (0, format!("no thread to compile it on: {error}")))?;
            thread.join().unwrap_or_else(|_| Err((0, "the compiler failed on it".into())))
        })?;
        Ok(Self { text: text.to_owned(), filter, steps_max: JQ_STEPS_MAX })
    }

    /// With fewer steps: what builds for tests takes is slow.
    #[cfg(test)]
    pub fn with_steps_max(self, steps_max: u64) -> Self {
        Self { steps_max, ..self }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first output for this event, as JSON.
    pub fn apply(&self, event: &str) -> Result<Vec<u8>, String> {
        self.apply_within(event, &mut { self.steps_max })
    }

    /// As [`Jq::apply`], within so many steps, of which it leaves what it did not take.
    pub fn apply_within(&self, event: &str, steps: &mut u64) -> Result<Vec<u8>, String> {
        // A bug in the evaluator, met by one expression, is no reason to stop the thread that serves all others.
        let run = AssertUnwindSafe(|| meter::metered(*steps, || self.first(event)));
        let outcome = catch_unwind(run);
        *steps = meter::steps_left();
        match outcome {
            Ok((_, Some(stop))) => Err(stop.to_string()),
            Ok((outcome, None)) => outcome,
            Err(_) => Err("the evaluator failed on it".into()),
        }
    }

    fn first(&self, event: &str) -> Result<Vec<u8>, String> {
        let event = read::read(event)?;
        let context = Ctx::<JustLut<Value>>::new(&self.filter.lut, Vars::new([]));
        match self.filter.id.run((context, event)).next() {
            None => Err("expected an output, found none".into()),
            Some(Ok(value)) => write::to_json(&value),
            Some(Err(exception)) => match exception.get_err() {
                Ok(error) => Err(write::to_message(&error.into_val())),
                // Stopped: the meter knows why.
                Err(_) => Err("it was stopped".into()),
            },
        }
    }
}

fn compile(text: &str) -> Result<Filter, Misplaced> {
    let at = |part: &str| (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
    let tokens = Lexer::new(text).lex().map_err(|errors| match errors.into_iter().next() {
        Some((expected, found)) => (at(found), format!("expected {}", expected.as_str())),
        None => (0, "expected a jq expression".into()),
    })?;
    let term =
        Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| match errors.into_iter().next() {
            Some((expected, found)) => {
                let found = found.map(|token| token.as_str());
                let reason = format!("expected {}, found {}", expected.as_str(), found.unwrap_or("the end"));
                (found.map_or(text.len(), at), reason)
            }
            None => (0, "expected a jq expression".into()),
        })?;
    let library = Library::new();
    check::check(&term, &library).map_err(|(part, reason)| (at(part), reason))?;
    let arena = Arena::default();
    link(term, library, &arena).map_err(|(part, reason)| (at(part), reason))
}

/// Compiles the checked expression with the library, all of it counted.
fn link<'s>(term: Term<&'s str>, library: Library, arena: &'s Arena) -> Result<Filter, (&'s str, String)> {
    let main = Def { name: MAIN, args: Vec::new(), body: term };
    let definitions: Vec<Def<&'s str>> = library.definitions;
    let definitions = definitions.into_iter().chain([main]).map(rewrite::definition);
    let modules = Loader::new(definitions).load(arena, File { code: MAIN, path: () });
    let modules = modules.map_err(|_| ("", "the library could not be read".to_owned()))?;
    let compiler: Compiler<&'s str, JustLut<Value>> = Compiler::default().with_funs(natives::all());
    compiler.compile(modules).map_err(|errors| {
        let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
        first.map_or(("", "it could not be compiled".to_owned()), |(name, undefined)| {
            (name, format!("there is no {} {name}", undefined.as_str()))
        })
    })
}
