"""What ``serve`` does: the gateway as a program. With the extra ``gateway``."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import typer

from runware_ws import (
    AuthenticationError,
    Client,
    ConfigurationError,
    ConnectionFailed,
    JournalError,
    RunwareError,
)
from runware_ws._urls import is_loopback
from runware_ws.cli.exits import ExitCode, Stop, say
from runware_ws.cli.flight import flight_folder, no_surprise
from runware_ws.cli.run import read_key_file
from runware_ws.emulator import Emulator
from runware_ws.gateway import Callers, GatewayCaller, app, hash_of_key, new_key
from runware_ws.gateway.asgi import take_callers
from runware_ws.gateway.listening import Listening, listen, listen_unix
from runware_ws.gateway.serving import ServeOptions, serve_gateway
from runware_ws.telemetry import dump_on_signal

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["HOST", "PORT", "GatewayCommand", "make_caller", "run_serve"]

HOST, PORT = "127.0.0.1", 8080

_ENV = "RUNWARE_API_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCommand:
    """The options of ``serve``."""

    host: str
    port: int
    uds: Path | None
    url: str | None
    api_key_file: Path | None
    emulate: bool
    journal: str | None
    callers: Path | None
    unsupported: str
    delivery: str
    timeout: float
    max_running: int
    max_connections: int
    drain: float
    reuse_port: bool
    flight: Path | None
    verbose: bool


def make_caller(name: str) -> int:
    """Print a new key, and the lines of a file of callers that let it in."""
    try:
        GatewayCaller(name=name)
    except ConfigurationError as exc:
        raise Stop(ExitCode.USAGE, f"--new-caller: {exc.message}") from None
    key = new_key()
    say(f"the key of {name}, shown this once: {key}")
    typer.echo(f'[callers."{name}"]\nkey = "{hash_of_key(key)}"')
    return ExitCode.OK


def run_serve(options: GatewayCommand) -> int:
    """Serve until a signal, or until the client has ended for good; returns the exit code.

    Raises:
        Stop: a bad option, the port is taken, the key is refused, or Runware cannot be reached.
    """
    callers = _callers(options)
    key = _key(options)
    folder = flight_folder(options.flight)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    _raise_limit_of_files()
    failures: list[RunwareError] = []

    async def program() -> None:
        try:
            await _serve(options, callers, key, folder)
        except RunwareError as exc:
            failures.append(exc)

    with no_surprise(folder):
        anyio.run(program, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    for failure in failures:
        raise Stop(_code_of(failure), failure.message)
    return ExitCode.OK


async def _serve(
    options: GatewayCommand, callers: Callers | None, key: str, folder: str | None
) -> None:
    async with AsyncExitStack() as stack:
        url = options.url
        if options.emulate:
            url = (await stack.enter_async_context(Emulator(key))).url
        # All that may run may be streams, each over a connection of its own.
        more: dict[str, Any] = {
            "max_in_flight": options.max_running,
            "max_posts": options.max_running,
        }
        client = Client(url, api_key=key, flight_folder=folder, journal=options.journal, **more)
        if folder is not None and hasattr(signal, "SIGUSR2"):
            dump_on_signal(client, folder)
        limits = ServeOptions(drain=options.drain, max_connections=options.max_connections)
        # First, so that a port that is taken adopts nobody's tasks.
        place = _place(options, limits.send_timeout)
        stack.callback(place.close)
        await stack.enter_async_context(client)
        batch_client = None
        if options.emulate:
            # A journal for them alone, so that no other request waits for one.
            temporary = stack.enter_context(TemporaryDirectory(prefix="runware_ws-"))
            journal = str(Path(temporary, "batches.db"))
            batch_client = Client(url, api_key=key, journal=journal, **more)
            await stack.enter_async_context(batch_client)
        application = app(
            client,
            callers,
            batch_client=batch_client,
            max_running=options.max_running,
            timeout=options.timeout,
            unsupported=_either(options.unsupported, "--unsupported", "error", "drop"),
            delivery=_either(options.delivery, "--delivery", "sync", "async"),
        )
        if options.journal is None:
            say("without --journal a restart forgets what runs, and retries pay anew")

        def ready() -> None:
            _collect_seldom()
            place.publish()
            typer.echo(f"listening on {place.address}")

        file = options.callers
        again = None if file is None else partial(_read_again, file, application)
        await serve_gateway(application, client, place.sock, limits, ready, again)


def _place(options: GatewayCommand, patience: float) -> Listening:
    if options.uds is None:
        return listen(options.host, options.port, reuse_port=options.reuse_port, patience=patience)
    for name, default in (("host", HOST), ("port", PORT)):
        if getattr(options, name) != default:
            raise ConfigurationError(f"--uds and --{name} exclude each other")
    return listen_unix(options.uds, take_over=options.reuse_port)


async def _read_again(file: Path, application: Starlette) -> None:
    """At SIGHUP."""
    try:
        callers = await anyio.to_thread.run_sync(Callers.read, file)
    except ConfigurationError as exc:
        say(f"SIGHUP: --callers: {exc.message}: it stays as it was")
        return
    take_callers(application, callers)
    number = len(callers.known())
    say(f"SIGHUP: {file} has {number} {'caller' if number == 1 else 'callers'}")


def _either(value: str, option: str, *known: str) -> Any:
    if value not in known:
        raise ConfigurationError(f"{option} {value}: must be {' or '.join(known)}")
    return value


def _callers(options: GatewayCommand) -> Callers | None:
    if options.callers is None:
        if is_loopback(options.host):
            return None
        raise Stop(
            ExitCode.USAGE,
            f"--host {options.host}: others could spend your money: say who may ask with "
            "--callers FILE, or listen on 127.0.0.1",
        )
    try:
        return Callers.read(options.callers)
    except ConfigurationError as exc:
        raise Stop(ExitCode.USAGE, f"--callers: {exc.message}") from None


def _key(options: GatewayCommand) -> str:
    if options.emulate:
        for name in ("url", "journal", "api_key_file"):
            if getattr(options, name) is not None:
                flag = name.replace("_", "-")
                raise Stop(
                    ExitCode.USAGE,
                    f"--emulate and --{flag} exclude each other: the built-in server has "
                    "no key and forgets everything with its process",
                )
        return secrets.token_hex(16)
    if options.api_key_file is not None:
        return read_key_file(options.api_key_file)
    key = os.environ.get(_ENV, "")
    if not key:
        raise Stop(ExitCode.USAGE, f"no API key: set {_ENV}, use --api-key-file, or try --emulate")
    return key


def _code_of(failure: RunwareError) -> ExitCode:
    if isinstance(failure, AuthenticationError):
        return ExitCode.KEY_REFUSED
    if isinstance(failure, ConnectionFailed):
        return ExitCode.UNREACHABLE
    return ExitCode.USAGE if isinstance(failure, ConfigurationError | JournalError) else (
        ExitCode.ERRORS
    )  # fmt: skip


def _collect_seldom() -> None:
    """A full collection stops all requests for a tenth of a second: leave out of it what is there
    for good, and have it come seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def _raise_limit_of_files() -> None:
    """Each connection is an open file, and the usual limit is 1,024."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
