"""What was said, without its words: what a recording may show of a message.

A word that somebody chose is replaced by its length and a hash, ``~12:9f86d081884c7d65~``. Equal
words get equal masks within one client, because the hash is keyed with a secret of its own; so
nobody can find out a short answer by guessing. What stays is what the core looks at: UUIDs, known
names of fields, known statuses, types and codes, the numbers of the protocol, and whether
something is empty.

A stream is cut into pieces, and its whole must still begin with them. So each piece is masked
together with all that came before it, and the whole is masked piece by piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, cast

from runware_ws._core import wire
from runware_ws.events import LONGEST_TEXT
from runware_ws.models.error_codes import ErrorFamily, family
from runware_ws.models.formats import UUID_IN_TEXT
from runware_ws.models.jsonable import encode_json

__all__ = ["Mask"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_UUID = re.compile(UUID_IN_TEXT)
_INDEX = re.compile(r"[0-9]{1,9}")
_LONGEST_UUID = 128
"""A longer taskUUID is treated otherwise by the core, so its mask is longer too."""

_SUFFIXES = ("Base64Data", "DataURI", "UUID", "URL")
"""Of fields that hold media. The core knows them by these."""

_FIELDS = _words(
    """
    data errors error errorCode errorId errorMessage code message documentation parameter type
    taskType taskUUID status progress deliveryMethod createdAt updatedAt resultIndex cost usage
    queuePosition position queue queued estimatedTime eta priority model numberResults timestamp
    requestId accepted seed text reasoningContent toolCalls finishReason output outputs result
    results images videos audios files content choices structuredData delta index id name
    arguments input function request response pong ping connectionSessionUUID webhookURL
    imageUUID imageURL imageBase64Data imageDataURI videoUUID videoURL audioUUID audioURL
    mediaUUID mediaURL promptTokens completionTokens totalTokens inputTokens outputTokens
    NSFWContent
    """
)
_NUMBERS = _words(
    """
    errorId errorCode code status progress resultIndex cost index queuePosition position
    numberResults seed promptTokens completionTokens totalTokens inputTokens outputTokens
    """
)
_WORDS = {
    "taskType": _words(
        """
        textInference imageInference videoInference audioInference 3dInference imageCaption
        imageUpload imageUpscale imageBackgroundRemoval imageMasking imageControlNetPreProcess
        photoMaker promptEnhance vectorize modelUpload modelSearch accountManagement caption
        upscale removeBackground inference training authentication ping getResponse
        getTaskDetails
        """
    ),
    "status": _words(
        """
        processing pending queued running started in_progress success succeeded completed
        complete done error failed failure
        """
    ),
    "finishReason": _words(
        """
        stop length content_filter tool_calls tool_use end_turn max_tokens unknown
        """
    ),
    "deliveryMethod": frozenset(("sync", "async", "stream")),
}
_CODES = ("code", "errorCode", "errorId")
_SESSION = "connectionSessionUUID"
_STANDS_FOR = {
    ErrorFamily.AUTH: "unauthorized*",
    ErrorFamily.QUOTA: "quota*",
    ErrorFamily.RATE: "ratelimit*",
    ErrorFamily.SAFETY: "nsfw*",
    ErrorFamily.TIMEOUT: "timeout*",
    ErrorFamily.NOT_FOUND: "*notfound",
    ErrorFamily.PROVIDER: "provider*",
    ErrorFamily.SERVER: "connection*",
    ErrorFamily.VALIDATION: "invalid*",
    ErrorFamily.CONFLICT: "conflicttaskuuid*",
    ErrorFamily.UNKNOWN: "*",
}
"""A code of each family, where the words alone would be another's; ``*`` is the mask."""
_STREAMED = ("text", "reasoningContent")

# Of these words codes are made that mean something to the core; no others are shown.
_CODE_WORDS = re.compile(
    r"conflict|task|uuid|unauthori[sz]ed|api|key|invalid|missing|expired|tokens?|authentication"
    r"|forbidden|legacyerror(?:19)?|credits?|quota|balance(?!r)|payment|required|rate|limit|too|many"
    r"|requests?|exceeded|unsupported|unknown|parameter|content|policy|nsfw|prompt|blocked|time|d?out"
    r"|ed(?![a-z])|not|found|provider|inference|error|no|available|server|failed|internal|service"
    r"|connection|session|archive|unavailable|overload|capacity|busy|maintenance|get|response"
    r"|details|result|insufficient|model|value|field|(?<!\d)(?:400|401|402|403|404|408|422|429"
    r"|500|502|503|504)(?!\d)|[-_ .]",
    re.IGNORECASE,
)


class _Piecewise:
    """One text of a stream, as it came: where it was cut, and a hash of all so far.

    ``way``: the socket or POST that brings it. What another one brings is no part of it: after a
    cut nobody knows where that belongs.
    """

    __slots__ = ("cuts", "hash", "masks", "text", "way")

    def __init__(self, way: int) -> None:
        self.way = way
        self.cuts: list[int] = []
        self.masks: list[str] = []
        self.hash = b""
        self.text = ""


