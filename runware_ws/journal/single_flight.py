"""Single flight: of the tasks that have one key, one runs, and the others wait for its end."""

from __future__ import annotations

from runware_ws._core.tasks.record import TaskRecord

__all__ = ["SingleFlight"]


class SingleFlight:
    """The tasks of one client that have a key.

    ``elsewhere``: by key, the task that waits for the end of somebody else's, who has the key. The
    others that wait for a key are those that joined its first one: the one that runs here, or the
    one that waits elsewhere.
    """

    def __init__(self) -> None:
        self._here: dict[str, TaskRecord] = {}
        self._joined: dict[str, list[TaskRecord]] = {}
        self.elsewhere: dict[str, TaskRecord] = {}

    def first(self, key: str) -> TaskRecord | None:
        """The task that the others of this key wait for."""
        return self._here.get(key) or self.elsewhere.get(key)

    def begin(self, key: str, record: TaskRecord) -> None:
        """It is the first, and runs here."""
        self._here[key] = record

    def join(self, key: str, record: TaskRecord) -> None:
        """It waits for the end of the first."""
        self._joined.setdefault(key, []).append(record)

    def joined(self, key: str) -> list[TaskRecord]:
        """Those that wait for the end of the first."""
        return self._joined.get(key, [])

    def wait_elsewhere(self, key: str, record: TaskRecord) -> None:
        """Somebody else has the key, and the first waits for the end there."""
        self._here.pop(key, None)
        self.elsewhere[key] = record

    def back(self) -> list[TaskRecord]:
        """Those that waited elsewhere run here."""
        back = self.elsewhere
        self.elsewhere = {}
        self._here.update(back)
        return list(back.values())

    def end(self, key: str) -> list[TaskRecord]:
        """The first ended; returns those that still wait for it. The key is nobody's now."""
        self._here.pop(key, None)
        self.elsewhere.pop(key, None)
        return [each for each in self._joined.pop(key, ()) if not each.ended]

    def leave(self, key: str, record: TaskRecord) -> None:
        """One that waited ended."""
        joined = self._joined.get(key, [])
        if record in joined:
            joined.remove(record)
            if not joined:
                del self._joined[key]
