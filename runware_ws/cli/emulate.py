"""``emulate``: the command and its options, and the emulator as a program."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import anyio
import orjson
import typer

from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.options import HostOption, PortOption
from runware_ws.emulator import (
    KNOWN_ORDERS,
    Emulator,
    EmulatorOptions,
    has_h11,
    parse_duration,
    serve,
)

__all__ = ["describe", "emulate", "parse_options"]

ApiKeyOption = Annotated[
    str | None, typer.Option(help="A made-up key, the only one accepted. [default: any]")
]
LatencyOption = Annotated[
    str, typer.Option(help="50ms, 10ms-200ms, exp:50ms or lognormal:50ms,0.5.")
]
FaultOption = Annotated[
    list[str] | None, typer.Option(metavar="ORDER", help="Like cut-every=1s; repeatable.")
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Like replay=before-auth; repeatable."),
]
SeedOption = Annotated[
    int, typer.Option(metavar="N", help="All choices of the emulator come from it.")
]
RemoteOption = Annotated[
    bool, typer.Option("--allow-remote", help="Permit a host beyond loopback.")
]
ScriptOption = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Faults and answers by time and task; .json, .toml."),
]
ControlPortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="N", help="For commands. [default: a free one]"),
]
ControlTokenOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What commands must bring. [default: one is made]"),
]
ListOption = Annotated[bool, typer.Option("--list", help="List all faults and settings, and end.")]

_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
_RATES = ("token_rate", "rate_limit")
"""Numbers per second; all other floats are durations."""


def emulate(
    host: HostOption = "127.0.0.1",
    port: PortOption = 0,
    api_key: ApiKeyOption = None,
    latency: LatencyOption = "0",
    fault: FaultOption = None,
    setting: SettingOption = None,
    seed: SeedOption = 0,
    allow_remote: RemoteOption = False,
    script: ScriptOption = None,
    control_port: ControlPortOption = None,
    control_token: ControlTokenOption = None,
    list_all: ListOption = False,
) -> int:
    """Run a local server that speaks Runware's protocol, with faults on order.

    Prints "listening on URL" when it is ready, and what it serves. Commands
    change it while it runs: post {"do": "order", "orders": ["cut"]} to the
    control URL. Ctrl-C or SIGTERM is its normal end (exit code 0); it then
    prints its counters on stderr, as JSON.
    """
    if list_all:
        typer.echo(describe())
        return ExitCode.OK
    return _run_emulator(
        api_key,
        host=host,
        port=port,
        latency=latency,
        faults=fault or (),
        options=parse_options(setting or ()),
        seed=seed,
        allow_remote=allow_remote,
        script=script,
        control_port=control_port,
        control_token=control_token,
    )


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


def _run_emulator(
    api_key: str | None,
    *,
    host: str,
    port: int,
    latency: str,
    faults: Sequence[str],
    options: EmulatorOptions,
    seed: int,
    allow_remote: bool,
    script: Path | None,
    control_port: int | None,
    control_token: str | None,
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
            await group.start(_cancel_at_a_signal, group.cancel_scope)
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


async def _cancel_at_a_signal(
    scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


def _reason(failure: Exception, host: str, port: int) -> str:
    if isinstance(failure, OSError):
        why = failure.strerror or str(failure)
        return f"cannot listen on {host}:{port}: {why}: choose another --port, or 0 for a free one"
    return str(failure).replace("say allow_remote=True", "use --allow-remote")
