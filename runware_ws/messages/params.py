"""The types of a request in the Messages shape, for type checkers and editors.

They are for dicts that are written in a program: a type checker finds a misspelt key or a wrong
role. ``to_task`` checks every request at run time, whatever its type. All fields are read-only,
so that the ``anthropic`` package's own types are accepted as these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, NotRequired, Protocol, Required, TypedDict

from pydantic import BaseModel

from runware_ws.messages.objects import JsonObject

if TYPE_CHECKING:
    # For type checkers only: Python has it from 3.13 on.
    from typing_extensions import ReadOnly

__all__ = [
    "CacheControlParam",
    "ContentBlockParam",
    "DocumentBlockParam",
    "ImageBlockParam",
    "MessageCreateParams",
    "MessageParam",
    "ServerToolParam",
    "TextBlockParam",
    "ThinkingBlockParam",
    "ToolChoiceParam",
    "ToolParam",
    "ToolResultBlockParam",
    "ToolUseBlockParam",
]


class FilePath(Protocol):
    """A path that is not a string, such as one from ``pathlib``."""

    def __fspath__(self) -> str: ...


class CacheControlParam(TypedDict):
    """A cache mark; ``ttl`` is ``"5m"`` by default."""

    type: ReadOnly[Literal["ephemeral"]]
    ttl: NotRequired[ReadOnly[Literal["5m", "1h"]]]


class TextBlockParam(TypedDict):
    """Text."""

    type: ReadOnly[Literal["text"]]
    text: ReadOnly[str]
    cache_control: NotRequired[ReadOnly[CacheControlParam | None]]


class Base64SourceParam(TypedDict):
    """A file in the request itself. ``data`` is text in Base64.

    The ``anthropic`` package's types allow a file here; it is refused at run time.
    """

    type: ReadOnly[Literal["base64"]]
    media_type: ReadOnly[str]
    data: ReadOnly[str | IO[bytes] | FilePath]


class UrlSourceParam(TypedDict):
    """A file that the service fetches."""

    type: ReadOnly[Literal["url"]]
    url: ReadOnly[str]


class TextSourceParam(TypedDict):
    """A document that is plain text."""

    type: ReadOnly[Literal["text"]]
    media_type: NotRequired[ReadOnly[str]]
    data: ReadOnly[str]


class OtherSourceParam(TypedDict):
    """Sources of the shape that this model on Runware does not support."""

    type: ReadOnly[Literal["content", "file"]]


class ImageBlockParam(TypedDict):
    """An image."""

    type: ReadOnly[Literal["image"]]
    source: ReadOnly[Base64SourceParam | UrlSourceParam | OtherSourceParam]
    cache_control: NotRequired[ReadOnly[CacheControlParam | None]]


class DocumentBlockParam(TypedDict):
    """A document."""

    type: ReadOnly[Literal["document"]]
    source: ReadOnly[Base64SourceParam | UrlSourceParam | TextSourceParam | OtherSourceParam]
    cache_control: NotRequired[ReadOnly[CacheControlParam | None]]


class ThinkingBlockParam(TypedDict):
    """Reasoning of an earlier turn. It is accepted, and left out."""

    type: ReadOnly[Literal["thinking"]]
    thinking: ReadOnly[str]
    signature: ReadOnly[str]


class ToolUseBlockParam(TypedDict):
    """A tool call that the model made in an earlier turn."""

    type: ReadOnly[Literal["tool_use"]]
    id: ReadOnly[str]
    name: ReadOnly[str]
    input: ReadOnly[Mapping[str, object]]
    cache_control: NotRequired[ReadOnly[CacheControlParam | None]]


class OtherBlockParam(TypedDict):
    """Blocks of the shape that this model on Runware does not support, or leaves out.

    They are here for histories that are typed with the ``anthropic`` package.
    """

    type: ReadOnly[
        Literal[
            "redacted_thinking",
            "search_result",
            "server_tool_use",
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
            "tool_reference",
            "container_upload",
            "browser_state",
        ]
    ]


class ToolResultBlockParam(TypedDict):
    """What a call returned; ``is_error``: it failed."""

    type: ReadOnly[Literal["tool_result"]]
    tool_use_id: ReadOnly[str]
    content: NotRequired[
        ReadOnly[
            str
            | Iterable[
                TextBlockParam | ImageBlockParam | DocumentBlockParam | OtherBlockParam | BaseModel
            ]
        ]
    ]
    is_error: NotRequired[ReadOnly[bool]]
    cache_control: NotRequired[ReadOnly[CacheControlParam | None]]


ContentBlockParam = (
    TextBlockParam
    | ImageBlockParam
    | DocumentBlockParam
    | ThinkingBlockParam
    | ToolUseBlockParam
    | ToolResultBlockParam
    | OtherBlockParam
    | JsonObject
    | BaseModel
)
"""One part of a message's content: a dict, or a block of an answer, ours or the ``anthropic``
package's."""


class MessageParam(TypedDict):
    """One message of the conversation. ``content`` is text, or a list of blocks."""

    role: ReadOnly[Literal["user", "assistant"]]
    content: ReadOnly[str | Iterable[ContentBlockParam]]


class ToolParam(TypedDict):
    """A tool that the caller defines; ``input_schema`` is a JSON schema."""

    name: ReadOnly[str]
    input_schema: ReadOnly[Mapping[str, object]]
    description: NotRequired[ReadOnly[str]]
    type: NotRequired[ReadOnly[Literal["custom"] | None]]
    cache_control: NotRequired[ReadOnly[CacheControlParam | None]]


class ServerToolParam(TypedDict):
    """A tool that runs on the provider's side: ``web_search_…`` or ``code_execution_…``."""

    type: ReadOnly[str]
    name: ReadOnly[str]
    cache_control: NotRequired[ReadOnly[CacheControlParam | None]]


class _ChoiceParam(TypedDict):
    type: ReadOnly[Literal["auto", "any"]]
    disable_parallel_tool_use: NotRequired[ReadOnly[bool]]


class _NoToolParam(TypedDict):
    type: ReadOnly[Literal["none"]]


class _OneToolParam(TypedDict):
    type: ReadOnly[Literal["tool"]]
    name: ReadOnly[str]
    disable_parallel_tool_use: NotRequired[ReadOnly[bool]]


ToolChoiceParam = _ChoiceParam | _OneToolParam | _NoToolParam
"""``auto``: the model decides. ``any``: any tool. ``tool``: the one with this name. ``none``."""


class MessageCreateParams(TypedDict, total=False):
    """The parameters of the Messages shape. The last three are refused by name."""

    max_tokens: Required[int]
    messages: Required[Sequence[MessageParam | BaseModel]]
    model: str | None
    system: str | Sequence[TextBlockParam | JsonObject | BaseModel] | None
    tools: Sequence[ToolParam | ServerToolParam | BaseModel] | None
    tool_choice: ToolChoiceParam | BaseModel | None
    stop_sequences: Sequence[str] | None
    metadata: Mapping[str, Any] | None
    thinking: Mapping[str, Any] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
