"""The page: complete, harmless, and looked at in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from runware_ws.load import Arrivals, Recorder, Sample, Slo, TimedFault, parse_rate
from runware_ws.load.charts import nice_ticks, tail_ticks
from runware_ws.load.compare import compare
from runware_ws.load.page import make_page
from runware_ws.load.report import RunFacts, block_width, make_report
from runware_ws.load.targets import Answer, Unanswered
from tests.load.test_compare import run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NASTY = "<script>alert('&')</script>"


def whole_report() -> dict[str, Any]:
    recorder = Recorder(block_width(20), slo=0.3)
    for number in range(2_000):
        at = number / 100
        recorder.start(at, 0.001)
        latency = 0.1 + (number % 97) / 1e3 + (1.5 if 8 <= at < 9 else 0)
        sample = Sample("task", "u", at, at + 0.001, at + latency)
        if number % 200 == 7:
            sample.unanswered = Unanswered(NASTY, left=True)
        else:
            way = "replay" if 8 <= at < 9 else "live"
            sample.answer = Answer(("x",), way, tokens=20, cost=0.001)
            sample.first_delta = at + 0.05
        recorder.take(sample)
    for at in (8.1, 8.6, 12.0):
        recorder.connection(at, up=False)
        recorder.connection(at + 0.3, up=True)
    fault = TimedFault("cut-every=2s", 8.0, 9.0).told()
    facts = RunFacts(NASTY, lost=0, run_twice=0, faults=(fault,), slo=Slo(0.99, 0.3))
    return make_report(recorder, Arrivals(parse_rate("100", 20)), facts)


class Reader(HTMLParser):
    """Collects tags and texts, and that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for name, v in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_tells_all_of_it() -> None:
    report = whole_report()
    changes = compare(run(1), run(2, factor=1.3), draws=50)
    found = read(make_page(report, changes, ["p99<1s: p99 is 1.6"]))
    assert found.tags.count("svg") == 4
    text = " ".join(found.texts)
    for words in ("1,990 of 2,000", "run twice", "cut-every=2s", "replay", "Not kept: p99<1s",
                  "p99.9", "from the send", "own lag", "worse", "8 s"):  # fmt: skip
        assert words in text, words
    # Shaded, and three marks, in each chart over time.
    assert make_page(report).count('class="band"') == 3
    assert make_page(report).count('class="mark"') == 9


def test_the_page_runs_and_fetches_nothing() -> None:
    page = make_page(whole_report())
    found = read(page)
    assert "script" not in found.tags
    assert NASTY in " ".join(found.texts)
    assert found.links == ["data:,"]
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|url\(|@import|//\w", page)


def test_a_run_without_an_answer_has_a_page() -> None:
    model = Arrivals(parse_rate("1", 1))
    assert "0 of 0" in make_page(make_report(Recorder(1.0), model, RunFacts("nothing")))


@pytest.mark.parametrize("high", [0.0, 0.03, 1, 7, 10, 99.9, 100, 12_345])
def test_ticks_are_round_and_few(high: float) -> None:
    ticks = nice_ticks(high)
    assert ticks[-1][0] >= high
    assert 2 <= len(ticks) <= 8
    assert all(len(text) <= 6 for _, text in ticks)
    assert [text for _, text in tail_ticks(1000)] == ["0%", "50%", "90%", "99%", "99.9%"]


WRAPPER = """<!doctype html><body style="margin:0"><iframe id=f style="border:0" width={width}
height=2000></iframe><pre id=out></pre><script>
const frame = document.getElementById("f");
frame.onload = () => {{
  const inner = frame.contentDocument, root = inner.documentElement;
  const shown = (e) => inner.defaultView.getComputedStyle(e);
  const boxes = [...inner.querySelectorAll("svg text")].map((t) => t.getBoundingClientRect());
  document.getElementById("out").textContent = JSON.stringify({{
    width: root.scrollWidth, page: shown(inner.body).backgroundColor, ink: shown(inner.body).color,
    charts: [...inner.querySelectorAll("svg")].map((s) => s.getBoundingClientRect().width),
    lines: [...inner.querySelectorAll("path.line")].map((p) => p.getTotalLength()),
    least: Math.min(...boxes.map((box) => box.height)),
    right: Math.max(...boxes.map((box) => box.right)),
  }});
}};
frame.srcdoc = {page};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: .ci/run installs one")
@pytest.mark.parametrize(
    ("width", "dark"), [pytest.param(390, True, marks=pytest.mark.slow), (1200, False)]
)
def test_the_page_in_a_browser(width: int, dark: bool, tmp_path: Path) -> None:
    page = json.dumps(make_page(whole_report())).replace("</", "<\\/")
    file = tmp_path / "wrapper.html"
    file.write_text(WRAPPER.format(width=width, page=page), "utf-8")
    done = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"),
            *(f"--blink-settings=preferredColorScheme={0 if dark else 1}", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = re.search(r'<pre id="out">(\{.*?\})</pre>', done.stdout)
    assert told is not None, done.stdout[-2000:]
    seen = json.loads(told[1])
    # Nothing is cut off or scrolls sideways, and all that is written can be read.
    assert seen["width"] <= width
    assert seen["right"] <= width
    assert seen["least"] >= 10
    assert len(seen["charts"]) == 4
    assert min(seen["charts"]) > 300
    assert min(seen["lines"]) > 100
    paper, ink = (sum(map(int, re.findall(r"\d+", seen[key])[:3])) for key in ("page", "ink"))
    assert (paper < 150 and ink > 600) if dark else (paper > 700 and ink < 150)
