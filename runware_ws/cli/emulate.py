"""``emulate``: the emulator as a program."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import anyio
import orjson
import typer

from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.emulator import KNOWN_ORDERS, Emulator, EmulatorOptions, parse_duration, serve

__all__ = ["describe", "parse_options", "run_emulator"]

_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


def parse_options(settings: Sequence[str]) -> EmulatorOptions:
    """Make options of ``name=value`` texts.

    Raises:
        Stop: a name is unknown, or a value makes no sense.
    """
    hints = get_type_hints(EmulatorOptions)
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in hints:
            raise Stop(
                ExitCode.USAGE,
                f"--set {setting}: write it like NAME=VALUE; names: {', '.join(sorted(hints))}",
            )
        try:
            values[name] = _value(hints[name], text.strip())
        except ValueError as exc:
            raise Stop(ExitCode.USAGE, f"--set {setting}: {exc}") from None
    try:
        return EmulatorOptions(**values)
    except ValueError as exc:
        raise Stop(ExitCode.USAGE, f"--set: {exc}") from None


def _value(kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"must be {_choices(kind)}")
        return text
    if NoneType in get_args(kind):
        if text == "none":
            return None
        (kind,) = [each for each in get_args(kind) if each is not NoneType]
        return _value(kind, text)
    if kind is bool:
        if text not in _WORDS:
            raise ValueError("must be on or off")
        return _WORDS[text]
    if kind is str:
        return text
    return int(text) if kind is int else parse_duration(text)


def _choices(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if NoneType in get_args(kind):
        return " or ".join(
            "none" if each is NoneType else _choices(each) for each in get_args(kind)
        )
    kinds = {bool: "on or off", float: "a duration, like 50ms", int: "a number", str: "a text"}
    return kinds[kind]


def describe() -> str:
    """All faults and settings, for people."""
    hints = get_type_hints(EmulatorOptions)
    lines = ["Faults (--fault):"]
    lines += [f"  {usage}" for usage in KNOWN_ORDERS.values()]
    lines += ["", "Settings (--set NAME=VALUE):"]
    for field in fields(EmulatorOptions):
        value: object = field.default
        words = {"True": "on", "False": "off", "None": "none"}
        default = words.get(str(value), value)
        lines.append(f"  {field.name}: {_choices(hints[field.name])} (default: {default})")
    return "\n".join(lines)


def run_emulator(
    api_key: str | None,
    *,
    host: str,
    port: int,
    latency: str,
    faults: Sequence[str],
    options: EmulatorOptions,
    seed: int,
    allow_remote: bool,
) -> int:
    """Serve until a signal; returns the exit code.

    Raises:
        Stop: a bad option, or the port is taken.
    """
    emulators: list[Emulator] = []
    failures: list[Exception] = []

    async def program() -> None:
        async with anyio.create_task_group() as group:

            async def watch(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                signums = signal.SIGINT, signal.SIGTERM
                with anyio.open_signal_receiver(*signums) as signals:
                    task_status.started()
                    async for _ in signals:
                        group.cancel_scope.cancel()

            await group.start(watch)
            try:
                await serve(
                    api_key,
                    host=host,
                    port=port,
                    options=options,
                    latency=latency,
                    seed=seed,
                    allow_remote=allow_remote,
                    faults=faults,
                    on_ready=emulators.append,
                )
            except (ValueError, OSError) as exc:
                failures.append(exc)
                group.cancel_scope.cancel()

    anyio.run(program)
    for failure in failures:
        raise Stop(ExitCode.USAGE, _reason(failure, host, port))
    for emulator in emulators:
        typer.echo(orjson.dumps(emulator.stats.summary()).decode(), err=True)
    return ExitCode.OK


def _reason(failure: Exception, host: str, port: int) -> str:
    if isinstance(failure, OSError):
        why = failure.strerror or str(failure)
        return f"cannot listen on {host}:{port}: {why}: choose another --port, or 0 for a free one"
    return str(failure).replace("say allow_remote=True", "use --allow-remote")
