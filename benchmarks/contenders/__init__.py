"""Who takes part. Each runs in a process of its own, so its CPU and memory are its own."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BASE", "CONTENDERS", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender: its module here, what it is given, and the package that it needs."""

    name: str
    module: str
    label: str
    loop: str = "asyncio"
    task: str = "dict"
    package: tuple[str, str] | None = None
    extra: str | None = None
    """A module that must be importable; the contender is left out where it is not."""


BASE = "bare"
"""Whom the others are compared with."""

CONTENDERS = {
    entry.name: entry
    for entry in (
        Entry("bare", "bare", "bare loop (websockets + orjson)"),
        Entry("asyncio", "ours", "runware_ws, asyncio"),
        Entry("model", "ours", "runware_ws, asyncio, TextInference", task="model"),
        Entry("checked", "ours", "runware_ws, asyncio, dict checked wholly", task="checked"),
        Entry("uvloop", "ours", "runware_ws, uvloop", loop="uvloop", extra="uvloop"),
        Entry("trio", "ours", "runware_ws, trio", loop="trio", extra="trio"),
        Entry("sdk", "sdk", "runware-sdk 1.8", package=("runware-sdk", "1.8.0")),
        Entry("legacy", "legacy", "runware 0.5", package=("runware", "0.5.24")),
        Entry("picows", "floor", "bare picows loop (the floor)"),
    )
}
