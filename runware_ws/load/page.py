"""The report as one HTML page that needs nothing else: readable on a phone, and in the dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from runware_ws.load.charts import Axis, Band, Curve, chart, nice_ticks, tail_ticks
from runware_ws.load.compare import Change, quantile_of_bins

__all__ = ["make_page"]

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--dim:#5b6470;--grid:#e3e7ec;--box:#f5f7f9;
--a:#0b62c4;--b:#c2410c;--c:#7c3aed;--bad:#b91c1c;--good:#15803d;--band:#b91c1c1f}
@media(prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e6e9ed;--dim:#9aa4b0;--grid:#2b3138;
--box:#1c2127;--a:#6cb2ff;--b:#ffa261;--c:#c4a1ff;--bad:#ff8080;--good:#6fdc8c;--band:#ff80802b}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:1180px;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.35rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.4rem 0 .5rem}
p{margin:.3rem 0}.dim{color:var(--dim)}
.cards{display:grid;
grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem;margin:1rem 0}
.card{background:var(--box);border-radius:.5rem;padding:.6rem .8rem}
.card b{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}
.card span{color:var(--dim);font-size:.85rem}
.two{display:grid;
grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem 1.5rem}
figure{margin:0}figcaption{font-weight:600;margin-bottom:.2rem}
svg{display:block;width:100%;height:auto}svg text{fill:var(--dim);font:11px system-ui,sans-serif}
@media(max-width:30rem){svg text{font-size:14px}}
.grid{stroke:var(--grid)}.line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
.a{stroke:var(--a);--key:var(--a)}.b{stroke:var(--b);--key:var(--b)}.c{stroke:var(--c);--key:var(--c)}
.x{stroke:var(--bad);--key:var(--bad)}.g{stroke:var(--dim);--key:var(--dim);stroke-dasharray:4 3}
.band{fill:var(--band)}.mark{fill:var(--good);opacity:.75}
.legend{font-size:.85rem;color:var(--dim)}.legend span{margin-right:1rem;white-space:nowrap}
.legend span::before{content:"";display:inline-block;width:1rem;height:.2rem;border-radius:.1rem;
vertical-align:middle;margin-right:.35rem;background:var(--key)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid var(--grid);white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal}th{color:var(--dim);font-weight:600}
.bad{color:var(--bad)}.good{color:var(--good)}
.note{border-left:.25rem solid var(--bad);background:var(--box);padding:.5rem .8rem;margin:.8rem 0}
"""


def make_page(
    report: Mapping[str, Any],
    changes: Sequence[Change] = (),
    broken: Sequence[str] = (),
) -> str:
    """The page of a report. ``broken``: what it should have kept and did not."""
    body = [
        f"<h1>Load: {escape(str(report['target']))}</h1>",
        f'<p class="dim">{escape(_setup(report))}</p>',
        *_notes(report, broken),
        _cards(report),
        '<div class="two">',
        _figure("Latency over time", _latency_chart(report)),
        _figure("Throughput against the intended rate", _rate_chart(report)),
        _figure("Percentiles", _curve_chart(report)),
        _figure("Errors", _error_chart(report)),
        "</div>",
        *_tables(report, changes),
        f'<p class="dim">{escape(str(report["schema"]))}, {escape(str(report["made_at"]))}</p>',
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # Nothing may be fetched, whatever a server put into a name of an error.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none';style-src 'unsafe-inline'\">"
        '<link rel="icon" href="data:,">'
        f"<title>Load: {escape(str(report['target']))}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _setup(report: Mapping[str, Any]) -> str:
    model = report["model"]
    if model["kind"] == "closed":
        what = f"closed, {model['users']} users"
    elif model["kind"] == "trace":
        what = f"a trace of {model['starts']} starts"
    else:
        steps = [
            f"{first:g}/s for {seconds:g} s"
            if first == last
            else f"{first:g} to {last:g}/s in {seconds:g} s"
            for first, last, seconds in model["segments"]
        ]
        what = f"{model['kind']}, {', then '.join(steps)}"
    cores = f", {report['processes']} processes" if report["processes"] > 1 else ""
    return f"{what}; seed {report['seed']}{cores}"


def _notes(report: Mapping[str, Any], broken: Sequence[str]) -> Iterable[str]:
    if not report["own_lag_ok"]:
        yield (
            '<p class="note"><b>The generator was the bottleneck.</b> Its own lag (p99 '
            f"{_ms(report['own_lag_ms']['p99'])}) is more than 5 % of the p99 that is told here: "
            "use a lower rate, or more processes.</p>"
        )
    for words in broken:
        yield f'<p class="note bad">Not kept: {escape(words)}</p>'


def _cards(report: Mapping[str, Any]) -> str:
    latency = report["latency_intended_ms"]
    cards = [
        ("answered", f"{report['answered']:,} of {report['attempted']:,}"),
        ("p50 from the intended start", _ms(latency["p50"])),
        ("p99 from the intended start", _ms(latency["p99"])),
        ("longest", _ms(latency["max"])),
        ("answers a second", f"{report['rate']:.1f}"),
        ("lost", str(report["lost"])),
        ("run twice", _known(report["run_twice"])),
        ("wrong", str(report["wrong"])),
        ("unknown", str(report["unknown"])),
        ("reconnects", str(report["reconnects"])),
    ]
    if report["slo"] is not None:
        cards.insert(5, (f"good a second ({report['slo']})", f"{report['goodput']:.1f}"))
    inside = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in cards
    )
    return f'<div class="cards">{inside}</div>'


