//! The proof that a reader accepts whatever a writer writes: keyword by keyword and field by field, each step into
//! the data; what is left at the leaves is asked of the algebra.
//!
//! Only a yes means anything: it is a proof. Where it fails, a [`Doubt`] says where a counter-example is to be
//! looked for. Recursive schemas are proven by assuming what is being proven when it is met again below: every such
//! step has gone into a part of the data, which is finite.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::algebra::{self, Cut, standalone};
use super::keyword::Draft;
use super::part::{Part, Step};
use super::tree::{Located, Tree, address};
use super::work::{Work, size};
use super::writer::shape;

/// Places below each other. A recursion is cut long before.
const DEPTH_MAX: usize = 72;
/// Places of which a failed proof is remembered, to look for counter-examples there.
const DOUBTS_MAX: usize = 256;

/// A place where the proof failed.
#[derive(Clone)]
pub(super) struct Doubt<'a> {
    pub(super) path: Vec<Step>,
    pub(super) writer: Located<'a>,
    pub(super) reader: &'a Value,
}

/// What a step costs by itself, in units of [`Work`]: the parts of a schema are looked for.
const STEP: usize = 40;
const TOO_LARGE: &str = "the schemas are too large or too deep for a proof";

type Key = (Vec<usize>, Vec<usize>, usize);

/// One attempt at a proof.
pub(super) struct Proof<'t, 'a> {
    pub(super) writer: &'t Tree<'a>,
    pub(super) reader: &'t Tree<'a>,
    /// Both sides' definitions are equal, so that equal schemas mean the same.
    same_definitions: bool,
    known: HashMap<Key, bool>,
    /// What was found since; taken back where it rested on an assumption that failed.
    found: Vec<Key>,
    pub(super) path: Vec<Step>,
    pub(super) doubts: Vec<Doubt<'a>>,
    pub(super) reasons: BTreeSet<String>,
    /// Attempts of which the failure means nothing yet.
    quiet: usize,
    depth: usize,
    work: Work,
    questions: usize,
}

impl<'t, 'a> Proof<'t, 'a> {
    pub(super) fn new(writer: &'t Tree<'a>, reader: &'t Tree<'a>, questions: usize) -> Self {
        let same = |keyword: &str| writer.root.get(keyword) == reader.root.get(keyword);
        let itself = writer.names_itself || reader.names_itself;
        Self {
            writer,
            reader,
            same_definitions: writer.root == reader.root || (!itself && same("$defs") && same("definitions")),
            known: HashMap::new(),
            found: Vec::new(),
            path: Vec::new(),
            doubts: Vec::new(),
            reasons: BTreeSet::new(),
            quiet: 0,
            depth: 0,
            work: writer.work.clone(),
            questions,
        }
    }

    /// Whether the reader provably accepts all that the writer writes.
    pub(super) fn holds(&mut self) -> bool {
        let writer = self.writer.located(&[self.writer.root], &[self.writer.root]);
        let holds = self.below(&writer, self.reader.root, None);
        if self.work.is_spent() {
            self.reasons.insert(TOO_LARGE.to_owned());
        }
        holds && !self.work.is_spent()
    }

    /// The same of a part of the data.
    pub(super) fn below(&mut self, writer: &Located<'a>, reader: &'a Value, step: Option<Step>) -> bool {
        self.work.take(2 + (writer.holds.len() + writer.declares.len()) / 4);
        let addresses = |schemas: &[&Value]| schemas.iter().map(|schema| address(schema)).collect::<Vec<_>>();
        let key = (addresses(&writer.holds), addresses(&writer.declares), address(reader));
        if let Some(known) = self.known.get(&key) {
            let known = *known;
            if !known {
                self.path.extend(step.clone());
                self.doubt(writer, reader);
                self.path.truncate(self.path.len() - usize::from(step.is_some()));
            }
            return known;
        }
        if self.depth >= DEPTH_MAX || self.work.is_spent() {
            self.reasons.insert(TOO_LARGE.to_owned());
            return false;
        }
        self.depth += 1;
        let pushed = usize::from(step.is_some());
        self.path.extend(step);
        let mark = self.found.len();
        self.known.insert(key.clone(), true);
        self.found.push(key.clone());
        let holds = self.here(writer, reader);
        if !holds {
            for taken_back in self.found.drain(mark..) {
                self.known.remove(&taken_back);
            }
            self.known.insert(key, false);
        }
        self.path.truncate(self.path.len() - pushed);
        self.depth -= 1;
        holds
    }

