"""Prometheus, with the extra ``prometheus``: a collector that reads ``stats()`` when scraped.

It counts nothing itself, so it costs a task nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from runware_ws.errors import ConfigurationError
from runware_ws.stats import Stats

try:
    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] != "prometheus_client":
        raise
    raise ConfigurationError(
        "runware_ws.telemetry.prometheus needs an extra: pip install 'runware-ws[prometheus]'"
    ) from None

__all__ = ["ClientCollector"]


class HasStats(Protocol):
    """What the collector needs of a client."""

    def stats(self) -> Stats:
        """Counts, and the present."""
        ...


Family = type[CounterMetricFamily] | type[GaugeMetricFamily]


@dataclass(frozen=True, slots=True)
class _Row:
    """One metric: its name, its label beside ``client``, and its values by that label."""

    family: Family
    name: str
    text: str
    label: str | None
    read: Callable[[Stats], Mapping[str, float]]


def _ends(stats: Stats) -> Mapping[str, float]:
    names = ("answered", "failed", "timed_out", "cancelled", "unknown", "closed")
    return {name: getattr(stats, name) for name in names}


def _plain(family: Family, field: str, name: str, text: str) -> _Row:
    return _Row(family, name, text, None, lambda stats: {"": getattr(stats, field)})


_COUNT, _GAUGE = CounterMetricFamily, GaugeMetricFamily
_ROWS = (
    _plain(_COUNT, "submitted", "tasks_submitted", "Tasks that were accepted."),
    _Row(_COUNT, "tasks_ended", "Tasks that ended, and how.", "end", _ends),
    _Row(
        _COUNT,
        "tasks_recovered",
        "Answered tasks, by the way that their answer took.",
        "by",
        lambda stats: stats.recovered_by,
    ),
    _plain(_GAUGE, "pending", "tasks_pending", "Tasks that have not ended."),
    _plain(_GAUGE, "in_flight", "tasks_in_flight", "Pending tasks that were admitted."),
    _Row(
        _GAUGE,
        "connected",
        "Whether there is an authenticated socket.",
        None,
        lambda stats: {"": stats.state == "ready"},
    ),
    _plain(_COUNT, "dials", "dials", "Sockets that were opened, or tried to be."),
    _plain(_COUNT, "connections", "connections", "Sockets that were authenticated."),
    _plain(_COUNT, "reconnects", "reconnects", "Sockets authenticated after the first."),
    _plain(_COUNT, "resumes", "resumes", "Reconnects that resumed the session."),
    _plain(_COUNT, "sessions_lost", "sessions_lost", "Sessions that the server forgot."),
    _Row(
        _COUNT,
        "frames",
        "Messages of the socket.",
        "direction",
        lambda stats: {"in": stats.frames_in, "out": stats.frames_out},
    ),
    _Row(
        _COUNT,
        "bytes",
        "Bytes of messages and POSTs.",
        "direction",
        lambda stats: {"in": stats.bytes_in, "out": stats.bytes_out},
    ),
    _plain(_COUNT, "pings", "pings", "Pings that were sent."),
    _plain(_COUNT, "posts", "posts", "Streams that were posted over HTTP."),
    _Row(
        _COUNT,
        "questions",
        "Questions about tasks.",
        "kind",
        lambda stats: {"poll": stats.polls, "archive": stats.archive_questions},
    ),
    _plain(_COUNT, "resends", "resends", "Tasks sent again under their own taskUUID."),
    _plain(_COUNT, "receipts", "receipts", "Resends whose first copy had arrived."),
    _plain(_COUNT, "duplicates", "duplicates", "Items that came again and were dropped."),
    _plain(_COUNT, "strays", "strays", "Items for tasks that nobody waits for."),
    _plain(_COUNT, "malformed", "malformed", "Frames that could not be read."),
    _plain(_COUNT, "notices", "notices", "Errors that belong to no known task."),
)


class ClientCollector(Collector):
    """The counts of any number of clients, for one registry: ``REGISTRY.register(collector)``.

    Each has the label ``client``, which is its name here. A client that nothing else refers to
    disappears by itself. Scraping may happen in any thread.
    """

    def __init__(self, **clients: HasStats) -> None:
        self._clients: WeakValueDictionary[str, HasStats] = WeakValueDictionary()
        for name, client in clients.items():
            self.add(name, client)

    def add(self, name: str, client: HasStats) -> None:
        """Show this client too, under this name.

        Raises:
            ConfigurationError: another client has the name.
        """
        if self._clients.get(name, client) is not client:
            raise ConfigurationError(f"another client is collected under the name {name!r}")
        self._clients[name] = client

    def remove(self, name: str) -> None:
        """Show the client of this name no longer; nothing happens if there is none."""
        self._clients.pop(name, None)

    def describe(self) -> Iterable[Metric]:
        """The metrics without their values."""
        return [_family(row) for row in _ROWS]

    def collect(self) -> Iterable[Metric]:
        """The metrics, as they are now."""
        known: list[tuple[str, Stats]] = []
        for name, client in list(self._clients.items()):
            try:
                known.append((name, client.stats()))
            except ConfigurationError:  # not started
                continue
        found: list[Metric] = []
        for row in _ROWS:
            family = _family(row)
            for name, stats in known:
                for label, value in row.read(stats).items():
                    labels = [name] if row.label is None else [name, label]
                    family.add_metric(labels, float(value))
            found.append(family)
        return found


def _family(row: _Row) -> CounterMetricFamily | GaugeMetricFamily:
    labels = ["client"] if row.label is None else ["client", row.label]
    return row.family(f"runware_ws_{row.name}", row.text, labels=labels)
