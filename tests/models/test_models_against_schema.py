"""Our model against a JSON-Schema validator: on every document both give the same verdict.

The seed's request schema (structure only) lies beside this file. A generator walks it and makes
valid requests; from each of them every mutation that a keyword suggests is made, one at a time.
The validator reads patterns as ECMA 262 does: ``$`` does not match before a last newline.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runware_ws.errors import InvalidTask
from runware_ws.models import HAIKU_MODEL, TextInference, validate_task
from runware_ws.models.formats import is_http_url, is_uri, is_uuid
from runware_ws.models.jsonable import is_object

Json = Any
Schema = dict[str, Any]

SEED: Schema = json.loads(
    Path(__file__).with_name("haiku_request.schema.json").read_text(encoding="utf-8")
)
UUID_V1 = "c232ab00-9414-11ec-b3c8-9f6bdeced846"
UUID_V4 = "0b0f6ee2-1ed6-4d6c-9a46-6a1c8a0f7a11"
BASE64 = "^[a-zA-Z0-9+/=]+$"
V4 = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"
WEB = "^[hH][tT][tT][pP][sS]?://([^/?#@]*@)?[^/?#@:][^/?#@]*([/?#]|$)"
MINIMAL: Json = {
    "taskType": "textInference",
    "taskUUID": UUID_V4,
    "model": HAIKU_MODEL,
    "messages": [{"role": "user", "content": "Hello"}],
}


# --- the allowed differences ---------------------------------------------------------------------


class Difference(NamedTuple):
    """A place where we mean to differ from the seed's schema, and an example that shows it."""

    reason: str
    patch: Callable[[Schema], None]
    example: Json
    seed_accepts: bool


def _tool_schema(schema: Schema) -> None:
    del schema["properties"]["tools"]["items"]["properties"]["schema"]["additionalProperties"]


def _documents(schema: Schema) -> None:
    items = schema["properties"]["inputs"]["properties"]["documents"]["items"]
    items["anyOf"].append({"pattern": BASE64})


def _defaults(schema: Schema) -> None:
    schema["required"] = ["messages"]


def _uuid4(schema: Schema) -> None:
    schema["properties"]["taskUUID"]["pattern"] = V4


def _web(schema: Schema) -> None:
    schema["properties"]["webhookURL"]["pattern"] = WEB


DIFFERENCES = [
    Difference(
        "trap: a tool's schema is declared empty, but every documented example fills it",
        _tool_schema,
        {**MINIMAL, "tools": [{"type": "function", "name": "f", "schema": {"type": "object"}}]},
        seed_accepts=False,
    ),
    Difference(
        "trap: documents may be Base64 by the text, but the rules leave it out",
        _documents,
        {**MINIMAL, "inputs": {"documents": ["JVBERi0xLjQ="]}},
        seed_accepts=False,
    ),
    Difference(
        "convenience: constants and the taskUUID are filled in before the wire",
        _defaults,
        {"messages": MINIMAL["messages"]},
        seed_accepts=False,
    ),
    Difference(
        "format: the text says UUID v4; `format: uuid` takes any version",
        _uuid4,
        {**MINIMAL, "taskUUID": UUID_V1},
        seed_accepts=True,
    ),
    Difference(
        "format: a webhook is called by HTTP POST; `format: uri` takes any scheme",
        _web,
        {**MINIMAL, "webhookURL": "mailto:me@example.com"},
        seed_accepts=True,
    ),
]


def _oracle(schema: Schema) -> Callable[[Json], bool]:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid


def _patched() -> Schema:
    schema = copy.deepcopy(SEED)
    for difference in DIFFERENCES:
        difference.patch(schema)
    return schema


seed_accepts = _oracle(SEED)
oracle_accepts = _oracle(_patched())


def we_accept(instance: Json) -> bool:
    if not is_object(instance):
        return False
    try:
        task = TextInference.from_wire(instance)
    except InvalidTask:
        return False
    # What we send is what the caller meant, and the schema takes it.
    sent = orjson.loads(task.to_json())
    filled: dict[str, Json] = {"taskType": "textInference", "model": HAIKU_MODEL, **instance}
    filled["taskUUID"] = instance.get("taskUUID", sent["taskUUID"]).lower()
    assert sent == filled
    assert oracle_accepts(sent)
    assert orjson.loads(validate_task(filled).payload) == sent
    return True


# --- the generator of valid requests -------------------------------------------------------------

