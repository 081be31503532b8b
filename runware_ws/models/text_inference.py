"""``textInference`` for Claude Haiku 4.5, exactly as the model's published schema has it.

Source of every field, bound, pattern and rule below: the API description of
``anthropic:claude@haiku-4.5`` ("seed"). Two places where its schema contradicts its own text, and
what we do:

* a tool's ``schema`` is declared with no properties at all, while every documented example fills
  it: we accept any JSON object;
* ``documents`` may be "UUID, URL, or Base64" by the text, but the rules leave Base64 out: we
  accept all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypedDict, Unpack

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from runware_ws.models.base import INTEGER, Items, Omittable, TaskUUID, WireModel
from runware_ws.models.formats import (
    is_base64,
    is_http_url,
    is_image_data_uri,
    is_uri,
    is_uuid,
    new_uuid,
)
from runware_ws.models.jsonable import json_object_snapshot

__all__ = [
    "HAIKU_MODEL",
    "TEXT_INFERENCE",
    "Cache",
    "Inputs",
    "Message",
    "Settings",
    "TextInference",
    "Tool",
    "ToolChoice",
]

HAIKU_MODEL: Literal["anthropic:claude@haiku-4.5"] = "anthropic:claude@haiku-4.5"
"""The AIR id of Claude Haiku 4.5, the model of :class:`TextInference`."""
TEXT_INFERENCE: Literal["textInference"] = "textInference"


def _image(text: str) -> str:
    if is_uuid(text) or is_base64(text) or is_uri(text) or is_image_data_uri(text):
        return text
    raise PydanticCustomError(
        "image_input",
        "must be a UUID, a URL, a data URI or Base64 (for a file use runware_ws.models.data_uri)",
    )


def _document(text: str) -> str:
    if is_uuid(text) or is_base64(text) or is_uri(text):
        return text
    raise PydanticCustomError(
        "document_input",
        "must be a UUID, a URL or Base64 (for a file use runware_ws.models.data_uri)",
    )


def _http_url(text: str) -> str:
    if is_http_url(text):
        return text
    raise PydanticCustomError(
        "http_url", "must be an http or https URL (only ASCII; percent-encode the rest)"
    )


def _json_object(value: Any) -> dict[str, Any]:
    try:
        return json_object_snapshot(value)
    except ValueError as error:
        raise PydanticCustomError("json_object", "{reason}", {"reason": str(error)}) from None


class Message(WireModel):
    """One message of the conversation. ``content`` has at least one character (seed)."""

    role: Literal["user", "assistant"]
    content: Annotated[str, StringConstraints(min_length=1)]


class Cache(WireModel):
    """Prompt caching (seed).

    ``scope``: ``None`` means the server's default, ``system+history``. ``ttl``: ``None`` means the
    server's default, ``5m``.
    """

    scope: Omittable[Literal["system", "system+history"]] = None
    ttl: Omittable[Literal["5m", "1h"]] = None


class Settings(WireModel):
    """How to generate (seed). ``None`` leaves a setting to the server.

    ``system_prompt``: 1 to 200,000 code points. ``max_tokens``: 1 to 64,000 tokens, the server's
    default is 4096. ``stop_sequences``: at most 5, each 1 to 50 code points.
    """

    system_prompt: Omittable[
        Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
    ] = None
    cache: Omittable[Cache] = None
    max_tokens: Omittable[Annotated[int, Field(ge=1, le=64_000), INTEGER]] = None
    stop_sequences: Omittable[
        Annotated[
            Items[Annotated[str, StringConstraints(min_length=1, max_length=50)]],
            Field(max_length=5),
        ]
    ] = None
    thinking_level: Omittable[Literal["off", "low", "medium", "high"]] = None


class Inputs(WireModel):
    """Media for the model (seed); each list has at least one entry.

    ``images``: UUID, URL, data URI or Base64. ``documents``: UUID, URL (``data:`` too) or Base64.
    """

    documents: Omittable[
        Annotated[Items[Annotated[str, AfterValidator(_document)]], Field(min_length=1)]
    ] = None
    images: Omittable[
        Annotated[Items[Annotated[str, AfterValidator(_image)]], Field(min_length=1)]
    ] = None


class Tool(WireModel):
    """A tool that the model may call (seed).

    A ``function`` tool needs ``name`` (letters, digits, ``_`` and ``-``, at most 64) and
    ``input_schema``; on the wire this is ``schema``, a JSON Schema object. A copy is kept, so
    later changes to the caller's dict have no effect. ``search`` and ``codeInterpreter`` run on
    the provider's side.
    """

    type: Literal["function", "search", "codeInterpreter"]
    name: Omittable[
        Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+$", max_length=64)]
    ] = None
    description: Omittable[str] = None
    input_schema: Omittable[Annotated[dict[str, Any], BeforeValidator(_json_object)]] = None

    @model_validator(mode="after")
    def _function_is_complete(self) -> Self:
        if self.type == "function" and (self.name is None or self.input_schema is None):
            raise PydanticCustomError(
                "function_tool", "a tool of type 'function' needs both name and schema"
            )
        return self

    @classmethod
    def function(
        cls, name: str, input_schema: dict[str, Any], description: str | None = None
    ) -> Self:
        """Define a function that the caller runs. Raises ``InvalidTask``."""
        return cls(type="function", name=name, input_schema=input_schema, description=description)


class ToolChoice(WireModel):
    """How the model picks a tool (seed). ``type="tool"`` needs the tool's ``name``."""

    type: Literal["auto", "any", "tool", "none"]
    name: Omittable[str] = None

    @model_validator(mode="after")
    def _tool_is_named(self) -> Self:
        if self.type == "tool" and self.name is None:
            raise PydanticCustomError("tool_choice", "type 'tool' needs name")
        return self


