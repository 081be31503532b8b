"""Charts as inline SVG: no script, no font, no network. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = ["Axis", "Band", "Curve", "chart", "nice_ticks", "tail_ticks"]

_WIDTH, _HEIGHT = 480, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 34


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: points of x and y, ``None`` where it breaks off. ``style`` is a CSS class."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Band:
    """A shaded time, or with one end only, a mark at a time. ``name`` shows when pointed at."""

    name: str
    first: float
    last: float | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``low`` to ``high``, with a text at each tick. ``place``: a value's way along it."""

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float] = field(default=lambda value: value)

    def along(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        low, high = self.place(self.low), self.place(self.high)
        return (self.place(value) - low) / (high - low or 1.0)


def nice_ticks(high: float, most: int = 6) -> list[tuple[float, str]]:
    """From 0 to at least ``high``, at round numbers."""
    rough = max(high, 1e-9) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * (1 - 1e-9))
    return [(n * step, f"{n * step:.6g}") for n in range(max(1, math.ceil(high / step - 1e-9)) + 1)]


def tail_ticks(count: int) -> list[tuple[float, str]]:
    """Shares for a percentile curve over so many values."""
    shares = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999]
    fitting = [share for share in shares if (1 - share) * max(count, 20) >= 1]
    return [(share, f"{share * 100:g}%") for share in fitting]


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Curve], bands: Sequence[Band] = ()) -> str:
    """An SVG, with its legend below."""
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(value: float) -> float:
        return _LEFT + width * min(max(x.along(value), 0.0), 1.0)

    def up(value: float) -> float:
        return _TOP + height * (1 - min(max(y.along(value), 0.0), 1.0))

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for band in bands:
        left = across(band.first)
        right = left + 1 if band.last is None else across(band.last)
        style = "mark" if band.last is None else "band"
        parts.append(
            f'<rect class="{style}" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 1):.1f}" '
            f'height="{height}"><title>{escape(band.name)}</title></rect>'
        )
    for value, text in y.ticks:
        at = up(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{_LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    for value, text in x.ticks:
        parts.append(
            f'<text x="{across(value):.1f}" y="{_HEIGHT - _BOTTOM + 15}" '
            f'text-anchor="middle">{escape(text)}</text>'
        )
    parts.append(
        f'<text x="{_LEFT + width / 2}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{escape(x.name)}</text>"
        f'<text x="{_LEFT + 4}" y="{_TOP + 12}">{escape(y.name)}</text>'
    )
    for line in lines:
        path = _path([(across(a), None if b is None else up(b)) for a, b in line.points])
        parts.append(
            f'<path class="line {line.style}" d="{path}"><title>{escape(line.name)}</title></path>'
        )
    parts.append("</svg>")
    legend = "".join(f'<span class="{line.style}">{escape(line.name)}</span>' for line in lines)
    return f'{"".join(parts)}<p class="legend">{legend}</p>'


def _path(points: Sequence[tuple[float, float | None]]) -> str:
    """Moves and lines; a point between two gaps is drawn as a dot."""
    words: list[str] = []
    pen_up = True
    for number, (x, y) in enumerate(points):
        if y is None:
            pen_up = True
            continue
        words.append(f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}")
        following = points[number + 1][1] if number + 1 < len(points) else None
        if pen_up and following is None:
            words.append("h0.1")
        pen_up = False
    return "".join(words)
