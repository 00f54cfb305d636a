//! The schemas of a tenant, ready to be asked of every event. It never changes: a registration makes another one.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use quipu_domain::limits::ATTRIBUTES_MAX;
use quipu_domain::schema::{Document, Enforcement, Limits, SchemaRules, UnknownTypes, Validator, Violation};
use quipu_domain::{Data, Event, Refusal, Value, base_type, type_version};

use super::SCHEMA_MARK;
use super::records::{FoldedSchemas, FoldedType, SchemaRecord, Shared};
use super::upcast::{FoldedUpcaster, Step, UpcastFunction, Upcaster};

/// The version of a type that does not say one.
pub const VERSION_UNSAID: u32 = 1;
/// What references to schemas of the tenant begin with.
const REFERENCE_PREFIX: &str = "quipu:";
/// The mark of an event that has no schema.
const NO_SCHEMA: &str = "none";
/// Most bytes of a pointer that a mark has.
const MARK_BYTES_MAX: usize = 1_024;
/// Most violations that an event is told of.
const VIOLATIONS_MAX: usize = 16;

/// All schemas of a tenant.
pub(crate) struct Registry {
    /// Counts changes, so that it is seen whether an event was checked against these.
    pub revision: u64,
    pub rules: SchemaRules,
    pub types: HashMap<Arc<str>, Arc<Kind>>,
    /// Whether no event has to be looked at.
    is_off: bool,
    /// Events of types without a schema.
    pub unknown: Arc<Counts>,
    /// Versions of a type that are being removed: no event of them is taken.
    pub leaving: Option<(String, Vec<u32>)>,
    /// What this process turns data with, by name.
    functions: HashMap<String, UpcastFunction>,
}

/// A type.
pub(crate) struct Kind {
    pub rules: SchemaRules,
    /// The largest version that was ever registered.
    pub last: u32,
    pub versions: BTreeMap<u32, Arc<Version>>,
    pub counts: Arc<Counts>,
}

/// A version of one.
pub(crate) struct Version {
    pub folded: Shared,
    /// What it takes in memory and in each snapshot.
    pub bytes: usize,
    /// What makes its data of that of the version before.
    pub upcaster: Option<Arc<Step>>,
    /// Compiled by the first who needs it.
    compiled: OnceLock<Option<(Arc<Document>, Arc<Validator>)>>,
}

/// What was found since the tenant was opened.
#[derive(Default)]
pub(crate) struct Counts {
    pub refused: AtomicU64,
    pub marked: AtomicU64,
}

/// What the schemas say of an event.
enum Finding {
    Fine,
    /// It is recorded all the same, with this mark: where it breaks its schema first.
    Marked(String),
    Refused(Box<Refusal>),
}

impl Registry {
    /// What the log says.
    pub fn new(folded: &FoldedSchemas) -> Self {
        let types =
            folded.types.iter().map(|(name, of)| (name.as_str().into(), Arc::new(Kind::new(of, None)))).collect();
        let (unknown, functions) = (Arc::default(), HashMap::new());
        let new = Self { revision: 0, rules: folded.rules, types, is_off: false, unknown, leaving: None, functions };
        Self { is_off: new.asks_nothing(), ..new }
    }

    /// The same after a change, of which these are the types that records touch, as they are now. All others are shared, compiled and
    /// counted as they are.
    pub fn after(&self, records: &[SchemaRecord], touched: &FoldedSchemas) -> Self {
        let mut after = Self { rules: touched.rules, ..self.same() };
        for kind in SchemaRecord::kinds(records) {
            match touched.types.get(kind) {
                Some(of) => {
                    let of = Arc::new(Kind::new(of, self.types.get(kind).map(|known| &**known)));
                    after.types.insert(kind.into(), of);
                }
                None => _ = after.types.remove(kind),
            }
        }
        after.is_off = after.asks_nothing();
        after
    }

    /// The same once more, for those who look again at what was checked before.
    pub fn same(&self) -> Self {
        Self {
            revision: self.revision + 1,
            rules: self.rules,
            types: self.types.clone(),
            is_off: self.is_off,
            unknown: Arc::clone(&self.unknown),
            leaving: None,
            functions: self.functions.clone(),
        }
    }

