"""The published client at its defaults, through a gateway, while everything is cut and killed.

``python -m tests.gateway.cuts`` asks ``--requests`` times; each first try, and half of the second
ones, is cut after the gateway has the request: before, within or behind the answer. Meanwhile the
gateway is killed ``--kills`` times and replaced ``--rolls`` times (SIGTERM, the new process on the
same port), and with ``--upstream`` its connection to the server is cut that often a second. Told at
the end: how many were lost, run twice, wrong.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anthropic
import anyio
import httpx2

from runware_ws.emulator import EmulatorProcess
from tests.gateway.processes import KEY, Cuts, GatewayProcess, proxy


@dataclass
class Tally:
    """``lost``: how requests ended that got no answer, and how often. ``shared``: answers that
    another request with the same body got, too."""

    asked: int = 0
    answered: int = 0
    wrong: int = 0
    executed: int = 0
    cuts: int = 0
    shared: int = 0
    lost: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def clean(self) -> bool:
        """Whether all is as promised."""
        return self.executed == self.answered == self.asked and not self.wrong and not self.lost


async def run(
    *,
    requests: int,
    at_once: int = 50,
    seed: int = 1,
    cut: float = 1.0,
    kills: int = 0,
    rolls: int = 0,
    upstream: float = 0.0,
    retries: int = 2,
    latency: str = "20ms-80ms",
    stream: bool = False,
    equal: int = 1,
) -> Tally:
    """One run. ``cut``: the share of first tries that are cut. ``equal``: so many requests have
    one body."""
    tally = Tally(asked=requests)
    cuts = Cuts(seed, cut)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            emulator = await stack.enter_async_context(EmulatorProcess(KEY, latency=latency))
            if upstream:
                await emulator.repeat([["cut"]], every=1 / upstream)
            journal = f"sqlite:{Path(folder) / 'gateway.db'}?synchronous=NORMAL"
            gateway = GatewayProcess(
                *("--url", emulator.url, "--journal", journal, "--reuse-port", "--drain", "20")
            )
            await stack.enter_async_context(gateway)
            url = gateway.url
            if cut:
                url = await stack.enter_async_context(proxy(lambda: gateway.port, cuts))
            async with anyio.create_task_group() as group:
                group.start_soon(_trouble, gateway, kills, rolls)
                await _ask_all(url, tally, at_once, retries, stream, equal)
                group.cancel_scope.cancel()
            tally.executed = (await emulator.stats())["executed"]
    tally.cuts = cuts.made
    return tally


async def _trouble(gateway: GatewayProcess, kills: int, rolls: int) -> None:
    for number in range(kills + rolls):
        await anyio.sleep(2.0)
        # A cancellation in its midst would leave a process that nobody ends.
        with anyio.CancelScope(shield=True):
            if number < kills:
                await gateway.end(signal.SIGKILL)
                await gateway.start()
            else:
                await _roll(gateway)


async def _roll(gateway: GatewayProcess) -> None:
    old = gateway.process
    await gateway.start()
    new, gateway.process = gateway.process, old
    await gateway.end(signal.SIGTERM)
    gateway.process = new


async def _ask_all(
    url: str, tally: Tally, at_once: int, retries: int, stream: bool, equal: int
) -> None:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    limiter = anyio.CapacityLimiter(at_once)
    ids: set[str] = set()
    async with (
        httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False) as http,
        anyio.create_task_group() as group,
    ):
        client = anthropic.AsyncAnthropic(
            base_url=url, api_key="any", http_client=http, max_retries=retries
        )

        async def ask(number: int) -> None:
            text = f"question {number // equal}"
            try:
                async with limiter:
                    message = await _ask(client, text, stream)
            except (anthropic.APIError, httpx2.HTTPError) as exc:
                name = f"{type(exc).__name__}: {str(exc)[:120]}"
                tally.lost[name] = tally.lost.get(name, 0) + 1
                return
            tally.answered += 1
            block = message.content[0]
            right = block.type == "text" and block.text.endswith(f": {text}")
            tally.wrong += not right or (equal == 1 and message.id in ids)
            tally.shared += message.id in ids
            ids.add(message.id)

        for number in range(tally.asked):
            group.start_soon(ask, number)


async def _ask(
    client: anthropic.AsyncAnthropic, text: str, stream: bool
) -> anthropic.types.Message:
    if not stream:
        return await client.messages.create(
            model="claude-haiku-4-5",
            max_tokens=64,
            messages=[{"role": "user", "content": text}],
        )
    async with client.messages.stream(
        model="claude-haiku-4-5", max_tokens=64, messages=[{"role": "user", "content": text}]
    ) as events:
        return await events.get_final_message()


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cut", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--rolls", type=int, default=0)
    parser.add_argument("--upstream", type=float, default=0.0)
    parser.add_argument("--retries", type=int, default=2)
    parser.add_argument("--latency", default="20ms-80ms")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--equal", type=int, default=1)
    given = parser.parse_args()

    async def program() -> Tally:
        return await run(**vars(given))

    tally = anyio.run(program)
    print(tally)
    return 0 if tally.clean else 1


if __name__ == "__main__":
    sys.exit(main())
