"""What schemathesis is told beside the OpenAPI document."""

import itertools
import os

import schemathesis
import urllib3.util.connection

# Wrong credentials from one address are answered ever more slowly, so every connection comes from its own of 127.0.0.0/8.
numbers = itertools.count(1)
connect = urllib3.util.connection.create_connection


def connect_from_elsewhere(address, timeout=None, source_address=None, socket_options=None):
    number = next(numbers)
    source = f"127.{number // 62500 + 1}.{number // 250 % 250}.{number % 250 + 1}"
    return connect(address, timeout, (source, 0), socket_options)


urllib3.util.connection.create_connection = connect_from_elsewhere

own = os.environ["QUIPU_TEST_KEY"].split("_")[2]


@schemathesis.hook
def before_call(context, case, kwargs):
    # It finds the id of the key that it uses in the list of keys: without it, all that follows would be refused.
    if case.path_parameters and case.path_parameters.get("id") == own and case.method != "GET":
        case.path_parameters["id"] = "0123456789abcdef"
    # Nobody waits for deliveries that do not come.
    if isinstance(case.body, dict) and isinstance(case.body.get("waitms"), int):
        case.body["waitms"] = min(case.body["waitms"], 20)
