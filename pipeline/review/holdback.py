"""What is kept back of a newcomer's payouts for a while, so that a late finding still meets money. Pure.

Card acquirers call it a rolling reserve: a share of each payment, returned after a fixed time unless a
chargeback has claimed it. Nothing is kept back unless an operator says so.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

PERCENT_MAX: Final = 50
"""No more than half: who works is to eat."""


@dataclass(frozen=True, slots=True)
class Holdback:
    """``percent`` of each of a worker's ``first`` paid tasks is kept back for ``days``."""

    percent: int = 0
    days: int = 14
    first: int = 20

    @property
    def span(self) -> timedelta:
        """How long it is kept."""
        return timedelta(days=self.days)

    def kept(self, amount_minor: int, paid_before: int) -> int:
        """Return the minor units kept of a payout; rounded down, so in the worker's favour."""
        return amount_minor * self.percent // 100 if paid_before < self.first else 0


NOTHING_KEPT: Final = Holdback()


def read_holdback(text: str) -> Holdback:
    """Read ``PERCENT``, ``PERCENT:DAYS`` or ``PERCENT:DAYS:FIRST``. Raises ``ValueError``."""
    parts = text.split(":")
    if len(parts) > 3 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"{text!r} is not PERCENT:DAYS:FIRST, as in 10:14:20")
    made = Holdback(*(int(part) for part in parts))
    if made.percent > PERCENT_MAX or not 1 <= made.days <= 365 or made.first < 1:
        raise ValueError(
            f"{text!r}: at most {PERCENT_MAX} percent for 1 to 365 days, of at least the first task"
        )
    return made
