"""``load``: the command and its options. What they mean is in ``load.py``, with the extra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.options import EmulateOption, KeyFileOption, QuietOption, TimeoutOption

__all__ = ["load"]

TargetOption = Annotated[
    str | None,
    typer.Option(help="ws:// or wss://; or http(s)://, which takes Messages. [default: Runware]"),
]
RateOption = Annotated[
    str, typer.Option(metavar="RATE", help="A second: 200, 50..500/60s or 100/10s,200/10s.")
]
DurationOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Like 30s. [default: the rate's own, or 30s]")
]
ArrivalsOption = Annotated[str, typer.Option(help="constant, poisson or gamma.")]
BurstOption = Annotated[
    float,
    typer.Option(min=0.01, max=100.0, metavar="N", help="Of gamma: 1 is poisson, more is bursts."),
]
TraceOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Starts, a line each, in place of a rate.")
]
UsersOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="A closed model: users who wait.")
]
ThinkOption = Annotated[str, typer.Option(metavar="TIME", help="Their pause between tasks.")]
TasksOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Lines as `run` takes them; - for stdin.")
]
AgentOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="module:function or file.py:function.")
]
PromptTokensOption = Annotated[
    str, typer.Option(metavar="LENGTH", help="500, 100-900, exp:500 or lognormal:500,0.8.")
]
AnswerTokensOption = Annotated[
    str | None, typer.Option(metavar="LENGTH", help="maxTokens of made-up prompts.")
]
CarrierOption = Annotated[str, typer.Option(help="task: whole answers; socket or sse: streams.")]
SeedOption = Annotated[int, typer.Option(min=0, metavar="N", help="All choices come from it.")]
SloOption = Annotated[str | None, typer.Option(metavar="SLO", help="What is good: p99<2s.")]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ORDER", help="With --emulate: cut-every=2s@30s..60s; repeatable."),
]
LatencyOption = Annotated[str, typer.Option(help="With --emulate: how long an answer takes.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="With --emulate: another choice of its."),
]
ProcessesOption = Annotated[
    int, typer.Option(min=1, max=256, metavar="N", help="How many make the load.")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the report.")
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page.")
]
CompareOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The --json of an earlier run.")
]
FailIfOption = Annotated[
    list[str] | None,
    typer.Option("--fail-if", metavar="COND", help="Fail unless it holds: p99<2s; repeatable."),
]
FindLimitOption = Annotated[
    bool, typer.Option("--find-limit", help="The highest rate that keeps --slo.")
]
AllowLagOption = Annotated[
    bool, typer.Option("--allow-lag", help="Do not fail if this machine is too slow.")
]


def load(
    url: TargetOption = None,
    emulate: EmulateOption = False,
    api_key_file: KeyFileOption = None,
    rate: RateOption = "100",
    duration: DurationOption = None,
    arrivals: ArrivalsOption = "constant",
    burst: BurstOption = 2.0,
    trace: TraceOption = None,
    users: UsersOption = None,
    think: ThinkOption = "0",
    tasks: TasksOption = None,
    agent: AgentOption = None,
    prompt_tokens: PromptTokensOption = "20",
    answer_tokens: AnswerTokensOption = None,
    carrier: CarrierOption = "task",
    timeout: TimeoutOption = 60.0,
    seed: SeedOption = 0,
    slo: SloOption = None,
    fault: FaultOption = None,
    latency: LatencyOption = "lognormal:300ms,0.4",
    setting: SettingOption = None,
    processes: ProcessesOption = 1,
    json: JsonOption = None,
    html: HtmlOption = None,
    compare: CompareOption = None,
    fail_if: FailIfOption = None,
    find_limit: FindLimitOption = False,
    allow_lag: AllowLagOption = False,
    quiet: QuietOption = False,
) -> int:
    """Load a server with tasks that start on time, whatever becomes of those before.

    Latency is told from when a task should have started, and from when it was sent.
    With --emulate the tally is exact: lost, run twice, wrong, unknown.

    \b
      runware-ws load --emulate --rate 200 --duration 30s --html out.html
      runware-ws load --emulate --rate 300 --duration 60s \\
        --fault cut-every=2s@20s..40s --fail-if 'lost==0' --fail-if 'p99<10s'

    \b
    Exit codes: 0 all was kept, 1 a condition was not, nothing was answered, a
    comparison found it worse, or this machine was too slow; 2 bad usage, 3 key
    refused, 4 server unreachable, 130 Ctrl-C, 143 SIGTERM.
    """
    given = dict(locals())
    given |= {"faults": given.pop("fault") or (), "settings": given.pop("setting") or ()}
    given["fail_if"] = fail_if or ()
    return _load(given)


def _load(given: dict[str, Any]) -> int:
    # Here, because it needs an extra that the other commands do without.
    try:
        from runware_ws.cli.load import LoadOptions, run_load_command
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in ("ddsketch", "httpx2"):
            raise
        raise Stop(
            ExitCode.USAGE, f"load needs {exc.name}: pip install 'runware-ws[load]'"
        ) from None
    return run_load_command(LoadOptions(**given))
