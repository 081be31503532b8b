"""Where the API key comes from, and how it stays out of everything else."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from inspect import isawaitable

from pydantic import SecretStr

from runware_ws._io.supervisor import apart
from runware_ws.errors import ConfigurationError

__all__ = ["ENV", "ApiKey", "KeySource"]

ENV = "RUNWARE_API_KEY"
"""The environment variable of the key, by convention (observed)."""

ApiKey = str | SecretStr | Callable[[], str | SecretStr | Awaitable[str | SecretStr]] | None
"""A key, or a plain or async function that fetches it; ``None``: taken from the environment."""

_SHORTEST_SECRET = 4


class KeySource:
    """Fetches the key for each dial, and remembers which keys to redact.

    Raises:
        ConfigurationError: there is no key, or it is malformed.
    """

    def __init__(self, api_key: ApiKey) -> None:
        self._provider: Callable[[], str | SecretStr | Awaitable[str | SecretStr]] | None = None
        self._key: SecretStr | None = None
        self._secrets: list[bytes] = []
        if callable(api_key):
            self._provider = api_key
        else:
            if api_key is None:
                api_key = os.environ.get(ENV)
                if not api_key:
                    raise ConfigurationError(
                        f"no API key: set the environment variable {ENV}, or pass api_key="
                    )
            self._key = self._checked(api_key)

    @property
    def fixed(self) -> bool:
        """Whether every fetch returns the same key."""
        return self._provider is None

    async def fetch(self) -> SecretStr:
        """The key for one dial.

        Raises:
            ConfigurationError: the function gave no key.
            OwnCancellation: the function raised ``CancelledError`` on its own.
            Exception: whatever the function raises.
        """
        if self._provider is None:
            assert self._key is not None
            return self._key
        return self._checked(await apart(self._ask))

    async def _ask(self) -> object:
        assert self._provider is not None
        given = self._provider()
        return await given if isawaitable(given) else given

    def _checked(self, key: object) -> SecretStr:
        text = key.get_secret_value() if isinstance(key, SecretStr) else key
        if not isinstance(text, str):
            raise ConfigurationError(f"api_key must be a string, not {type(text).__name__}")
        text = text.strip()
        if not text or not text.isprintable():
            raise ConfigurationError("api_key is empty or contains unprintable characters")
        secret = text.encode()
        if secret not in self._secrets and len(secret) >= _SHORTEST_SECRET:
            self._secrets.append(secret)
            # A rotated key may still appear in a late message; older ones are not in use.
            del self._secrets[:-4]
        return SecretStr(text)

    def redact(self, data: bytes) -> bytes:
        """``data`` with every key that was in use redacted."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, b"[redacted]")
        return data

    def redact_text(self, text: str) -> str:
        """``text`` with every key that was in use redacted."""
        return self.redact(text.encode("utf-8", "backslashreplace")).decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"<KeySource {'fixed' if self.fixed else 'fetched'}>"
