"""Arguments for forced tools, held against a validator that shares nothing with ours."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runware_ws.emulator.schema_check import SchemaError, fits, same
from runware_ws.emulator.schema_pattern import matching_text
from runware_ws.emulator.schema_sample import sample

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}, "v": {"type": "integer"}}}
ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "unit": {"enum": ["celsius", "kelvin"]},
        "count": {"type": "integer", "minimum": 3, "maximum": 9, "multipleOf": 4},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True},
        "code": {"type": "string", "pattern": "^[A-Z]{3}-\\d{2,}$", "minLength": 8},
        "point": {"prefixItems": [{"type": "number"}, {"const": "x"}], "items": False},
        "note": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 2}]},
    },
    "required": ["id", "unit", "count", "share", "tags", "code", "point", "note", "more"],
    "additionalProperties": {"type": "boolean"},
    "minProperties": 11,
}
POSSIBLE: list[Any] = [
    True,
    {},
    {"type": "object"},
    ORDER,
    {"$defs": {"n": NODE}, "$ref": "#/$defs/n"},
    {"definitions": {"a/b": {"const": 7}}, "properties": {"x": {"$ref": "#/definitions/a~1b"}}},
    {"allOf": [{"properties": {"a": {"minimum": 5}}}, {"properties": {"a": {"maximum": 5}}}],
     "required": ["a"]},
    {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}], "minimum": 1},
    {"anyOf": [False, {"type": "string", "minLength": 30}]},
    {"not": {"type": "string"}},
    {"if": {"properties": {"k": {"const": 1}}, "required": ["k"]}, "then": {"required": ["m"]},
     "else": False, "type": "object"},
    {"type": "object", "propertyNames": {"pattern": "^x_"}, "minProperties": 2},
    {"type": "object", "patternProperties": {"^n[0-9]$": {"type": "integer"}}, "minProperties": 1,
     "additionalProperties": False},
    {"type": "array", "contains": {"const": "here"}, "minContains": 2, "items": {"type": "string"}},
    {"type": ["null", "array"], "minItems": 1},
    {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "minItems": 3,
     "items": [{"type": "integer"}, {"type": "string"}], "additionalItems": {"type": "null"}},
    {"dependentRequired": {"a": ["b"]}, "properties": {"a": True}, "required": ["a"],
     "type": "object"},
    {"type": "object", "properties": {"never": False, "x": {"type": "null"}}},
    {"type": "string", "pattern": "(ab|cd)+[^a-z]\\w*\\.(?:x|y){2}$", "maxLength": 40},
    {"type": "number", "multipleOf": 0.25, "exclusiveMinimum": 1},
    {"type": "integer", "maximum": -5},
    {"type": "string", "examples": [1, "well"], "default": 5},
]  # fmt: skip
IMPOSSIBLE: list[tuple[Any, str]] = [
    (False, "no value"),
    ({"type": "integer", "minimum": 2, "maximum": 1}, "no value"),
    ({"enum": []}, "no value"),
    ({"$ref": "https://example.com/schema"}, "only references inside"),
    ({"$ref": "#/$defs/nobody"}, "names nothing"),
    ({"$ref": "#"}, "itself without end|no value"),
    ({"required": ["a"], "properties": {"a": {"$ref": "#"}}, "type": "object"}, "itself"),
    ({"unevaluatedProperties": False, "type": "object"}, "unevaluatedProperties is not supported"),
    ({"type": "string", "pattern": "("}, r"pattern '\('"),
    ({"type": "elephant"}, "type 'elephant' is unknown"),
    ({"properties": 5, "type": "object"}, "no JSON schema"),
    ({"type": "number", "exclusiveMinimum": True}, "must be numbers"),
    (5, "no value"),
]


def is_valid(value: Any, schema: Any) -> bool:
    return jsonschema_rs.validator_for(schema).is_valid(value)


@pytest.mark.parametrize("schema", POSSIBLE, ids=str)
def test_samples_are_valid_and_always_the_same(schema: Any) -> None:
    value = sample(schema)
    assert is_valid(value, schema), value
    assert sample(schema) == value


@pytest.mark.parametrize(("schema", "why"), IMPOSSIBLE, ids=str)
def test_what_cannot_be_made_is_told(schema: Any, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        sample(schema)


def test_all_that_is_declared_is_there() -> None:
    assert sample(ORDER).keys() > ORDER["properties"].keys()
    # A schema that names itself has a few levels, and ends.
    value, depth = sample(POSSIBLE[4]), 0
    while "next" in value:
        value, depth = value["next"], depth + 1
    assert 0 < depth < 10


BOUNDS = st.integers(-3, 6)
COUNTS = st.integers(0, 3)


def record(always: dict[str, Any], /, **optional: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(always, optional=optional)


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


LEAF: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    record({"type": some("integer", "number")}, minimum=BOUNDS, maximum=BOUNDS,
           multipleOf=some(1, 2, 0.5)),
    record({"type": some("string")}, minLength=COUNTS, maxLength=COUNTS,
           pattern=some("^a", "[0-9]$", "^(x|y)*$", "\\S")),
    record({"enum": st.lists(some(0, 1, True, "a", None), max_size=3)}),
    record({"const": some(0, False, "a", None, [], {})}),
)  # fmt: skip
NAMES = some("a", "b", "c")


def composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        record(
            {"type": some("object")},
            properties=st.dictionaries(NAMES, inner, max_size=3),
            required=st.lists(NAMES, max_size=2, unique=True),
            additionalProperties=inner,
            minProperties=COUNTS,
            maxProperties=COUNTS,
        ),
        record(
            {"type": some("array")},
            items=inner,
            prefixItems=few,
            minItems=COUNTS,
            maxItems=COUNTS,
            uniqueItems=st.booleans(),
            contains=inner,
        ),
        record({}, anyOf=few, allOf=few, **{"not": inner}),
        record({"oneOf": few}),
        record({"if": inner, "then": inner, "else": inner}),
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(LEAF, composed, max_leaves=8)


@settings(max_examples=600)
@given(SCHEMAS)
def test_whatever_is_made_is_valid(schema: Any) -> None:
    value: Any = None
    try:
        value = sample(schema)
    except SchemaError:
        # Nothing was found, which is never said where any value fits.
        assert not is_valid({}, schema) or not is_valid("text", schema)
        return
    assert is_valid(value, schema), value


VALUES: st.SearchStrategy[Any] = st.recursive(
    some(None, True, False, 0.5, 1.0, "", "a", "x9", "aaaa") | BOUNDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=600)
@given(SCHEMAS, VALUES)
def test_our_check_agrees_with_a_validator(schema: Any, value: Any) -> None:
    assert fits(value, schema, schema) == is_valid(value, schema)


def test_equal_as_json_has_it() -> None:
    assert same([1, {"a": 1.0}], [1.0, {"a": 1}])
    assert not same(1, True)
    assert not same({"a": 1}, {"b": 1})


@pytest.mark.parametrize(
    "pattern",
    [
        "", "^a+$", "[^aA0]", "a|b", "(?P<x>q)(?P=x)", "^[\\w.]+@[\\w.]+\\.\\w{2,4}$",
        "\\d{4}-\\d\\d", "[^\\d\\s]x", "(?:ab){3,}?", "^$", "\\bword\\b", "[\\s]", "^[^\\W]$",
    ],
)  # fmt: skip
def test_patterns(pattern: str) -> None:
    text = matching_text(pattern)
    assert text is not None
    assert re.search(pattern, text)


def test_patterns_of_some_length_and_those_that_are_too_hard() -> None:
    text = matching_text("^[a-c]+$", 20)
    assert text is not None
    assert len(text) >= 20
    assert matching_text("(?<=a)b$") is None
    assert matching_text("[") is None
