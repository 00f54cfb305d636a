//! Filters and queries in terms of the index, and the search for a first match.

use std::ops::RangeInclusive;

use quipu_domain::{Direction, Filter, Query, TypeMatch, type_prefixes};
use quipu_store::{Expr, Fault, Index, Term, TermHasher};

/// Candidates looked at between two questions to the index.
const BATCH: usize = 256;

/// What a filter asks of the index. Parts that the index does not know (times, prefixes that end inside a word) are
/// left to whoever reads the candidates.
pub(crate) fn expr_of_filter(filter: &Filter, hasher: &TermHasher) -> Expr {
    let mut parts: Vec<Expr> = Vec::new();
    parts.push(any_of(&filter.subjects, Term::Stream, hasher));
    parts.push(any_of(&filter.correlation_ids, Term::Correlation, hasher));
    parts.push(any_of(&filter.causation_ids, Term::Causation, hasher));
    parts.extend(filter.tags.iter().map(|tag| Expr::Has(hasher.term(Term::Tag(tag)))));
    parts.push(any_of(&filter.user_ids, Term::User, hasher));
    let own = filter.visible.as_ref().and_then(|visible| visible.user());
    parts.extend(own.map(|user| Expr::Has(hasher.term(Term::User(user)))));
    parts.push(any(filter.types.iter().map(|wanted| expr_of_type(wanted, hasher)).collect()));
    parts.push(any_of(&filter.sources, Term::Source, hasher));
    parts.push(any_of(&filter.organization_ids, Term::Organization, hasher));
    parts.push(any_of(&filter.priorities, Term::Priority, hasher));
    parts.push(expr_of_query(&filter.query, hasher));
    parts.retain(|part| *part != Expr::All);
    if parts.is_empty() { Expr::All } else { Expr::And(parts) }
}

fn any(terms: Vec<Expr>) -> Expr {
    if terms.is_empty() { Expr::All } else { Expr::Or(terms) }
}

fn any_of<'a>(values: &'a [String], term: fn(&'a str) -> Term<'a>, hasher: &TermHasher) -> Expr {
    any(values.iter().map(|value| Expr::Has(hasher.term(term(value)))).collect())
}

fn expr_of_type(wanted: &TypeMatch, hasher: &TermHasher) -> Expr {
    match wanted {
        TypeMatch::Is(kind) => Expr::Has(hasher.term(Term::Type(kind))),
        // `order.pl*`: all that begin with `order.` are candidates. The version is part of the type's text, but
        // not of its indexed words, where it could only be the last: that word is never complete in a prefix.
        TypeMatch::StartsWith(prefix) => match type_prefixes(prefix).last() {
            Some(words) => Expr::Has(hasher.term(Term::TypePrefix(words))),
            None => Expr::All,
        },
    }
}

/// What a query asks of the index.
pub(crate) fn expr_of_query(query: &Query, hasher: &TermHasher) -> Expr {
    if query.items.is_empty() {
        return Expr::All;
    }
    let items = query.items.iter().map(|item| {
        let mut parts: Vec<Expr> = item.tags.iter().map(|tag| Expr::Has(hasher.term(Term::Tag(tag)))).collect();
        if !item.types.is_empty() {
            parts.push(Expr::Or(item.types.iter().map(|kind| Expr::Has(hasher.term(Term::Type(kind)))).collect()));
        }
        Expr::And(parts)
    });
    Expr::Or(items.collect())
}

/// The newest position in a range whose event really matches.
pub(crate) fn first_match(
    index: &Index,
    expr: &Expr,
    range: RangeInclusive<u64>,
    mut matches: impl FnMut(u64) -> Result<bool, Fault>,
) -> Result<Option<u64>, Fault> {
    let (from, mut to) = range.into_inner();
    while from <= to {
        let Some(selection) = index.select(expr, from..=to, Direction::Backward, BATCH)? else { break };
        let stretch = selection.stretch;
        let found = match selection.positions {
            Some(positions) => first(positions, &mut matches)?,
            None => first(stretch.clone().rev(), &mut matches)?,
        };
        if found.is_some() {
            return Ok(found);
        }
        to = *stretch.start() - 1;
    }
    Ok(None)
}

fn first(
    positions: impl IntoIterator<Item = u64>,
    matches: &mut impl FnMut(u64) -> Result<bool, Fault>,
) -> Result<Option<u64>, Fault> {
    for position in positions {
        if matches(position)? {
            return Ok(Some(position));
        }
    }
    Ok(None)
}
