//! The catalog on the command line: what is declared and observed, and the documents that it becomes and is made of.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use quipu_domain::schema::{Inference, InferenceLimits};
use serde_json::{Value, json};

use crate::process::{Ran, Shop};

impl Shop {
    /// Types of each kind that an export tells apart.
    fn fill(&self) {
        let address = r##"{"type":"object","properties":{"zip":{"type":"string"},"in":{"$ref":"#"}}}"##;
        let placed = r##"{"type":"object","properties":{"to":{"$ref":"quipu:order.address.v1"},"total":{"type":"number"}},"required":["total"]}"##;
        let paid = r##"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","definitions":{"money":{"type":"number"}},"properties":{"total":{"$ref":"#/definitions/money"}}}"##;
        let wider = r##"{"type":"object","properties":{"total":{"type":"number"},"note":{"type":"string"},"to":{}},"required":["total"]}"##;
        let example = self.user.write("example.json", r#"{"total":1.5}"#);
        for (kind, text) in
            [("order.address", address), ("order.placed", placed), ("order.paid", paid), ("order.placed", wider)]
        {
            let file = self.user.write("schema.json", text);
            let register = ["schema", "register", kind, &file, "--owner", "shop", "--description", kind];
            let example: &[&str] = if kind == "order.placed" { &["--example", &example] } else { &[] };
            self.run(&[&register, example].concat()).ok();
        }
        // The wider one reads all that there is; what was written before is turned all the same.
        self.run(&["schema", "upcast", "order.placed", "2", "--jq", ". + {note: \"\"}"]).ok();
        self.run(&["schema", "deprecate", "order.placed", "1", "--reason", "version 2 has a note"]).ok();
        self.publish("order.placed", r#"{"total":5}"#).ok();
        self.publish("order.seen", "{}").ok();
        self.run(&["subscription", "create", "billing", "--pattern", r#"{"type":[{"prefix":"order.p"}]}"#]).ok();
        let declare = [
            "catalog",
            "declare",
            "order.sent",
            "--publisher",
            "/shop \"<b>",
            "--consumer",
            "mail",
            "--channel",
            "orders/{all}",
        ];
        assert_eq!(self.run(&declare).ok().stdout, "order.sent was declared\n");
    }
}

/// Runs a script of `scripts/node` with a text on its standard input.
pub fn node(args: &[&str], stdin: &str) -> Ran {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/node");
    assert!(folder.join("node_modules").is_dir(), "expected its packages: npm ci --prefix scripts/node");
    let mut node = Command::new("node");
    node.current_dir(&folder).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = node.spawn().unwrap();
    node.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    Ran::of(node.wait_with_output().unwrap())
}

#[test]
fn types_are_listed_with_what_was_found_declared_and_withdrawn() {
    let shop = Shop::open();
    shop.fill();
    let listed = shop.run(&["catalog"]).ok().stdout;
    assert_eq!(listed, shop.run(&["catalog", "list"]).ok().stdout);
    let row = |kind: &str| listed.lines().find(|line| line.starts_with(kind)).unwrap().to_owned();
    assert!(row("order.placed").contains("1, 2") && row("order.placed").contains("billing"), "{listed}");
    assert!(row("order.seen").ends_with("unconsumed, undeclared") && row("order.sent").contains("mail*"), "{listed}");
    let found = |finding: &str| -> Vec<Value> {
        let lines = shop.run(&["catalog", "--finding", finding, "-o", "ndjson"]).ok().lines();
        lines.into_iter().map(|line| line["type"].clone()).collect()
    };
    assert_eq!(found("undeclared"), ["order.seen"]);
    assert_eq!(found("unpublished"), ["order.paid", "order.sent"]);
    assert_eq!(found("unseen"), ["order.address", "order.paid", "order.sent"]);
    let first = shop.run(&["catalog", "--limit", "2", "-o", "json"]).ok().json();
    let cursor = first["cursor"].as_str().unwrap();
    let second = shop.run(&["catalog", "--limit", "3", "-o", "json", "--cursor", cursor]).ok().json();
    assert_eq!((&second["types"][0]["type"], &second["cursor"]), (&json!("order.placed"), &Value::Null));
    shop.run(&["catalog", "withdraw", "order.sent"]).ok();
    shop.run(&["catalog", "withdraw", "order.sent"]).ended(3);
    assert_eq!(shop.run(&["catalog", "--prefix", "order.sent", "-o", "json"]).ok().json()["types"], json!([]));
}

#[test]
fn an_export_passes_the_parser_of_asyncapi_and_gives_itself_again_when_it_is_imported() {
    let shop = Shop::open();
    shop.fill();
    let exported = shop.run(&["catalog", "export", "-o", "json"]).ok().stdout;
    let parsed = node(&["asyncapi.mjs"], &exported).ok();
    assert_eq!(parsed.stdout, "5 channels, 6 messages, 6 operations\n");
    assert!(node(&["asyncapi.mjs"], &exported.replace("\"send\"", "\"shout\"")).stdout.contains("operations"));
    let yaml = shop.run(&["catalog", "export", "--format", "asyncapi-yaml"]).ok().stdout;
    assert!(yaml.contains("\nchannels:\n"), "{yaml}");
    assert_eq!(node(&["asyncapi.mjs"], &yaml).ok().stdout, parsed.stdout);
    let upcaster = &serde_json::from_str::<Value>(&exported).unwrap()["components"]["messages"]["order.placed.v2"]["x-quipu-upcaster"];
    assert_eq!(upcaster, &json!({"jq": ". + {note: \"\"}"}));
    let listed = shop.run(&["catalog", "--prefix", "order.placed", "-o", "json"]).ok().json();
    assert_eq!(listed["types"][0]["versions"][1]["upcaster"], "jq");

    for (name, text) in [("asyncapi.json", &exported), ("asyncapi.yaml", &yaml)] {
        gives_itself_again(name, text, &exported);
    }
}

fn gives_itself_again(name: &str, text: &str, exported: &str) {
    let empty = Shop::open();
    let file = empty.user.write(name, text);
    let dry = empty.run(&["catalog", "import", &file, "--dry-run", "-o", "json"]).ok().json();
    assert_eq!(empty.run(&["catalog", "-o", "json"]).ok().json()["types"], json!([]), "{dry}");
    let imported = empty.run(&["catalog", "import", &file, "-o", "json"]).ok().json();
    assert_eq!((&imported["items"], imported.get("skipped")), (&dry["items"], None));
    assert_eq!(empty.run(&["catalog", "export", "-o", "json"]).ok().stdout, exported);
    let again = empty.run(&["catalog", "import", &file, "-o", "ndjson"]).ok().lines();
    assert!(again.iter().all(|item| item["outcome"] == "known"), "{again:?}");
}

#[test]
fn a_document_of_yaml_is_imported_and_what_is_refused_is_named() {
    let shop = Shop::open();
    shop.publish("user.moved", r#"{"to":5}"#).ok();
    let document = "asyncapi: 3.1.0\ninfo: {title: Accounts, version: '1'}\ncomponents:\n  messages:\n    user.moved:\n      \
                    payload: {type: object, properties: {to: {type: string}}}\n    user.left: {}\n";
    let file = shop.user.write("asyncapi.yaml", document);
    let ran = shop.run(&["catalog", "import", &file, "-o", "ndjson"]);
    let outcomes: Vec<_> = ran.lines().iter().map(|item| (item["type"].clone(), item["outcome"].clone())).collect();
    assert_eq!(
        outcomes,
        [(json!("user.left"), json!("new")), (json!("user.moved"), json!("new")), (json!("user.moved"), json!("new"))]
    );
    let changed = shop.user.write("changed.yaml", &document.replace("type: string", "type: number"));
    let refused = shop.run(&["catalog", "import", &changed]).ended(1);
    assert!(refused.stdout.contains("refused") && refused.stdout.contains("found another"), "{}", refused.stdout);
}

#[test]
fn a_flowchart_has_every_source_type_and_reader() {
    let shop = Shop::open();
    shop.fill();
    let chart = shop.run(&["catalog", "export", "--format", "mermaid"]).ok().stdout;
    assert!(
        chart.starts_with("flowchart LR\n")
            && chart.contains("[\"order.placed\"]")
            && chart.contains("[[\"billing\"]]")
    );
    assert!(chart.contains("/shop #34;#60;b#62;") && !chart.contains("<b>"), "{chart}");
    assert_eq!(shop.run(&["catalog", "export", "--format", "mermaid"]).ok().stdout, chart);
}

/// GitHub's webhooks as they were recorded, and a document with the schema that each of their types was inferred to have.
fn github() -> (String, Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/github-webhooks.ndjson");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
    let mut learned: BTreeMap<String, Inference> = BTreeMap::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let new = || Inference::new(InferenceLimits { examples: 0, ..InferenceLimits::default() });
        learned.entry(event["type"].as_str().unwrap().to_owned()).or_insert_with(new).observe(&event["data"]);
    }
    assert_eq!((learned.len(), text.lines().count()), (161, 329));
    let message = |(kind, learned): (String, Inference)| {
        let schema = learned.schema(&kind);
        (kind, json!({"payload": {"schemaFormat": "application/schema+json;version=2020-12", "schema": schema}}))
    };
    let messages: serde_json::Map<String, Value> = learned.into_iter().map(message).collect();
    let info = json!({"title": "GitHub", "version": "1"});
    (text, json!({"asyncapi": "3.0.0", "info": info, "components": {"messages": messages}}))
}

/// Schemas that are hard on a generator: names that no language has, unions, recursion, words of the languages.
fn odd() -> Value {
    let odd = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "description": "ends */ here\n/// and \"there\" \u{202e}turned\u{2066}", "required": ["self", "shape", "nothing"],
        "properties": {
            "self": {"type": "string"}, "type": {"enum": ["a-b", "a_b", "", "Self", "\"quoted\\"]}, "Type": {"type": "integer"},
            "1st": {"type": ["number", "null"]}, "ö": {"type": "boolean"}, "nothing": {"type": ["string", "null"]},
            "tree": {"$ref": "#/components/messages/odd.event/payload/schema/$defs/tree"}, "any": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "lists": {"$ref": "#/components/messages/odd.event/payload/schema/$defs/lists"},
            "sized": {"$ref": "#/components/messages/odd.event/payload/schema/$defs/Sized"},
            "beside": {"type": "object", "properties": {"a": {"type": "string"}}, "oneOf": [
                {"type": "object", "properties": {"b": {"const": "x"}, "c": {"type": "number"}}, "required": ["b"]},
                {"type": "object", "properties": {"b": {"const": "y"}}, "required": ["b"]}]},
            "map": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
            "shape": {"oneOf": [
                {"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}, "required": ["kind", "radius"]},
                {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "number"}}, "required": ["kind"]}]},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"in": {"type": "string"}}}]}},
        "$defs": {"Sized": {"type": "object", "properties": {"in": {"type": "integer"}}}, "lists": {"type": "array", "items": {"$ref": "#/components/messages/odd.event/payload/schema/$defs/lists"}}, "tree": {"type": "object", "properties": {"left": {"$ref": "#/components/messages/odd.event/payload/schema/$defs/tree"}, "of": {"type": "array", "items": {"$ref": "#/components/messages/odd.event/payload/schema/$defs/tree"}}}}}});
    let message = |schema: Value| json!({"payload": {"schemaFormat": "application/schema+json;version=2020-12", "schema": schema}});
    let messages = json!({"odd.event": message(odd), "odd-event": message(json!({"type": "array", "items": {"type": "string"}})),
        "odd.event.v2": message(json!({"type": "object"}))});
    json!({"asyncapi": "3.0.0", "info": {"title": "Odd", "version": "1"}, "components": {"messages": messages}})
}

