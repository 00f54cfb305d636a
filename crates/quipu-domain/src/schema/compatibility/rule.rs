//! The rules for the parts of a schema: each says yes where it is a proof, and no where it does not know.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::keyword::Draft;
use super::kind::Kinds;
use super::part::{Part, Step};
use super::proof::Proof;
use super::tree::{Located, address, listed, texts};
use super::validator::Validator;

impl<'a> Proof<'_, 'a> {
    /// Whether a part of the reader's schema provably accepts what the writer writes.
    pub(super) fn rule(&mut self, writer: &Located<'a>, reader: &'a Value, part: Part) -> bool {
        let kinds = self.writer.kinds(writer);
        let skips = match part {
            Part::Number => !kinds.meets(Kinds::NUMBERS),
            Part::Text => !kinds.meets(Kinds::STRING),
            Part::Fields | Part::Required | Part::FieldCount | Part::FieldNames | Part::Dependent => {
                !kinds.meets(Kinds::OBJECT)
            }
            Part::Items | Part::ItemCount | Part::Unique | Part::Contains => !kinds.meets(Kinds::ARRAY),
            _ => false,
        };
        if skips || kinds.is_none() {
            return true;
        }
        if let Some(values) = self.writer.values(writer)
            && self.values_hold(writer, reader, part, &values)
        {
            return true;
        }
        match part {
            Part::Type => reader.get("type").is_some_and(|stated| kinds.within(Kinds::of_type(stated))),
            Part::Fields => self.fields(writer, reader),
            Part::Required => self.required(writer, reader),
            Part::FieldCount => self.field_count(writer, reader),
            Part::FieldNames => self.field_names(writer, reader),
            Part::Dependent => self.dependent(writer, reader),
            Part::Items => self.items(writer, reader),
            Part::ItemCount => {
                let least = self.greatest_of(writer, "minItems").unwrap_or(0);
                let most = self.least_of(writer, "maxItems");
                count(reader, "minItems").is_none_or(|bound| least >= bound)
                    && count(reader, "maxItems").is_none_or(|bound| most.is_some_and(|most| most <= bound))
            }
            Part::Unique => {
                reader.get("uniqueItems") == Some(&Value::Bool(false))
                    || self.least_of(writer, "maxItems").is_some_and(|most| most <= 1)
                    || writer.holds.iter().any(|schema| schema.get("uniqueItems") == Some(&Value::Bool(true)))
            }
            Part::AnyOf => self.some_branch(writer, reader, "anyOf"),
            Part::OneOf => self.some_branch(writer, reader, "oneOf"),
            Part::If => self.quietly(|proof| {
                let branches = [reader.get("then"), reader.get("else")];
                branches.into_iter().flatten().all(|branch| proof.here(writer, branch)) || reader.get("if").is_none()
            }),
            Part::Number | Part::Text => part.keywords().iter().all(|keyword| {
                let bound = reader.get(keyword);
                bound.is_none_or(|bound| writer.holds.iter().any(|schema| is_at_least(schema, keyword, bound)))
            }),
            Part::Values | Part::Contains | Part::Not | Part::Unevaluated => false,
        }
    }

    /// Few values: each is held against the schemas themselves.
    fn values_hold(&mut self, writer: &Located<'a>, reader: &'a Value, part: Part, values: &[Value]) -> bool {
        use super::algebra::{Cut, all_of, standalone};
        if part == Part::Unevaluated {
            return false;
        }
        let keep = |keyword: &str| part.keywords().contains(&keyword);
        let Some(outer) = standalone(self.reader, reader, Cut::Narrower, &keep) else { return false };
        let Ok(outer) = Validator::new(&all_of(self.draft(), vec![outer]), &self.writer.work) else { return false };
        // A validator walks its list for each value; texts are many and compared by a set.
        let known: HashSet<&str> =
            if part == Part::Values { texts(reader.get("enum")).collect() } else { HashSet::new() };
        let is_known = |value: &Value| value.as_str().is_some_and(|text| known.contains(text));
        let mut inner = None;
        for value in values.iter().filter(|value| !is_known(value) && !outer.accepts(value)) {
            if inner.is_none() {
                let document = self.document(writer, &|_| true);
                inner = document.and_then(|document| Validator::new(&document, &self.writer.work).ok());
            }
            if inner.as_ref().is_none_or(|inner| inner.accepts(value)) {
                return false;
            }
        }
        true
    }

    fn fields(&mut self, writer: &Located<'a>, reader: &'a Value) -> bool {
        let declared = self.writer.declared(writer);
        let own = reader.get("properties").and_then(Value::as_object);
        let patterns = reader.get("patternProperties").and_then(Value::as_object);
        let others = reader.get("additionalProperties");
        let mut names: BTreeSet<&str> = declared.names.iter().copied().collect();
        if declared.open || !declared.patterns.is_empty() {
            names.extend(own.into_iter().flat_map(|own| own.keys().map(String::as_str)));
        }
        let mut holds = true;
        for name in names {
            let at = self.writer.field(writer, name);
            for schema in self.reader.of_field(reader, name) {
                holds &= self.below(&at, schema, Some(Step::Field(name.to_owned())));
            }
        }
        // Fields that only a pattern names. Which other patterns match them is not asked: all that may must hold.
        for pattern in &declared.patterns {
            let at = self.of_pattern(writer, pattern);
            let mut may: Vec<&'a Value> = patterns.into_iter().flat_map(|all| all.values()).collect();
            if patterns.is_none_or(|all| !all.contains_key(*pattern)) {
                may.extend(others);
            }
            for schema in may {
                holds &= self.below(&at, schema, Some(Step::AnyField));
            }
        }
        if declared.open {
            let at = self.of_pattern(writer, "");
            let unlike = patterns.into_iter().flatten().filter(|(name, _)| !declared.patterns.contains(&name.as_str()));
            let may: Vec<&'a Value> = unlike.map(|(_, schema)| schema).chain(others).collect();
            for schema in may {
                holds &= self.below(&at, schema, Some(Step::AnyField));
            }
        }
        holds
    }

    /// The place of a field that has no name in any schema: those that match a pattern, or no pattern.
    fn of_pattern(&self, writer: &Located<'a>, pattern: &str) -> Located<'a> {
        let said = |schema: &&'a Value| {
            let patterns = schema.get("patternProperties").and_then(Value::as_object).filter(|all| !all.is_empty());
            match patterns {
                Some(all) if !pattern.is_empty() => all.get(pattern),
                // An undeclared name matches none of the patterns only if it is not one of a pattern's.
                _ if patterns.is_none() || pattern.is_empty() => schema.get("additionalProperties"),
                _ => None,
            }
        };
        let holds: Vec<&'a Value> = writer.holds.iter().filter_map(said).collect();
        // With two patterns a name may match both; nothing is then known of what is declared below, and it is open.
        let all = self.writer.declared(writer).patterns;
        let mut declares: Vec<&'a Value> = Vec::new();
        if all.len() < 2 {
            declares.extend(writer.declares.iter().filter_map(said));
            declares.extend(writer.declares.iter().filter_map(|schema| schema.get("unevaluatedProperties")));
        }
        self.writer.located(&holds, &declares)
    }

    fn required(&self, writer: &Located<'a>, reader: &'a Value) -> bool {
        let always = self.always(writer);
        texts(reader.get("required")).all(|name| always.contains(name))
    }

    /// The fields that the writer always writes.
    fn always(&self, writer: &Located<'a>) -> BTreeSet<&'a str> {
        let always: BTreeSet<&'a str> = writer.holds.iter().flat_map(|schema| texts(schema.get("required"))).collect();
        self.writer.work.take(writer.holds.len() + 4 * always.len());
        always
    }

    fn field_count(&self, writer: &Located<'a>, reader: &'a Value) -> bool {
        let declared = self.writer.declared(writer);
        let least = self.greatest_of(writer, "minProperties").unwrap_or(0).max(self.always(writer).len() as u64);
        let most = self.least_of(writer, "maxProperties").unwrap_or(u64::MAX);
        let most =
            if declared.open || !declared.patterns.is_empty() { most } else { most.min(declared.names.len() as u64) };
        count(reader, "minProperties").is_none_or(|bound| least >= bound)
            && count(reader, "maxProperties").is_none_or(|bound| most <= bound)
    }

    fn field_names(&self, writer: &Located<'a>, reader: &'a Value) -> bool {
        use super::algebra::{Cut, all_of, standalone};
        let declared = self.writer.declared(writer);
        let Some(names) = reader.get("propertyNames") else { return true };
        let Some(names) = standalone(self.reader, names, Cut::Narrower, &|_| true) else { return false };
        let Ok(names) = Validator::new(&all_of(self.draft(), vec![names]), &self.writer.work) else { return false };
        let never = |name: &str| self.writer.field(writer, name).holds.contains(&&Value::Bool(false));
        !declared.open
            && declared.patterns.is_empty()
            && declared.names.iter().all(|name| names.accepts(&Value::String((*name).to_owned())) || never(name))
    }

    fn dependent(&mut self, writer: &Located<'a>, reader: &'a Value) -> bool {
        let declared = self.writer.declared(writer);
        let always = self.always(writer);
        let mut holds = true;
        let asserted = if self.draft() == Draft::Seven { "dependencies" } else { "dependentRequired" };
        let listed = ["dependentRequired", "dependentSchemas", "dependencies"];
        for (name, needs) in listed.iter().filter_map(|each| reader.get(each)?.as_object()).flatten() {
            let never = !declared.open && declared.patterns.is_empty() && !declared.names.contains(&name.as_str());
            holds &= never
                || match needs {
                    Value::Array(_) => texts(Some(needs)).all(|need| {
                        let same = |schema: &&Value| {
                            let list = schema.get(asserted).and_then(|all| all.get(name));
                            self.writer.work.take(1 + list.and_then(Value::as_array).map_or(0, Vec::len));
                            texts(list).any(|known| known == need)
                        };
                        need == name || always.contains(need) || writer.holds.iter().any(same)
                    }),
                    schema => self.quietly(|proof| proof.here(writer, schema)),
                };
        }
        holds
    }

    fn items(&mut self, writer: &Located<'a>, reader: &'a Value) -> bool {
        let most = self.least_of(writer, "maxItems").unwrap_or(u64::MAX);
        let of_writer = writer.holds.iter().chain(&writer.declares);
        let prefix = of_writer.map(|schema| self.writer.prefix_len(schema)).max().unwrap_or(0);
        let prefix = prefix.max(self.reader.prefix_len(reader));
        let mut holds = true;
        // The last one stands for all that follow: neither side tells them apart.
        for index in (0..=prefix).take_while(|index| (*index as u64) < most) {
            if let Some(schema) = self.reader.of_item(reader, index) {
                let at = self.writer.item(writer, index);
                holds &= self.below(&at, schema, Some(Step::Item(index)));
            }
        }
        holds
    }

    /// Whether the writer keeps to one branch, and of a `oneOf` meets no other.
    fn some_branch(&mut self, writer: &Located<'a>, reader: &'a Value, keyword: &str) -> bool {
        let branches = listed(reader, keyword);
        self.quietly(|proof| {
            branches.iter().any(|branch| {
                let others = || branches.iter().filter(|other| address(other) != address(branch));
                proof.here(writer, branch) && (keyword == "anyOf" || others().all(|other| proof.differ(writer, other)))
            })
        })
    }

    /// Whether no value is both written and accepted: other types, another tag, or by the algebra.
    fn differ(&mut self, writer: &Located<'a>, reader: &'a Value) -> bool {
        let there = self.reader.located(&[reader], &[]);
        let kinds = self.writer.kinds(writer);
        if !kinds.meets(self.reader.kinds(&there)) {
            return true;
        }
        if kinds.within(Kinds::OBJECT) {
            for name in self.always(writer) {
                let tags = self.writer.values(&self.writer.field(writer, name));
                let known = self.reader.values(&self.reader.field(&there, name));
                if let (Some(tags), Some(known)) = (tags, known)
                    && !tags.iter().any(|tag| known.iter().any(|known| may_equal(tag, known)))
                {
                    return true;
                }
            }
        }
        self.is_apart(writer, reader)
    }

    fn least_of(&self, writer: &Located<'a>, keyword: &str) -> Option<u64> {
        writer.holds.iter().filter_map(|schema| count(schema, keyword)).min()
    }

    fn greatest_of(&self, writer: &Located<'a>, keyword: &str) -> Option<u64> {
        writer.holds.iter().filter_map(|schema| count(schema, keyword)).max()
    }
}

