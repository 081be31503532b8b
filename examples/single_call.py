"""Ask one question and print the answer, what it cost, and how it came home.

Run it as ``python examples/single_call.py``. Without ``RUNWARE_API_KEY`` it talks to a local
emulator, which echoes the question.
"""

from __future__ import annotations

import asyncio

from _server import server

from runware_ws import Client, RunwareError, Settings, TextInference


async def main() -> None:
    # A request is checked when it is made: a wrong field raises InvalidTask here, not later.
    task = TextInference.prompt(
        "Why is the sky blue? One sentence.",
        settings=Settings(system_prompt="You explain things to children.", max_tokens=200),
        include_usage=True,
        include_cost=True,
    )

    # One client is one connection. It lives as long as your program; make it once.
    async with server() as (url, key), Client(url, api_key=key) as client:
        try:
            # `timeout` is wall to wall: it covers the dial, and every reconnect on the way.
            result = await client.run(task, timeout=60)
        except RunwareError as error:
            # Every error tells whether the server got the task, and whether another try is safe.
            print(f"failed: {error} (submitted: {error.submitted})")
            raise SystemExit(1) from error

    print("answer:      ", result.text)
    print("finished by: ", result.finish_reason)
    if result.usage is not None:
        print("tokens:      ", result.usage.input_tokens, "in,", result.usage.output_tokens, "out")
    if result.cost is not None:
        print(f"cost:         ${result.cost:.6f}")
    # "live" in calm weather; "replay" where the socket was cut and the session was resumed.
    print("came home by:", result.recovered_by)


if __name__ == "__main__":
    asyncio.run(main())