const ODD: &str = r#"{"specversion":"1.0","id":"o1","source":"/odd","type":"odd.event.v1","data":{"self":"s","type":"Self","Type":3,"1st":null,"ö":true,"nothing":null,"tree":{"left":{"of":[{}]}},"any":5,"lists":[[[]],[]],"map":{"a":[1]},"sized":{"in":1},"beside":{"a":"t","b":"x","c":1},"shape":{"kind":"circle","radius":1.5}}}
{"specversion":"1.0","id":"o2","source":"/odd","type":"odd-event","data":["a"]}
"#;

impl Shop {
    /// A server with the types of GitHub and the odd ones.
    fn with_schemas() -> (Self, String) {
        let shop = Self::open();
        // What a second version may be is not what this is about.
        shop.run(&["schema", "rules", "--compatibility", "none"]).ok();
        let (events, github) = github();
        for document in [github, odd()] {
            let file = shop.user.write("asyncapi.json", &document.to_string());
            let imported = shop.run(&["catalog", "import", &file, "-o", "ndjson"]).ok();
            assert_eq!(imported.stderr, "", "something was left out");
            let items = imported.lines();
            assert!(items.iter().all(|item| item["outcome"] == "new"), "{items:?}");
        }
        (shop, events + ODD)
    }

    fn generate(&self, language: &str, folder: &Path) {
        let folder = folder.to_str().unwrap();
        self.run(&["catalog", "generate", "--language", language, "--out", folder]).ok();
    }
}

