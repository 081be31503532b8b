"""The small tasks that are not inference: authentication, ping, and the two questions.

Only the client itself sends ``authentication`` and ``ping`` (``validate_task`` refuses them);
``getResponse`` and ``getTaskDetails`` are read-only and may be sent at any time.
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn

import orjson
from pydantic import Field, SecretStr, StringConstraints

from runware_ws.models.base import Omittable, TaskUUID, WireModel
from runware_ws.models.formats import UUID_PATTERN

__all__ = ["AuthenticationTask", "GetResponseTask", "GetTaskDetailsTask", "PingTask"]

# Not only version 4: the server makes this UUID, and the seed says no more than "uuid". It is
# sent back letter for letter.
_SessionUUID = Annotated[str, StringConstraints(pattern=UUID_PATTERN)]


class AuthenticationTask(WireModel):
    """The first message on a socket (seed, documented).

    ``connection_session_uuid``: the session to resume; ``None`` asks for a new one.

    ``to_json()`` is the only place that reveals the key. It is masked in ``repr``, ``to_wire()``,
    ``model_dump`` and errors, and the task cannot be pickled.
    """

    task_type: Literal["authentication"] = "authentication"
    api_key: Annotated[SecretStr, Field(strict=False, min_length=1)]
    connection_session_uuid: Omittable[_SessionUUID] = None

    def to_json(self) -> bytes:
        """Return the task as UTF-8 JSON, **with the key unmasked**: for the socket only."""
        wire = self.to_wire()
        wire["apiKey"] = self.api_key.get_secret_value()
        return orjson.dumps(wire)

    def __getstate__(self) -> NoReturn:
        raise TypeError("an AuthenticationTask holds the API key and cannot be pickled")


class PingTask(WireModel):
    """The application's ping (documented); answered by ``{"taskType": "ping", "pong": true}``."""

    task_type: Literal["ping"] = "ping"
    ping: Literal[True] = True


class GetResponseTask(WireModel):
    """Ask for the results of an ``async`` task (documented). ``task_uuid`` is that task's."""

    task_type: Literal["getResponse"] = "getResponse"
    task_uuid: TaskUUID


class GetTaskDetailsTask(WireModel):
    """Ask the archive for an executed task (documented, observed). ``task_uuid`` is that task's.

    It is not certain what the server answers while the task still runs.
    """

    task_type: Literal["getTaskDetails"] = "getTaskDetails"
    task_uuid: TaskUUID