class Mask:
    """Masks what belongs to one recording, in the order in which it came.

    ``secret`` keys the hashes. ``content``: leave everything as it came, but for what ``redact``
    takes out: the API key.
    """

    def __init__(
        self, secret: bytes, redact: Callable[[str], str], *, content: bool = False
    ) -> None:
        self._secret = secret
        self._redact = redact
        self.content = content
        self._streams: dict[str, dict[str, _Piecewise]] = {}
        self._way = 0

    # Single words

    def _hash(self, *parts: bytes) -> bytes:
        hashed = blake2b(key=self._secret, digest_size=8)
        for part in parts:
            hashed.update(len(part).to_bytes(8, "big"))
            hashed.update(part)
        return hashed.digest()

    def data(self, data: bytes | str) -> str:
        """The mask of a message that nothing is known of."""
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        return f"~{len(data)}:{self._hash(data).hex()}~"

    def text(self, text: str) -> str:
        """The mask of a text; nothing stands for nothing."""
        if self.content:
            return self._redact(text)
        return self.data(text) if text else ""

    def uuid(self, uuid: str) -> str:
        """A UUID as it is; the mask of anything else in its place."""
        if _UUID.fullmatch(uuid):
            # A key may look like one.
            return self._redact(uuid)
        # The core does not tell capitals from small letters here.
        masked = self.text(uuid.lower())
        return masked.ljust(_LONGEST_UUID + 1, "~") if len(uuid) > _LONGEST_UUID else masked

    def code(self, code: str) -> str:
        """An error's code, with no words in it but known ones; it means the same to the core."""
        # The core gets codes without the key.
        code = self._redact(code)
        if self.content:
            return code
        shown = "".join(
            part if known else self.data(part) for part, known in _parts(code.strip()[:200])
        )
        if family(shown) is family(code):
            return shown
        return _STANDS_FOR[family(code)].replace("*", self.data(code))

    def word(self, kind: str, word: str) -> str:
        """A word of a closed list of this kind (``"status"``), or its mask."""
        words = _WORDS[kind]
        # The core does not tell capitals from small letters in a status.
        known = word in words or (kind == "status" and word.strip().lower() in words)
        return word if known else self.text(word)

    # Messages

    def message(self, data: bytes | str, uuid: str = "", way: int = 0) -> Any:
        """A message of the server as JSON; of one that cannot be read, the mask as a text.

        ``uuid``: the task that it is about where it names none. ``way``: the number of the socket
        or POST that brought it.
        """
        self._way = way
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        try:
            frame = wire.decode(raw)
        except wire.MalformedFrameError:
            return self._unreadable(raw)
        return self.value(frame, uuid)

    def _unreadable(self, raw: bytes) -> str:
        """The core looks at whether it may hold an object, and at the tasks that it names."""
        text = raw.decode("utf-8", "replace")
        if self.content:
            return self.text(text)
        named = [self.uuid(match) for match in _UUID.findall(text)]
        return " ".join([self.data(raw), *(["{"] if b"{" in raw else []), *named])

    def value(self, value: Any, uuid: str = "") -> Any:
        """The same for a decoded message, or a part of one."""
        return self._any("", value, uuid)

    def _any(self, field: str, value: Any, uuid: str) -> Any:
        if isinstance(value, dict):
            return self._object(cast("dict[str, Any]", value), uuid)
        if isinstance(value, list):
            return [self._any(field, each, uuid) for each in cast("list[Any]", value)]
        if isinstance(value, str):
            return self._string(field, value)
        if isinstance(value, bool) or value is None:
            return value
        # What is nothing stays nothing: the core may ask for that.
        if not value or field in _NUMBERS or self.content:
            return value
        if field.endswith("UUID") or field in _STREAMED:
            # To the core only a text is one.
            return int.from_bytes(self._hash(repr(value).encode())[:6], "big") + 1
        return self.text(repr(value))

    def _string(self, field: str, value: str) -> str:
        if not value:
            return value
        if field in _CODES:
            return self.code(value)
        if field == _SESSION and (len(value) > LONGEST_TEXT or self._redact(value) != value):
            # The core takes it for none.
            return "~" * (LONGEST_TEXT + 1)
        if field in _WORDS:
            return self.word(field, value)
        if field == "resultIndex" and _INDEX.fullmatch(value):
            return value
        return self.uuid(value) if field.endswith("UUID") else self.text(value)

    def _object(self, item: dict[str, Any], uuid: str) -> dict[str, Any]:
        own = item.get("taskUUID")
        if isinstance(own, str) and own:
            uuid = own.lower()
        masked: dict[str, Any] = {}
        for field, value in item.items():
            name = self._field(field)
            if field == "delta" and isinstance(value, dict):
                masked[name] = self._output(cast("dict[str, Any]", value), uuid, piece=True)
            elif field in _STREAMED and isinstance(value, str):
                masked[name] = self._whole(uuid, field, value)
            elif field == "toolCalls" and isinstance(value, list):
                masked[name] = self._calls(cast("list[Any]", value), uuid, piece=False)
            else:
                masked[name] = self._any(field, value, uuid)
        return masked

    def _field(self, field: str) -> str:
        if field in _FIELDS or self.content:
            return self.text(field) if field not in _FIELDS else field
        suffix = next((each for each in _SUFFIXES if field.endswith(each)), "")
        return f"{self.data(field)}{suffix}"

    # Streams

    def forget(self, uuid: str) -> None:
        """What comes for this task from now on is another try's."""
        self._streams.pop(uuid, None)

    def _output(self, delta: dict[str, Any], uuid: str, *, piece: bool) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for field, value in delta.items():
            if field in _STREAMED and isinstance(value, str):
                masked[field] = self._piece(uuid, field, value)
            elif field == "toolCalls" and isinstance(value, list):
                masked[field] = self._calls(cast("list[Any]", value), uuid, piece=piece)
            else:
                masked[self._field(field)] = self._any(field, value, uuid)
        return masked

    def _calls(self, calls: list[Any], uuid: str, *, piece: bool) -> list[Any]:
        masked: list[Any] = []
        for place, call in enumerate(calls):
            if isinstance(call, dict):
                entry = cast("dict[str, Any]", call)
                index = entry.get("index", place)
                masked.append(self._call(entry, f"toolCalls {index}", uuid, piece=piece))
            else:
                masked.append(self._any("toolCalls", call, uuid))
        return masked

    def _call(self, call: dict[str, Any], name: str, uuid: str, *, piece: bool) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for field, value in call.items():
            if field in ("arguments", "input") and not (piece and value == {}):
                masked[field] = self._arguments(uuid, name, value, piece=piece)
            elif field == "function" and isinstance(value, dict):
                inner = cast("dict[str, Any]", value)
                masked[field] = self._call(inner, name, uuid, piece=piece)
            else:
                masked[self._field(field)] = self._any(field, value, uuid)
        return masked

    def _arguments(self, uuid: str, name: str, value: Any, *, piece: bool) -> Any:
        """Arguments of a call: a text of JSON, which may come as an object too."""
        if self.content or not (piece or name in self._streams.get(uuid, ())):
            return self._any("", value, uuid)
        text = value if isinstance(value, str) else encode_json(value).decode("utf-8")
        return self._piece(uuid, name, text) if piece else self._json(uuid, name, text)

    def _piece(self, uuid: str, field: str, text: str) -> str:
        """A piece of a stream goes on where the last one ended."""
        if self.content or not text:
            return self.text(text)
        streams = self._streams.setdefault(uuid, {})
        stream = streams.get(field)
        if stream is None:
            stream = streams[field] = _Piecewise(self._way)
        if stream.way != self._way:
            return self.text(text)
        stream.hash, mask = self._next(stream.hash, text)
        stream.text += text
        stream.cuts.append(len(stream.text))
        stream.masks.append(mask)
        return mask

    def _next(self, known: bytes, piece: str) -> tuple[bytes, str]:
        """The hash of what is ``known`` and a piece, and the piece's mask."""
        hashed = self._hash(known, piece.encode("utf-8", "surrogatepass"))
        return hashed, f"~{len(piece)}:{hashed.hex()}~"

    def _whole(self, uuid: str, field: str, text: str) -> str:
        """The whole of a text, cut where its stream was cut."""
        stream = self._streams.get(uuid, {}).get(field)
        if stream is None or self.content:
            return self.text(text)
        masked: list[str] = []
        known, begin = b"", 0
        for cut in [*(each for each in stream.cuts if each < len(text)), len(text)]:
            if cut > begin:
                known, mask = self._next(known, text[begin:cut])
                masked.append(mask)
            begin = cut
        return "".join(masked)

    def _json(self, uuid: str, field: str, text: str) -> str:
        """The same for JSON, where the same value may be spelled otherwise."""
        stream = self._streams[uuid][field]
        had, value = stream.text, _canonical(text)
        if text.startswith(had) or value is None:
            return self._whole(uuid, field, text)
        if _canonical(had) == value:
            return "".join(stream.masks)
        begun, spelled = _compact(had), _compact(text)
        rest = spelled[len(begun) :]
        if spelled.startswith(begun) and _canonical(had + rest) == value:
            return "".join(stream.masks) + self.text(rest)
        return self._whole(uuid, field, text)


_SPACE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[ \t\r\n]+', re.DOTALL)


def _compact(text: str) -> str:
    """JSON text, or the beginning of one, without the white space between its tokens."""
    return _SPACE.sub(lambda found: found[0] if found[0][0] == '"' else "", text)


def _canonical(text: str) -> str | None:
    """One text for each JSON value; ``None`` if it is not JSON."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _parts(code: str) -> list[tuple[str, bool]]:
    """A code as known words and what stands between them."""
    parts: list[tuple[str, bool]] = []
    begin = 0
    for found in _CODE_WORDS.finditer(code):
        if found.start() > begin:
            parts.append((code[begin : found.start()], False))
        parts.append((found[0], True))
        begin = found.end()
    if begin < len(code):
        parts.append((code[begin:], False))
    return parts
