"""PostgreSQL's errors as errors of the journal: what is wrong, where, and what helps."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from runware_ws.errors import ConfigurationError, JournalError
from runware_ws.journal.store import Collided

__all__ = ["explain", "place_of", "pooled"]

_OF_THE_MOMENT = {
    "53100": "the database's disk is full: make room; `runware-ws journal prune` forgets results",
    "53300": "the database has no connection free: raise max_connections, or end some clients",
    "57014": "a statement was cancelled: look who or what does it (see the server's log)",
    "55P03": "another transaction keeps the journal locked: end it (see pg_stat_activity)",
}
_LASTING = {
    "25006": "the database is read-only: name the primary server",
    "42501": "this user may not write it: grant the rights to create and use the schema runware_ws",
    "57P04": "the database was dropped: name another",
}
# Classes of errors that a value is to blame for: data, constraints, limits, triggers.
_OF_DATA = ("22", "23", "44", "54", "P0")
# A statement that was prepared on a connection is not there, or was there before.
_OF_POOLERS = ("26000", "42P05")
# While a connection is being made there are no codes.
_NONE_FREE = ("too many clients", "connection slots are reserved", "too many connections for")
_REFUSED = ("authentication failed", "does not exist", "pg_hba.conf", "no password supplied")


def place_of(url: str) -> str:
    """The database in ``url``, without a password.

    Raises:
        ConfigurationError: it is no URL of PostgreSQL's.
    """
    refused = ConfigurationError(
        "journal: this is not a URL of PostgreSQL's: write postgresql://USER@HOST:PORT/DATABASE, "
        "with %-escapes in the parts (in a password %40 for @ and %2F for /)"
    )
    # libpq takes what follows such a character in a password for the host or the database, and
    # errors name these; and it sees nothing behind a zero.
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    if authority.count("@") > 1 or "@" in path or "\0" in url:
        raise refused
    try:
        parts = conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
        raise refused from None
    ports = str(parts.get("port") or "").split(",")
    if not all(each == "" or (each.isdecimal() and 0 < int(each) < 1 << 16) for each in ports):
        raise refused
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return (
        f"postgresql://{user}{parts.get('host') or 'localhost'}{port}/{parts.get('dbname') or ''}"
    )


def pooled(place: str) -> JournalError:
    """Transactions of one client go over several connections."""
    return JournalError(
        f"{place}: behind this address a pooler gives each transaction another connection, so the "
        "lock that shows that this client lives would not hold: name the database itself, or a "
        "pool that keeps a connection for each client (PgBouncer: pool_mode = session)"
    )


def _refused(exc: psycopg.Error | UnicodeError, place: str) -> JournalError:
    """A value was refused. Details are left out: they repeat it."""
    primary = exc.diag.message_primary if isinstance(exc, psycopg.Error) else None
    said = " ".join((primary or str(exc)).split())
    return JournalError(
        f"{place}: the database does not take what is to be recorded of this task ({said}): "
        "look at its key and its size, and at the database's encoding (UTF8 takes all characters)",
        about_data=True,
    )


def explain(exc: psycopg.Error | UnicodeError, place: str, *, away: bool) -> JournalError:
    """``exc``, which happened to the journal at ``place``. ``away``: there is no connection."""
    if isinstance(exc, UnicodeError | psycopg.DataError):
        return _refused(exc, place)
    said = " ".join(str(exc).split())
    code = exc.sqlstate or ""
    if away and any(each in said for each in _NONE_FREE):
        code = "53300"
    if code[:2] in _OF_DATA:
        return _refused(exc, place)
    if code in _OF_POOLERS:
        return pooled(place)
    if code in _LASTING:
        return JournalError(f"{place}: {_LASTING[code]} ({said})")
    if code in _OF_THE_MOMENT:
        return JournalError(f"{place}: {_OF_THE_MOMENT[code]} ({said})", temporary=True)
    if away and any(each in said for each in _REFUSED):
        return JournalError(f"{place}: the database refuses this client: correct the URL ({said})")
    if away or code[:2] in ("08", "53", "57", "58"):
        return JournalError(
            f"{place}: the database cannot be reached: look whether it runs ({said})",
            temporary=True,
        )
    if code[:2] == "40":
        return Collided(f"{place}: transactions collided: try again ({said})", temporary=True)
    return JournalError(f"{place}: the journal cannot be used: {said}")