/// Whether a schema demands as much as a keyword with this value does; of a pattern only the same does.
fn is_at_least(schema: &Value, keyword: &str, bound: &Value) -> bool {
    // Larger numbers are not told apart by a double: the algebra compares those.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = |value: &Value| value.as_f64().filter(|number| number.abs() < EXACT);
    let Some(own) = number(bound) else { return schema.get(keyword) == Some(bound) };
    let stated = |keyword: &str| schema.get(keyword).and_then(number);
    match keyword {
        "minLength" => stated(keyword).is_some_and(|stated| stated >= own),
        "maxLength" => stated(keyword).is_some_and(|stated| stated <= own),
        "minimum" => ["minimum", "exclusiveMinimum"].iter().filter_map(|each| stated(each)).any(|stated| stated >= own),
        "maximum" => ["maximum", "exclusiveMaximum"].iter().filter_map(|each| stated(each)).any(|stated| stated <= own),
        "exclusiveMinimum" => {
            stated("minimum").is_some_and(|stated| stated > own) || stated(keyword).is_some_and(|stated| stated >= own)
        }
        "exclusiveMaximum" => {
            stated("maximum").is_some_and(|stated| stated < own) || stated(keyword).is_some_and(|stated| stated <= own)
        }
        _ => schema.get(keyword) == Some(bound),
    }
}

/// Whether two values may be the same to a validator: `1` and `1.0` are.
fn may_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one == other,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Null, Value::Null) => true,
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_)) => true,
        _ => false,
    }
}

/// A count that a schema states; `3.0` is one too.
fn count(schema: &Value, keyword: &str) -> Option<u64> {
    let stated = schema.get(keyword)?;
    stated.as_u64().or_else(|| stated.as_f64().filter(|count| *count >= 0.0).map(|count| count as u64))
}
