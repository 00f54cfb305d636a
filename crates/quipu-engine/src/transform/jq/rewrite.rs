//! Puts a counter into every loop of an expression: before each path, call, `..`, fold, second output of a `,` and
//! `catch`. Any two evaluations of the same part have one of these between them, since without them a part has one
//! output and no way to be evaluated again.
//!
//! It also makes what is wide into a tree of sums, since the evaluator goes down one part after the other.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

/// The filter that counts and hands its input on. No expression can write the name.
pub(super) const STEP: &str = "!step";
/// jaq's own `empty`, which no definition can hide.
const EMPTY: &str = "!empty";

/// A definition, counted.
pub(super) fn definition(def: Def<&str>) -> Def<&str> {
    Def { body: counted(rewrite(def.body)), ..def }
}

fn counted(term: Term<&str>) -> Term<&str> {
    Term::BinOp(Box::new(Term::Call(STEP, Vec::new())), BinaryOp::Pipe(None), Box::new(term))
}

fn boxed(mut term: Box<Term<&str>>) -> Box<Term<&str>> {
    *term = rewrite(std::mem::take(&mut *term));
    term
}

fn all(terms: Vec<Term<&str>>) -> Vec<Term<&str>> {
    terms.into_iter().map(rewrite).collect()
}

fn rewrite(term: Term<&str>) -> Term<&str> {
    match term {
        Term::Id | Term::Num(_) | Term::Var(_) | Term::Break(_) => term,
        Term::Recurse => counted(Term::Recurse),
        Term::Str(format, parts) => {
            let parts = parts.into_iter().map(part_of_text).collect();
            sum(parts, &|parts| Term::Str(format, parts))
        }
        Term::Arr(items) => Term::Arr(items.map(boxed)),
        Term::Obj(members) => {
            let member = |(name, value): (_, Option<_>)| (rewrite_name(name), value.map(rewrite));
            sum(members.into_iter().map(member).collect(), &Term::Obj)
        }
        Term::Neg(term) => Term::Neg(boxed(term)),
        Term::BinOp(left, op, right) => {
            let right = match op {
                BinaryOp::Comma => Box::new(counted(rewrite(*right))),
                _ => boxed(right),
            };
            Term::BinOp(boxed(left), operator(op), right)
        }
        Term::Label(name, term) => Term::Label(name, boxed(term)),
        Term::Fold(name, over, as_, parts) => counted(Term::Fold(name, boxed(over), pattern(as_), all(parts))),
        Term::TryCatch(attempt, catch) => {
            let catch = catch.map_or_else(|| Term::Call(EMPTY, Vec::new()), |catch| rewrite(*catch));
            Term::TryCatch(boxed(attempt), Some(Box::new(counted(catch))))
        }
        Term::IfThenElse(branches, otherwise) => {
            let branches = branches.into_iter().map(|(test, then)| (rewrite(test), rewrite(then)));
            Term::IfThenElse(branches.collect(), otherwise.map(boxed))
        }
        Term::Def(defs, term) => Term::Def(defs.into_iter().map(definition).collect(), boxed(term)),
        Term::Call(name, arguments) => counted(Term::Call(name, all(arguments))),
        Term::Path(from, path) => {
            let steps = path.0.into_iter().map(|(part, opt)| (step(part), opt));
            counted(Term::Path(boxed(from), Path(steps.collect())))
        }
    }
}

/// Most parts of a text or members of an object that stay together.
const PARTS_MAX: usize = 8;

/// How deep a text or an object of so many parts becomes, besides the depth of its parts.
pub(super) fn levels_of_parts(count: usize) -> usize {
    match count {
        0..=PARTS_MAX => count.saturating_sub(1),
        _ => 1 + levels_of_parts(count.div_ceil(2)),
    }
}

/// A text or an object, as the sum of its halves where it has many parts: adding texts and objects is what the evaluator
/// does with single parts, too.
fn sum<'s, P>(mut parts: Vec<P>, whole: &impl Fn(Vec<P>) -> Term<&'s str>) -> Term<&'s str> {
    if parts.len() <= PARTS_MAX {
        return whole(parts);
    }
    let behind = parts.split_off(parts.len().div_ceil(2));
    let (before, behind) = (sum(parts, whole), sum(behind, whole));
    Term::BinOp(Box::new(before), BinaryOp::Math(jaq_core::ops::Math::Add), Box::new(behind))
}

/// The name of a member: `{$x}` and `{"a"}` stand for a member only as they are.
fn rewrite_name(name: Term<&str>) -> Term<&str> {
    match name {
        Term::Var(_) => name,
        other => rewrite(other),
    }
}

fn part_of_text<'s>(part: StrPart<&'s str, Term<&'s str>>) -> StrPart<&'s str, Term<&'s str>> {
    match part {
        StrPart::Term(term) => StrPart::Term(rewrite(term)),
        other => other,
    }
}

fn operator(op: BinaryOp<&str>) -> BinaryOp<&str> {
    match op {
        BinaryOp::Pipe(Some(as_)) => BinaryOp::Pipe(Some(pattern(as_))),
        other => other,
    }
}

fn pattern(as_: Pattern<&str>) -> Pattern<&str> {
    match as_ {
        Pattern::Var(_) => as_,
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(pattern).collect()),
        Pattern::Obj(members) => {
            Pattern::Obj(members.into_iter().map(|(name, value)| (rewrite(name), pattern(value))).collect())
        }
    }
}

fn step(part: Part<Term<&str>>) -> Part<Term<&str>> {
    match part {
        Part::Index(index) => Part::Index(rewrite(index)),
        Part::Range(from, to) => Part::Range(from.map(rewrite), to.map(rewrite)),
    }
}
