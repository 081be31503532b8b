"""What the pytest plugin does once a test uses it. The hooks are in ``pytest_runware_ws``."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from runware_ws.testing.emulated import ScriptedEmulator

__all__ = ["emulator_for", "judge", "tell"]

_EMULATOR = pytest.StashKey[ScriptedEmulator]()
_MOST = 50  # requests in a report


@contextmanager
def emulator_for(item: pytest.Item, monkeypatch: pytest.MonkeyPatch) -> Generator[ScriptedEmulator]:
    """A running emulator as the test's ``runware`` markers say; the nearest one has the last word.

    What goes wrong after the test's own end fails its teardown.
    """
    options: dict[str, object] = {}
    for marker in reversed(list(item.iter_markers("runware"))):
        if marker.args:
            raise pytest.UsageError("the marker runware takes arguments with names only")
        options.update(marker.kwargs)
    try:
        emulator = ScriptedEmulator(**options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as exc:
        raise pytest.UsageError(f"{item.nodeid}: bad marker runware: {exc}") from None
    with emulator:
        monkeypatch.setenv("RUNWARE_API_KEY", emulator.api_key)
        monkeypatch.setenv("RUNWARE_WS_URL", emulator.url)
        item.stash[_EMULATOR] = emulator
        yield emulator


def judge(item: pytest.Item) -> None:
    """Fail the test where its emulator was not asked what was expected."""
    emulator = item.stash.get(_EMULATOR, None)
    if emulator is None:
        return
    problems = emulator.problems()
    if problems:
        tell(item, [])
        lines = "\n  ".join(["Runware was not asked what was expected:", *problems])
        pytest.fail(lines, pytrace=False)


def tell(item: pytest.Item, problems: list[str] | None = None) -> None:
    """Add to the report of a test that failed what its emulator was asked."""
    emulator = item.stash.get(_EMULATOR, None)
    if emulator is None:
        return
    asked = emulator.requests
    lines = [f"{number}. {each}" for number, each in enumerate(asked[:_MOST], 1)]
    if len(asked) > _MOST:
        lines.append(f"… and {len(asked) - _MOST} more")
    wrong = emulator.problems() if problems is None else problems
    lines += [f"! {each}" for each in wrong]
    item.add_report_section("call", "runware requests", "\n".join(lines) or "none")
