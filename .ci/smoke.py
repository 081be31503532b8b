"""One task through the emulator, with nothing installed but the core dependencies."""

import sys

import anyio

from runware_ws import Client, TextInference
from runware_ws.emulator import Emulator


async def main() -> None:
    """Run one task and check its answer."""
    async with (
        Emulator(api_key="smoke") as emulator,
        Client(emulator.url, api_key="smoke") as client,
    ):
        emulator.faults.cut_after(results=1)
        first = await client.run(TextInference.prompt("one"), timeout=10)
        second = await client.run(TextInference.prompt("two"), timeout=10)
    assert first.text
    assert second.text
    assert not emulator.stats.executed_twice
    extras = {"typer", "rich", "trio", "uvloop", "pytest"} & set(sys.modules)
    assert not extras, f"the core imported extras: {extras}"
    print("core dependencies alone: works")


anyio.run(main)
