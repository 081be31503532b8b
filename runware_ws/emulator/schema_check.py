"""Whether a value fits a JSON schema: as much of 2020-12 as tools use. Pure.

The core has no validator among its dependencies, and what a forced tool is called with must be
valid. What is not known here is refused by name, never taken for granted. ``format`` is a note, as
the specification has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeGuard, cast
from urllib.parse import unquote

__all__ = [
    "Schema",
    "SchemaError",
    "fits",
    "is_array",
    "is_number",
    "is_object",
    "kind_of",
    "resolve",
    "same",
]

Schema: TypeAlias = dict[str, Any]

_REFUSED = (
    *("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$vocabulary"),
    *("dependencies", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"),
)


class SchemaError(ValueError):
    """A schema that cannot be used here; the text says where and why."""


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array."""
    return isinstance(value, list)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a JSON number: Python's ``True`` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def kind_of(value: Any) -> str:
    """The JSON type of a value; ``integer`` for a number without a fraction."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if is_number(value):
        return "integer" if float(value).is_integer() else "number"
    if isinstance(value, str):
        return "string"
    return "array" if is_array(value) else "object"


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, 1 and ``true`` are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(map(same, one, other))
    if is_object(one) and is_object(other):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


def resolve(reference: object, root: Any) -> Any:
    """The schema that a ``$ref`` names. Only those inside the same schema (``#/$defs/…``).

    Raises:
        SchemaError: it points elsewhere, or to nothing.
    """
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise SchemaError(f"$ref {reference!r}: only references inside the schema can be followed")
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if is_object(found) and name in found:
            found = found[name]
        elif is_array(found) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise SchemaError(f"$ref {reference!r} names nothing")
    return found


def fits(value: Any, schema: Any, root: Any) -> bool:
    """Whether ``value`` is valid against ``schema``, a part of ``root`` or all of it.

    Raises:
        SchemaError: the schema says what is not known here, or is none.
    """
    if isinstance(schema, bool):
        return schema
    if not is_object(schema):
        raise SchemaError(f"a schema is an object, not {schema!r:.40}")
    for name in _REFUSED:
        if name in schema:
            raise SchemaError(f"{name} is not supported")
    rules = [(name, rule) for name, rule in _RULES.items() if name in schema]
    return all(rule(value, schema, root) for _, rule in rules)


# -- any value -------------------------------------------------------------------------------


def _type(value: Any, schema: Schema, _: Any) -> bool:
    wanted: list[Any] = schema["type"] if is_array(schema["type"]) else [schema["type"]]
    kind = kind_of(value)
    return kind in wanted or (kind == "integer" and "number" in wanted)


def _all_of(value: Any, schema: Schema, root: Any) -> bool:
    return all(fits(value, each, root) for each in schema["allOf"])


def _any_of(value: Any, schema: Schema, root: Any) -> bool:
    return any(fits(value, each, root) for each in schema["anyOf"])


def _one_of(value: Any, schema: Schema, root: Any) -> bool:
    return sum(fits(value, each, root) for each in schema["oneOf"]) == 1


def _if(value: Any, schema: Schema, root: Any) -> bool:
    branch = "then" if fits(value, schema["if"], root) else "else"
    return fits(value, schema.get(branch, True), root)


# -- texts and numbers -----------------------------------------------------------------------


def _on_text(rule: Callable[[str, Any], bool], name: str) -> Callable[[Any, Schema, Any], bool]:
    return lambda value, schema, _: not isinstance(value, str) or rule(value, schema[name])


def _on_number(rule: Callable[[float, Any], bool], name: str) -> Callable[[Any, Schema, Any], bool]:
    return lambda value, schema, _: not is_number(value) or rule(value, schema[name])


def _found(text: str, pattern: Any) -> bool:
    try:
        return re.search(pattern, text) is not None
    except (re.error, TypeError) as problem:
        raise SchemaError(f"pattern {pattern!r:.60}: {problem}") from None


def _exclusive(value: float, bound: Any, sign: int) -> bool:
    if not is_number(bound):  # a flag in drafts before 6
        raise SchemaError("exclusiveMinimum and exclusiveMaximum must be numbers")
    return bool((value - bound) * sign > 0)


def _multiple(value: float, step: Any) -> bool:
    quotient = value / step
    return bool(abs(quotient - round(quotient)) < 1e-9)


# -- arrays ----------------------------------------------------------------------------------


def _items(value: Any, schema: Schema, root: Any) -> bool:
    if not is_array(value):
        return True
    rule: Any = schema["items"]
    if is_array(rule):  # as drafts before 2020-12 have it
        rest = [schema.get("additionalItems", True)] * max(0, len(value) - len(rule))
        rules = [*rule, *rest]
        return all(fits(item, each, root) for item, each in zip(value, rules, strict=False))
    first = len(schema.get("prefixItems") or ())
    return all(fits(item, rule, root) for item in value[first:])


def _prefix_items(value: Any, schema: Schema, root: Any) -> bool:
    rules = schema["prefixItems"]
    return not is_array(value) or all(
        fits(item, rule, root) for item, rule in zip(value, rules, strict=False)
    )


def _unique(value: Any, schema: Schema, _: Any) -> bool:
    if not is_array(value) or not schema["uniqueItems"]:
        return True
    return not any(same(one, other) for at, one in enumerate(value) for other in value[:at])


def _contains(value: Any, schema: Schema, root: Any) -> bool:
    if not is_array(value):
        return True
    number = sum(fits(item, schema["contains"], root) for item in value)
    least: int = schema.get("minContains", 1)
    most: int = schema.get("maxContains", len(value))
    return least <= number <= most


# -- objects ---------------------------------------------------------------------------------


def _properties(value: Any, schema: Schema, root: Any) -> bool:
    rules = cast("dict[str, Any]", schema["properties"])
    return not is_object(value) or all(
        fits(value[name], rule, root) for name, rule in rules.items() if name in value
    )


def _patterned(value: Any, schema: Schema, root: Any) -> bool:
    rules = cast("dict[str, Any]", schema["patternProperties"])
    return not is_object(value) or all(
        fits(item, rule, root)
        for name, item in value.items()
        for pattern, rule in rules.items()
        if _found(name, pattern)
    )


def _additional(value: Any, schema: Schema, root: Any) -> bool:
    if not is_object(value):
        return True
    patterns: Iterable[str] = schema.get("patternProperties") or ()
    known: dict[str, Any] = schema.get("properties") or {}
    return all(
        fits(item, schema["additionalProperties"], root)
        for name, item in value.items()
        if name not in known and not any(_found(name, pattern) for pattern in patterns)
    )


def _depending(value: Any, schema: Schema, _: Any) -> bool:
    needs = cast("dict[str, list[str]]", schema["dependentRequired"])
    return not is_object(value) or all(
        other in value for name, others in needs.items() if name in value for other in others
    )


_Rule: TypeAlias = Callable[[Any, Schema, Any], bool]
_RULES: dict[str, _Rule] = {
    "$ref": lambda value, schema, root: fits(value, resolve(schema["$ref"], root), root),
    "type": _type,
    "enum": lambda value, schema, _: any(same(value, each) for each in schema["enum"]),
    "const": lambda value, schema, _: same(value, schema["const"]),
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": lambda value, schema, root: not fits(value, schema["not"], root),
    "if": _if,
    "minLength": _on_text(lambda text, least: len(text) >= least, "minLength"),
    "maxLength": _on_text(lambda text, most: len(text) <= most, "maxLength"),
    "pattern": _on_text(_found, "pattern"),
    "minimum": _on_number(lambda value, least: value >= least, "minimum"),
    "maximum": _on_number(lambda value, most: value <= most, "maximum"),
    "exclusiveMinimum": _on_number(
        lambda value, least: _exclusive(value, least, 1), "exclusiveMinimum"
    ),
    "exclusiveMaximum": _on_number(
        lambda value, most: _exclusive(value, most, -1), "exclusiveMaximum"
    ),
    "multipleOf": _on_number(_multiple, "multipleOf"),
    "items": _items,
    "prefixItems": _prefix_items,
    "minItems": lambda value, schema, _: not is_array(value) or len(value) >= schema["minItems"],
    "maxItems": lambda value, schema, _: not is_array(value) or len(value) <= schema["maxItems"],
    "uniqueItems": _unique,
    "contains": _contains,
    "properties": _properties,
    "patternProperties": _patterned,
    "additionalProperties": _additional,
    "required": lambda value, schema, _: (
        not is_object(value) or all(name in value for name in schema["required"])
    ),
    "propertyNames": lambda value, schema, root: (
        not is_object(value) or all(fits(name, schema["propertyNames"], root) for name in value)
    ),
    "minProperties": lambda value, schema, _: (
        not is_object(value) or len(value) >= schema["minProperties"]
    ),
    "maxProperties": lambda value, schema, _: (
        not is_object(value) or len(value) <= schema["maxProperties"]
    ),
    "dependentRequired": _depending,
}
