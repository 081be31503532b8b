"""What all request models share: strict, frozen, no unknown fields, wire names as aliases.

The models follow JSON Schema, not pydantic's habits:

* an *integer* may be written ``4.0``, but is never ``true`` nor ``"4"``;
* an optional field may be missing, but is never ``null``. In a Python call ``None`` is the natural
  word for "not set", so it is accepted there, and only there;
* lengths count code points; ``$`` in a pattern does not match before a trailing newline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from pydantic_core import PydanticSerializationError, core_schema

from runware_ws.errors import InvalidTask
from runware_ws.models.formats import UUID4_PATTERN

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema, ErrorDetails

__all__ = ["INTEGER", "Items", "Omittable", "TaskUUID", "WireModel", "invalid_task", "place_of"]

T = TypeVar("T")

# A name in an error message may come from the caller's data; keep the message readable.
_MAX_NAME = 80


_WORDS = {"uuid": "UUID", "url": "URL"}
# ``schema`` is a method of pydantic's BaseModel, so the field has another name in Python.
_RENAMED = {"input_schema": "schema"}


def wire_name(name: str) -> str:
    """Return the wire's spelling of a Python name: ``task_uuid`` → ``taskUUID``.

    One rule instead of an alias at each field: type checkers treat such an alias as the only
    name that the constructor accepts.
    """
    first, *rest = name.split("_")
    camel = first + "".join(_WORDS.get(word, word.capitalize()) for word in rest)
    return _RENAMED.get(name, camel)


class _NotNull:
    """Type checkers see ``T | None``; the validator sees ``T``, so JSON's ``null`` is refused."""

    def __repr__(self) -> str:
        return "NOT_NULL"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


class _AsTuple:
    """Type checkers see ``Sequence[T]``; the validator takes a list or tuple and keeps a tuple."""

    def __repr__(self) -> str:
        return "AS_TUPLE"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        (item,) = get_args(source)
        # Not strict, because a JSON array arrives as a list. This does not affect the items.
        return core_schema.tuple_variable_schema(handler.generate_schema(item), strict=False)


def _integral(value: Any) -> Any:
    # JSON Schema: a number with a zero fraction is an integer. ``1e400`` is read as infinity.
    if type(value) is float and value.is_integer():
        return int(value)
    return value


Omittable = Annotated[T | None, _NotNull()]
"""An optional field. Default it to ``None``: not set, not sent."""

Items = Annotated[Sequence[T], _AsTuple()]
"""A JSON array; kept as a tuple, so that a frozen model is frozen all the way down."""

INTEGER = BeforeValidator(_integral)
"""Makes ``int`` JSON Schema's ``integer``. Put it last, so that bounds stay on the int itself."""

TaskUUID = Annotated[str, StringConstraints(pattern=UUID4_PATTERN, to_lower=True)]
"""UUID v4 in either case, kept in lower case: the server's echo is compared with it."""


class WireModel(BaseModel):
    """The base of everything that is sent.

    Attributes have Python names, ``to_wire()`` and ``to_json()`` use the wire's names; the
    constructor takes both. Instances are frozen. The constructor raises ``InvalidTask``;
    pydantic's own entry points (``model_validate`` and so on) raise pydantic's ``ValidationError``
    as usual.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=wire_name,
        # A dict is wire data, so only the wire's names count in it; the constructor translates.
        populate_by_name=False,
        # An input may be a secret or a long prompt; neither belongs in an error message.
        hide_input_in_errors=True,
        # ``model`` is a field of the wire, and no field of ours begins with ``model_``.
        protected_namespaces=(),
    )

    _wire_names: ClassVar[dict[str, str]] = {}
    _may_be_none: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Record what the constructor needs: both spellings, and where ``None`` means unset."""
        super().__pydantic_init_subclass__(**kwargs)
        cls._wire_names = {name: wire_name(name) for name in cls.model_fields}
        cls._may_be_none = frozenset(
            wire_name(name)
            for name, info in cls.model_fields.items()
            if not info.is_required() and info.default is None
        )

    if not TYPE_CHECKING:  # so that type checkers see the signature made from the fields

        def __init__(self, /, **data: Any) -> None:
            names, skip = self._wire_names, self._may_be_none
            wire = {}
            for name, value in data.items():
                alias = names.get(name, name)
                if alias in wire:
                    raise InvalidTask(
                        f"{alias}: is given twice", problems=[f"{alias}: is given twice"]
                    )
                if value is not None or alias not in skip:
                    wire[alias] = value
            try:
                super().__init__(**wire)
            except ValidationError as error:
                raise invalid_task(error.errors(include_url=False, include_input=False)) from None

        # Without this mark pydantic would send every validated dict through the constructor:
        # slower, and JSON's ``null`` would pass as Python's ``None``. A test checks this.
        __init__.__pydantic_base_init__ = True

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Self:
        """Build from an object in the wire's spelling, as JSON Schema would judge it.

        An explicit ``null`` is refused. Raises an ``InvalidTask`` that lists every problem.
        """
        try:
            return cls.__pydantic_validator__.validate_python(  # type: ignore[no-any-return]
                data if type(data) is dict else dict(data)
            )
        except ValidationError as error:
            raise invalid_task(error.errors(include_url=False, include_input=False)) from None

    def to_wire(self) -> dict[str, Any]:
        """Return a new plain dict in the wire's spelling: constants and the fields that are set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_json(self) -> bytes:
        """Return the same as UTF-8 JSON: a single object, not the array that a frame needs.

        Raises ``InvalidTask`` if a value cannot be written as JSON.
        """
        try:
            # The compiled serializer itself, because ``model_dump_json`` would make a str first.
            return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)
        except PydanticSerializationError as error:
            raise InvalidTask(f"cannot be written as JSON: {error}") from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy, with changes by Python or wire name; unlike pydantic's own, changes are checked.

        ``None`` unsets a field. The copy of a task keeps its taskUUID, which can be used only
        once: give it a new one to run both. Raises ``InvalidTask``.
        """
        if not update:
            return super().model_copy(deep=deep)
        fields = type(self).model_fields
        values: dict[str, Any] = {name: getattr(self, name) for name in fields}
        by_alias = {wire_name(name): name for name in fields}
        for key, value in update.items():
            values[by_alias.get(key, key)] = value
        return type(self)(**values)


def place_of(loc: Iterable[str | int]) -> str:
    """A place as people write it: ``messages[0].content``."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = step if len(step) <= _MAX_NAME else step[:_MAX_NAME] + "…"
            path += f".{name}" if path else name
    return path


_RULES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode (a lone surrogate cannot be sent)",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "bool_type": "must be true or false",
    "tuple_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} character(s)",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} item(s)",
}


def _rule(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        return "must be a UUID v4" if pattern == UUID4_PATTERN else f"must match {pattern}"
    template = _RULES.get(kind)
    if template is None:
        return error["msg"]
    return template.format_map({key: str(value) for key, value in context.items()})


def invalid_task(errors: Sequence[ErrorDetails], *, task_uuid: str | None = None) -> InvalidTask:
    """Make one ``InvalidTask`` from pydantic's errors: every place and rule, never a value."""
    problems: list[str] = []
    for error in errors:
        loc = error["loc"]
        # pydantic does not count items that failed, so it may call a long enough array too short.
        # If an item has an error, drop the complaint about the length.
        if error["type"] == "too_short" and any(
            len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in errors
        ):
            continue
        place, rule = place_of(loc), _rule(error)
        problems.append(f"{place}: {rule}" if place else rule)
    return InvalidTask("; ".join(problems), problems=problems, task_uuid=task_uuid)
