"""A real PostgreSQL and small disks for the tests of a journal, and where they make one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.postgres_server import PostgresServer
from tests.journal.sqlite_support import small_disk_in


@pytest.fixture
def server(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    with small_disk_in(tmp_path, "1m") as folder:
        yield folder
