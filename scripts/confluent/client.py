"""What a user of Kafka does with Confluent's Python client, done to a server of Quipu: nothing in the client is changed. The server's
URL and two keys, of whoever may register and publish and of whoever may only read, are in the environment."""

import contextlib
import io
import json
import os
import pathlib
import re
import unittest
import urllib.error
import urllib.request

from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Metadata,
    MetadataProperties,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
    record_subject_name_strategy,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError

URL, KEY, READER = (os.environ[name] for name in ("QUIPU_URL", "QUIPU_KEY", "QUIPU_KEY_READER"))


def client(key=KEY):
    """A client without anything in its caches, with a key as the password."""
    return SchemaRegistryClient({"url": f"{URL}/registry", "basic.auth.user.info": f"anybody:{key}"})


def schema(properties, required=(), references=(), title="Record"):
    text = {"type": "object", "title": title, "properties": properties, "required": list(required)}
    return Schema(json.dumps(text), "JSON", list(references))


def value_of(topic):
    return SerializationContext(topic, MessageField.VALUE)


def quipu(method, path, body=None):
    """Asks the server as its own users do."""
    request = urllib.request.Request(
        URL + path,
        method=method,
        data=body and json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


class Registry(unittest.TestCase):
    maxDiff = None

    def refused(self, code, do):
        with self.assertRaises(SchemaRegistryError) as caught:
            do()
        error = caught.exception
        self.assertEqual(error.error_code, code, error)
        self.assertEqual(error.http_status_code, code // 100 if code > 999 else code, error)
        return error.error_message

    def test_a_serializer_registers_what_a_deserializer_reads(self):
        order = schema({"total": {"type": "number"}}, ["total"])
        data = JSONSerializer(order, client())({"total": 5}, value_of("one.placed"))
        registered = client().get_latest_version("one.placed-value")
        self.assertEqual(data[:5], b"\0" + registered.schema_id.to_bytes(4, "big"))
        self.assertEqual((registered.version, registered.schema.schema_str), (1, order.schema_str))
        self.assertEqual(JSONDeserializer(None, schema_registry_client=client())(data, value_of("one.placed")), {"total": 5})
        self.assertEqual(JSONDeserializer(order)(data, value_of("one.placed")), {"total": 5})
        # Once more with another client, which knows nothing, and it is the same.
        self.assertEqual(JSONSerializer(order, client())({"total": 5}, value_of("one.placed")), data)
        self.assertEqual(client().get_versions("one.placed-value"), [1])
        # What does not fit is not written.
        with self.assertRaises(SerializationError):
            JSONSerializer(order, client())({"total": "5"}, value_of("one.placed"))
        # Nor is it published: the contract of the topic is that of the events.
        self.assertEqual(quipu("PUT", "/v1/schemas/one.placed/rules", {"enforcement": "enforce"})[0], 200)
        event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "one.placed", "data": {"total": "5"}}
        self.assertEqual(quipu("POST", "/v1/events", event)[1]["code"], "schema-violated")
        self.assertEqual(quipu("POST", "/v1/events", {**event, "data": {"total": 5}})[0], 200)

    def test_serializers_that_do_not_register_take_what_is_there(self):
        order = schema({"total": {"type": "number"}}, ["total"])
        known = {"auto.register.schemas": False, "normalize.schemas": True}
        with self.assertRaises(SchemaRegistryError):
            JSONSerializer(order, client(), conf=known)({"total": 5}, value_of("two.placed"))
        client().register_schema("two.placed-value", order)
        data = JSONSerializer(order, client(READER), conf=known)({"total": 5}, value_of("two.placed"))
        latest = {"auto.register.schemas": False, "use.latest.version": True}
        self.assertEqual(JSONSerializer(order, client(READER), conf=latest)({"total": 5}, value_of("two.placed")), data)
        read = JSONDeserializer(None, schema_registry_client=client(READER), conf={"use.latest.version": True})
        self.assertEqual(read(data, value_of("two.placed")), {"total": 5})

    def test_a_subject_may_be_named_by_the_record(self):
        order = schema({"total": {"type": "number"}}, title="three.Placed")
        by_record = {"subject.name.strategy": record_subject_name_strategy}
        data = JSONSerializer(order, client(), conf=by_record)({"total": 5}, value_of("anything"))
        self.assertIn("three.Placed", client().get_subjects())
        self.assertEqual(client().get_latest_version("three.Placed").schema_id, int.from_bytes(data[1:5], "big"))
        self.assertEqual(quipu("GET", "/v1/schemas/three.Placed/versions/1")[0], 200)

    def test_schemas_refer_to_each_other(self):
        client().register_schema("four.address", Schema('{"type":"string","maxLength":3}', "JSON"))
        reference = SchemaReference("address.json", "four.address", 1)
        parcel = schema({"to": {"$ref": "address.json"}}, references=[reference])
        data = JSONSerializer(parcel, client())({"to": "abc"}, value_of("four.parcel"))
        self.assertEqual(JSONDeserializer(None, schema_registry_client=client())(data, value_of("four.parcel")), {"to": "abc"})
        with self.assertRaises(SerializationError):
            JSONSerializer(parcel, client())({"to": "abcd"}, value_of("four.parcel"))
        registered = client().get_latest_version("four.parcel-value")
        self.assertEqual(registered.schema.references, [reference])
        self.assertEqual(client().get_referenced_by("four.address", 1), [registered.schema_id])
        self.assertIn("four.parcel", self.refused(42206, lambda: client().delete_version("four.address", 1)))
        # A schema of ours that refers to another by itself is read in the same way.
        status, _ = quipu("POST", "/v1/schemas/four.list", {"schema": {"type": "array", "items": {"$ref": "quipu:four.address.v1"}}})
        self.assertEqual(status, 201)
        own = client().get_latest_version("four.list-value")
        self.assertEqual(own.schema.references, [SchemaReference("quipu:four.address.v1", "four.address", 1)])

    def test_compatibility_is_told_and_held_to(self):
        one = schema({"total": {"type": "number"}}, ["total"])
        wider = schema({"total": {"type": "number"}, "note": {"type": "string"}}, ["total"])
        broken = schema({"total": {"type": "string"}}, ["total"])
        subject = "five.placed-value"
        self.assertTrue(client().test_compatibility(subject, one))
        client().register_schema(subject, one)
        for test in (client().test_compatibility, client().test_compatibility_all_versions):
            self.assertTrue(test(subject, wider))
            self.assertFalse(test(subject, broken))
        message = self.refused(40901, lambda: client().register_schema(subject, broken))
        self.assertIn("/total", message)
        with self.assertRaises(SchemaRegistryError):
            JSONSerializer(broken, client())({"total": "5"}, value_of("five.placed"))
        self.assertEqual(client().get_versions(subject), [1])
        # What it is held to is said by the client, too.
        self.refused(40408, lambda: client().get_compatibility(subject))
        self.assertEqual(client().get_compatibility(), "BACKWARD")
        self.assertEqual(client().set_compatibility(subject, "none"), {"compatibility": "NONE"})
        self.assertEqual(client().get_compatibility(subject), "NONE")
        self.assertTrue(client().test_compatibility(subject, broken))
        client().register_schema(subject, broken)
        full = ServerConfig(compatibility=ConfigCompatibilityLevel.FULL_TRANSITIVE)
        client().set_config(subject, full)
        self.assertEqual(client().get_config(subject).compatibility_level, ConfigCompatibilityLevel.FULL_TRANSITIVE)
        client().delete_config(subject)
        self.refused(40408, lambda: client().get_config(subject))
        self.refused(42203, lambda: client().set_compatibility(subject, "sideways"))
        grouped = ServerConfig(compatibility=ConfigCompatibilityLevel.FULL, compatibility_group="major")
        self.refused(42205, lambda: client().set_config(subject, grouped))

    def test_what_is_deleted_is_kept_until_it_is_deleted_for_good(self):
        subject, one = "six.placed-value", schema({"six": {"type": "number"}})
        wider = schema({"six": {"type": "number"}, "note": {"type": "string"}})
        number = client().register_schema(subject, one)
        client().register_schema(subject, wider)
        self.refused(40407, lambda: client().delete_version(subject, 1, permanent=True))
        self.assertEqual(client().delete_version(subject, 1), 1)
        self.refused(40406, lambda: client().delete_version(subject, 1))
        self.assertEqual(client().get_versions(subject), [2])
        self.assertEqual(client().get_versions(subject, deleted=True), [1, 2])
        self.assertEqual(client().get_versions(subject, deleted_only=True), [1])
        self.refused(40402, lambda: client().get_version(subject, 1))
        self.assertEqual(client().get_version(subject, 1, deleted=True).schema_id, number)
        self.assertEqual(client().get_schema(number).schema_str, one.schema_str)
        self.refused(40403, lambda: client().lookup_schema(subject, one))
        self.assertEqual(client().lookup_schema(subject, one, deleted=True).version, 1)
        self.assertEqual(client().register_schema(subject, one), number)
        self.refused(40405, lambda: client().delete_subject(subject, permanent=True))
        self.assertEqual(client().delete_subject(subject), [1, 2])
        self.refused(40404, lambda: client().delete_subject(subject))
        self.assertNotIn(subject, client().get_subjects())
        self.assertIn(subject, client().get_subjects(deleted=True))
        self.assertEqual(client().delete_subject(subject, permanent=True), [1, 2])
        self.assertNotIn(subject, client().get_subjects(deleted=True))
        self.refused(40403, lambda: client().get_schema(number))

    def test_a_version_that_events_have_stays(self):
        subject = "seven.placed-value"
        client().register_schema(subject, schema({"total": {"type": "number"}}))
        event = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "seven.placed", "data": {"total": 5}}
        self.assertEqual(quipu("POST", "/v1/events", event)[0], 200)
        client().delete_version(subject, 1)
        self.assertIn("the event at position", self.refused(42205, lambda: client().delete_version(subject, 1, permanent=True)))
        self.assertEqual(client().get_versions(subject, deleted=True), [1])

    def test_everything_is_found_by_its_number_and_by_its_name(self):
        subject, one = "eight.placed-value", schema({"eight": {"type": "number"}})
        number = client().register_schema(subject, one)
        self.assertEqual(client().register_schema("eight.moved-value", one), number)
        self.assertEqual(client().get_subjects(subject_prefix="eight."), [
            "eight.moved", "eight.moved-value", "eight.placed", "eight.placed-value"])
        self.assertEqual(client().get_subjects(subject_prefix="eight.", offset=1, limit=2), ["eight.moved-value", "eight.placed"])
        self.assertEqual(client().get_subjects_by_schema_id(number, subject_name=subject), [subject])
        places = client().get_schema_versions(number)
        self.assertIn((subject, 1), [(place.subject, place.version) for place in places])
        self.assertEqual(client().get_schema_types(), ["JSON"])
        self.assertEqual(client().get_contexts(), ["."])
        self.assertEqual(client().lookup_schema(subject, one).schema_id, number)
        self.assertEqual(client().get_version(subject, "latest").schema.schema_str, one.schema_str)
        self.refused(40401, lambda: client().get_latest_version("eight.none-value"))
        self.refused(40401, lambda: client().lookup_schema("eight.none-value", one))
        self.refused(40402, lambda: client().get_version(subject, 9))
        self.refused(42202, lambda: client().get_version(subject, "newest"))
        self.refused(40403, lambda: client().get_schema(4_000_000))
        self.refused(40401, lambda: client().lookup_schema("eight/x y", one))

    def test_what_is_not_spoken_is_refused(self):
        avro = Schema('{"type":"record","name":"a","fields":[]}', "AVRO")
        self.assertIn("only JSON", self.refused(42201, lambda: client().register_schema("nine-value", avro)))
        self.refused(42201, lambda: client().register_schema("nine-value", Schema('syntax = "proto3";', "PROTOBUF")))
        self.refused(42201, lambda: client().register_schema("nine-value", Schema('{"type":"strin"}', "JSON")))
        described = Schema("{}", "JSON", metadata=Metadata(None, MetadataProperties({"owner": "shop"}), None))
        self.refused(42201, lambda: client().register_schema("nine-value", described))
        self.refused(42208, lambda: client().register_schema("nine.v2-value", Schema("{}", "JSON")))
        self.assertEqual(client().get_mode("nine-value"), "READWRITE")
        self.assertEqual(client().get_global_mode(), "READWRITE")
        self.assertEqual(client().update_mode("nine-value", "READWRITE"), "READWRITE")
        self.refused(42205, lambda: client().update_mode("nine-value", "READONLY"))
        self.refused(42205, lambda: client().update_global_mode("IMPORT"))
        self.refused(42204, lambda: client().update_mode("nine-value", "SLEEPY"))

    def test_the_example_of_the_documentation_prints_what_it_says(self):
        page = (pathlib.Path(__file__).parents[2] / "docs/registry.md").read_text()
        example = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
        self.assertIn("http://127.0.0.1:7070/", example)
        example = example.replace("http://127.0.0.1:7070/", f"{URL}/").replace("qp_…", KEY)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example, "docs/registry.md", "exec"), {})
        lines = printed.getvalue().splitlines()
        self.assertEqual(lines, ["{'total': 5}", "['order.paid', 'order.paid-value']", "40901"])
        for line in lines:
            self.assertIn(f"`{line}`", page)

    def test_a_credential_is_needed_and_holds(self):
        self.refused(401, lambda: client("wrong").get_subjects())
        self.refused(401, lambda: SchemaRegistryClient({"url": f"{URL}/registry"}).get_subjects())
        self.refused(403, lambda: client(READER).register_schema("ten-value", Schema("{}", "JSON")))
        by_token = {"bearer.auth.credentials.source": "STATIC_TOKEN", "bearer.auth.token": READER,
                    "bearer.auth.logical.cluster": "none", "bearer.auth.identity.pool.id": "none"}
        self.assertIsInstance(SchemaRegistryClient({"url": f"{URL}/registry", **by_token}).get_subjects(), list)


if __name__ == "__main__":
    # Clients are left to the garbage collector, which it tells of.
    unittest.main(warnings="ignore")
