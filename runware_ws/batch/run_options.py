"""The options of one run, checked once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from runware_ws._checks import choice, count, flag, refusal, seconds
from runware_ws.batch.money import Price
from runware_ws.batch.writing import BATCH, OURS, Shape

if TYPE_CHECKING:
    from runware_ws._io.keys import ApiKey
    from runware_ws.journal.opening import JournalPlace

__all__ = ["BatchOptions"]

_LONGEST_JOB = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """As of :func:`runware_ws.run_file`. Times are seconds.

    Raises:
        ConfigurationError: a value cannot work. The message begins with its name.
    """

    url: str | None = None
    api_key: ApiKey = field(default=None, repr=False)
    emulate: bool = False
    journal: JournalPlace | None = field(default=None, repr=False)
    job: str | None = None
    concurrency: int = 100
    timeout: float = 300.0
    connect_timeout: float = 15.0
    input_format: str | None = None
    prompt_column: str | None = None
    unsupported: Literal["error", "drop"] = "error"
    shape: Shape = OURS
    sort: bool = False
    max_cost: float | None = None
    limit: int | None = None
    price: tuple[float, float] | None = None
    retries: int = 5
    retry_errors: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("timeout", "connect_timeout"):
            seconds(name, getattr(self, name))
        for name in ("emulate", "sort", "retry_errors", "dry_run"):
            flag(name, getattr(self, name))
        count("concurrency", self.concurrency)
        if self.limit is not None:
            count("limit", self.limit)
        if self.retries != 0:
            count("retries", self.retries)
        choice("unsupported", self.unsupported, of=("error", "drop"))
        choice("shape", self.shape, of=(OURS, BATCH))
        if self.max_cost is not None and not _is_amount(self.max_cost):
            raise refusal("max_cost", "be an amount of US dollars, 0 or more", self.max_cost)
        if self.prompt_column is not None and not _is_text(self.prompt_column):
            raise refusal("prompt_column", "be a text", self.prompt_column)
        if self.price is not None and not _are_prices(self.price):
            raise refusal("price", "be two prices in US dollars, 0 or more", self.price)
        if self.job is not None and not _can_be_key(self.job):
            rule = f"be a text of 1 to {_LONGEST_JOB} characters"
            raise refusal("job", rule, self.job)
        if self.emulate and self.url is not None:
            raise refusal("emulate", "be left out with url: use one of them", self.emulate)

    @property
    def prices(self) -> Price:
        """What tokens cost where the server does not say."""
        return Price() if self.price is None else Price(*self.price)


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < math.inf


def _are_prices(value: object) -> bool:
    parts = cast("Sequence[object]", value)
    return isinstance(value, tuple | list) and len(parts) == 2 and all(map(_is_amount, parts))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _can_be_key(job: object) -> bool:
    if not isinstance(job, str) or not 0 < len(job) <= _LONGEST_JOB or "\0" in job:
        return False
    try:
        job.encode()
    except UnicodeEncodeError:
        return False
    return True
