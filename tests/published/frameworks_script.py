"""Drives one framework, which knows the gateway by its address alone.

Argument: the framework. Each line of its input is a case: name, address of the gateway, prompt.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

guard: Any = importlib.import_module("guard")
guard.watch()
anthropic: Any = importlib.import_module("anthropic")

MODEL = "claude-haiku-4-5"
KEY = "any"


class Weather(BaseModel):
    """What the tool of these tests is called with."""

    city: str
    days: int


TOOL = {"name": "Weather", "input_schema": Weather.model_json_schema()}
FORCED = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "Weather"}}
Found = dict[str, Any]


def asked(prompt: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": prompt}]
    return {"model": MODEL, "max_tokens": 1024, "messages": messages, **more}


async def sync_client(case: str, url: str, prompt: str) -> Found:
    ask = anthropic.Anthropic(base_url=url, api_key=KEY).messages
    if case == "stream":
        with ask.stream(**asked(prompt)) as stream:
            pieces = list(stream.text_stream)
        return {"text": "".join(pieces), "pieces": len(pieces)}
    if case == "tools":
        (block,) = ask.create(**asked(prompt, **FORCED)).content
        return {"tool": block.name, "arguments": block.input}
    return {"text": ask.create(**asked(prompt)).content[0].text}


async def async_client(case: str, url: str, prompt: str) -> Found:
    ask = anthropic.AsyncAnthropic(base_url=url, api_key=KEY).messages
    if case == "stream":
        async with ask.stream(**asked(prompt)) as stream:
            pieces = [text async for text in stream.text_stream]
        return {"text": "".join(pieces), "pieces": len(pieces)}
    if case == "tools":
        (block,) = (await ask.create(**asked(prompt, **FORCED))).content
        return {"tool": block.name, "arguments": block.input}
    return {"text": (await ask.create(**asked(prompt))).content[0].text}


async def langchain(case: str, url: str, prompt: str) -> Found:
    chat: Any = importlib.import_module("langchain_anthropic").ChatAnthropic
    model = chat(model=MODEL, base_url=url, api_key=KEY, max_tokens=1024)
    if case == "stream":
        pieces = [str(piece.text) async for piece in model.astream(prompt)]
        return {"text": "".join(pieces), "pieces": len([piece for piece in pieces if piece])}
    if case == "tools":
        bound = model.bind_tools([Weather], tool_choice="Weather")
        (call,) = (await bound.ainvoke(prompt)).tool_calls
        return {"tool": call["name"], "arguments": call["args"]}
    return {"text": str((await model.ainvoke(prompt)).text)}


async def pydantic_ai(case: str, url: str, prompt: str) -> Found:
    agents: Any = importlib.import_module("pydantic_ai")
    models: Any = importlib.import_module("pydantic_ai.models.anthropic")
    providers: Any = importlib.import_module("pydantic_ai.providers.anthropic")
    provider = providers.AnthropicProvider(base_url=url, api_key=KEY)
    model = models.AnthropicModel(MODEL, provider=provider)
    if case == "stream":
        async with agents.Agent(model).run_stream(prompt) as stream:
            pieces = [text async for text in stream.stream_text(delta=True, debounce_by=None)]
        return {"text": "".join(pieces), "pieces": len(pieces)}
    if case == "tools":
        made = (await agents.Agent(model, output_type=Weather).run(prompt)).output
        return {"tool": type(made).__name__, "arguments": made.model_dump()}
    return {"text": (await agents.Agent(model).run(prompt)).output}


async def instructor(case: str, url: str, prompt: str) -> Found:
    """It has each answer as an object, so a tool is forced in every case."""
    module: Any = importlib.import_module("instructor")
    client = module.from_anthropic(anthropic.AsyncAnthropic(base_url=url, api_key=KEY))
    ask = client.messages
    if case == "stream":
        partial = ask.create_partial(response_model=Weather, **asked(prompt))
        pieces = [piece async for piece in partial]
        return {
            "tool": "Weather", "arguments": pieces[-1].model_dump(), "pieces": len(pieces),
        }  # fmt: skip
    made = await ask.create(response_model=Weather, **asked(prompt))
    return {"tool": type(made).__name__, "arguments": made.model_dump()}


FRAMEWORKS: dict[str, Callable[[str, str, str], Awaitable[Found]]] = {
    "anthropic": sync_client,
    "anthropic-async": async_client,
    "langchain-anthropic": langchain,
    "pydantic-ai": pydantic_ai,
    "instructor": instructor,
}


def beneath(error: BaseException | None) -> Found:
    """The error of the ``anthropic`` package within that of the framework, and its status."""
    found: Found = {"raised": type(error).__name__, "class": None, "status": None}
    while error is not None:
        if isinstance(error, anthropic.APIError):
            found |= {"class": type(error).__name__, "status": getattr(error, "status_code", None)}
        error = error.__cause__ or error.__context__
    return found


async def main(framework: str) -> None:
    for line in sys.stdin:
        case, url, prompt = line.split()
        try:
            guard.report(found=await FRAMEWORKS[framework](case, url, prompt), error=None)
        except Exception as exc:
            guard.report(found=None, error={**beneath(exc), "words": str(exc)[:2000]})


asyncio.run(main(sys.argv[1]))
