//! What is exported is imported as it was, and documents of strangers are read within limits.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::CatalogLine;
use crate::schema::UpcasterAnswer;

fn line(text: Value) -> CatalogLine {
    let mut whole = json!({"declared": true, "versions": [], "publishers": [], "consumers": [], "events": 0,
        "lasthour": 0, "lastday": 0, "marked": 0, "refused": 0});
    whole.as_object_mut().unwrap().extend(text.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn shop() -> Vec<ExportedType> {
    let bundled = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "properties": {"to": {"$ref": "#/$defs/address%20x"}, "next": {"$ref": "#"}},
        "$defs": {"address x": {"type": "object", "properties": {"zip": {"$ref": "#/$defs/z~1ip"}}}, "z/ip": {"type": "string"}}});
    let old = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"});
    let schema = |version, bundled, owner: Option<&str>| ExportedSchema {
        version,
        bundled,
        owner: owner.map(str::to_owned),
        description: Some(format!("version {version}")),
        examples: vec![json!({"n": version})],
        deprecated: (version == 1).then(|| "old".to_owned()),
        upcaster: (version == 3).then(|| UpcasterAnswer::Jq(".to = .address".to_owned())),
    };
    let placed = line(json!({"type": "order.placed", "owner": "shop", "description": "whole", "channel": "orders",
        "publishers": [{"name": "/shop", "declared": false, "events": 3}],
        "consumers": [{"name": "billing", "declared": true}, {"name": "mail", "declared": false, "takes": "all"}]}));
    let odd = line(json!({"type": "ö/{odd}", "publishers": [{"name": "/shop", "declared": true, "events": 0}]}));
    let twin = line(json!({"type": "ü/{odd}", "channel": "orders"}));
    let schemas = vec![schema(1, old, None), schema(3, bundled, Some("team"))];
    vec![
        ExportedType { line: placed, schemas },
        ExportedType { line: odd, schemas: Vec::new() },
        ExportedType { line: twin, schemas: Vec::new() },
    ]
}

/// What an empty tenant has after an import, as an export sees it.
fn after(imported: &Imported) -> Vec<ExportedType> {
    let exported = |(kind, of): (&String, &ImportedType)| {
        let names = |names: &std::collections::BTreeSet<String>| -> Vec<Value> {
            names.iter().map(|name| json!({"name": name, "declared": true, "events": 0})).collect()
        };
        let declared = &of.declaration;
        let mut text =
            json!({"type": kind, "publishers": names(&declared.publishers), "consumers": names(&declared.consumers)});
        for (member, value) in
            [("owner", &declared.owner), ("description", &declared.description), ("channel", &declared.channel)]
        {
            text[member] = value.clone().into();
        }
        let schemas = of.schemas.iter().map(|(version, schema)| ExportedSchema {
            version: *version,
            bundled: schema.schema.clone(),
            owner: schema.owner.clone(),
            description: schema.description.clone(),
            examples: schema.examples.clone(),
            deprecated: schema.deprecated.clone(),
            upcaster: schema.upcaster.clone().map(UpcasterAnswer::Jq),
        });
        ExportedType { line: line(text), schemas: schemas.collect() }
    };
    imported.types.iter().map(exported).collect()
}

#[test]
fn what_is_exported_and_imported_gives_the_same_export() {
    let first = export(&shop());
    let imported = import(&first).unwrap();
    assert_eq!(imported.skipped, []);
    assert_eq!(imported.types["order.placed"].schemas[&3].schema, shop()[0].schemas[1].bundled);
    assert_eq!(imported.types["order.placed"].declaration.channel.as_deref(), Some("orders"));
    assert_eq!(export(&after(&imported)), first);
    assert_eq!(first["channels"].as_object().unwrap().keys().collect::<Vec<_>>(), ["___odd_", "orders"]);
    assert_eq!(export(&shop()).to_string(), first.to_string(), "the same catalog gives the same bytes");
}

#[test]
fn an_upcaster_that_no_server_runs_is_shown_and_left_out() {
    let mut types = shop();
    types[0].schemas[1].upcaster = Some(UpcasterAnswer::Function("widen".to_owned()));
    let document = export(&types);
    assert_eq!(document["components"]["messages"]["order.placed.v3"]["x-quipu-upcaster"], json!({"function": "widen"}));
    let imported = import(&document).unwrap();
    assert_eq!(imported.types["order.placed"].schemas[&3].upcaster, None);
    assert_eq!(imported.skipped[0].pointer, "/components/messages/order.placed.v3/x-quipu-upcaster");
}

#[test]
fn a_document_of_yaml_is_read_as_it_was_written() {
    let document = export(&shop());
    let text = yaml(&document);
    assert!(text.starts_with("asyncapi: \"3.0.0\"\nchannels:\n"), "{text}");
    assert_eq!(read(text.as_bytes()).unwrap(), document);
    assert_eq!(yaml(&document), text, "the same document gives the same text");
}