    /// Whether no rule asks to look at an event.
    fn asks_nothing(&self) -> bool {
        let asks = |rules: SchemaRules| {
            rules.enforcement.unwrap_or_default() != Enforcement::Off
                || rules.unknown.unwrap_or_default() != UnknownTypes::Allow
        };
        !asks(self.rules) && !self.types.values().any(|kind| asks(kind.rules))
    }

    /// The same, and one more function that turns data.
    pub fn attach(&mut self, name: &str, function: UpcastFunction) {
        self.functions.insert(name.to_owned(), function);
    }

    /// What this process turns data with under a name.
    pub fn function(&self, name: &str) -> Option<&UpcastFunction> {
        self.functions.get(name)
    }

    /// The schema of `order.placed.v2`.
    pub fn version(&self, name: &str) -> Option<&Arc<Version>> {
        self.types.get(base_type(name))?.versions.get(&type_version(name).unwrap_or(VERSION_UNSAID))
    }

    /// What a schema of this tenant says, with those that it refers to.
    pub fn document(&self, version: &Version) -> Option<Arc<Document>> {
        self.compiled(version).map(|(document, _)| Arc::clone(document))
    }

    /// Checks values against it.
    pub fn validator<'v>(&self, version: &'v Version) -> Option<&'v Validator> {
        self.compiled(version).map(|(_, validator)| &**validator)
    }

    fn compiled<'v>(&self, version: &'v Version) -> Option<&'v (Arc<Document>, Arc<Validator>)> {
        let compile = || {
            let lookup = |name: &str| self.lookup(&version.folded.references, name);
            let document = Document::parse_with(&version.folded.text, &Limits::default(), &lookup).ok()?;
            let validator = Arc::new(document.validator());
            Some((Arc::new(document), validator))
        };
        // It was compiled when it was registered: one that cannot be any more is of a newer version of this program.
        version.compiled.get_or_init(compile).as_ref()
    }

    /// What a reference of a schema means: a name that it was registered with, or that of a type.
    pub fn lookup(&self, references: &BTreeMap<String, String>, name: &str) -> Option<Arc<Document>> {
        self.document(self.version(referred(references, name)?)?)
    }

    /// Compiles the versions of a type that nobody has needed yet.
    pub fn compile(&self, kind: &str) {
        let versions = self.types.get(kind).into_iter().flat_map(|kind| kind.versions.values());
        versions.for_each(|version| _ = self.compiled(version));
    }

    /// Where events of a type are counted that were refused or marked.
    pub fn counts(&self, name: &str) -> &Counts {
        self.types.get(base_type(name)).map_or(&self.unknown, |kind| &kind.counts)
    }

    /// Whether something could be wrong with some event.
    pub fn may_complain(&self) -> bool {
        !self.is_off || !self.types.is_empty()
    }

    /// What is wrong with an event: by the schema of its type, whether or not publishing is held to that now, or because publishing
    /// takes none without a schema.
    pub fn complaint(&self, event: &Event<'_>) -> Option<String> {
        let number = type_version(event.kind()).unwrap_or(VERSION_UNSAID);
        let version = self.types.get(base_type(event.kind())).and_then(|kind| kind.versions.get(&number));
        let Some(validator) = version.and_then(|version| self.validator(version)) else {
            let (mark, refusal) = self.hold(event);
            let marked = || mark.map(|mark| format!("it would be marked: {mark}"));
            return refusal.map(|refusal| refusal.to_string()).or_else(marked);
        };
        violations(validator, event.data(), 1).first().map(ToString::to_string)
    }

    /// What becomes of an event: the mark that it is to have, and why it is refused.
    pub fn hold(&self, event: &Event<'_>) -> (Option<Value<'static>>, Option<Box<Refusal>>) {
        match self.look(event) {
            Finding::Fine => (None, None),
            Finding::Refused(refusal) => (None, Some(refusal)),
            Finding::Marked(mark) => {
                let has_room = event.attributes().len() < ATTRIBUTES_MAX || has_mark(event);
                (has_room.then(|| Value::Text(mark.into())), None)
            }
        }
    }

    fn look(&self, event: &Event<'_>) -> Finding {
        if let Some((kind, versions)) = &self.leaving
            && base_type(event.kind()) == kind
            && versions.contains(&type_version(event.kind()).unwrap_or(VERSION_UNSAID))
        {
            return Finding::Refused(Box::new(no_schema(event.kind(), Vec::new())));
        }
        if self.is_off {
            return Finding::Fine;
        }
        let name = event.kind();
        let kind = self.types.get(base_type(name));
        let rules = kind.map_or(self.rules, |kind| kind.rules.or(self.rules));
        let number = type_version(name).unwrap_or(VERSION_UNSAID);
        let Some(version) = kind.and_then(|kind| kind.versions.get(&number)) else {
            return match rules.unknown.unwrap_or_default() {
                UnknownTypes::Allow => Finding::Fine,
                UnknownTypes::Warn => Finding::Marked(NO_SCHEMA.to_owned()),
                UnknownTypes::Refuse => {
                    let known = kind.map(|kind| kind.versions.keys().copied().collect()).unwrap_or_default();
                    Finding::Refused(Box::new(no_schema(name, known)))
                }
            };
        };
        let enforcement = rules.enforcement.unwrap_or_default();
        if enforcement == Enforcement::Off {
            return Finding::Fine;
        }
        let Some(validator) = self.validator(version) else {
            // One of a newer version of this program: nobody can say that the event is as it should be.
            return match enforcement {
                Enforcement::Warn => Finding::Marked(NO_SCHEMA.to_owned()),
                _ => Finding::Refused(Box::new(no_schema(name, Vec::new()))),
            };
        };
        let violations = violations(validator, event.data(), VIOLATIONS_MAX);
        let Some(first) = violations.first() else { return Finding::Fine };
        match enforcement {
            Enforcement::Warn => Finding::Marked(mark(&first.pointer)),
            _ => {
                let schema = format!("{}.v{number}", base_type(name));
                Finding::Refused(Box::new(Refusal::BreaksSchema { index: 0, schema, violations }))
            }
        }
    }
}

