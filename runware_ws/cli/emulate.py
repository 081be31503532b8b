"""``emulate``: the emulator as a program."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import anyio
import orjson
import typer

from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.emulator import (
    KNOWN_ORDERS,
    Emulator,
    EmulatorOptions,
    has_h11,
    parse_duration,
    serve,
)

__all__ = ["describe", "parse_options", "run_emulator"]

_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
_RATES = ("token_rate", "rate_limit")
"""Numbers per second; all other floats are durations."""


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
            values[name] = _value(name, hints[name], text.strip())
        except ValueError as exc:
            raise Stop(ExitCode.USAGE, f"--set {setting}: {exc}") from None
    try:
        return EmulatorOptions(**values)
    except ValueError as exc:
        raise Stop(ExitCode.USAGE, f"--set: {exc}") from None


def _value(name: str, kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"must be {_choices(name, kind)}")
        return text
    if NoneType in get_args(kind):
        if text == "none":
            return None
        (kind,) = [each for each in get_args(kind) if each is not NoneType]
        return _value(name, kind, text)
    if kind is bool:
        if text not in _WORDS:
            raise ValueError("must be on or off")
        return _WORDS[text]
    if kind is str:
        return text
    if kind is float and name not in _RATES:
        return parse_duration(text)
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise ValueError("must be a number") from None


def _choices(name: str, kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if NoneType in get_args(kind):
        return " or ".join(
            "none" if each is NoneType else _choices(name, each) for each in get_args(kind)
        )
    if name in _RATES:
        return "a number, per second"
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
        lines.append(
            f"  {field.name}: {_choices(field.name, hints[field.name])} (default: {default})"
        )
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
    script: Path | None = None,
    control_port: int | None = None,
    control_token: str | None = None,
) -> int:
    """Serve until a signal; returns the exit code.

    Raises:
        Stop: a bad option or script, or a port is taken.
    """
    if control_port is None and has_h11():
        control_port = 0
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
                    script=script,
                    control_port=control_port,
                    control_token=control_token,
                    faults=faults,
                    on_ready=emulators.append,
                    verbose=True,
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
