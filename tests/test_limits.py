"""Every test has a limit of time: what is noticed where one has none."""

from __future__ import annotations

import pytest

from tests.limits import MOST, unlimited

SCOPE = "asyncio_default_fixture_loop_scope = function"
TESTS = """
    import pytest

    def test_like_all(): ...

    @pytest.mark.timeout(5)
    def test_less(): ...

    @pytest.mark.timeout(timeout=5)
    def test_less_by_name(): ...

    @pytest.mark.timeout(0)
    def test_none(): ...

    @pytest.mark.timeout(100_000)
    def test_more(): ...
"""


def test_those_without_one_are_told(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\ntimeout = {MOST:g}\n{SCOPE}\n")
    told = unlimited(pytester.getitems(TESTS))
    assert [each.partition("::")[2] for each in told] == ["test_none: 0 s", "test_more: 100000 s"]


def test_without_a_general_one_all_are_told(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\n{SCOPE}\n")
    told = unlimited(pytester.getitems(TESTS))
    assert len(told) == 3
    assert told[0].endswith("test_like_all: 0 s")


def test_a_run_with_one_of_them_does_not_begin(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\ntimeout = {MOST:g}\n{SCOPE}\n")
    pytester.makeconftest("from tests.conftest import pytest_collection_modifyitems")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*without a limit of time*test_none*test_more*"])
    assert not result.parseoutcomes()


def test_one_that_hangs_ends(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\ntimeout = 0.2\n{SCOPE}\n")
    pytester.makepyfile("import time\ndef test_hangs(): time.sleep(60)")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Timeout*"])