/// Reads each event into its struct, and writes it again: what is not the same is in a field that no schema has.
const MAIN: &str = r#"mod events;
use serde_json::Value;

struct Count { known: usize }

include!("handler.rs");

fn main() {
    let text = std::io::read_to_string(std::io::stdin()).unwrap();
    let mut count = Count { known: 0 };
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let kind = event["type"].as_str().unwrap();
        let read = events::Event::read(kind, event["data"].clone()).expect(kind).unwrap_or_else(|e| panic!("{kind}: {e}"));
        let again = serde_json::to_value(&read).unwrap();
        assert_eq!(again["type"].as_str().unwrap(), kind.trim_end_matches(".v1"));
        same(kind, &event["data"], &again["data"]);
        events::dispatch(&mut count, &event).unwrap_or_else(|_| panic!("{kind}"));
    }
    let other = serde_json::json!({"id": "1", "source": "/s", "type": "no.such.type"});
    events::dispatch(&mut count, &other).unwrap_or_else(|_| panic!("other"));
    let broken = serde_json::json!({"id": "1", "source": "/s", "type": "odd-event", "data": 5});
    assert!(matches!(events::dispatch(&mut count, &broken), Err(events::Malformed::Event(_))));
    println!("{}", count.known);
}

/// Whether all that was there is there again; a null that may be absent may be gone.
fn same(at: &str, before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => before.iter().for_each(|(name, value)| match after.get(name) {
            Some(after) => same(&format!("{at}/{name}"), value, after),
            None => assert!(value.is_null(), "{at}/{name} is gone"),
        }),
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "{at}");
            before.iter().zip(after).for_each(|(before, after)| same(at, before, after));
        }
        (Value::Number(before), Value::Number(after)) => assert_eq!(before.as_f64(), after.as_f64(), "{at}"),
        (before, after) => assert_eq!(before, after, "{at}"),
    }
}
"#;