impl Kind {
    /// With what is compiled and counted of it already.
    fn new(of: &FoldedType, known: Option<&Self>) -> Self {
        let version = |(number, schema): (&u32, &Shared)| {
            let known = known.and_then(|known| known.versions.get(number));
            let upcaster = of.upcasters.get(number);
            let same = known.filter(|same| same.is(schema, upcaster));
            (*number, same.map_or_else(|| Arc::new(Version::new(schema, upcaster, known)), Arc::clone))
        };
        let versions = of.versions.iter().map(version).collect();
        let counts = known.map(|known| Arc::clone(&known.counts)).unwrap_or_default();
        Self { rules: of.rules, last: of.last, versions, counts }
    }

    /// The last version up to this one that an upcaster leads into.
    pub fn upcast_to(&self, to: u32) -> Option<u32> {
        self.versions.range(..=to).rev().find(|(_, version)| version.upcaster.is_some()).map(|(number, _)| *number)
    }
}

impl Version {
    /// With what is compiled of it already: a text never changes.
    fn new(schema: &Shared, upcaster: Option<&FoldedUpcaster>, known: Option<&Arc<Self>>) -> Self {
        let same_step = known.and_then(|known| known.upcaster.as_ref()).filter(|step| Some(&step.folded) == upcaster);
        let step = || upcaster.map(|folded| Arc::new(Step::new(folded.clone())));
        let is_compiled = |known: &&Arc<Self>| known.folded.text == schema.text && known.folded.made == schema.made;
        Self {
            folded: schema.clone(),
            bytes: schema.bytes(),
            upcaster: same_step.map(Arc::clone).or_else(step),
            compiled: known.filter(is_compiled).map(|known| known.compiled.clone()).unwrap_or_default(),
        }
    }

    /// What makes its data of that of the version before, as it was said.
    pub fn upcaster(&self) -> Option<Upcaster> {
        self.upcaster.as_ref().map(|step| step.folded.upcaster.clone())
    }

    fn is(&self, schema: &Shared, upcaster: Option<&FoldedUpcaster>) -> bool {
        self.folded.is(schema) && self.upcaster.as_ref().map(|step| &step.folded) == upcaster
    }
}

