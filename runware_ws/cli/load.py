"""``load``: what is asked for, the live view, and what is told at the end."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import anyio
import orjson
from rich.console import Console
from rich.live import Live
from rich.text import Text

from runware_ws import (
    AuthenticationError,
    Client,
    ConfigurationError,
    ConnectionFailed,
    RunwareError,
)
from runware_ws.batch.reading import Source
from runware_ws.cli.emulate import parse_options
from runware_ws.cli.exits import ExitCode, Stop, say
from runware_ws.cli.run import read_key_file
from runware_ws.cli.screen import on_terminal
from runware_ws.emulator import EmulatorProcess, parse_duration
from runware_ws.load import (
    Arrivals,
    ClosedModel,
    Condition,
    LoadPlan,
    Place,
    Tick,
    TimedFault,
    parse_condition,
    parse_fault,
    parse_length,
    parse_rate,
    parse_slo,
    read_trace,
    run_plan,
)
from runware_ws.load.arrivals import Process
from runware_ws.load.compare import Change, compare
from runware_ws.load.limit import find_limit
from runware_ws.load.page import make_page
from runware_ws.load.plan import rare_collections
from runware_ws.load.targets import Carrier

__all__ = ["LoadOptions", "run_load_command"]

_ENV = "RUNWARE_API_KEY"
_DURATION = 30.0
"""Seconds of a load whose rate has no time of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """As they were written."""

    url: str | None = None
    emulate: bool = False
    api_key_file: Path | None = None
    rate: str = "100"
    duration: str | None = None
    arrivals: str = "constant"
    burst: float = 2.0
    trace: Path | None = None
    users: int | None = None
    think: str = "0"
    tasks: str | None = None
    agent: str | None = None
    prompt_tokens: str = "20"
    answer_tokens: str | None = None
    carrier: str = "task"
    timeout: float = 60.0
    seed: int = 0
    slo: str | None = None
    faults: Sequence[str] = ()
    latency: str = "lognormal:300ms,0.4"
    settings: Sequence[str] = ()
    processes: int = 1
    json: Path | None = None
    html: Path | None = None
    compare: Path | None = None
    fail_if: Sequence[str] = ()
    find_limit: bool = False
    allow_lag: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for, understood."""

    options: LoadOptions
    plan: LoadPlan
    faults: tuple[TimedFault, ...]
    conditions: tuple[Condition, ...]
    base: dict[str, Any] | None


def run_load_command(options: LoadOptions) -> int:
    """Run a load; returns the exit code.

    Raises:
        Stop: a bad option, or it cannot be done.
    """
    try:
        order = _understood(options)
    except (ValueError, OSError) as exc:
        raise Stop(ExitCode.USAGE, str(exc)) from None
    for path in (options.json, options.html):
        if path is not None and not path.parent.is_dir():
            raise Stop(ExitCode.USAGE, f"{path}: there is no folder {path.parent}")
    try:
        return anyio.run(_program, order)
    except AuthenticationError as exc:
        raise Stop(ExitCode.KEY_REFUSED, f"the server refuses the API key: {exc}") from None
    except ConnectionFailed as exc:
        raise Stop(ExitCode.UNREACHABLE, str(exc)) from None
    except (RunwareError, ValueError) as exc:
        raise Stop(ExitCode.USAGE, str(exc)) from None


# Before


def _understood(options: LoadOptions) -> _Order:
    if options.emulate and options.url is not None:
        raise ValueError("--emulate and --url exclude each other: use one of them")
    if options.faults and not options.emulate:
        raise ValueError("--fault: only the built-in server takes orders: use --emulate")
    if options.tasks is not None and options.agent is not None:
        raise ValueError("--tasks and --agent exclude each other: use one of them")
    if options.find_limit and (options.slo is None or options.users or options.trace):
        raise ValueError("--find-limit needs --slo, like 'p99<2s', and a --rate to begin with")
    slo = None if options.slo is None else parse_slo(options.slo)
    for length in (options.prompt_tokens, options.answer_tokens):
        if length is not None:
            parse_length(length)
    plan = LoadPlan(
        model=_model(options),
        tasks=_tasks(options.tasks),
        agent=options.agent,
        prompt_tokens=options.prompt_tokens,
        answer_tokens=options.answer_tokens,
        carrier=cast("Carrier", _one_of("--carrier", options.carrier, ("task", "socket", "sse"))),
        timeout=options.timeout,
        seed=options.seed,
        slo=slo,
    )
    plan.find_work()
    return _Order(
        options,
        plan,
        tuple(map(parse_fault, options.faults)),
        tuple(map(parse_condition, options.fail_if)),
        _base(options.compare),
    )


def _one_of(option: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError(f"{option}: must be {' or '.join(choices)}")
    return value


def _model(options: LoadOptions) -> Arrivals | ClosedModel:
    duration = None if options.duration is None else parse_duration(options.duration)
    if duration == 0:
        raise ValueError("--duration: must be longer than 0")
    if options.users is not None:
        return ClosedModel(options.users, duration or _DURATION, parse_duration(options.think))
    if options.trace is not None:
        return Arrivals(trace=read_trace(options.trace))
    process = _one_of("--arrivals", options.arrivals, ("constant", "poisson", "gamma"))
    try:
        segments = parse_rate(options.rate, duration)
    except ValueError:
        if duration is not None:
            raise
        segments = parse_rate(options.rate, _DURATION)
    return Arrivals(segments, cast("Process", process), options.burst)


def _tasks(name: str | None) -> tuple[dict[str, Any], ...]:
    if name is None:
        return ()
    tasks: list[dict[str, Any]] = []
    with Source(name) as source:
        for line in source.lines(source.check()):
            if line.task is None:
                raise ValueError(f"{source.place(line.number)}: {line.problem}")
            tasks.append(line.task)
    return tuple(tasks)


def _base(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        base: object = orjson.loads(path.read_bytes())
        report = cast("dict[str, Any]", base if isinstance(base, dict) else {})
        compare(report, report, draws=2)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ValueError(f"--compare {path}: {exc}") from None
    return report


# While it runs


@asynccontextmanager
async def _place(options: LoadOptions) -> AsyncGenerator[tuple[Place, EmulatorProcess | None]]:
    if options.emulate:
        key = secrets.token_hex(16)
        settings = parse_options(options.settings)
        async with EmulatorProcess(
            key, options=settings, latency=options.latency, seed=options.seed
        ) as server:
            yield Place(url=server.url, api_key=key, echoes=True), server
        return
    given = options.api_key_file
    real_key = os.environ.get(_ENV) if given is None else read_key_file(given)
    messages = (options.url or "").startswith(("http://", "https://"))
    if not messages:
        if not real_key:
            raise Stop(
                ExitCode.USAGE,
                f"no API key: set {_ENV}, or give --api-key-file PATH, or try --emulate",
            )
        try:
            Client(options.url, api_key=real_key)
        except ConfigurationError as exc:
            raise Stop(ExitCode.USAGE, f"--url: {exc.message}") from None
    yield Place(url=options.url, api_key=real_key, messages=messages), None


async def _program(order: _Order) -> int:
    stop = anyio.Event()
    caught: list[int] = []
    failures: list[Exception] = []
    code = ExitCode.OK
    async with anyio.create_task_group() as group:

        async def watch(
            *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
        ) -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                task_status.started()
                async for signum in signals:
                    if stop.is_set():
                        group.cancel_scope.cancel()
                    caught.append(signum)
                    stop.set()

        await group.start(watch)
        try:
            code = await _loaded(order, stop)
        except Exception as exc:  # out of the group as it is
            failures.append(exc)
        group.cancel_scope.cancel()
    for failure in failures:
        raise failure
    if caught:
        return ExitCode.TERMINATED if caught[0] == signal.SIGTERM else ExitCode.INTERRUPTED
    return code


async def _loaded(order: _Order, stop: anyio.Event) -> ExitCode:
    options, plan = order.options, order.plan
    async with _place(options) as (place, server):

        async def measure(plan: LoadPlan) -> dict[str, Any]:
            with _View(plan, quiet=options.quiet) as view:
                return await run_plan(
                    plan,
                    place,
                    processes=options.processes,
                    server=server,
                    faults=order.faults,
                    stop=stop,
                    on_tick=view.show,
                )

        with rare_collections():
            if not options.find_limit:
                report = await measure(plan)
            else:
                report = await _limit(plan, measure, stop)
    return _told(order, report)


async def _limit(plan: LoadPlan, measure: Any, stop: anyio.Event) -> dict[str, Any]:
    assert isinstance(plan.model, Arrivals)
    assert plan.slo is not None
    model, slo = plan.model, plan.slo
    last: dict[str, Any] = {}

    async def at(rate: float) -> dict[str, Any]:
        if stop.is_set():
            raise Stop(ExitCode.INTERRUPTED, "ended before the limit was found")
        segments = parse_rate(f"{rate:.6f}", model.seconds)
        report: dict[str, Any] = await measure(
            replace(plan, model=replace(model, segments=segments))
        )
        last.update(report)
        kept = "kept" if slo.kept(report) else "broken"
        lag = "" if report["own_lag_ok"] else " (the generator lagged)"
        p99 = report["latency_intended_ms"]["p99"] or 0.0
        say(f"{rate:.1f}/s: {slo} {kept}{lag}, p99 {p99:.0f} ms")
        return report

    found = await find_limit(at, slo, first=model.segments[0].first or model.segments[0].last)
    report = found.report or last
    report["limit"] = found.told()
    why = ", and the generator was too slow for more" if found.by_generator else ""
    say(f"the highest rate that keeps {slo}: {found.rate:.1f}/s{why}")
    return report


class _View:
    """A line that changes on a terminal, a line a second elsewhere."""

    def __init__(self, plan: LoadPlan, *, quiet: bool) -> None:
        self._quiet = quiet
        self._seconds = plan.model.seconds
        self._before = Tick(0.0, 0, 0, 0, 0, ())
        self._live: Live | None = None
        if not quiet and on_terminal():
            self._live = Live(Text(""), console=Console(stderr=True), transient=True)

    def __enter__(self) -> _View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    async def show(self, tick: Tick) -> None:
        """Show one second."""
        if self._quiet:
            return
        before, self._before = self._before, tick
        rate = (tick.attempted - before.attempted) / max(tick.at - before.at, 1e-9)
        line = (
            f"{tick.at:.0f}/{self._seconds:.0f} s, {rate:.0f} a second, "
            f"{tick.started - tick.attempted} in flight, p50 {tick.quantile(0.5) * 1e3:.0f} ms, "
            f"p99 {tick.quantile(0.99) * 1e3:.0f} ms, {tick.failed} failed, "
            f"{tick.reconnects} reconnects"
        )
        if self._live is None:
            say(line)
        else:
            self._live.update(Text(line))


# After


def _told(order: _Order, report: dict[str, Any]) -> ExitCode:
    options = order.options
    broken = [why for each in order.conditions if (why := each.broken(report)) is not None]
    if not report["answered"]:
        broken.append("no task was answered, so nothing was measured")
    if options.find_limit and not report["limit"]["rate"]:
        broken.append(f"{order.plan.slo}: no rate keeps it")
    changes: list[Change] = []
    if order.base is not None:
        try:
            changes = compare(order.base, report)
        except ValueError as exc:
            broken.append(f"comparison: the run {exc}")
        report["comparison"] = [_change(each) for each in changes]
        broken += [f"{each.figure} is worse than before" for each in changes if each.worse]
    report["broken"] = broken
    try:
        if options.json is not None:
            data = orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            options.json.write_bytes(data)
        if options.html is not None:
            options.html.write_text(make_page(report, changes, broken), "utf-8")
    except OSError as exc:
        raise Stop(ExitCode.USAGE, f"{exc.filename}: cannot be written: {exc.strerror}") from None
    if not options.quiet:
        for line in _summary(report, changes):
            print(line)
    for why in broken:
        say(f"not kept: {why}")
    if not report["own_lag_ok"]:
        say(
            "the generator was the bottleneck: its own lag (p99 "
            f"{report['own_lag_ms']['p99']:.1f} ms) is more than 5 % of the p99 told here; use a "
            "lower rate or more --processes, or accept it with --allow-lag"
        )
        if not options.allow_lag:
            return ExitCode.ERRORS
    return ExitCode.ERRORS if broken else ExitCode.OK


def _change(change: Change) -> dict[str, Any]:
    names: tuple[Literal["figure", "base", "now", "change", "low", "high", "verdict"], ...]
    names = ("figure", "base", "now", "change", "low", "high", "verdict")
    return {name: getattr(change, name) for name in names}


def _summary(report: dict[str, Any], changes: Sequence[Change]) -> list[str]:
    quantiles = ("p50", "p90", "p99", "p99.9", "max")
    lines = ["".join(f"{name:>12}" for name in ("", *quantiles))]
    for name, key in (
        ("intended", "latency_intended_ms"),
        ("sent", "latency_sent_ms"),
        ("first delta", "first_delta_ms"),
        ("own lag", "own_lag_ms"),
    ):
        if report[key]["count"]:
            values = "".join(f"{report[key][quantile]:>9.1f} ms" for quantile in quantiles)
            lines.append(f"{name:>12}{values}")
    twice = report["run_twice"]
    lines += [
        f"answered {report['answered']} of {report['attempted']}, {report['rate']:.1f} a second",
        f"lost {report['lost']}, run twice {'not known' if twice is None else twice}, "
        f"wrong {report['wrong']}, unknown {report['unknown']}, "
        f"{report['reconnects']} reconnects, ${report['cost']:.4f}",
    ]
    if report["slo"] is not None:
        lines.append(f"good ({report['slo']}): {report['goodput']:.1f} a second")
    for title, counts in (("recovered by", report["recovered_by"]), ("errors", report["errors"])):
        if counts:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            lines.append(f"{title}: {told}")
    for name, count in report["agent_errors"].items():
        lines.append(f"the agent raised {name} {count} times")
    for each in changes:
        lines.append(
            f"{each.figure} against the base: {each.change * 100:+.1f} % "
            f"({each.low * 100:+.1f} to {each.high * 100:+.1f}): {each.verdict}"
        )
    return lines
