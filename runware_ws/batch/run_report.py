"""What a run tells in the end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What became of the lines of a file. Amounts are US dollars; tokens are the server's counts.

    ``done`` and ``errors`` are lines that ended in this run, ``before`` those that needed nothing
    any more when it began, ``errors_before`` of them with an error. ``left``: lines without a final
    answer. ``curable``: errors of this run that the next one tries again. ``found``: of ``done``
    and ``errors``, those whose task an earlier run, or another one, had sent.

    ``stopped`` says why lines were left though nothing broke: a limit, or all lines ended the same
    way. ``forecast`` has the lines that ``dry_run`` tells, and is empty otherwise.
    """

    total: int
    done: int = 0
    errors: int = 0
    before: int = 0
    errors_before: int = 0
    left: int = 0
    curable: int = 0
    found: int = 0
    cost: float = 0.0
    """Of this run."""
    total_cost: float = 0.0
    """Of all runs of this output."""
    input_tokens: int = 0
    output_tokens: int = 0
    reconnects: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    forecast: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every line has a result."""
        return not (self.left or self.errors or self.errors_before)