/// A handler with every method of the generated trait.
fn counting(generated: &str) -> String {
    let methods = generated.lines().filter_map(|line| line.trim().strip_suffix("-> Result<(), Self::Error>;"));
    let methods: Vec<String> = methods
        .map(|method| {
            let method = method.replace("&Envelope, data: ", "&events::Envelope, data: ");
            let (head, shape) = method.split_once("data: ").unwrap();
            let shape = shape.trim_end().trim_end_matches(')');
            let shape = match shape.starts_with("Vec<") || shape.starts_with("BTreeMap<") {
                true => shape.replace("BTreeMap", "std::collections::BTreeMap"),
                false => format!("events::{shape}"),
            };
            format!("    {head}_: {shape}) -> Result<(), ()> {{ self.known += 1; Ok(()) }}\n")
        })
        .collect();
    assert_eq!(methods.len(), 164);
    format!("impl events::Handler for Count {{\n    type Error = ();\n{}}}\n", methods.concat())
}

#[test]
fn generated_rust_compiles_and_takes_every_event() {
    let (shop, events) = Shop::with_schemas();
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    std::fs::create_dir_all(project.join("src")).unwrap();
    shop.generate("rust", &project.join("src"));
    let generated = std::fs::read_to_string(project.join("src/events.rs")).unwrap();
    let manifest = "[package]\nname = \"generated\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
                    serde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"\n\n[profile.dev]\ndebug = false\nincremental = false\n";
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    std::fs::copy(lock, project.join("Cargo.lock")).unwrap();
    for (file, text) in [("Cargo.toml", manifest), ("src/main.rs", MAIN), ("src/handler.rs", &counting(&generated))] {
        std::fs::write(project.join(file), text).unwrap();
    }
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&project).args(["run", "--quiet", "--offline", "--target-dir"]).arg(project.join("target"));
    cargo.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut cargo = cargo.spawn().unwrap();
    // It may fail before it reads.
    let _ = cargo.stdin.take().unwrap().write_all(events.as_bytes());
    assert_eq!(Ran::of(cargo.wait_with_output().unwrap()).ok().stdout, "331\n");
}