    /// The same of the place where the proof is, one schema of the reader.
    pub(super) fn here(&mut self, writer: &Located<'a>, reader: &'a Value) -> bool {
        if writer.holds.iter().any(|schema| **schema == Value::Bool(false)) {
            return true;
        }
        let map = match reader {
            Value::Bool(true) => return true,
            Value::Object(map) => map,
            _ => {
                self.doubt(writer, reader);
                return false;
            }
        };
        if map.is_empty() || writer.holds.iter().any(|schema| self.is_same(schema, reader)) {
            return true;
        }
        if self.depth >= DEPTH_MAX || !self.work.take(STEP) {
            self.reasons.insert(TOO_LARGE.to_owned());
            return false;
        }
        self.depth += 1;
        let doubts = self.doubts.len();
        let mut holds = self.reader.target(map).is_none_or(|target| self.here(writer, target));
        if !self.reader.refers_only(map) {
            for each in super::tree::listed(reader, "allOf") {
                holds &= self.here(writer, each);
            }
            for part in Part::of(map) {
                if !holds && self.quiet > 0 {
                    break;
                }
                holds &= self.part(writer, reader, part);
            }
        }
        // What the parts cannot see alone may be seen together, if it is little.
        if !holds && self.quiet == 0 && is_entangled(writer, map) && self.ask(writer, reader, &|_| true, &|_| true) {
            holds = true;
        }
        if holds {
            self.doubts.truncate(doubts);
        }
        self.depth -= 1;
        holds
    }

