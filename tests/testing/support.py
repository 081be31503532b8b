"""What the tests of the test kit share."""

from __future__ import annotations

import pytest

from runware_ws import testing as testing  # loaded once, before the first run inside this process

HEAD = """
import anyio
import pytest
from runware_ws import Client, TaskError, TextInference
from runware_ws.testing import *

def ask(client_of, *prompts, **options):
    async def main():
        async with client_of(**options) as client:
            return [(await client.run(TextInference.prompt(each))).text for each in prompts]
    return anyio.run(main)
"""


def run(pytester: pytest.Pytester, body: str, *args: str) -> pytest.RunResult:
    """Run a test file in this process, with warnings as errors."""
    pytester.makepyfile(HEAD + body)
    return pytester.runpytest_inprocess(
        *("-p", "pytest_runware_ws", "--strict-markers", "-W", "error"),
        # Runs inside one process share what is imported.
        *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
        *("-p", "no:hypothesispytest"),  # slow to load, and not in question
        *("-o", "asyncio_default_fixture_loop_scope=function"),
        *args,
    )