class PromptFields(TypedDict, total=False):
    """The fields of a :class:`TextInference` beside its messages: a test compares the two."""

    task_type: Literal["textInference"]
    task_uuid: str
    model: Literal["anthropic:claude@haiku-4.5"]
    settings: Settings | None
    inputs: Inputs | None
    tools: Sequence[Tool] | None
    tool_choice: ToolChoice | None
    delivery_method: Literal["sync", "async", "stream"] | None
    number_results: int | None
    webhook_url: str | None
    include_cost: bool | None
    include_usage: bool | None


class TextInference(WireModel):
    """A request to Claude Haiku 4.5 (seed). Only ``messages`` must be given.

    ``task_uuid`` is a fresh UUID v4 unless given. ``delivery_method`` ``None`` means the server's
    default, ``sync``; ``number_results`` is 1 to 4, ``None`` means 1; ``include_cost`` and
    ``include_usage`` ``None`` mean no. The constructor raises ``InvalidTask``.
    """

    task_type: Literal["textInference"] = TEXT_INFERENCE
    task_uuid: TaskUUID = Field(default_factory=new_uuid)
    model: Literal["anthropic:claude@haiku-4.5"] = HAIKU_MODEL
    messages: Annotated[Items[Message], Field(min_length=1)]
    settings: Omittable[Settings] = None
    inputs: Omittable[Inputs] = None
    tools: Omittable[Annotated[Items[Tool], Field(min_length=1)]] = None
    tool_choice: Omittable[ToolChoice] = None
    delivery_method: Omittable[Literal["sync", "async", "stream"]] = None
    number_results: Omittable[Annotated[int, Field(ge=1, le=4), INTEGER]] = None
    webhook_url: Omittable[Annotated[str, AfterValidator(_http_url)]] = None
    include_cost: Omittable[bool] = None
    include_usage: Omittable[bool] = None

    @classmethod
    def prompt(cls, text: str, **fields: Unpack[PromptFields]) -> Self:
        """Ask one question as the user: ``TextInference.prompt("Why?", include_cost=True)``.

        ``fields`` are other fields, by Python name. Raises ``InvalidTask``.
        """
        return cls(messages=[Message(role="user", content=text)], **fields)