impl Counts {
    /// How many were refused and how many marked.
    pub fn both(&self) -> [u64; 2] {
        [&self.refused, &self.marked].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Whether an event says of itself that it breaks its schema.
pub(crate) fn has_mark(event: &Event<'_>) -> bool {
    event.attributes().iter().any(|(name, _)| name == SCHEMA_MARK)
}

/// What a reference of a schema means.
pub(super) fn referred<'n>(references: &'n BTreeMap<String, String>, name: &'n str) -> Option<&'n str> {
    references.get(name).map(String::as_str).or_else(|| name.strip_prefix(REFERENCE_PREFIX))
}

/// A JSON Pointer as a fragment of a URI (RFC 6901, section 6), which an attribute can hold.
fn mark(pointer: &str) -> String {
    let mut mark = "#".to_owned();
    for byte in pointer.bytes().take(MARK_BYTES_MAX) {
        match byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            true => mark.push(byte as char),
            false => mark.push_str(&format!("%{byte:02X}")),
        }
    }
    mark
}

fn no_schema(name: &str, known: Vec<u32>) -> Refusal {
    let version = type_version(name).unwrap_or(VERSION_UNSAID);
    Refusal::NoSchema { index: 0, kind: base_type(name).to_owned(), version, known }
}

/// Where the data of an event breaks a schema. Data that is not JSON breaks every one.
pub(crate) fn violations(validator: &Validator, data: &Data<'_>, most: usize) -> Vec<Violation> {
    let of_all = |found: &str| vec![Violation::of_all("data that is JSON", found)];
    match data {
        Data::Json(text) => match serde_json::from_str(text) {
            Ok(value) => validator.violations(&value, most),
            Err(error) => of_all(&format!("an error: {error}")),
        },
        Data::None => of_all("none"),
        Data::Text(_) => of_all("text"),
        Data::Binary(_) => of_all("bytes"),
        // Whoever asks puts the data back first.
        Data::Payload(_) => of_all("a reference to a payload"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::Timestamp;

    use crate::schemas::records::FoldedSchema;

    fn registered(kind: &str, version: u32) -> SchemaRecord {
        let text = format!(r#"{{"title":"{kind} {version}"}}"#);
        let schema = FoldedSchema {
            id: version,
            text,
            references: BTreeMap::new(),
            uses: Vec::new(),
            weight: 0,
            owner: None,
            description: None,
            examples: Vec::new(),
            deprecated: None,
            made: Timestamp(0),
        };
        SchemaRecord::Registered { kind: kind.to_owned(), version, schema: Shared::new(schema) }
    }

    #[test]
    fn a_change_touches_its_type_and_no_other() {
        let mut folded = FoldedSchemas::default();
        ["a", "b"].into_iter().flat_map(|kind| [registered(kind, 1), registered(kind, 2)]).for_each(|r| folded.take(r));
        let before = Registry::new(&folded);
        before.compile("b");
        let compiled = |registry: &Registry, kind: &str, version: u32| {
            registry.types[kind].versions[&version].compiled.get().map(|of| Arc::clone(&of.as_ref().unwrap().1))
        };
        let deprecated = SchemaRecord::Deprecated { kind: "b".to_owned(), version: 1, reason: Some("old".to_owned()) };
        let records = [registered("b", 3), deprecated];
        let mut touched = folded.touched_by(&records);
        assert_eq!(touched.types.keys().collect::<Vec<_>>(), ["b"]);
        records.iter().for_each(|record| touched.take(record.clone()));
        let after = before.after(&records, &touched);
        after.compile("b");
        folded.put_back(&records, touched);
        // The other type is the very same, and nobody compiled it.
        assert!(Arc::ptr_eq(&before.types["a"], &after.types["a"]));
        assert!(compiled(&after, "a", 1).is_none() && compiled(&after, "b", 3).is_some());
        assert_eq!(after.revision, before.revision + 1);
        // Of its own type nothing is compiled twice, also where something else is said of a version.
        assert_eq!(after.types["b"].versions[&1].folded.deprecated.as_deref(), Some("old"));
        for version in [1, 2] {
            let [was, is] = [&before, &after].map(|registry| compiled(registry, "b", version).unwrap());
            assert!(Arc::ptr_eq(&was, &is), "{version}");
        }
        assert!(Arc::ptr_eq(&before.types["b"].versions[&2], &after.types["b"].versions[&2]));
        // What the fold says is the same, and of the same texts.
        for (kind, of) in &folded.types {
            for (version, schema) in &of.versions {
                assert!(schema.is(&after.types[kind.as_str()].versions[version].folded), "{kind} {version}");
            }
        }
        assert_eq!(folded.types["b"].last, after.types["b"].last);
    }
}
