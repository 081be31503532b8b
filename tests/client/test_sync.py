"""The client for blocking code."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from runware_ws import (
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    DrainReport,
    InvalidTask,
    Outcome,
    Submitted,
    SyncClient,
    TaskTimeout,
    TextInference,
)
from runware_ws._io.keys import ApiKey
from runware_ws.emulator import Emulator, expected_text
from runware_ws.messages.params import MessageParam

from .support import KEY, QUICK, Gate, ask, assert_answers

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """An emulator in a thread of its own, as a server is a process of its own."""

    def __init__(self, portal: BlockingPortal, emulator: Emulator) -> None:
        self._portal = portal
        self.emulator = emulator

    def gate(self) -> Gate:
        return self._portal.call(Gate, self.emulator)

    def open(self, gate: Gate) -> None:
        self._portal.call(gate.open)

    def client(self, api_key: ApiKey = KEY, **options: Any) -> SyncClient:
        options = {**QUICK, **options}
        return SyncClient(self.emulator.url, api_key=api_key, **options)


@pytest.fixture
def served() -> Generator[Served]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(KEY)) as emulator,
    ):
        before = set(threading.enumerate())
        yield Served(portal, emulator)
        assert until(lambda: emulator.live_sockets == 0)
        assert set(threading.enumerate()) <= before


def until(condition: Callable[[], Any]) -> Any:
    """Wait for something that happens in another thread."""
    for _ in range(4_000):
        if found := condition():
            return found
        time.sleep(0.002)
    raise AssertionError("it never came to that")


@contextmanager
def beside(func: Callable[[], object]) -> Generator[None]:
    """Run ``func`` in another thread; the block ends when it has. If both fail, it is the cause."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(func)
        try:
            yield
        finally:
            future.result(10)


# Life


def test_one_call_and_an_explicit_close(served: Served) -> None:
    client = served.client()
    task = ask()
    assert_answers(client.run(task), task)
    assert client.stats().answered == 1
    client.close()
    client.close()
    assert client.stats().state == "closed"
    with pytest.raises(ClientClosed):
        client.run(task)
    with pytest.raises(ClientClosed):
        client.__enter__()


def test_nothing_runs_before_the_first_call() -> None:
    before = threading.active_count()
    client = SyncClient("ws://127.0.0.1:9", api_key=KEY)
    assert threading.active_count() == before
    client.close()
    with pytest.raises(ClientClosed):
        client.run(ask())
    with pytest.raises(ConfigurationError, match="max_in_flight"):
        SyncClient("ws://127.0.0.1:9", api_key=KEY, max_in_flight=0)


def test_errors_come_out_as_they_are(served: Served) -> None:
    gate = served.gate()
    with served.client() as client:
        with pytest.raises(InvalidTask):
            client.run({"taskType": "textInference", "taskUUID": "bad"})
        task = ask()
        with pytest.raises(TaskTimeout) as caught:
            client.run(task, timeout=0.05)
        assert caught.value.submitted is Submitted.MAYBE
        assert client.claim(task.task_uuid) is None
        served.open(gate)
        assert_answers(until(lambda: client.claim(task.task_uuid)), task)
        assert client.drain() == DrainReport(0, ())
        with pytest.raises(ClientClosed, match="draining"):
            client.run(ask())
    with served.client(api_key="another key") as client, pytest.raises(AuthenticationError):
        client.ready(10)


def test_many_threads_share_one(served: Served) -> None:
    tasks = [ask(f"{n}") for n in range(160)]
    with served.client() as client, ThreadPoolExecutor(16) as pool:
        # All of them start it.
        results = list(pool.map(client.run, tasks))
        for result, task in zip(results, tasks, strict=True):
            assert_answers(result, task)
        assert client.stats().connections == 1


def test_where_an_event_loop_runs_already(served: Served) -> None:
    """As in the cell of a notebook."""

    async def cell() -> None:
        with served.client() as client:
            task = ask()
            assert_answers(client.run(task), task)

    asyncio.run(cell())


def test_closing_ends_calls_in_other_threads(served: Served) -> None:
    gate = served.gate()
    client = served.client()

    def wait() -> None:
        with pytest.raises(ClientClosed) as caught:
            client.run(ask())
        assert caught.value.submitted is Submitted.MAYBE

    with beside(wait):
        until(lambda: gate.running)
        client.close()


