"""The API key: recognisable, so that it is seen where it must not be; it can be changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio

from tests.simulation.story import Story
from tests.simulation.weather import Weather

__all__ = ["Keys"]

MARK = "kEy5ecReT"


class Keys:
    """The key that is valid now, and the ways in which a client gets it."""

    def __init__(self, weather: Weather, story: Story) -> None:
        self._weather = weather
        self._story = story
        self._number = 0

    @property
    def current(self) -> str:
        return f"{MARK}-{self._number}"

    def rotate(self) -> None:
        """The old key is no key any more."""
        self._number += 1

    def valid(self, key: str) -> bool:
        """Whether the server takes it."""
        return key == self.current

    @staticmethod
    def in_text(text: str) -> bool:
        """Whether a text holds a key, old or new."""
        return MARK in text

    def fetch(self) -> str:
        """As a plain function."""
        if self._weather.key_cancelled:
            self._story.count("the key is cancelled")
            # Its own, as of a task that somebody else cancelled.
            raise asyncio.CancelledError
        if self._weather.key_broken:
            raise RuntimeError(f"no key today: {self.current}")
        return self.current

    async def fetch_async(self) -> str:
        """As an async function."""
        if self._weather.key_hangs:
            self._story.count("the key hangs")
            await anyio.sleep_forever()
        return self.fetch()

    def given(self, kind: str) -> str | Callable[[], str] | Callable[[], Awaitable[str]]:
        """What is passed as ``api_key=``."""
        if kind == "fixed":
            return self.current
        return self.fetch if kind == "fetched" else self.fetch_async
