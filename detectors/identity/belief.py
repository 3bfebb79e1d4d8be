"""How far a shared thing speaks for one person: a weighing of behaviour against honest causes.

Every entry is the logarithm of a likelihood ratio, "one person with many accounts" against the honest
causes of sharing; they are added. The weights are stated judgement, not fitted, and
are listed in ``docs/graph.md``; the facts beside them go into the evidence.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

KeyKind = Literal["device", "payout"]

HANDOVER: Final = timedelta(hours=2)
"""Two accounts of one key that do one task within this time sit side by side, or are one hand."""
REGISTERED_TOGETHER: Final = timedelta(hours=48)
HOUSEHOLD_MAX: Final = 5
"""Households with more earning members than this are rare."""
PUBLIC_ACCOUNTS_MIN: Final = 8
"""From here on a device may be a public machine, and is one if its accounts also live elsewhere."""

OVERLAP_FULL: Final = 0.3
"""Task overlap from which repeated tasks count in full; less counts in proportion."""

COPY: Final = 1.0
COPY_MAX: Final = 2.0
"""Work that one account of a key repeats of another: once may be a family's, seldom twice."""

STRENGTH_MIN: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One submission as the weighing sees it."""

    submission_id: str
    worker_id: str
    task_id: str
    claimed_at: datetime | None
    submitted_at: datetime
    device_id: str | None
    ip: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of a worker."""

    worker_id: str
    registered_at: datetime | None
    level: str
    payout: str | None
    other_devices: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Log-odds for one person, item by item, with the facts that they rest on."""

    items: Mapping[str, float]
    facts: Mapping[str, int | float]

    @property
    def confidence(self) -> float:
        """Probability-like: the logistic of the summed log-odds."""
        return 1.0 / (1.0 + math.exp(-self.log_odds))

    @property
    def log_odds(self) -> float:
        """All items together."""
        return sum(self.items.values())

    @property
    def strength(self) -> float:
        """Twice the confidence less one, so that even odds say nothing."""
        return max(0.0, 2.0 * self.confidence - 1.0)


def weigh(
    kind: KeyKind, uses: Sequence[Use], accounts: Mapping[str, Account], copies: int = 0
) -> Belief:
    """Weigh one shared device or payout account used by at least two accounts.

    ``copies`` counts submissions that are proven to repeat work, or a movement, of another of them.
    """
    by_worker: dict[str, list[Use]] = defaultdict(list)
    for use in uses:
        by_worker[use.worker_id].append(use)
    workers = sorted(by_worker)
    n = len(workers)
    repeats, overlap, task_count = _repeated_tasks(uses)
    levels = [accounts[w].level for w in workers]
    payouts = {accounts[w].payout for w in workers}
    near = bool(repeats)
    items = {"sharing": _prior(kind, n, repeats)}
    if repeats:
        items["same_tasks"] = min(1.2 * repeats, 6.0) * min(1.0, overlap / OVERLAP_FULL)
    elif len(uses) >= 3 * n:
        items["own_tasks"] = -1.5
    if kind == "device":
        if len(payouts) == 1 and None not in payouts:
            items["one_payout"] = 4.0 if near or n > 2 else 1.5
        if n <= HOUSEHOLD_MAX and all(level in ("real_name", "social") for level in levels):
            items["all_real_names"] = 0.0 if repeats else -1.0
        items |= _machine(uses, workers, accounts)
    elif near or n > 2:
        devices = [{u.device_id for u in by_worker[w] if u.device_id} for w in workers]
        if len(set().union(*devices)) < sum(len(d) for d in devices):
            items["one_device"] = 2.0
    if copies:
        items["own_work_again"] = min(COPY * copies, COPY_MAX)
    handovers = _handovers(uses)
    ips = {u.ip for u in uses if u.ip}
    if near:
        items |= _closeness(kind, [accounts[w].registered_at for w in workers], handovers, len(ips))
    facts: dict[str, int | float] = {
        "accounts": n,
        "submissions": len(uses),
        "tasks": task_count,
        "same_task_repeats": repeats,
        "task_overlap": round(overlap, 4),
        "same_task_within_two_hours": handovers,
        "addresses": len(ips),
        "copied_from_each_other": copies,
        "payout_accounts": len(payouts - {None}),
    }
    return Belief(items=items, facts=facts)


def _closeness(
    kind: KeyKind, registered: Sequence[datetime | None], handovers: int, addresses: int
) -> dict[str, float]:
    """What is close about the accounts; only asked where a household is not the plain answer.

    A family hands a tablet over within minutes and has one address: that speaks for nothing.
    """
    items: dict[str, float] = {}
    times = [r for r in registered if r is not None]
    if len(times) == len(registered) and max(times) - min(times) <= REGISTERED_TOGETHER:
        items["registered_together"] = 1.0
    if handovers:
        items["same_task_soon"] = 0.5
    if kind == "device" and addresses == 1 and handovers:
        items["one_address"] = 0.3
    return items


def _prior(kind: KeyKind, n: int, repeats: int) -> float:
    """What the number of accounts says; a household's size counts only if all repeat the tasks."""
    if kind == "payout":
        return 0.8 if n == 2 else 2.0
    if n > HOUSEHOLD_MAX:
        return 0.8 if repeats else 0.0
    return 0.0 if n > 2 and repeats >= n - 1 else -1.0