# A keyword that the walk does not know would go untested, so it is an error.
KNOWN = {
    *("$schema", "type", "properties", "required", "additionalProperties", "items", "enum"),
    *("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "const"),
    *("oneOf", "anyOf", "allOf", "if", "then", "pattern", "format"),
}
URIS = [
    "https://example.com/cat.png?x=1#y",
    "http://[::1]:8080/",
    "HTTPS://user:pw@example.com:443",
    "https://example.com/%C3%BC",
    "data:image/png;base64,iVBORw0KGgo=",
    "data:application/pdf;base64,JVBERi0=",
    "urn:isbn:0451450523",
]
ALPHABET = st.characters(exclude_categories=["Cs"])


def keywords(schema: Schema) -> Iterator[str]:
    for key, value in schema.items():
        yield key
        if key == "properties":
            for child in value.values():
                yield from keywords(child)
        elif key in ("items", "if", "then"):
            yield from keywords(value)
        elif key in ("oneOf", "anyOf", "allOf"):
            for child in value:
                yield from keywords(child)


def choices(schema: Schema) -> list[str] | None:
    """The allowed values, where the schema lists them."""
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return list(schema["enum"])
    if "oneOf" in schema:
        return [branch["const"] for branch in schema["oneOf"]]
    return None


def strings(schema: Schema) -> st.SearchStrategy[str]:
    if (listed := choices(schema)) is not None:
        return st.sampled_from(listed)
    if "anyOf" in schema:
        return st.one_of([strings(branch) for branch in schema["anyOf"]])
    if schema.get("format") == "uuid":
        return st.uuids(version=4).map(str) | st.uuids(version=4).map(lambda u: str(u).upper())
    if schema.get("format") == "uri":
        return st.sampled_from(URIS[:4] if "type" in schema else URIS)
    low, high = schema.get("minLength", 0), schema.get("maxLength", 50)
    if "pattern" in schema:
        bounded: str = schema["pattern"].replace("+$", f"{{1,{min(high, 64)}}}$")
        return st.from_regex(bounded, fullmatch=True)
    return st.text(ALPHABET, min_size=low, max_size=min(high, 50))


def conditions(schema: Schema) -> list[Schema]:
    return [rule for rule in [schema, *schema.get("allOf", [])] if "if" in rule]


@st.composite
def objects(draw: st.DrawFn, schema: Schema) -> Json:
    required = set(schema.get("required", []))
    made: dict[str, Json] = {}
    for name, child in schema["properties"].items():
        if name in required or draw(st.booleans()):
            made[name] = draw(values(child))
    for rule in conditions(schema):
        ((name, condition),) = rule["if"]["properties"].items()
        if made[name] == condition["const"]:
            for needed in rule["then"]["required"]:
                made.setdefault(needed, draw(values(schema["properties"][needed])))
    return made


def values(schema: Schema) -> st.SearchStrategy[Json]:
    kind = schema["type"]
    if kind == "object":
        return objects(schema) if "properties" in schema else st.just({})
    if kind == "array":
        low, high = schema.get("minItems", 0), schema.get("maxItems", 3)
        return st.lists(values(schema["items"]), min_size=low, max_size=high)
    if kind == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    return st.booleans() if kind == "boolean" else strings(schema)


# --- the mutations -------------------------------------------------------------------------------

WRONG: list[Json] = [None, True, False, 0, 4, 4.0, 4.5, -1, "", "4", "x", [], ["x"], {}, {"x": 1}]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z]+", lambda m: "_" + m.group().lower(), name)


def of_string(schema: Schema, value: str) -> Iterator[tuple[str, Json]]:
    for text in (value + "\n", "\n" + value, value + " ", value.upper(), value + "é", "./" + value):
        yield "string", text
    if (listed := choices(schema)) is not None:
        for other in [*listed, "other", *(f"{entry}\n" for entry in listed)]:
            yield "choice", other
    for size in (schema.get("minLength"), schema.get("maxLength")):
        if size is not None:
            for length in (size - 1, size, size + 1):
                yield "length", "x" * length
                yield "length", "\N{GRINNING FACE}" * length  # two UTF-16 units, four bytes
    if "format" in schema or "anyOf" in schema:
        for text in (*URIS, UUID_V1, UUID_V4.replace("-", ""), f"{{{UUID_V4}}}", "ftp://a/b",
                     "http://", "https:///x", "http://a b/", "http://a/%zz", "http://a/ü", "a b",
                     "http://:80/", "data:image/png;base64,", "http://[::1", "//a/b"):  # fmt: skip
            yield "format", text


def of_object(schema: Schema, value: Json) -> Iterator[tuple[str, Json]]:
    properties = schema.get("properties", {})
    yield "extra", {**value, "unknown": 1}
    for name, child in properties.items():
        if snake(name) != name:
            yield "extra", {**value, snake(name): value.get(name, 1)}
        if name not in value:
            yield "null", {**value, name: None}
            continue
        yield "missing", {k: v for k, v in value.items() if k != name}
        for label, changed in mutations(child, value[name]):
            yield label, {**value, name: changed}


