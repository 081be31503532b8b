"""A service that sends itself a few requests, in this process, and shows the answers."""

from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI

__all__ = ["ask_itself"]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The header ``traceparent`` of somebody whose trace goes on here (W3C Trace Context)."""


async def _ask_itself(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as browser,
    ):
        headers = {"X-Request-ID": "order-17", "traceparent": PARENT}
        for question in ("Why is the sky blue?", ""):
            answer = await browser.post("/ask", json={"question": question}, headers=headers)
            print(f"POST /ask -> {answer.status_code}, {answer.headers['X-Request-ID']}")
            print(" ", answer.text)
        for path in ("/health/live", "/health/ready"):
            answer = await browser.get(path)
            print(f"GET {path} -> {answer.status_code} {answer.text}")
        answer = await browser.get("/metrics")
        print(f"GET /metrics -> {answer.status_code}")
        lines = answer.text.splitlines()
        print("\n".join(f"  {line}" for line in lines if "tasks_ended_total{" in line))


def ask_itself(app: FastAPI) -> None:
    """Start the service, ask it, and shut it down again."""
    asyncio.run(_ask_itself(app))
