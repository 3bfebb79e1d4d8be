"""Cases: who decides, by when, and what happens when nobody does. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

Verdict = Literal["confirm", "refuse", "overturn"]
"""``confirm``: it was fraud. ``refuse``: it was not, and is not paid either. ``overturn``: it pays."""

AtDeadline = Literal["release", "lapse", "escalate"]

VERDICTS: Final[tuple[Verdict, ...]] = ("confirm", "refuse", "overturn")
STATE_AFTER: Final[Mapping[Verdict, str]] = {
    "confirm": "confirmed", "refuse": "confirmed", "overturn": "overturned",
}  # fmt: skip

DECIDE_WITHIN: Final[Mapping[str, timedelta]] = {
    "hold": timedelta(hours=72),
    "look": timedelta(days=7),
    "late": timedelta(days=15),
    "decline": timedelta(days=15),
}
APPEAL_WITHIN: Final = timedelta(days=15)
APPEAL_DECIDED_WITHIN: Final = timedelta(days=7)
RELEASE_BELOW_MINOR: Final = 20_000
"""Held amounts below it are paid when nobody decides in time, unless a group of accounts is concerned."""

REPORTS_PER_DAY: Final = 20
REPORT_LOOK_AT: Final = 1_500
"""Thousandths of report weight on one paid submission from which a person looks."""

OVERTURN_RATE_MAX: Final = 0.10
OVERTURN_RATE_FROM: Final = 30
"""A rule of which more than a tenth of at least thirty decided holds was overturned only reviews."""


def at_deadline(kind: str, state: str, amount_minor: int, *, cluster: bool) -> AtDeadline:
    """Say what happens to a case that nobody decided in time.

    A hold or an appeal about little money is released in the worker's favour, otherwise it goes to
    somebody who must decide. A look afterwards counts as clean. A refusal that nobody appealed, and
    a late finding that nobody took up, lapse: they move no credit, because no person decided.
    """
    if kind == "look" and state == "open":
        return "release"
    if kind in ("decline", "late") and state == "open":
        return "lapse"
    return "release" if amount_minor < RELEASE_BELOW_MINOR and not cluster else "escalate"


def report_weight_permille(upheld: int, rejected: int) -> int:
    """Weigh a reporter by what became of earlier reports: (upheld + 1) / (decided + 1), at most 1.

    A first report weighs in full; who accuses wrongly soon weighs little, and never nothing.
    """
    return max(50, min(1000, 1000 * (upheld + 1) // (upheld + rejected + 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRecord:
    """How often a rule's holds were decided, and how often they were overturned."""

    rule: str
    decided: int
    overturned: int

    @property
    def rate(self) -> float:
        """The share overturned."""
        return self.overturned / self.decided if self.decided else 0.0

    @property
    def review_only(self) -> bool:
        """Tell whether the rule is overturned too often to hold payouts."""
        return self.decided >= OVERTURN_RATE_FROM and self.rate > OVERTURN_RATE_MAX


def appeal_until(decided_at: datetime) -> datetime:
    """Return until when a decision can be appealed."""
    return decided_at + APPEAL_WITHIN
