//! What an expression may not do: nest too deeply, call what is not in the library, and define a function that calls
//! itself. Time and size are the meter's business, variables and labels the compiler's.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::Part;

use super::library::Library;
use super::rewrite;

/// Deepest nesting, a `|` or another operator being a level too, and each step of a path. The evaluator's stack grows
/// with it.
pub(super) const DEPTH_MAX: usize = 96;

/// The part of the text that is wrong, and why.
type Wrong<'s> = (&'s str, String);

/// Checks a parsed expression.
pub(super) fn check<'s>(term: &Term<&'s str>, library: &Library) -> Result<(), Wrong<'s>> {
    Check { library, known: Vec::new(), open: Vec::new() }.term(term, 0)
}

struct Check<'s, 'l> {
    library: &'l Library,
    /// Functions and arguments that may be called here, by name and count of arguments.
    known: Vec<(&'s str, usize)>,
    /// Functions that this is inside of.
    open: Vec<(&'s str, usize)>,
}

impl<'s> Check<'s, '_> {
    fn term(&mut self, term: &Term<&'s str>, depth: usize) -> Result<(), Wrong<'s>> {
        let depth = depth + own_levels(term);
        if depth > DEPTH_MAX {
            return Err(("", format!("expected at most {DEPTH_MAX} levels of nesting and operators, found more")));
        }
        match term {
            Term::Call(name, arguments) => self.call(name, arguments.len())?,
            Term::Str(Some(format), _) => self.call(format, 0)?,
            Term::Def(defs, rest) => {
                let before = self.known.len();
                for def in defs {
                    self.definition(def, depth + 1)?;
                }
                self.term(rest, depth + 1)?;
                self.known.truncate(before);
                return Ok(());
            }
            _ => {}
        }
        let mut outcome = Ok(());
        each_part(term, &mut |part| {
            if outcome.is_ok() {
                outcome = self.term(part, depth + 1);
            }
        });
        outcome
    }

    fn definition(&mut self, def: &Def<&'s str>, depth: usize) -> Result<(), Wrong<'s>> {
        let before = self.known.len();
        let signature = (def.name, def.args.len());
        self.known.extend(def.args.iter().filter(|name| !name.starts_with('$')).map(|name| (*name, 0)));
        self.open.push(signature);
        self.term(&def.body, depth)?;
        self.open.pop();
        self.known.truncate(before);
        self.known.push(signature);
        Ok(())
    }

    fn call(&self, name: &'s str, arguments: usize) -> Result<(), Wrong<'s>> {
        let signature = (name, arguments);
        // Refused even where an argument of that name is meant: nobody misses it, and no rule of scopes can be missed.
        if self.open.contains(&signature) {
            return Err((name, format!("expected functions that do not call themselves, found {name}")));
        }
        if self.known.contains(&signature) || self.library.knows(name, arguments) {
            return Ok(());
        }
        let with = match arguments {
            0 => String::new(),
            1 => " with 1 argument".into(),
            n => format!(" with {n} arguments"),
        };
        let why = self.library.why_not(name).unwrap_or_default();
        Err((name, format!("there is no function {name}{with}{why}")))
    }
}

/// The levels of a term besides those of its parts: the evaluator goes down one after the other of these, too.
fn own_levels(term: &Term<&str>) -> usize {
    match term {
        Term::Path(_, path) => path.0.len(),
        Term::Call(_, arguments) => arguments.len().saturating_sub(1),
        Term::Str(_, parts) => rewrite::levels_of_parts(parts.len()),
        Term::Obj(members) => rewrite::levels_of_parts(members.len()),
        Term::IfThenElse(branches, _) => branches.len() - 1,
        Term::BinOp(_, BinaryOp::Pipe(Some(pattern)), _) | Term::Fold(_, _, pattern, _) => pattern_levels(pattern),
        _ => 0,
    }
}

/// Every variable is bound inside of those before it.
fn pattern_levels(pattern: &Pattern<&str>) -> usize {
    match pattern {
        Pattern::Var(_) => 0,
        Pattern::Arr(items) => items.iter().map(|item| 1 + pattern_levels(item)).sum(),
        Pattern::Obj(members) => members.iter().map(|(_, value)| 1 + pattern_levels(value)).sum(),
    }
}

/// Every part that is a term of its own.
fn each_part<'t, 's>(term: &'t Term<&'s str>, visit: &mut impl FnMut(&'t Term<&'s str>)) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(_, parts) => parts.iter().for_each(|part| match part {
            StrPart::Term(term) => visit(term),
            StrPart::Str(_) | StrPart::Char(_) => {}
        }),
        Term::Arr(items) => items.iter().for_each(|term| visit(term)),
        Term::Obj(members) => members.iter().for_each(|(name, value)| {
            visit(name);
            value.iter().for_each(&mut *visit);
        }),
        Term::Neg(term) | Term::Label(_, term) => visit(term),
        Term::BinOp(left, op, right) => {
            visit(left);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                each_name(pattern, visit);
            }
            visit(right);
        }
        Term::Fold(_, over, pattern, parts) => {
            visit(over);
            each_name(pattern, visit);
            parts.iter().for_each(visit);
        }
        Term::TryCatch(attempt, catch) => {
            visit(attempt);
            catch.iter().for_each(|term| visit(term));
        }
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().for_each(|(test, then)| {
                visit(test);
                visit(then);
            });
            otherwise.iter().for_each(|term| visit(term));
        }
        Term::Def(_, rest) => visit(rest),
        Term::Call(_, arguments) => arguments.iter().for_each(visit),
        Term::Path(from, path) => {
            visit(from);
            path.0.iter().for_each(|(part, _)| match part {
                Part::Index(index) => visit(index),
                Part::Range(start, end) => start.iter().chain(end).for_each(&mut *visit),
            });
        }
    }
}

/// The terms that name the members of a pattern.
fn each_name<'t, 's>(pattern: &'t Pattern<&'s str>, visit: &mut impl FnMut(&'t Term<&'s str>)) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter().for_each(|item| each_name(item, visit)),
        Pattern::Obj(members) => members.iter().for_each(|(name, value)| {
            visit(name);
            each_name(value, visit);
        }),
    }
}
