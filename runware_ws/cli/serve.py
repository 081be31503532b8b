"""``serve``: the command and its options. What they mean is in ``gateway.py``, with the extra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runware_ws import ConfigurationError
from runware_ws.cli.exits import ExitCode, Stop
from runware_ws.cli.options import (
    EmulateOption,
    HostOption,
    KeyFileOption,
    PortOption,
    TimeoutOption,
    UnsupportedOption,
    UrlOption,
)

__all__ = ["serve"]

UdsOption = Annotated[
    Path | None, typer.Option(metavar="PATH", help="A socket there, instead of a port.")
]
JournalOption = Annotated[
    str | None,
    typer.Option(metavar="PATH|URL", help="So that retries find their tasks after a crash."),
]
CallersOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Who may ask, and how much. [default: any key]")
]
NewCallerOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Make a key and its lines, and end.")
]
DeliveryOption = Annotated[
    str, typer.Option(metavar="sync|async", help="How tasks without a stream are sent.")
]
RunningOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Tasks at once; beyond that callers take turns.")
]
ConnectionsOption = Annotated[int, typer.Option(min=1, metavar="N", help="Connections at once.")]
DrainOption = Annotated[
    float, typer.Option(min=0.0, max=86_400.0, metavar="SECONDS", help="For what runs at the end.")
]
ReusePortOption = Annotated[
    bool, typer.Option("--reuse-port", help="A new process may take over on the same port.")
]
FlightOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Record what comes in; SIGUSR2 writes it.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]


def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    uds: UdsOption = None,
    url: UrlOption = None,
    api_key_file: KeyFileOption = None,
    emulate: EmulateOption = False,
    journal: JournalOption = None,
    callers: CallersOption = None,
    new_caller: NewCallerOption = None,
    unsupported: UnsupportedOption = "error",
    delivery: DeliveryOption = "sync",
    timeout: TimeoutOption = 300.0,
    max_running: RunningOption = 10_000,
    max_connections: ConnectionsOption = 10_000,
    drain: DrainOption = 30.0,
    reuse_port: ReusePortOption = False,
    flight: FlightOption = None,
    verbose: VerboseOption = False,
) -> int:
    """Serve Anthropic's Messages shape over HTTP, for any language and its published client.

    A request is never paid for twice, no stream ends in silence, and with
    --journal both survive a restart. Prints "listening on URL" when it is ready.

    \b
      runware-ws serve --emulate
      ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_API_KEY=any ...

    SIGTERM or Ctrl-C: it is not ready any more, takes no connection, gives what
    runs its time to end, and leaves the rest to the journal (exit code 0).

    SIGHUP: it reads --callers again; without such a file it ends as at SIGTERM.

    SIGUSR2, with --flight: it writes what came in last to a file in the folder,
    without the key and the words, and says where. It goes on.

    \b
    Exit codes: 0 ended by a signal, 1 the client failed, 2 bad usage or a
    journal that cannot be used, 3 key refused, 4 server unreachable for good.
    """
    given = dict(locals())
    del given["new_caller"]
    # Here, because it needs an extra that the other commands do without.
    try:
        from runware_ws.cli.gateway import GatewayCommand, make_caller, run_serve
    except (ModuleNotFoundError, ConfigurationError) as exc:
        if isinstance(exc, ModuleNotFoundError) and exc.name != "uvicorn":
            raise
        raise Stop(
            ExitCode.USAGE, "serve needs an extra: pip install 'runware-ws[gateway]'"
        ) from None
    return make_caller(new_caller) if new_caller is not None else run_serve(GatewayCommand(**given))