/// Texts that YAML could take for something else, and any others.
fn texts() -> impl Strategy<Value = String> {
    let odd = [
        "",
        "~",
        "null",
        "yes",
        "No",
        "on",
        "0x1f",
        "0o7",
        "017",
        "1_000",
        "1e3",
        "1.0",
        ".inf",
        ".NaN",
        "-",
        "- a",
        "a: b",
        "a #b",
        "# a",
        "? a",
        "&a",
        "*a",
        "!a",
        "!!str a",
        "|",
        ">",
        "%a",
        "@a",
        "`a`",
        "{a}",
        "[a]",
        "'",
        "\"",
        "a'b\"c",
        "\\",
        "\\u0041",
        " a",
        "a ",
        "\t",
        "a\tb",
        "\n",
        "a\n",
        "\na",
        "a\n\nb",
        "a\r\nb",
        "---",
        "...",
        "<<",
        "=",
        "2026-01-01",
        "12:30:45",
        "\u{feff}",
        "\u{85}a",
        "\u{2028}",
        "\u{7f}",
        "\u{1}",
        "\0",
        "\u{e000}",
        "\u{fffd}",
        "ä🦙",
    ];
    prop_oneof![
        proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
        ".{0,12}",
        "[ -~\n\t]{0,90}",
        (proptest::sample::select(odd.to_vec()), "[a-z \n]{0,40}").prop_map(|(odd, rest)| format!("{odd}{rest}{odd}")),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(texts(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_a_schema_says_is_in_its_yaml(value in values()) {
        let document = json!({ "a": value });
        let text = yaml(&document);
        prop_assert_eq!(read(text.as_bytes()).map_err(|refused| refused.detail), Ok(document), "{}", text);
    }
}

/// A document as others write them.
const USERS: &str = r##"
asyncapi: 3.1.0
info: {title: Account service, version: 1.0.0}
channels:
  userSignedUp:
    address: user/signedup
    messages:
      UserSignedUp: {$ref: '#/components/messages/UserSignedUp'}
      Avro:
        payload: {schemaFormat: 'application/vnd.apache.avro;version=1.9.0', schema: {type: record}}
operations:
  onSignUp: {action: send, channel: {$ref: '#/channels/userSignedUp'}}
components:
  messageTraits:
    said: {description: from a trait, name: ignored}
  messages:
    UserSignedUp:
      name: user.signed-up.v2
      traits: [{$ref: '#/components/messageTraits/said'}]
      payload: {$ref: '#/components/schemas/User'}
    Foreign:
      payload: {type: object, properties: {a: {$ref: 'https://example.com/schema.json'}}}
    Loop:
      payload: {$ref: '#/components/schemas/Loop'}
    not a type: {}
  schemas:
    User:
      type: object
      properties:
        email: {$ref: '#/components/schemas/Email'}
        friends: {type: array, items: {$ref: '#/components/schemas/User'}}
    Email: {schemaFormat: 'application/schema+json;version=draft-07', schema: {type: string, format: email}}
    Loop: {$ref: '#/components/schemas/Loop'}
"##;

#[test]
fn a_document_of_somebody_else_becomes_types_schemas_and_declarations() {
    let imported = import(&read(USERS.as_bytes()).unwrap()).unwrap();
    let user = &imported.types["user.signed-up"];
    assert_eq!(
        user.schemas[&2].schema,
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {
            "email": {"$ref": "#/definitions/Email"}, "friends": {"type": "array", "items": {"$ref": "#"}}},
            "definitions": {"Email": {"type": "string", "format": "email"}}})
    );
    assert_eq!(user.schemas[&2].description.as_deref(), Some("from a trait"));
    assert_eq!(user.declaration.publishers.iter().collect::<Vec<_>>(), ["Account service"]);
    assert_eq!(user.declaration.channel.as_deref(), Some("user/signedup"));
    let kinds: Vec<_> = imported.types.iter().map(|(kind, of)| (kind.as_str(), of.schemas.len())).collect();
    assert_eq!(kinds, [("Avro", 0), ("Foreign", 0), ("Loop", 0), ("user.signed-up", 1)]);
    let skipped: Vec<_> = imported.skipped.iter().map(|skipped| skipped.pointer.as_str()).collect();
    assert_eq!(
        skipped,
        [
            "/channels/userSignedUp/messages/Avro/payload",
            "/components/messages/Foreign/payload",
            "/components/messages/Loop/payload",
            "/components/messages/not a type",
        ]
    );
}

#[test]
fn what_is_no_document_or_too_much_is_refused() {
    let refused = |text: &str| read(text.as_bytes()).and_then(|value| import(&value)).map(|_| ()).unwrap_err().detail;
    assert!(refused("{}").contains("found none"));
    assert!(refused(r#"{"asyncapi":"2.6.0"}"#).contains("found 2.6.0"));
    assert!(refused(r#"{"asyncapi":"3.0.0","channels":[]}"#).contains("/channels"));
    assert!(refused("{").contains("expected JSON"));
    assert!(refused(&format!("{{\"a\":{}{}}}", "[".repeat(110), "]".repeat(110))).contains("100 levels"));
    assert!(refused(&format!("{{\"a\":[{}0]}}", "0,".repeat(400_000))).contains("400000 values"));
    assert!(refused(&format!("{{\"a\":\"{}\"}}", "x".repeat(4 << 20))).contains("bytes"));
    let channels: Vec<_> = (0..10_001).map(|n| format!("\"c{n}\":{{}}")).collect();
    assert!(refused(&format!(r#"{{"asyncapi":"3.0.0","channels":{{{}}}}}"#, channels.join(","))).contains("10000"));
    // Ten aliases of ten aliases, nine times.
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..10 {
        bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","));
    }
    assert!(refused(&bomb).contains("expected JSON or YAML"));
    assert!(refused(&format!("a: {}", "[".repeat(5_000))).contains("expected JSON or YAML"));
}

#[test]
fn a_schema_that_many_messages_refer_to_does_not_multiply_without_end() {
    let mut components = json!({"schemas": {"big": {"enum": vec![json!([1, 2, 3]); 5_000]}}, "messages": {}});
    for n in 0..1_000 {
        components["messages"][format!("m{n}")] = json!({"payload": {"$ref": "#/components/schemas/big"}});
    }
    let refused = import(&json!({"asyncapi": "3.0.0", "components": components})).unwrap_err();
    assert!(refused.detail.contains("values in all schemas"), "{refused}");
}

#[test]
fn consumers_that_are_not_listed_are_counted_in_the_export() {
    let crowded = line(json!({"type": "a.b", "moreconsumers": 7}));
    let document = export(&[ExportedType { line: crowded, schemas: Vec::new() }]);
    assert!(document["info"]["description"].as_str().unwrap().starts_with("7 more subscriptions"));
    assert!(export(&shop())["info"].get("description").is_none());
}

/// Messages with these members, each of which refers to one thing.
fn thousand(message: &Value, components: Value) -> Value {
    let messages: serde_json::Map<String, Value> = (0..1_000).map(|n| (format!("m{n}"), message.clone())).collect();
    let mut document = json!({"asyncapi": "3.0.0", "info": {"title": "t"}, "components": components});
    document["components"]["messages"] = messages.into();
    document
}

#[test]
fn a_text_that_many_messages_refer_to_does_not_multiply_without_end() {
    let long = "x".repeat(3 << 20);
    let by_trait = json!({"traits": [{"$ref": "#/components/messageTraits/t"}], "payload": {"type": "object"}});
    let of_trait = |said: Value| thousand(&by_trait, json!({"messageTraits": {"t": said}}));
    let by_schema = json!({"payload": {"properties": {"a": {"$ref": "#/components/schemas/s"}}}});
    let documents = [
        of_trait(json!({"description": long})),
        of_trait(json!({"examples": [{"payload": long}]})),
        of_trait(json!({"x-quipu-owner": long})),
        of_trait(json!({"x-quipu-type": {"description": long}})),
        thousand(&by_schema, json!({"schemas": {"s": {"const": long}}})),
        thousand(&by_schema, json!({"schemas": {"s": {"properties": {long.clone(): true}}}})),
    ];
    for document in documents {
        let refused = import(&document).unwrap_err();
        assert!(refused.detail.contains("33554432 bytes of text"), "{refused}");
    }
    let mut addressed = thousand(&json!({}), json!({}));
    addressed["channels"] = json!({"c": {"address": long, "messages": addressed["components"]["messages"]}});
    assert!(import(&addressed).unwrap_err().detail.contains("bytes of text"));
}

/// A channel with a thousand messages, and operations on it.
fn operated(operations: usize, name: impl Fn(usize) -> String) -> Value {
    let operation = |n| json!({"action": "send", "channel": {"$ref": "#/channels/c"}, "x-quipu-name": name(n)});
    let operations: serde_json::Map<String, Value> = (0..operations).map(|n| (format!("o{n}"), operation(n))).collect();
    let mut document = thousand(&json!({}), json!({}));
    document["channels"] = json!({"c": {"messages": document["components"]["messages"]}});
    document["components"] = json!({});
    document["operations"] = operations.into();
    document
}

#[test]
fn operations_do_not_multiply_with_the_messages_of_a_channel() {
    assert_eq!(import(&operated(64, |n| format!("/s{n}"))).unwrap().types["m7"].declaration.publishers.len(), 64);
    let refused = import(&operated(20_000, |n| format!("/s{n}"))).unwrap_err();
    assert!(refused.detail.contains("at most 64 names"), "{refused}");
    let refused = import(&operated(20_000, |_| "/s".to_owned())).unwrap_err();
    assert!(refused.detail.contains("at most 200000 types"), "{refused}");
    let refused = import(&operated(1, |_| "n".repeat(2_049))).unwrap_err();
    assert!(refused.detail.contains("at most 2048 bytes, found 2049"), "{refused}");
    let titled = json!({"asyncapi": "3.0.0", "info": {"title": "t".repeat(3 << 20)}});
    assert_eq!(import(&titled).unwrap_err().pointer, "/info/title");
}