#[test]
fn generated_typescript_compiles_and_its_types_hold() {
    let (shop, _) = Shop::with_schemas();
    let folder = tempfile::tempdir().unwrap();
    shop.generate("typescript", folder.path());
    let user = r#"import { dispatch, type Event, type Handler } from "./events";
export const odd: Event = { specversion: "1.0", id: "1", source: "/s", type: "odd.event",
  data: { self: "s", nothing: null, shape: { kind: "square" }, type: "a-b" } };
export const run = (handler: Handler) => dispatch(handler, odd);
"#;
    // One run: the compiler takes longest for what was generated.
    let changes = [("\"a-b\"", "\"b\""), ("\"square\"", "\"oval\""), ("nothing: null, ", ""), ("odd.event", "odd.one")];
    let bad = changes.map(|(good, bad)| user.replace(good, bad));
    let files: Vec<String> = std::iter::once(user.to_owned())
        .chain(bad)
        .enumerate()
        .map(|(number, text)| {
            let file = folder.path().join(format!("user{number}.ts"));
            std::fs::write(&file, text).unwrap();
            file.to_str().unwrap().to_owned()
        })
        .collect();
    let options =
        ["node_modules/typescript/bin/tsc", "--strict", "--noEmit", "--target", "es2022", "--module", "es2022"];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = node(&[&options[..], &["--moduleResolution", "bundler"], &files[..]].concat(), "").stdout;
    for number in 1..=4 {
        assert!(said.contains(&format!("user{number}.ts(")), "user{number}.ts compiles: {said}");
    }
    assert!(!said.contains("user0.ts(") && !said.contains("events.ts("), "{said}");
}

#[test]
fn types_are_generated_by_name_or_not_at_all() {
    let shop = Shop::open();
    shop.fill();
    let one = shop.run(&["catalog", "generate", "--language", "rust", "order.paid"]).ok().stdout;
    assert!(one.contains("pub struct OrderPaid {") && !one.contains("OrderPlaced"), "{one}");
    assert!(
        shop.run(&["catalog", "generate", "--language", "typescript"])
            .ok()
            .stdout
            .contains("\"order.placed.v2\": OrderPlacedV2;")
    );
    shop.run(&["catalog", "generate", "--language", "rust", "order.none"]).ended(3);
}
