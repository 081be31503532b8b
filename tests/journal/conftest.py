"""A real PostgreSQL for the tests of a journal."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.journal.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()