@pytest.fixture
def interruptible() -> Generator[None]:
    """Also where whoever started this process ignores Ctrl+C, as a shell does in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_call_gives_its_task_up(served: Served, interruptible: None) -> None:
    gate = served.gate()
    with served.client() as client:
        task = ask()

        def interrupt() -> None:
            until(lambda: gate.running)
            main = threading.main_thread().ident
            assert main is not None
            # One that meets the thread in a destructor is lost, as Ctrl+C would be: then again.
            for _ in range(5):
                signal.pthread_kill(main, signal.SIGINT)
                for _ in range(100):
                    if client.stats().cancelled:
                        return
                    time.sleep(0.05)

        with pytest.raises(KeyboardInterrupt), beside(interrupt):
            client.run(task)
        until(lambda: client.stats().pending == 0)
        assert client.stats().cancelled == 1
        served.open(gate)
        assert_answers(until(lambda: client.claim(task.task_uuid)), task)
        again = ask()
        assert_answers(client.run(again), again)


def test_the_key_function_cannot_wait_for_its_own_client(served: Served) -> None:
    caught: list[Exception] = []

    def key() -> str:
        for wait in (partial(client.run, ask()), client.close):
            try:
                wait()
            except Exception as exc:
                caught.append(exc)
        return KEY

    client = served.client(api_key=key)
    with client:
        assert client.run(ask()).text
    assert [type(exc) for exc in caught] == [ConfigurationError] * 2


def program(text: str, served: Served) -> str:
    """Run a program against the server; what it printed."""
    head = (
        "import os\nfrom runware_ws import *\n"
        f"client = SyncClient({served.emulator.url!r}, api_key={KEY!r}, proxy=None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + text],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_program_that_forgets_to_close(served: Served) -> None:
    text = "client.ready()\nprint(client.run(TextInference.prompt('x')).finish_reason)\n"
    assert program(text, served) == "stop\n"
    assert until(lambda: not served.emulator.live_sockets)


def test_an_interpreter_that_ends_starts_no_thread(served: Served, tmp_path: Path) -> None:
    """Python 3.12 and later; a client that is closed then says nothing of it."""
    text = """
import atexit, threading
def refuse(self):
    raise RuntimeError("can't create new thread at interpreter shutdown")
client = SyncClient(client._client._url, api_key="KEY", proxy=None, journal="PLACE")
print(client.run(TextInference.prompt("x")).finish_reason)
atexit.register(setattr, threading.Thread, "start", refuse)
"""
    text = text.replace("KEY", KEY).replace("PLACE", str(tmp_path / "journal"))
    assert program(text, served) == "stop\n"


def test_a_first_call_that_is_interrupted_while_the_thread_starts(served: Served) -> None:
    """A signal's handler raises in the first wait, wherever that is: the next call works."""
    text = """
from concurrent.futures import Future
result = Future.result
def interrupted(self, timeout=None):
    Future.result = result
    raise KeyboardInterrupt
Future.result = interrupted
try:
    client.ready()
except KeyboardInterrupt:
    print('interrupted')
print(client.run(TextInference.prompt('x')).finish_reason)
"""
    assert program(text, served) == "interrupted\nstop\n"


def test_a_start_that_is_interrupted_goes_on(served: Served) -> None:
    """Python may let the new thread run then, or not."""
    text = """
import threading
start = threading.Thread.start
def interrupted(self):
    threading.Thread.start = start
    if {runs}:
        start(self)
    raise KeyboardInterrupt
for _ in range(2):
    threading.Thread.start = interrupted
    try:
        client.ready()
    except KeyboardInterrupt:
        print('interrupted')
print(client.run(TextInference.prompt('x')).finish_reason, client.stats().connections)
client.close()
print(threading.active_count())
"""
    for runs in (True, False):
        told = program(text.replace("{runs}", str(runs)), served)
        assert told == "interrupted\ninterrupted\nstop 1\n1\n"


SENT_BUT_INTERRUPTED = """
from anyio.from_thread import BlockingPortal
client.ready()
send = BlockingPortal.start_task_soon
def interrupted(self, *args):
    BlockingPortal.start_task_soon = send
    send(self, *args)
    raise KeyboardInterrupt  # as a signal's handler does
def interrupt(work):
    BlockingPortal.start_task_soon = interrupted
    try:
        work()
    except KeyboardInterrupt:
        print("interrupted", end=" ")
"""


@pytest.mark.parametrize("verb", ["run", "stream", "map"])
def test_an_interruption_while_a_call_is_handed_over_gives_it_up(served: Served, verb: str) -> None:
    served.gate()
    text = """
task = TextInference.prompt("x")
if VERB == "run":
    interrupt(lambda: client.run(task))
elif VERB == "stream":
    stream = client.stream(task, carrier="socket")
    interrupt(stream.__enter__)
else:
    outcomes = client.map(iter([task]))
    interrupt(lambda: next(outcomes))
client.drain()
stats = client.stats()
print(stats.pending, stats.submitted - stats.cancelled)
client.close()
"""
    assert program(SENT_BUT_INTERRUPTED + text.replace("VERB", repr(verb)), served) == (
        "interrupted 0 0\n"
    )