def _repeated_tasks(uses: Sequence[Use]) -> tuple[int, float, int]:
    """Count accounts beyond the first on each task, the pairs' task overlap, and the tasks.

    The overlap is the share of shared tasks among those that pairs of accounts could share: all of
    them in a ring that takes every place it can, few among the guests of a public machine.
    """
    by_task: dict[str, set[str]] = defaultdict(set)
    by_worker: dict[str, set[str]] = defaultdict(set)
    for use in uses:
        by_task[use.task_id].add(use.worker_id)
        by_worker[use.worker_id].add(use.task_id)
    repeats = sum(len(w) - 1 for w in by_task.values())
    shared = sum(len(w) * (len(w) - 1) // 2 for w in by_task.values())
    degrees = sorted(len(t) for t in by_worker.values())
    could = sum(d * (len(degrees) - 1 - i) for i, d in enumerate(degrees))
    return repeats, shared / could if could else 0.0, len(by_task)


def _handovers(uses: Sequence[Use]) -> int:
    """Count how often another account followed on the same task within ``HANDOVER``."""
    timed = sorted((u.task_id, u.submitted_at, u.submission_id, u.worker_id) for u in uses)
    return sum(
        a[0] == b[0] and a[3] != b[3] and b[1] - a[1] <= HANDOVER
        for a, b in itertools.pairwise(timed)
    )


def _machine(
    uses: Sequence[Use], workers: Sequence[str], accounts: Mapping[str, Account]
) -> dict[str, float]:
    """Find the honest causes that are about the machine: a public one, a colliding id."""
    items: dict[str, float] = {}
    elsewhere = sum(accounts[w].other_devices for w in workers)
    if len(workers) >= PUBLIC_ACCOUNTS_MIN and elsewhere * 2 >= len(workers):
        items["public_machine"] = -4.0
    spans = sorted(
        (u.claimed_at, u.submitted_at, u.worker_id, u.ip)
        for u in uses
        if u.claimed_at is not None and u.ip is not None
    )
    if any(
        b[0] < a[1] and a[2] != b[2] and a[3] != b[3] and min(a[1], b[1]) - b[0] >= HANDOVER / 8
        for a, b in itertools.pairwise(spans)
    ):
        items["used_at_once_from_two_addresses"] = -3.0
    return items


def level_of(phone: bool | None, real_name: bool | None, social: bool | None) -> str:
    """Name the identity level: unverified, phone, real_name or social, the highest that holds."""
    if phone is None and real_name is None and social is None:
        return "unknown"
    if real_name:
        return "real_name"
    if social:
        return "social"
    return "phone" if phone else "unverified"