def of_array(schema: Schema, value: list[Json]) -> Iterator[tuple[str, Json]]:
    yield "items", []
    if value:
        for size in (schema.get("minItems", 1), schema.get("maxItems", 3)):
            for count in (size - 1, size, size + 1):
                yield "items", (value * (count + 1))[:count]
    for wrong in WRONG:
        yield "item", [*value, wrong]
    for i, item in enumerate(value[:2]):
        for label, changed in mutations(schema["items"], item):
            yield label, [*value[:i], changed, *value[i + 1 :]]


def mutations(schema: Schema, value: Json) -> Iterator[tuple[str, Json]]:
    """Every way that a keyword suggests to change ``value`` in one place."""
    for wrong in WRONG:
        yield "type", wrong
    kind = schema["type"]
    if kind == "object":
        yield from of_object(schema, value)
    elif kind == "array":
        yield from of_array(schema, value)
    elif kind == "string":
        yield from of_string(schema, value)
    elif kind == "integer":
        for bound in (schema["minimum"], schema["maximum"]):
            for number in (bound - 1, bound, bound + 1):
                yield "bound", number
                yield "bound", float(number)
        for other in (float(value), value + 0.5, str(value), 1e300, -1e300, 10**30, 1e-7):
            yield "integer", other


# --- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: d.reason.split(":")[0])
def test_each_allowed_difference_is_shown_by_an_example(difference: Difference) -> None:
    assert seed_accepts(difference.example) is difference.seed_accepts
    assert we_accept(difference.example) is not difference.seed_accepts
    assert oracle_accepts(difference.example) is not difference.seed_accepts


def test_no_keyword_of_the_schema_escapes_the_walk() -> None:
    assert set(keywords(SEED)) <= KNOWN


def test_the_schema_is_structure_only() -> None:
    assert not {"title", "description", "default"} & set(keywords(SEED))


def listed_values(schema: Schema, root: Schema) -> Iterator[tuple[str, list[str]]]:
    """Every closed list of values, by path. ``root`` is where references point into."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for part in schema.get("allOf", []):
        yield from listed_values(part, root)
    if (listed := choices(schema)) is not None:
        yield "", sorted(listed)
    for name, child in schema.get("properties", {}).items():
        for path, found in listed_values(child, root):
            yield f"{name}.{path}", found
    if "items" in schema:
        yield from listed_values(schema["items"], root)


def test_closed_lists_hold_the_same_values() -> None:
    # Mutations can show that a value is missing from our lists, but not that one is too many.
    ours = TextInference.model_json_schema()
    expected = dict(listed_values(SEED, SEED))
    assert dict(listed_values(ours, ours)) == expected
    assert len(expected) == 9


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(values(SEED))
def test_valid_requests_pass(instance: Json) -> None:
    assert seed_accepts(instance)
    assert we_accept(instance)


def test_mutated_requests_get_the_same_verdict() -> None:
    seen: Counter[tuple[str, bool]] = Counter()

    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(values(SEED))
    def check(instance: Json) -> None:
        for label, mutant in mutations(SEED, instance):
            verdict = oracle_accepts(mutant)
            assert we_accept(mutant) is verdict, (label, mutant)
            seen[label, verdict] += 1

    check()
    assert seen.total() > 20_000
    # The run means something only where each kind of mutation was seen to break a request.
    labels = {label for label, _ in seen}
    assert labels == {"type", "string", "choice", "length", "format", "extra", "null", "missing",
                      "items", "item", "bound", "integer"}  # fmt: skip
    assert {label for label, verdict in seen if not verdict} == labels
    assert {"choice", "length", "format", "items", "bound", "integer"} <= {
        label for label, verdict in seen if verdict
    }


URI_CHARS = "aZ09-._~:/?#[]@!$&'()*+,;=% \\\"<>^`{|}é\n"
check_uri = _oracle({"type": "string", "format": "uri"})
check_uuid = _oracle({"type": "string", "format": "uuid"})
check_web = _oracle({"type": "string", "format": "uri", "pattern": WEB})


@settings(max_examples=1500, derandomize=True, deadline=None, database=None)
@given(
    st.sampled_from(
        ["", "http://", "https://", "data:", "a:", "http://[", "http://a@", "http://a:"]
    ),
    st.text(URI_CHARS, max_size=12) | st.ip_addresses(v=6).map(lambda ip: f"[{ip}]/"),
)
def test_uri_check_agrees_with_the_validator(head: str, tail: str) -> None:
    text = head + tail
    assert is_uri(text) is check_uri(text)
    assert is_http_url(text) is check_web(text)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(
    st.uuids().map(str) | st.from_regex(r"[0-9a-gA-G]{7,9}(-[0-9a-f]{4}){2,4}-?[0-9a-f]{11,12}\n?")
)
def test_uuid_check_agrees_with_the_validator(text: str) -> None:
    assert is_uuid(text) is check_uuid(text)
