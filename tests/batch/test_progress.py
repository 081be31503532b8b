"""What a user sees, at every width, on a terminal and in a pipe."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
from collections.abc import Generator
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_ws.batch.progress import BatchProgress, Meter, Standing, render, span

MIDDLE = Standing(
    done=412,
    total=5000,
    errors=3,
    rate=12.34,
    seconds_left=372,
    tokens=123_456,
    cost=0.1234,
)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (20, "run 412/5000  8%"),
        (30, "run 412/5000  8%  3 errors"),
        (50, "run 412/5000  8%  3 errors  6m12s left  $0.1234"),
        (
            80,
            "run --------- 412/5000  8%  3 errors  6m12s left  $0.1234  12.3/s  123.5k tokens",
        ),
        (
            120,
            "run ###------------------------------------- "
            "412/5000  8%  3 errors  6m12s left  $0.1234  12.3/s  123.5k tokens",
        ),
    ],
)
def test_what_fits(width: int, line: str) -> None:
    assert render(MIDDLE, width) == line


def test_all_of_it_in_a_pipe() -> None:
    assert render(MIDDLE) == (
        "run: 412/5000, 8%, 3 errors, 6m12s left, $0.1234, 12.3/s, 123.5k tokens"
    )


def test_the_beginning_and_the_end() -> None:
    assert render(Standing(0, 10), 40) == "run ------------------ 0/10  0%  $0.0000"
    whole = Standing(10, 10, errors=1, rate=2, seconds_left=0, cost=0.01, emulated=True)
    assert render(whole) == "run: 10/10, 100%, 1 error, $0.0100 emulated, 2.0/s"
    assert render(Standing(99_999, 100_000)).startswith("run: 99999/100000, 99%")
    assert "paused" in render(Standing(1, 10, note="paused"), 30)


@given(
    done=st.integers(0, 10**7),
    more=st.integers(0, 10**7),
    errors=st.integers(0, 10**7),
    rate=st.none() | st.floats(0, 1e6),
    left=st.none() | st.floats(0, 1e12),
    tokens=st.integers(0, 10**13),
    cost=st.floats(0, 1e6),
    emulated=st.booleans(),
    width=st.integers(20, 200),
)
def test_the_count_survives_and_nothing_is_too_wide(
    done: int,
    more: int,
    errors: int,
    rate: float | None,
    left: float | None,
    tokens: int,
    cost: float,
    emulated: bool,
    width: int,
) -> None:
    standing = Standing(done, done + more, errors, rate, left, tokens, cost, emulated)
    line = render(standing, width)
    assert f"{done}/{done + more}" in line
    assert len(line) <= width
    assert line.isascii()
    assert line.isprintable()


def test_times() -> None:
    spans = {0.2: "0s", 59.6: "1m00s", 125: "2m05s", 12_000: "3h20m", 367_200: "4d06h"}
    assert {seconds: span(seconds) for seconds in spans} == spans
    assert span(1e12) == "ages"


def test_the_rate_is_that_of_late() -> None:
    meter = Meter(100.0, done=500)
    assert meter.rate(100.0) is None
    assert meter.seconds_left(100.0, 1000) is None
    for second in range(1, 11):
        meter.note(100.0 + second, 500 + 10 * second)
    assert meter.rate(110.0) == pytest.approx(10)
    assert meter.seconds_left(110.0, 1000) == pytest.approx(40)
    for second in range(11, 101):
        meter.note(100.0 + second, 600 + (second - 10))
    assert meter.rate(200.0) == pytest.approx(1)
    # Where nothing ends any more, the rate falls, and the time that is left grows.
    assert meter.rate(260.0) == pytest.approx(30 / 90, rel=0.1)


def test_the_meter_keeps_little_however_fast_lines_end() -> None:
    meter = Meter(0.0)
    for number in range(100_000):
        meter.note(number / 1000, number)
    assert len(meter._seen) < 100  # pyright: ignore[reportPrivateUsage]
    assert meter.rate(100.0) == pytest.approx(1000, rel=0.05)


def test_a_pipe_gets_plain_lines_now_and_then() -> None:
    out = io.StringIO()
    with BatchProgress(out) as progress:
        for tenth in range(120):
            progress.update(Standing(tenth, 200), tenth / 10)
        progress.say("a word")
    assert out.getvalue().splitlines() == [
        "runware-ws: run: 50/200, 25%, $0.0000",
        "runware-ws: run: 100/200, 50%, $0.0000",
        "runware-ws: a word",
    ]


def test_quiet_tells_only_what_is_said() -> None:
    out = io.StringIO()
    with BatchProgress(out, quiet=True) as progress:
        progress.update(MIDDLE, 0.0)
        progress.update(MIDDLE, 100.0)
        progress.say("a word")
    assert out.getvalue() == "runware-ws: a word\n"


def test_a_stream_that_is_gone_ends_nothing() -> None:
    out = io.StringIO()
    progress = BatchProgress(out)
    out.close()
    with progress:
        for second in range(0, 30, 5):
            progress.update(MIDDLE, second)
        progress.say("a word")
    assert not BatchProgress(out).due(100.0)


_MARK = b"\x1b[mark"


class Terminal:
    """A pseudo-terminal of 30 columns, and what stands on it."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
        self.lines, self.cursor = [""], True
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")

    def shown(self) -> list[str]:
        """The lines that a user sees, and whether the cursor is (``|``) at the end."""
        # A mark behind it, because the kernel may hand on what was written piece by piece.
        os.write(self.stream.fileno(), _MARK)
        read = b""
        while not read.endswith(_MARK):
            read += os.read(self.master, 100_000)
        text = read.removesuffix(_MARK).decode()
        while text:
            if text.startswith("\x1b[2K"):
                self.lines[-1], text = "", text[4:]
            elif text.startswith(("\x1b[?25l", "\x1b[?25h")):
                self.cursor, text = text[5] == "h", text[6:]
            elif text.startswith("\r\n"):
                self.lines, text = [*self.lines, ""], text[2:]
            elif text[0] == "\r":
                text = text[1:]
            else:
                self.lines[-1], text = self.lines[-1] + text[0], text[1:]
        return [*self.lines[:-1], self.lines[-1] + ("|" if self.cursor else "")]

    def close(self) -> None:
        self.stream.close()
        os.close(self.master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_a_narrow_terminal_shows_the_count(terminal: Terminal) -> None:
    with BatchProgress(terminal.stream) as progress:
        progress.update(MIDDLE, 0.0)
        progress.update(Standing(999, 5000), 0.05)  # Too soon.
        assert terminal.shown() == ["run 412/5000  8%  3 errors"]
        progress.update(MIDDLE, 0.2)
        progress.say("a word")
        assert terminal.shown() == ["runware-ws: a word", "run 412/5000  8%  3 errors"]


def test_the_screen_is_clean_however_it_ends(terminal: Terminal) -> None:
    progress = BatchProgress(terminal.stream)
    with pytest.raises(KeyboardInterrupt), progress:  # noqa: PT012
        progress.update(MIDDLE, 0.0)
        terminal.stream.write("^C")
        raise KeyboardInterrupt
    progress.say("412 done")
    progress.update(MIDDLE, 100.0)
    assert terminal.shown() == ["runware-ws: 412 done", "|"]


def test_the_variable_for_the_width_counts(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    with BatchProgress(terminal.stream) as progress:
        progress.update(MIDDLE, 0.0)
        assert terminal.shown() == ["run 412/5000  8%"]


def test_a_dumb_terminal_is_a_pipe(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with BatchProgress(terminal.stream) as progress:
        progress.say("a word")
    assert terminal.shown() == ["runware-ws: a word", "|"]
