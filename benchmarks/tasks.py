"""The tasks that all contenders run: about 300 bytes as a frame."""

from __future__ import annotations

from typing import Any

__all__ = ["CHECKED_MODEL", "KEY", "OTHER_MODEL", "make"]

KEY = "a-key-for-benchmarks"
OTHER_MODEL = "bench:echo@1"
"""A model whose schema is not known here: only the envelope of its tasks is checked."""
CHECKED_MODEL = "anthropic:claude@haiku-4.5"
"""A model whose schema is known: its tasks are checked wholly."""

PROMPT = "Say in one sentence why the sky is blue, for a reader of ten years. Question number {}."


def make(number: int, model: str, delivery: str) -> dict[str, Any]:
    """A task as a user writes it: without a taskUUID."""
    return {
        "taskType": "textInference",
        "model": model,
        "deliveryMethod": delivery,
        "messages": [{"role": "user", "content": PROMPT.format(number)}],
    }
