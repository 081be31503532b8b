"""Faults ordered while a load runs: ``cut-every=2s@30s..60s``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from runware_ws.emulator import KNOWN_ORDERS, Emulator, apply_fault_order, parse_duration

__all__ = ["TimedFault", "check_faults", "order_faults", "parse_fault"]


_ONCE = ("cut", "forget-sessions", "heal")
"""Orders that are over at once."""


@dataclass(frozen=True, slots=True)
class TimedFault:
    """An order for the emulator ``at`` so many seconds; it is healed at ``until``.

    ``None``: it stays to the end.
    """

    order: str
    at: float = 0.0
    until: float | None = None

    def goes_on(self, at: float) -> bool:
        """Whether it began before and has not ended by ``at``."""
        if self.until is None:
            return self.at < at and self.order.partition("=")[0] not in _ONCE
        return self.at < at < self.until

    def told(self) -> dict[str, Any]:
        """As it stands in a report."""
        return {"order": self.order, "at_s": self.at, "until_s": self.until}


def parse_fault(text: str) -> TimedFault:
    """Read ``ORDER``, ``ORDER@30s`` or ``ORDER@30s..60s``; see ``runware-ws emulate --list``.

    Raises:
        ValueError: the order is unknown, or a time makes no sense.
    """
    order, at, when = text.partition("@")
    if order.partition("=")[0].strip() not in KNOWN_ORDERS:
        raise ValueError(f"unknown fault {text!r}; known are: {', '.join(sorted(KNOWN_ORDERS))}")
    if not at:
        return TimedFault(order.strip())
    first, dots, last = when.partition("..")
    begins, ends = parse_duration(first), parse_duration(last) if dots else None
    if ends is not None and ends <= begins:
        raise ValueError(f"{text!r}: must end after it begins")
    return TimedFault(order.strip(), begins, ends)


def check_faults(faults: Sequence[TimedFault]) -> None:
    """Raise ``ValueError`` for an order whose value makes no sense. Needs a running event loop."""
    scratch = Emulator().faults
    for fault in faults:
        apply_fault_order(scratch, fault.order)
    scratch.heal()


async def order_faults(
    give: Callable[[str], Awaitable[None]], faults: Sequence[TimedFault], began: float
) -> None:
    """Give the orders when they are due. ``began``: the load's beginning, on the loop's clock.

    The emulator heals all faults at once, so those that go on are ordered again then.
    """
    times = {fault.at for fault in faults}
    times |= {fault.until for fault in faults if fault.until is not None}
    for at in sorted(times):
        await anyio.sleep_until(began + at)
        if any(fault.until == at for fault in faults):
            await give("heal")
            for fault in faults:
                if fault.goes_on(at):
                    await give(fault.order)
        for fault in faults:
            if fault.at == at:
                await give(fault.order)