def _figure(title: str, inside: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{inside}</figure>"


# Charts


def _times(report: Mapping[str, Any]) -> tuple[list[float], Axis]:
    series = report["series"]
    count, width = len(series["intended"]), series["width_s"]
    end = max(count * width, width)
    ticks = [tick for tick in nice_ticks(end) if tick[0] <= end * 1.001]
    return [(number + 0.5) * width for number in range(count)], Axis("seconds", 0, end, ticks)


def _bands(report: Mapping[str, Any]) -> list[Band]:
    end = len(report["series"]["intended"]) * report["series"]["width_s"]
    bands = [
        Band(f"{each['order']} from {each['at_s']:g} s", each["at_s"], each["until_s"] or end)
        for each in report["faults"]
    ]
    return bands + [Band(f"reconnected at {at:g} s", at) for at in report["reconnects_s"]]


def _latency_chart(report: Mapping[str, Any]) -> str:
    times, x = _times(report)
    bins: list[list[tuple[int, int]]] = report["series"]["bins"]

    def line(name: str, style: str, share: float) -> Curve:
        values = [
            quantile_of_bins([b for b, _ in block], [n for _, n in block], share) for block in bins
        ]
        return Curve(
            name,
            style,
            [(at, None if v is None else v * 1e3) for at, v in zip(times, values, strict=True)],
        )

    lines = [line("longest", "x", 1.0), line("p99", "b", 0.99), line("p50", "a", 0.5)]
    high = max((y for each in lines for _, y in each.points if y is not None), default=1.0)
    return chart("Latency over time", x, _upward("ms", high), lines, _bands(report))


def _upward(name: str, high: float) -> Axis:
    ticks = nice_ticks(high)
    return Axis(name, 0, ticks[-1][0], ticks)


def _rate_chart(report: Mapping[str, Any]) -> str:
    times, x = _times(report)
    series, width = report["series"], report["series"]["width_s"]

    def line(name: str, style: str, key: str) -> Curve:
        return Curve(name, style, _smooth(times, series[key], width))

    lines = [line("intended", "g", "intended"), line("answered", "a", "done")]
    if report["slo"] is not None:
        lines.append(line("good, by intended start", "c", "good"))
    high = max((y or 0.0 for each in lines for _, y in each.points), default=1.0)
    return chart("Throughput", x, _upward("tasks a second", high), lines, _bands(report))


def _error_chart(report: Mapping[str, Any]) -> str:
    times, x = _times(report)
    width = report["series"]["width_s"]
    line = Curve("errors", "x", _smooth(times, report["series"]["errors"], width))
    high = max((y or 0.0 for _, y in line.points), default=0.0)
    return chart("Errors", x, _upward("errors a second", max(high, 1.0)), [line], _bands(report))


def _smooth(
    times: Sequence[float], counts: Sequence[int], width: float
) -> list[tuple[float, float | None]]:
    """Counts a second, over blocks of a second at least: in shorter ones they only rattle."""
    size = max(1, round(1 / width))
    return [
        (times[at], sum(counts[at : at + size]) / (width * len(counts[at : at + size])))
        for at in range(0, len(counts), size)
    ]


def _curve_chart(report: Mapping[str, Any]) -> str:
    count = report["latency_intended_ms"]["count"]
    ticks = tail_ticks(count)
    least = 0.3 / max(count, 20)

    def place(share: float) -> float:
        return -math.log10(max(1 - share, least))

    x = Axis("share of the answers", 0.0, 1.0, ticks, place)
    lines = [
        Curve("from the intended start", "b", [tuple(p) for p in report["curve_intended_ms"]]),
        Curve("from the send", "a", [tuple(p) for p in report["curve_sent_ms"]]),
    ]
    high = max((y or 0.0 for each in lines for _, y in each.points), default=1.0)
    return chart("Percentiles", x, _upward("ms", high), lines)


# Tables


def _tables(report: Mapping[str, Any], changes: Sequence[Change]) -> Iterable[str]:
    if changes:
        yield "<h2>Compared with the base</h2>"
        yield _table(("figure", "base", "now", "change", "between", ""), map(_changed, changes))
    yield "<h2>Latency</h2>"
    columns = ("p50", "p90", "p99", "p99.9", "max", "mean")
    rows = [
        ("from the intended start", report["latency_intended_ms"]),
        ("from the send", report["latency_sent_ms"]),
        ("to the first delta, from the send", report["first_delta_ms"]),
        ("for each further token", report["time_per_token_ms"]),
        ("the generator's own lag", report["own_lag_ms"]),
    ]
    names: Mapping[str, Any] = report["by_name_ms"]
    if len(names) > 1:
        rows += [(f"{name}, from the intended start", told) for name, told in names.items()]
    yield _table(
        ("", *columns, "count"),
        (
            (name, *(_ms(told[column]) for column in columns), f"{told['count']:,}")
            for name, told in rows
            if told["count"]
        ),
    )
    yield '<div class="two"><div><h2>The tally</h2>'
    yield _table(("", ""), _tally(report))
    yield "</div><div><h2>How answers came home</h2>"
    yield _table(("way", "answers"), _counted(report["recovered_by"]))
    yield "</div><div><h2>Errors</h2>"
    yield _table(("family", "tasks"), _counted(report["errors"]))
    yield "</div>"
    if report["faults"]:
        yield "<div><h2>Faults that were ordered</h2>"
        yield _table(
            ("order", "from", "until"),
            (
                (f["order"], f"{f['at_s']:g} s", "the end" if f["until_s"] is None
                 else f"{f['until_s']:g} s")
                for f in report["faults"]
            ),
        )  # fmt: skip
        yield "</div>"
    yield "</div>"


def _tally(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    server = "as the server counted" if report["lost_known_by"] == "server" else "may have run"
    yield "attempted", f"{report['attempted']:,}"
    yield "answered", f"{report['answered']:,}"
    yield f"lost ({server})", f"{report['lost']:,}"
    yield "run twice", _known(report["run_twice"])
    checked = f" ({report['answers_checked']:,} answers checked)"
    yield f"wrong{checked if report['answers_checked'] else ''}", f"{report['wrong']:,}"
    yield "unknown", f"{report['unknown']:,}"
    yield "connections lost", f"{len(report['losses_s']):,}"
    yield "tokens a second", f"{report['tokens_per_s']:,.1f}"
    yield "cost", f"${report['cost']:.4f}"


def _counted(counts: Mapping[str, int]) -> Iterable[tuple[str, str]]:
    yield from ((name, f"{count:,}") for name, count in counts.items())
    if not counts:
        yield "none", "0"


def _changed(change: Change) -> tuple[str, ...]:
    def percent(value: float) -> str:
        return f"{value * 100:+.1f} %"

    share = change.figure == "error_rate"
    values = [f"{v * 100:.2f} %" if share else _ms(v) for v in (change.base, change.now)]
    between = f"{percent(change.low)} and {percent(change.high)}"
    return change.figure, *values, percent(change.change), between, change.verdict


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head) if any(head) else ""
    styles = {"worse": ' class="bad"', "better": ' class="good"'}
    body = "".join(
        "<tr>" + "".join(f"<td{styles.get(cell, '')}>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _known(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"  # noqa: RUF001 (typography)
    if value >= 10_000:
        return f"{value / 1e3:.1f} s"
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"
