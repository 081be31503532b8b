"""One request, as the server read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from runware_ws.emulator import Request

__all__ = ["Asked"]

_SHOWN = 60  # characters of a prompt in a message for people


def _objects(value: object) -> list[dict[str, Any]]:
    entries: list[object] = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


@dataclass(frozen=True, slots=True)
class Asked:
    """One task that a client sent. ``task`` is its object on the wire; do not change it.

    ``index`` counts the results of one task from 0; it is above 0 only where a reply function is
    called again for a task with ``numberResults``.
    """

    task: dict[str, Any]
    index: int = 0

    @classmethod
    def of(cls, request: Request) -> Asked:
        """The same request without the emulator's own record."""
        return cls(request.task, request.index)

    @property
    def task_uuid(self) -> str:
        """The ``taskUUID``."""
        return str(self.task.get("taskUUID", ""))

    @property
    def task_type(self) -> str:
        """The ``taskType``."""
        return str(self.task.get("taskType", ""))

    @property
    def model(self) -> str | None:
        """The ``model``; ``None`` where the task has none."""
        model = self.task.get("model")
        return model if isinstance(model, str) else None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of a text task, oldest first; may be empty."""
        return _objects(self.task.get("messages"))

    @property
    def prompt(self) -> str:
        """The text of the last message, otherwise ``positivePrompt``, otherwise ``""``."""
        return Request(self.task, self.index, 1).prompt

    @property
    def system_prompt(self) -> str | None:
        """``settings.systemPrompt``; ``None`` where the task has none."""
        settings = self.task.get("settings")
        if not isinstance(settings, Mapping):
            return None
        prompt = cast("Mapping[str, object]", settings).get("systemPrompt")
        return prompt if isinstance(prompt, str) else None

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the model may call; may be empty."""
        return [str(tool["name"]) for tool in _objects(self.task.get("tools")) if "name" in tool]

    def __getitem__(self, name: str) -> Any:
        """A field of the task in the wire's spelling. Raises ``KeyError``."""
        return self.task[name]

    def __str__(self) -> str:
        prompt = self.prompt
        if len(prompt) > _SHOWN:
            prompt = prompt[: _SHOWN - 1] + "…"
        words = [self.task_type, repr(prompt)] if prompt else [self.task_type]
        if self.model is not None:
            words.append(f"(model {self.model})")
        return " ".join(words)
