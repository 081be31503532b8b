"""Prompts and answers as the GenAI conventions write them: only for those who ask for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from runware_ws.models.jsonable import is_array, is_object
from runware_ws.models.tool_calls import parse_tool_calls
from runware_ws.telemetry import conventions as conv

__all__ = ["answered_with", "asked_for"]


def _text(content: Any) -> dict[str, Any]:
    written = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return {"type": "text", "content": written}


def _dumped(value: object, redact: Callable[[str], str]) -> str:
    return redact(json.dumps(value, ensure_ascii=False))


def asked_for(payload: bytes, redact: Callable[[str], str]) -> dict[str, str]:
    """The attributes for what a task asks, of its JSON."""
    task = cast("dict[str, Any]", json.loads(payload))
    told: dict[str, str] = {}
    messages: list[dict[str, Any]] = []
    given = task.get("messages")
    for each in given if is_array(given) else ():
        if is_object(each):
            parts = [_text(each.get("content"))]
            messages.append({"role": str(each.get("role")), "parts": parts})
    prompt = task.get("positivePrompt")
    if isinstance(prompt, str):
        messages.append({"role": "user", "parts": [_text(prompt)]})
    if messages:
        told[conv.INPUT_MESSAGES] = _dumped(messages, redact)
    settings = task.get("settings")
    system = settings.get("systemPrompt") if is_object(settings) else None
    if isinstance(system, str):
        told[conv.SYSTEM_INSTRUCTIONS] = _dumped([_text(system)], redact)
    return told


def answered_with(items: Sequence[dict[str, Any]], redact: Callable[[str], str]) -> dict[str, str]:
    """The attributes for what was answered."""
    messages: list[dict[str, Any]] = []
    for item in items:
        parts: list[dict[str, Any]] = []
        if isinstance(reasoning := item.get("reasoningContent"), str):
            parts.append({"type": "reasoning", "content": reasoning})
        if isinstance(text := item.get("text"), str):
            parts.append(_text(text))
        for call in parse_tool_calls(item.get("toolCalls")) or ():
            told = {"type": "tool_call", "name": call.name, "arguments": call.arguments}
            parts.append(told if call.id is None else {**told, "id": call.id})
        reason = item.get("finishReason")
        if parts:
            reason = reason if isinstance(reason, str) else "unknown"
            messages.append({"role": "assistant", "parts": parts, "finish_reason": reason})
    return {conv.OUTPUT_MESSAGES: _dumped(messages, redact)} if messages else {}