    /// One part of what the reader says of a place.
    fn part(&mut self, writer: &Located<'a>, reader: &'a Value, part: Part) -> bool {
        let doubts = self.doubts.len();
        let is_equal = |schema: &&'a Value| {
            part.keywords().iter().all(|keyword| self.are_same(schema.get(keyword), reader.get(keyword)))
                && (self.same_definitions || !part.keywords().iter().any(|each| self.refers(reader.get(each))))
        };
        let all = part == Part::Unevaluated;
        let near = |keyword: &str| all || part.is_near(keyword);
        let asked = |keyword: &str| all || part.keywords().contains(&keyword);
        let holds = (!all && writer.holds.iter().any(is_equal))
            || self.rule(writer, reader, part)
            || self.each_alternative(writer, reader, part)
            || self.ask(writer, reader, &near, &asked);
        if holds {
            self.doubts.truncate(doubts);
        } else if self.doubts.len() == doubts {
            // The innermost place is where to look.
            self.doubt(writer, reader);
        }
        holds
    }

    /// The same of every alternative of the writer by itself.
    fn each_alternative(&mut self, writer: &Located<'a>, reader: &'a Value, part: Part) -> bool {
        let alternatives = self.writer.alternatives(writer);
        if alternatives.len() < 2 {
            return false;
        }
        self.quietly(|proof| alternatives.iter().all(|writer| proof.rule(writer, reader, part)))
    }

    pub(super) fn quietly(&mut self, attempt: impl FnOnce(&mut Self) -> bool) -> bool {
        self.quiet += 1;
        let holds = attempt(self);
        self.quiet -= 1;
        holds
    }

    /// Asks the algebra, of these keywords on either side.
    pub(super) fn ask(
        &mut self,
        writer: &Located<'a>,
        reader: &'a Value,
        of_writer: &dyn Fn(&str) -> bool,
        of_reader: &dyn Fn(&str) -> bool,
    ) -> bool {
        if !self.may_ask() {
            return false;
        }
        let Some(inner) = self.document(writer, of_writer) else { return false };
        let Some(outer) = standalone(self.reader, reader, Cut::Narrower, of_reader) else { return false };
        let outer = algebra::all_of(self.draft(), vec![outer]);
        let question = |answer: Result<bool, String>, reasons: &mut BTreeSet<String>| match answer {
            Ok(covers) => covers,
            Err(reason) => {
                reasons.insert(format!("the algebra of schemas cannot tell: {reason}"));
                false
            }
        };
        if !self.is_small(&[&inner, &outer]) {
            return false;
        }
        let answer = algebra::covers(&outer, &inner, &self.work);
        question(answer, &mut self.reasons)
    }

    /// Whether there is nothing that both the writer writes and a schema of the reader accepts.
    pub(super) fn is_apart(&mut self, writer: &Located<'a>, reader: &'a Value) -> bool {
        if !self.may_ask() {
            return false;
        }
        let Some(inner) = self.document(writer, &|_| true) else { return false };
        let Some(outer) = standalone(self.reader, reader, Cut::Wider, &|_| true) else { return false };
        let both = algebra::all_of(self.draft(), vec![inner, outer]);
        self.is_small(&[&both]) && algebra::is_empty(&both, &self.work) == Ok(true)
    }

    /// Counts a question. To write it down costs as much as the answer, so that one that is not asked counts too.
    fn may_ask(&mut self) -> bool {
        if self.questions == 0 {
            self.reasons.insert("too many questions to the algebra of schemas".to_owned());
            return false;
        }
        self.questions -= 1;
        true
    }

    fn is_small(&mut self, documents: &[&Value]) -> bool {
        let small = documents.iter().all(|document| algebra::is_small(document));
        if !small {
            self.reasons.insert("a part is too large for the algebra of schemas".to_owned());
        }
        small
    }

    pub(super) fn draft(&self) -> Draft {
        self.reader.draft
    }

    /// What the writer writes at a place, as a document; these keywords of it.
    pub(super) fn document(&self, writer: &Located<'a>, keep: &dyn Fn(&str) -> bool) -> Option<Value> {
        // Followed already; a definition would only make the document larger.
        let keep = |keyword: &str| keyword != "allOf" && keyword != "$ref" && keep(keyword);
        let mut schemas = Vec::new();
        for schema in &writer.holds {
            schemas.push(standalone(self.writer, schema, Cut::Wider, &keep)?);
        }
        if keep("properties") || keep("items") {
            let mut budget = 200;
            schemas.push(shape(self.writer, writer, &mut budget));
        }
        Some(algebra::all_of(self.draft(), schemas))
    }

    fn is_same(&self, writer: &Value, reader: &Value) -> bool {
        self.work.equal(writer, reader) && (self.same_definitions || !self.refers(Some(reader)))
    }

    fn are_same(&self, one: Option<&Value>, other: Option<&Value>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => self.work.equal(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Whether something refers to what is elsewhere.
    fn refers(&self, schema: Option<&Value>) -> bool {
        schema.is_some_and(|schema| self.work.take(size(schema)) && refers(Some(schema)))
    }

    fn doubt(&mut self, writer: &Located<'a>, reader: &'a Value) {
        let repeats = self.doubts.last().is_some_and(|last| last.path == self.path && last.reader == reader);
        if self.quiet == 0 && self.doubts.len() < DOUBTS_MAX && !repeats {
            self.doubts.push(Doubt { path: self.path.clone(), writer: writer.clone(), reader });
        }
    }
}

/// Whether parts may decide something only together.
fn is_entangled(writer: &Located<'_>, reader: &Map<String, Value>) -> bool {
    const TOGETHER: [&str; 9] =
        ["anyOf", "oneOf", "if", "not", "enum", "const", "contains", "dependentSchemas", "dependencies"];
    let has = |map: &Map<String, Value>| TOGETHER.iter().any(|keyword| map.contains_key(*keyword));
    has(reader) || writer.holds.iter().filter_map(|schema| schema.as_object()).any(has)
}

/// Whether something refers to what is elsewhere.
fn refers(schema: Option<&Value>) -> bool {
    match schema {
        Some(Value::Object(map)) => map.contains_key("$ref") || map.values().any(|each| refers(Some(each))),
        Some(Value::Array(list)) => list.iter().any(|each| refers(Some(each))),
        _ => false,
    }
}
