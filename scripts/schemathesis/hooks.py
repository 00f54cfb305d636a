"""What schemathesis is told beside the OpenAPI document, and what it checks beside its own checks."""

import itertools
import os

import schemathesis
import schemathesis.transport.requests as transport
import urllib3.util.connection

key = os.environ.get("QUIPU_TEST_KEY", "")
own_id = key.split("_")[2] if key else None

# Wrong credentials from one address are answered ever more slowly, so every connection comes from its own of 127.0.0.0/8.
numbers = itertools.count()
connect = urllib3.util.connection.create_connection


def connect_from_elsewhere(address, timeout=None, source_address=None, socket_options=None):
    number = next(numbers)
    source = f"127.{number // 62500 + 1}.{number // 250 % 250}.{number % 250 + 1}"
    return connect(address, timeout, (source, 0), socket_options)


urllib3.util.connection.create_connection = connect_from_elsewhere

# A tail begins with a message at once and then lasts for ever: one piece of it is enough.
read_event_stream = transport.read_event_stream
transport.read_event_stream = lambda chunks, timeout, *rest: read_event_stream(chunks, 1e-9, *rest)


@schemathesis.hook
def before_call(context, case, kwargs):
    # It finds the id of the key that it uses in the list of keys: without that key, all that follows would be refused.
    if own_id and case.path_parameters and case.path_parameters.get("id") == own_id and case.method != "GET":
        case.path_parameters["id"] = "0123456789abcdef"
    # Nobody waits for deliveries that do not come.
    if isinstance(case.body, dict) and isinstance(case.body.get("waitms"), int):
        case.body["waitms"] = min(case.body["waitms"], 20)


@schemathesis.check
def only_a_credential_opens(ctx, response, case):
    """Without one, whatever needs one is refused, whatever else is wrong with the request."""
    if not key and case.operation.definition.raw.get("security") and response.status_code != 401:
        code = response.json().get("code")
        assert code in ("route-not-found", "method-not-allowed"), f"expected 401, found {response.status_code} {code}"


@schemathesis.check
def browsers_are_told(ctx, response, case):
    """Every answer has the headers for browsers."""
    assert response.headers.get("x-content-type-options") == ["nosniff"], response.headers
    assert response.headers.get("cache-control") == ["no-store"], response.headers
