"""A value that fits a JSON schema, for the calls of forced tools. Pure, and always the same.

It proposes values, and :func:`~.schema_check.fits` decides: what comes out is valid, or there is an
error that says why not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from .schema_check import Schema, SchemaError, fits, is_array, is_number, is_object, resolve, same
from .schema_pattern import matching_text

__all__ = ["sample"]

_MOST = 64
"""Proposals for one schema, until it is given up."""
_DEEP = 6
"""From here on only what is required is made, so that schemas that name themselves end."""
_TOO_DEEP = 24
_FORMATS = {
    "date": "2024-05-17",
    "date-time": "2024-05-17T12:30:00Z",
    "time": "12:30:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_HINTS = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"),
    "object": ("properties", "required", "additionalProperties", "minProperties"),
}


def sample(schema: Any) -> Any:
    """A value that is valid against ``schema``; the first one of its enums, defaults and examples.

    Raises:
        SchemaError: none was found, the schema says what is not known here, or it is none.
    """
    try:
        return _Sampler(schema).make(schema, 0)
    except SchemaError:
        raise
    except RecursionError:
        raise SchemaError("it names itself without end") from None
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as problem:
        raise SchemaError(f"it is no JSON schema ({type(problem).__name__}: {problem})") from None


class _Sampler:
    def __init__(self, root: Any) -> None:
        self._root = root

    def make(self, schema: Any, depth: int) -> Any:
        """The first proposal that fits. Raises ``SchemaError`` if none does."""
        if depth > _TOO_DEEP:
            raise SchemaError("it names itself without end")
        for proposal in islice(self._proposals(schema, depth), _MOST):
            if fits(proposal, schema, self._root):
                return proposal
        raise SchemaError(f"no value was found for {schema!r:.120}")

    def _several(self, schema: Any, depth: int) -> Iterator[Any]:
        """Different values that fit, as many as are found."""
        found: list[Any] = []
        for proposal in islice(self._proposals(schema, depth), _MOST):
            if not any(same(proposal, each) for each in found) and fits(
                proposal, schema, self._root
            ):
                found.append(proposal)
                yield proposal

    # -- the parts of a schema -----------------------------------------------------------

    def _proposals(self, schema: Any, depth: int) -> Iterator[Any]:
        if schema is True or schema == {}:
            yield "text"
        if not is_object(schema):
            return
        for choice in self._choices(schema, depth):
            yield from self._plain(choice, depth)

    def _choices(self, schema: Schema, depth: int) -> Iterator[Schema]:
        """Schemas without a choice in them, each of which is narrower than this one."""
        if depth > _TOO_DEEP:
            return
        whole = dict(schema)
        parts: list[Any] = whole.pop("allOf", [])
        if "$ref" in whole:
            parts = [resolve(whole.pop("$ref"), self._root), *parts]
        for part in parts:
            if is_object(part):
                whole = _merged(whole, part)
        if "$ref" in whole or "allOf" in whole:
            yield from self._choices(whole, depth + 1)
            return
        for name in ("anyOf", "oneOf"):
            if name in whole:
                branches: list[Any] = whole.pop(name)
                for branch in branches:
                    if branch is not False:
                        narrow = _merged(whole, branch if is_object(branch) else {})
                        yield from self._choices(narrow, depth + 1)
                return
        if "if" in whole:
            condition = whole.pop("if")
            then, otherwise = whole.pop("then", True), whole.pop("else", True)
            both = _merged(condition if is_object(condition) else {}, then)
            for part in (both, otherwise):
                if is_object(part):
                    yield from self._choices(_merged(whole, part), depth + 1)
        yield whole

    def _plain(self, schema: Schema, depth: int) -> Iterator[Any]:
        if "const" in schema:
            yield schema["const"]
            return
        yield from schema.get("enum", ())
        if "default" in schema:
            yield schema["default"]
        yield from schema.get("examples", ())
        if "enum" in schema:
            return
        types: Any = schema.get("type")
        if types is None:
            types = [
                kind for kind, hints in _HINTS.items() if any(hint in schema for hint in hints)
            ]
            types = types or ["string", "number", "object", "array", "boolean", "null"]
        kinds: list[Any] = [types] if isinstance(types, str) else list(types)
        yield from _in_turn([self._of_kind(kind, schema, depth) for kind in kinds])

    def _of_kind(self, kind: Any, schema: Schema, depth: int) -> Iterator[Any]:
        if kind == "string":
            yield from _texts(schema)
        elif kind in ("number", "integer"):
            yield from _numbers(schema, whole=kind == "integer")
        elif kind == "array":
            yield from self._arrays(schema, depth)
        elif kind == "object":
            yield from self._objects(schema, depth)
        elif kind == "boolean":
            yield from (True, False)
        elif kind == "null":
            yield None
        else:
            raise SchemaError(f"type {kind!r:.40} is unknown")

    # -- arrays and objects --------------------------------------------------------------

    def _arrays(self, schema: Schema, depth: int) -> Iterator[list[Any]]:
        least: int = schema.get("minItems", 0)
        most: int = schema.get("maxItems", max(least, 1))
        rules: list[Any] = list(schema.get("prefixItems") or ())
        items: Any = schema.get("items", True)
        if is_array(items):
            rules, items = items, schema.get("additionalItems", True)
        contained: Any = schema.get("contains")
        number = max(least, min(1, most) if depth < _DEEP else 0)
        for size in dict.fromkeys((number, max(least, len(rules)), least)):
            first = [self.make(rule, depth + 1) for rule in rules[:size]]
            wanted = 0 if contained is None else schema.get("minContains", 1)
            made = list(islice(self._several(contained, depth + 1), wanted)) if wanted else []
            made = (made * wanted)[:wanted] if made else made
            left = max(0, size - len(first) - len(made))
            pool = [] if items is False else list(islice(self._several(items, depth + 1), left))
            if left and not pool:
                continue
            rest = (pool * left)[:left]
            yield [*first, *made, *rest]
            yield [*first, *rest]

    def _objects(self, schema: Schema, depth: int) -> Iterator[dict[str, Any]]:
        rules: dict[str, Any] = schema.get("properties") or {}
        needed = _with_dependents(schema.get("required") or (), schema)
        every = [*needed, *(name for name in rules if name not in needed)]
        every = _with_dependents(every, schema)
        for names in (every if depth < _DEEP else needed, needed):
            found: dict[str, Any] = {}
            for name in names:
                rule = self._rule_of(name, schema)
                try:
                    found[name] = self.make(rule, depth + 1)
                except SchemaError:
                    if name in needed:
                        raise
            self._fill(found, schema, depth)
            yield found

    def _rule_of(self, name: str, schema: Schema) -> Any:
        rules: dict[str, Any] = schema.get("properties") or {}
        patterns: dict[str, Any] = schema.get("patternProperties") or {}
        found = [each for pattern, each in patterns.items() if fits(name, {"pattern": pattern}, {})]
        if name in rules:
            found.insert(0, rules[name])
        if not found:
            return schema.get("additionalProperties", True)
        return found[0] if len(found) == 1 else {"allOf": found}

    def _fill(self, found: dict[str, Any], schema: Schema, depth: int) -> None:
        """Add names that nobody asked for, up to ``minProperties``."""
        least: int = schema.get("minProperties", 0)
        patterns = [matching_text(pattern) for pattern in schema.get("patternProperties") or ()]
        names: list[str] = [name for name in patterns if name is not None]
        rule: Any = schema.get("propertyNames", True)
        if schema.get("additionalProperties", True) is not False:
            names += [f"extra{number}" for number in range(1, least + 1)]
            names += [n for n in self._several(rule, depth + 1) if isinstance(n, str)]
        for name in names:
            if len(found) >= least:
                return
            if name not in found and fits(name, rule, self._root):
                found[name] = self.make(self._rule_of(name, schema), depth + 1)


def _with_dependents(names: Iterable[str], schema: Schema) -> list[str]:
    """The names, and those that must be there with them."""
    needs: dict[str, list[str]] = schema.get("dependentRequired") or {}
    found = list(names)
    for name in found:  # which grows meanwhile
        found += [other for other in needs.get(name, ()) if other not in found]
    return found


def _in_turn(sources: list[Iterator[Any]]) -> Iterator[Any]:
    """One of each, then the next of each: a source without end hides none of the others."""
    while sources:
        for source in list(sources):
            try:
                yield next(source)
            except StopIteration:
                sources.remove(source)


# -- texts and numbers -----------------------------------------------------------------------


def _texts(schema: Schema) -> Iterator[str]:
    least: int = schema.get("minLength", 0)
    most: int | None = schema.get("maxLength")
    if "pattern" in schema:
        text = matching_text(schema["pattern"], least)
        if text is not None:
            yield text
            yield from (f"{text}{number}" for number in range(2, 8))
    if schema.get("format") in _FORMATS:
        yield _FORMATS[schema["format"]]
    yield "text".ljust(least, "x")[:most]
    for number in range(2, _MOST):
        yield f"text {number}".ljust(least, "x")
        yield str(number).rjust(least, "0")


def _numbers(schema: Schema, *, whole: bool) -> Iterator[float]:
    lows = [schema[name] for name in ("minimum", "exclusiveMinimum") if is_number(schema.get(name))]
    highs = [
        schema[name] for name in ("maximum", "exclusiveMaximum") if is_number(schema.get(name))
    ]
    low, high = max(lows, default=None), min(highs, default=None)
    step: Any = schema.get("multipleOf")
    if is_number(step) and step > 0:
        begin: float = low if low is not None else high if high is not None else 0
        first = math.floor(begin / step)
        for number in range(first - 2, first + _MOST):
            # What is a whole number is written as one.
            yield int(number * step) if float(number * step).is_integer() else number * step
        return
    if low is None and high is None:
        low = 1
    if low is None and high is not None:
        yield from (math.floor(high) - number for number in range(_MOST // 2))
    if low is not None:
        yield from (math.ceil(low) + number for number in range(_MOST // 2))
    if not whole and low is not None and high is not None:
        yield from (low + (high - low) * share for share in (0.5, 0.25, 0.75, 0.0, 1.0))


# -- both of two schemas ---------------------------------------------------------------------

_GREATER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_SMALLER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")


def _merged(one: Schema, other: Any) -> Schema:
    """A schema as narrow as both, as far as proposals go; the check has the last word."""
    both = dict(one)
    for name, value in (other if is_object(other) else {}).items():
        if name not in both:
            both[name] = value
        elif name in _GREATER or name in _SMALLER:
            both[name] = (max if name in _GREATER else min)(both[name], value)
        elif name == "required":
            both[name] = [*both[name], *(each for each in value if each not in both[name])]
        elif name == "properties":
            both[name] = _named(both[name], value)
        elif name == "allOf":
            both[name] = [*both[name], *value]
        elif name in ("anyOf", "oneOf", "not", "if", "$ref"):
            both["allOf"] = [*both.get("allOf", []), {name: value}]
        elif name == "enum":
            both[name] = [each for each in both[name] if any(same(each, v) for v in value)]
        elif name == "type":
            both[name] = _common(both[name], value)
        elif value is False or name == "const":
            both[name] = value
    return both


def _named(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {**other, **one}
    for name in one.keys() & other.keys():
        mine, theirs = one[name], other[name]
        both[name] = _merged(mine, theirs) if is_object(mine) else theirs if mine is True else mine
    return both


def _common(one: Any, other: Any) -> list[str]:
    mine = [one] if isinstance(one, str) else list(one)
    theirs = [other] if isinstance(other, str) else list(other)
    common = [each for each in mine if each in theirs]
    if "integer" in mine + theirs and "number" in mine + theirs and "integer" not in common:
        common.append("integer")
    return common