ANSWERED_AND_INTERRUPTED = """
from anyio.from_thread import BlockingPortal
client.ready()
send = BlockingPortal.start_task_soon
def late(self, *args):
    BlockingPortal.start_task_soon = send
    future = send(self, *args)
    def interrupted(timeout=None):
        type(future).result(future, timeout)
        raise KeyboardInterrupt  # as a signal's handler does, after the wait and before the return
    future.result = interrupted
    return future
def interrupt(work):
    BlockingPortal.start_task_soon = late
    try:
        work()
    except KeyboardInterrupt:
        print("interrupted", end=" ")
"""


def test_an_answer_that_meets_an_interruption_can_be_claimed(served: Served) -> None:
    text = """
task = TextInference.prompt("x")
interrupt(lambda: client.run(task))
claimed = client.claim(task.task_uuid)
print(claimed is not None, client.claim(task.task_uuid))
uuid = "0b0f6ee2-1ed6-4d6c-9a46-6a1c8a0f7a11"
request = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "task_uuid": uuid}
interrupt(lambda: client.messages.create(**request))
print(client.claim(uuid) is not None)
client.close()
"""
    assert program(ANSWERED_AND_INTERRUPTED + text, served) == (
        "interrupted True None\ninterrupted True\n"
    )


def test_a_delta_that_meets_an_interruption_is_read_next(served: Served) -> None:
    text = """
with client.stream(TextInference.prompt("one two three"), carrier="socket") as stream:
    interrupt(lambda: next(stream))
    print("".join(delta.text or "" for delta in stream) == stream.result().text)
request = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": True}
with client.messages.create(**request) as events:
    interrupt(lambda: next(events))
    print([event.type for event in events][0])
client.close()
"""
    assert program(ANSWERED_AND_INTERRUPTED + text, served) == (
        "interrupted True\ninterrupted message_start\n"
    )


FORKS = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork here")


@FORKS
@pytest.mark.parametrize("dropped", [False, True])
def test_a_forked_child_ends_as_a_program_does(served: Served, dropped: bool) -> None:
    """As the workers of gunicorn do: what it got of its parent's client is collected."""
    text = """
import atexit, gc, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: the parent has threads
client.ready()
outcomes = client.map([TextInference.prompt("x") for _ in range(3)])
next(outcomes)
child = os.fork()
if child == 0:
    if DROPPED:
        atexit.unregister(client.close)
        client = outcomes = None
        gc.collect()
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(sum(outcome.ok for outcome in outcomes))
client.close()
"""
    assert program(text.replace("DROPPED", str(dropped)), served) == "7\n2\n"


@FORKS
def test_after_a_fork(served: Served) -> None:
    text = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: the parent has threads
fresh = SyncClient(client._client._url, api_key="KEY", proxy=None)
client.ready()
child = os.fork()
if child == 0:
    try:
        client.run(TextInference.prompt("x"))
    except ConfigurationError as exc:
        print(exc, flush=True)
    client.close()
    print(fresh.run(TextInference.prompt("x")).finish_reason, flush=True)
    fresh.close()
    os._exit(0)  # as multiprocessing and Celery end their children
else:
    os.waitpid(child, 0)
    print(client.run(TextInference.prompt("x")).finish_reason)
    client.close()
