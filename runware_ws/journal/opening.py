"""From what a user writes for ``journal=`` to a store."""

from __future__ import annotations

import os
import re
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote

from runware_ws._checks import shown
from runware_ws.errors import ConfigurationError
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.store import Store
from runware_ws.journal.viewing import View

__all__ = ["JournalPlace", "open_store", "open_view"]

JournalPlace = str | os.PathLike[str] | Store
"""What can be given for ``journal=``."""

# As SQLAlchemy (postgresql+psycopg://), SQLite (file:) and a slip of the pen write it: a file of
# that name would not be meant, and a password may be in it.
_URL = re.compile(r"[\w+.-]+://|(postgres(ql)?|sqlite3?|file):", re.IGNORECASE)
# Any others may stand before one of these.
_KEYWORDS = re.compile(
    r"\s*(\w+\s*=\s*('[^']*'|[^\s']\S*)\s+)*"
    r"(host|hostaddr|port|dbname|user|password|passfile|service)\s*="
)

_FORMS = "a path, sqlite:PATH, postgresql://USER@HOST/DATABASE, or a Store"


def open_store(journal: JournalPlace) -> Store:
    """The store that ``journal`` names, not open yet.

    It is a path; ``sqlite:PATH``, also ``sqlite:PATH?synchronous=NORMAL``; ``postgresql://...``
    (or ``postgres://``), with the extra ``postgres``; or a store, which is returned as it is.

    Raises:
        ConfigurationError: it is none of these, or the extra is missing.
    """
    if not isinstance(journal, str | os.PathLike):
        if isinstance(cast("object", journal), Store):
            return journal
        raise ConfigurationError(f"journal={shown(journal)}: must be {_FORMS}")
    name = _name(journal)
    if _is_postgres(name):
        _require_psycopg()
        from runware_ws.journal.postgres import PostgresStore

        return PostgresStore(name)
    path, synchronous = _sqlite(name)
    return SqliteStore(path, synchronous=synchronous)


def open_view(journal: str | os.PathLike[str]) -> View:
    """A view of the journal for people, which is no owner. It has to exist.

    Raises:
        ConfigurationError: it names no journal, or the extra is missing.
        JournalError: it is not there, or cannot be used.
    """
    name = _name(journal)
    if _is_postgres(name):
        _require_psycopg()
        from runware_ws.journal.postgres_view import PostgresView

        return PostgresView(name)
    from runware_ws.journal.sqlite_view import SqliteView

    return SqliteView(_sqlite(name)[0])


def _name(journal: str | os.PathLike[str]) -> str:
    name = cast("object", os.fspath(journal))
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"journal={shown(name)}: must be {_FORMS}")
    if _KEYWORDS.match(name):
        raise ConfigurationError(
            "journal: PostgreSQL's keywords are not understood: "
            "write postgresql://USER@HOST:PORT/DATABASE (or ./NAME for a file of this name)"
        )
    if _URL.match(name) and not name.startswith("sqlite:") and not _is_postgres(name):
        raise ConfigurationError(f"journal={shown(name)}: there is no such store: write {_FORMS}")
    return name


def _is_postgres(name: str) -> bool:
    return name.startswith(("postgresql://", "postgres://"))


def _sqlite(name: str) -> tuple[str, Literal["FULL", "NORMAL"]]:
    """The path, and how it is made durable."""
    if not name.startswith("sqlite:"):
        if "?synchronous=" in name:
            raise ConfigurationError(
                f"journal={shown(name)}: a path has no options: "
                "write sqlite:PATH?synchronous=NORMAL"
            )
        return name, "FULL"
    path, _, query = name.removeprefix("sqlite:").partition("?")
    if path.startswith("//"):  # As SQLAlchemy writes it: three slashes, or four if it is absolute
        if not path.startswith("///"):
            raise ConfigurationError(
                f"journal={shown(name)}: SQLite has no host: write sqlite:PATH, "
                "like sqlite:agents.db or sqlite:/var/lib/agents.db"
            )
        path = path.removeprefix("///")
    synchronous = "FULL"
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option != "synchronous" or value.upper() not in ("FULL", "NORMAL"):
            raise ConfigurationError(
                f"journal={shown(name.partition('?')[0])}: {shown(f'{option}={value}')} is no "
                "option of it: write synchronous=FULL or synchronous=NORMAL"
            )
        synchronous = value.upper()
    if not path:
        raise ConfigurationError(f"journal={shown(name)}: a path is missing: write sqlite:PATH")
    return unquote(path), cast('Literal["FULL", "NORMAL"]', synchronous)


def _require_psycopg() -> None:
    try:
        import psycopg  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        raise ConfigurationError(
            "journal: PostgreSQL needs psycopg: pip install 'runware-ws[postgres]'"
        ) from None
