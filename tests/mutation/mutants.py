"""What a mutant is, and the list of all of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant", "Stale"]


class Stale(Exception):
    """The text of a mutant does not stand in its file exactly once: the code has moved on."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug: in ``file`` (below ``runware_ws``), ``old`` becomes ``new``.

    ``test``: the node id of the test, or the file of tests, that must fail; empty: one of the
    seeds must. ``equivalent``: why nobody can notice it; then nothing is run.
    """

    name: str
    file: str
    old: str
    new: str
    test: str = ""
    equivalent: str = ""

    def applied(self, text: str) -> str:
        """``text``, the file's, with the bug in it.

        Raises:
            Stale: it is not there, or not once.
        """
        times = text.count(self.old)
        if times != 1:
            raise Stale(
                f"the mutant {self.name!r} is stale: its text stands {times} times in "
                f"runware_ws/{self.file}; fit it to the code as it is now:\n{self.old}"
            )
        return text.replace(self.old, self.new)
