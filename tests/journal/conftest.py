"""A real PostgreSQL for the tests of a journal."""

from __future__ import annotations

import pytest

from tests.journal.postgres_server import PostgresServer


@pytest.fixture
def server(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server
