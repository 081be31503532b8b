"""PostgreSQL's errors as errors of the journal: what is wrong, where, and what helps."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from runware_ws.errors import ConfigurationError, JournalError

__all__ = ["explain", "place_of"]

_OF_THE_MOMENT = {
    "53100": "the database's disk is full: make room; `runware-ws journal prune` forgets results",
    "53300": "the database has no connection free: raise max_connections, or end some clients",
    "55P03": "another transaction keeps the journal locked: end it (see pg_stat_activity)",
}
_LASTING = {
    "25006": "the database is read-only: name the primary server",
    "42501": "this user may not write it: grant the rights to create and use the schema runware_ws",
    "57P04": "the database was dropped: name another",
}
_REFUSED = ("authentication failed", "does not exist", "pg_hba.conf", "no password supplied")


def place_of(url: str) -> str:
    """The database in ``url``, without a password.

    Raises:
        ConfigurationError: it is no URL of PostgreSQL's.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigurationError(
            "journal: this is not a URL of PostgreSQL's: "
            "write postgresql://USER@HOST:PORT/DATABASE, with %-escapes in the parts"
        ) from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return (
        f"postgresql://{user}{parts.get('host') or 'localhost'}{port}/{parts.get('dbname') or ''}"
    )


def explain(exc: psycopg.Error, place: str, *, away: bool) -> JournalError:
    """``exc``, which happened to the journal at ``place``. ``away``: there is no connection."""
    said = " ".join(str(exc).split())
    code = exc.sqlstate or ""
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
        return JournalError(f"{place}: transactions collided: try again ({said})", temporary=True)
    return JournalError(f"{place}: the journal cannot be used: {said}")
