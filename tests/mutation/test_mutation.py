"""The mutants are where they are said to be, and a handful of them is noticed by its test."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import runware_ws
from tests.mutation.listed import MUTANTS
from tests.mutation.mutants import Mutant, Stale
from tests.mutation.run import ROOT, tried

PACKAGE = Path(runware_ws.__file__).parent

SAMPLE = (
    "the bytes of a large message in the making are no sign of life",
    "a resend waits for no registration",
    "one kind of question is enough to send again",
    "a stream that is given up in an outage is read for ever",
)
"""Some of those that die by a test of the core; ``python -m tests.mutation`` tries all."""

HARMLESS = Mutant(
    "nothing at all",
    "_core/tasks/claims.py",
    "MOST_ITEMS = 32\n",
    "MOST_ITEMS = 31 + 1\n",
    "tests/core/test_second_tries.py",
)


@cache
def _whole(file: str) -> tuple[str, str]:
    """The text of a file, and what it means."""
    text = (PACKAGE / file).read_text(encoding="utf-8")
    return text, ast.dump(ast.parse(text))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code_as_it_is(mutant: Mutant) -> None:
    text, tree = _whole(mutant.file)
    changed = mutant.applied(text)
    assert changed != text
    assert ast.dump(ast.parse(changed)) != tree
    if mutant.test:
        assert (ROOT / mutant.test.partition("::")[0]).is_file()


def test_each_has_a_name_of_its_own_and_there_are_enough() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    places = {mutant.file.rpartition("/")[0] for mutant in MUTANTS}
    assert {"_core", "_core/recovery", "_core/connection", "_core/tasks"} < places
    assert {"_io", "_io/transport", "client", "cli", "batch"} < places


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_mutant_dies(name: str) -> None:
    (mutant,) = (each for each in MUTANTS if each.name == name)
    verdict = tried(mutant)
    assert verdict.became == "killed", verdict.how
    assert verdict.how.startswith("FAILED tests/core/")


@pytest.mark.slow
def test_one_that_nobody_notices_lives() -> None:
    verdict = tried(HARMLESS)
    assert (verdict.became, verdict.good) == ("lived", False)


def test_one_that_is_stale_is_told_with_its_text() -> None:
    stale = Mutant("old news", HARMLESS.file, "no such text\n", "")
    with pytest.raises(Stale, match="'old news' is stale: its text stands 0 times"):
        stale.applied((PACKAGE / stale.file).read_text(encoding="utf-8"))
    verdict = tried(stale)
    assert (verdict.became, verdict.good) == ("stale", False)
    assert "no such text" in verdict.how


@pytest.mark.slow
@pytest.mark.parametrize("test", ["", HARMLESS.test], ids=["seeds", "a test"])
def test_one_that_breaks_the_package_proves_nothing(test: str) -> None:
    broken = Mutant("a typing error", HARMLESS.file, HARMLESS.old, "MOST_ITEMS = (\n", test)
    verdict = tried(broken)
    assert (verdict.became, verdict.good) == ("broken", False)
