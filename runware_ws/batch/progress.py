"""What a user sees of a batch while it runs: one line, drawn again and again, or plain lines.

:func:`render` is pure: it says what fits into a width. What is told first is what survives in a
narrow window: the count, then the percentage, errors, time left, cost, rate, tokens, and a bar in
whatever is left over. :class:`BatchProgress` draws it.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import TextIO

__all__ = ["BatchProgress", "Meter", "Standing", "render", "span"]

_PAUSE_LIVE = 0.1
_PAUSE_PLAIN = 5.0
_WINDOW = 30.0
_BAR_LEAST, _BAR_MOST = 8, 40


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a batch is.

    ``done`` counts every line that needs nothing more, ``errors`` of them with an error. ``rate``:
    lines a second, of late; ``None``: not known yet. ``cost`` is US dollars of all runs of the
    output. ``note``: one word or two on what holds it up (``"paused"``).
    """

    done: int
    total: int
    errors: int = 0
    rate: float | None = None
    seconds_left: float | None = None
    tokens: int = 0
    cost: float = 0.0
    emulated: bool = False
    note: str = ""


def span(seconds: float) -> str:
    """A time for people: ``8s``, ``2m05s``, ``3h20m``, ``4d06h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h" if days < 1000 else "ages"


def _brief(number: float) -> str:
    """A count for people: ``950``, ``12.3k``, ``4.5M``."""
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= bound:
            return f"{number / bound:.1f}{unit}"
    return f"{number:.0f}"


def _parts(standing: Standing) -> list[str]:
    """All there is to tell, the most important first."""
    done, total = standing.done, standing.total
    # Only what is done is a hundred percent.
    share = 100 if done >= total else min(99, 100 * done // total)
    parts = [f"{done}/{total}", f"{share}%"]
    if standing.errors:
        parts.append(f"{standing.errors} error" + ("s" if standing.errors > 1 else ""))
    if standing.note:
        parts.append(standing.note)
    if standing.seconds_left is not None and done < total:
        parts.append(f"{span(standing.seconds_left)} left")
    parts.append(f"${standing.cost:.4f}" + (" emulated" if standing.emulated else ""))
    if standing.rate is not None:
        rate = standing.rate
        parts.append(f"{rate:.1f}/s" if rate < 100 else f"{_brief(rate)}/s")
    if standing.tokens:
        parts.append(f"{_brief(standing.tokens)} tokens")
    return parts


def render(standing: Standing, width: int | None = None, *, verb: str = "run") -> str:
    """One line of at most ``width`` columns, without its end. ``None``: all of it, and no bar.

    The count is never cut off: if even that does not fit, it is all there is.
    """
    parts = _parts(standing)
    if width is None:
        return f"{verb}: " + ", ".join(parts)
    count = parts[0]
    line = count
    for part in parts[1:]:
        longer = f"{line}  {part}"
        if len(longer) > width:
            break
        line = longer
    if len(line) + len(verb) + 1 <= width:
        line = f"{verb} {line}"
    room = min(_BAR_MOST, width - len(line) - 1)
    if room >= _BAR_LEAST:
        full = room if standing.done >= standing.total else room * standing.done // standing.total
        head, _, tail = line.partition(count)
        line = f"{head}{'#' * full}{'-' * (room - full)} {count}{tail}"
    return line


class Meter:
    """The rate of a batch over the last half minute, and from it the time that is left.

    Time is an argument, in seconds. What earlier runs did does not count as speed.
    """

    def __init__(self, now: float, done: int = 0) -> None:
        self._seen: deque[tuple[float, int]] = deque([(now, done)])

    def note(self, now: float, done: int) -> None:
        """So many lines are done by now."""
        last, _ = self._seen[-1]
        if now - last < _WINDOW / 60 and len(self._seen) > 1:
            self._seen[-1] = (last, done)  # Bounded, however fast lines end.
        else:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW:
            self._seen.popleft()

    def rate(self, now: float) -> float | None:
        """Lines a second; ``None`` until something was seen."""
        since, before = self._seen[0]
        done = self._seen[-1][1] - before
        return done / (now - since) if done > 0 and now > since else None

    def seconds_left(self, now: float, total: int) -> float | None:
        """Seconds until all are done, at this rate; ``None`` without one."""
        rate = self.rate(now)
        return None if rate is None else max(0, total - self._seen[-1][1]) / rate


class BatchProgress:
    """Draws on ``stream``: one live line on a terminal, otherwise a plain line now and then.

    Use it as a context manager: the live line is gone afterwards, however the block was left, and
    the cursor is back. ``quiet``: nothing but :meth:`say` is told. Time is an argument, in seconds.
    """

    def __init__(self, stream: TextIO, *, verb: str = "run", quiet: bool = False) -> None:
        self._stream, self._verb = stream, verb
        self._live = not quiet and _is_terminal(stream)
        self._plain = not quiet and not self._live
        self._drawn = ""
        self._next: float | None = None
        self._open = False

    def __enter__(self) -> BatchProgress:
        self._open = True
        if self._live:
            self._put("\x1b[?25l")
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        if self._live:
            # Also what the terminal echoed for Ctrl-C (``^C``) goes.
            self._put("\r\x1b[2K\x1b[?25h")
            self._drawn = ""

    def due(self, now: float) -> bool:
        """Whether it is time to draw again. Cheap: ask for each line."""
        if not (self._live or self._plain):
            return False
        if self._next is None and self._plain:
            self._next = now + _PAUSE_PLAIN
        return self._next is None or now >= self._next

    def update(self, standing: Standing, now: float) -> None:
        """Draw, if it is time."""
        if not self.due(now):
            return
        if self._live and self._open:
            self._next = now + _PAUSE_LIVE
            # The last column stays free: some terminals go to the next line there.
            self._drawn = render(standing, _width(self._stream) - 1, verb=self._verb)
            self._put(f"\r\x1b[2K{self._drawn}")
        elif self._plain:
            self._next = now + _PAUSE_PLAIN
            self._put(f"runware-ws: {render(standing, verb=self._verb)}\n")

    def say(self, message: str) -> None:
        """One line that stays, above the live one."""
        if self._live and self._open:
            self._put(f"\r\x1b[2Krunware-ws: {message}\n{self._drawn}")
        else:
            self._put(f"runware-ws: {message}\n")

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except UnicodeEncodeError:
            self._stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        except (OSError, ValueError):
            # Nobody looks any more (a closed terminal): the run itself goes on.
            self._live = self._plain = False


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # It is closed.
        return False


def _width(stream: TextIO) -> int:
    """The width of the terminal behind a stream; 80 where nobody tells."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