""".replace("KEY", KEY)
    first, *rest = program(text, served).splitlines()
    assert "fork" in first
    assert rest == ["stop", "stop"]


# Maps


@pytest.mark.parametrize("kind", ["list", "iterator"])
def test_a_map_reads_its_source_in_the_callers_thread(served: Served, kind: str) -> None:
    threads: set[int] = set()
    tasks = [ask(f"{n}") for n in range(50)]
    tasks_or_bad: list[Any] = [*tasks, {"taskUUID": "bad"}]

    def source() -> Iterator[Any]:
        for task in tasks_or_bad:
            threads.add(threading.get_ident())
            yield task

    with served.client() as client:
        found: dict[int, Outcome[Any]] = {}
        for outcome in client.map(source() if kind == "iterator" else tasks_or_bad, concurrency=7):
            found[outcome.index] = outcome
            assert client.stats().pending <= 7
        assert sorted(found) == list(range(51))
        for index, task in enumerate(tasks):
            assert_answers(found[index].unwrap(), task)
        assert isinstance(found[50].error, InvalidTask)
    assert threads <= {threading.get_ident()}


def test_a_map_left_early(served: Served) -> None:
    gate = served.gate()
    with served.client() as client:
        tasks = [ask(f"{n}") for n in range(10)]
        mixed: list[Any] = [{"taskUUID": "bad"}, *tasks]
        outcomes = client.map(mixed, concurrency=6)
        assert not next(outcomes).ok
        until(lambda: gate.running)
        outcomes.close()
        assert client.stats().pending == 0
        assert 1 <= client.stats().cancelled <= 6
        sent = client.stats().cancelled
        served.open(gate)
        for task in tasks[:sent]:
            assert_answers(until(partial(client.claim, task.task_uuid)), task)


def test_a_map_that_is_collected_in_the_thread_of_its_client(served: Served) -> None:
    """Nobody knows what the thread was doing: the map is left when that is through."""
    gate = served.gate()
    with served.client() as client:
        mixed: list[Any] = [{"taskUUID": "bad"}, ask("one"), ask("two")]
        held = [client.map(mixed)]
        assert not next(held[0]).ok
        until(lambda: gate.running == 2)

        def collect() -> int:
            held.clear()
            return client.stats().pending

        assert client.look(collect) == 2
        until(lambda: client.stats().cancelled == 2)
        served.open(gate)


def test_a_source_that_raises(served: Served) -> None:
    def broken() -> Iterator[TextInference]:
        yield ask("0")
        yield ask("1")
        raise LookupError("no more")

    with served.client() as client:
        outcomes = client.map(broken(), concurrency=10)
        # What was started was paid for: its outcomes come first.
        assert {next(outcomes).index, next(outcomes).index} == {0, 1}
        with pytest.raises(LookupError, match="no more"):
            next(outcomes)
        with pytest.raises(ConfigurationError, match="concurrency"):
            client.map([ask()], concurrency=0)


@pytest.mark.parametrize("name", ["key", "metadata"])
@pytest.mark.parametrize(
    ("thrown", "error"),
    [
        (LookupError("no key"), LookupError),
        (StopIteration(), RuntimeError),
        (asyncio.CancelledError(), RuntimeError),
    ],
)
def test_the_functions_of_a_map_are_called_in_the_callers_thread(
    served: Served, name: str, thrown: BaseException, error: type[Exception]
) -> None:
    threads: set[int] = set()
    tasks = [ask(f"{n}") for n in range(5)]

    def ask_of(task: TextInference) -> None:
        threads.add(threading.get_ident())
        if task is tasks[2]:
            raise thrown

    with served.client() as client:
        functions: dict[str, Any] = {name: ask_of}
        outcomes = client.map(iter(tasks), **functions)
        assert {next(outcomes).index, next(outcomes).index} == {0, 1}
        with pytest.raises(error):
            next(outcomes)
        assert client.run(ask()).text
    assert threads == {threading.get_ident()}


def test_a_source_that_ends_with_a_cancellation_of_its_own(served: Served) -> None:
    def broken() -> Iterator[TextInference]:
        yield ask("0")
        raise asyncio.CancelledError

    with served.client() as client:
        outcomes = client.map(broken())
        assert next(outcomes).ok
        with pytest.raises(RuntimeError, match="a cancellation of its own"):
            next(outcomes)


def test_an_endless_map_ends_with_the_client(served: Served) -> None:
    def endless() -> Iterator[TextInference]:
        while True:
            yield ask()

    client = served.client()
    outcomes = client.map(endless(), concurrency=5)
    assert next(outcomes).ok
    client.close()
    with pytest.raises(ClientClosed):
        list(outcomes)


# Streams and messages


def test_a_stream(served: Served) -> None:
    with served.client() as client:
        task = ask("one two three", number_results=1)
        with client.stream(task, carrier="socket") as stream:
            assert stream.carrier == "socket"
            assert stream.task_uuid == task.task_uuid
            pieces = [delta.text or "" for delta in stream]
            assert len(pieces) > 1
            text = expected_text("one two three", task.task_uuid, 0)
            assert "".join(pieces) == stream.text == stream.result().text == text
            assert stream.reasoning == ""
        with client.stream(ask(), carrier="socket") as stream:
            next(stream)
        assert client.stats().pending == 0


def test_messages(served: Served) -> None:
    user: MessageParam = {"role": "user", "content": "hello"}
    with served.client() as client:
        message = client.messages.create(max_tokens=10, messages=[user])
        assert message.stop_reason == "end_turn"
        with client.messages.create(max_tokens=10, messages=[user], stream=True) as events:
            kinds = [event.type for event in events]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        assert cast("Any", events.message().content[0])["text"]
        with pytest.raises(InvalidTask):
            client.messages.create(max_tokens=10, messages=[user], temperature=1.0)
