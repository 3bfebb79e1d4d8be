"""The words of money and credit: accounts, payouts, what the settle stage asks the ledger to do.

A *payout* is what one worker is owed for one task, whatever number of revisions it took. Its key is
made from the root of the ``supersedes`` chain, so that whoever plans it, whenever, names the same one.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import orjson
import polars as pl

from pipeline.model.decisions import Outcome
from pipeline.model.frames import UTC, Schema

AMOUNT_MAX: Final = 10**12
"""Minor units: no single transfer is larger, so that a million of them cannot overflow a balance."""

CHAIN_MAX: Final = 1_000
"""Revisions of one piece of work that are followed back to its root."""

ActionKind = Literal[
    "post",
    "hold",
    "wait",
    "void",
    "late",
    "withdraw",
    "clear",
    "look",
    "escalate",
    "refuse",
    "rehold",
]
Parked = Literal["unpriced", "unslotted"]
"""What a payout waits for that no settlement can give: its task's price, or a free place."""
PayoutState = Literal["waiting", "held", "posted", "voided"]
AccountKind = Literal["publisher", "escrow", "payable", "holdback", "paid", "platform"]

GUARDED: Final[frozenset[str]] = frozenset({"escrow", "payable", "holdback"})
"""Accounts that may never be overdrawn; the others face the outside world."""

CaseKind = Literal["hold", "decline", "look", "late"]

MACHINE_WAITS: Final[tuple[str, ...]] = ("pending.", "degraded.")
"""Reason codes of holds that end by themselves once the analysis is whole; no person is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One step for one payout, decided by the settle stage and carried out by the ledger.

    ``post`` pays, ``hold`` opens a case, ``wait`` reserves the money until the analysis is whole,
    ``void`` refuses (a case is open for appeal), ``late`` opens a case on a payout that was paid,
    ``withdraw`` closes a case that the newest evaluation no longer supports, and pays. ``clear`` ends a
    look at paid work that it no longer asks for and gives its credit, ``look`` begins one and takes the
    credit back until it is over: so work that was judged in two steps ends where one step ends.

    Only a recall asks for the others: ``escalate`` makes a look the case that a hold would have been,
    ``refuse`` turns a hold into a refusal and ``rehold`` a refusal into a hold.
    """

    kind: ActionKind
    payout_key: str
    submission_id: str
    revision: int
    outcome: Outcome
    task_id: str
    worker_id: str
    publisher_id: str | None
    amount_minor: int
    currency: str
    slots: int | None
    reason_codes: tuple[str, ...]
    ruleset_digest: str
    rules: tuple[str, ...] = ()
    score: int = 0
    cluster_id: str | None = None
    on_time: bool = True
    weight_permille: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps in the order in which they are to be taken, and what could not be planned.

    ``unpriced``: payouts whose task, bounty or currency is unknown; ``unslotted``: those beyond the
    number of submissions that their task pays. ``parked`` names them, with which of the two it is.
    """

    actions: tuple[Action, ...]
    parked: Mapping[str, Parked] = field(default_factory=dict)

    @property
    def unpriced(self) -> int:
        """How many payouts have no price."""
        return sum(why == "unpriced" for why in self.parked.values())

    @property
    def unslotted(self) -> int:
        """How many payouts have no place."""
        return sum(why == "unslotted" for why in self.parked.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleFacts:
    """Everything that a plan for ``asked`` rests on, as one snapshot of the database.

    ``submissions``: CHAIN, with all of each chain; ``tasks``: PRICES, and ``medians``: MEDIANS of all
    tasks; ``standing``: STANDING (the newest evaluation of each); ``payouts``: PAYOUTS of these chains;
    ``taken``: TAKEN, how many places of each task are taken; ``members``: ``submission_id``,
    ``payout_key`` of all acted upon already.
    """

    asked: frozenset[str]
    submissions: pl.DataFrame
    tasks: pl.DataFrame
    medians: pl.DataFrame
    standing: pl.DataFrame
    payouts: pl.DataFrame
    taken: pl.DataFrame
    members: pl.DataFrame


Planner = Callable[[SettleFacts], Plan]

_S, _I = pl.String(), pl.Int64()
CHAIN: Final[Schema] = {
    "submission_id": _S, "task_id": _S, "worker_id": _S, "submitted_at": UTC, "supersedes": _S,
}  # fmt: skip
PRICES: Final[Schema] = {
    "task_id": _S, "publisher_id": _S, "bounty_minor": _I, "currency": _S, "slots": _I,
    "deadline_at": UTC,
}  # fmt: skip
STANDING: Final[Schema] = {
    "submission_id": _S, "revision": _I, "score": _I, "risk_level": _S, "outcome": _S,
    "reason_codes": pl.List(pl.String()), "ruleset_digest": _S, "arithmetic": _S, "signals": _S,
}  # fmt: skip
"""``arithmetic`` and ``signals`` are null where the outcome is ``approve``: nothing is read of them."""
PAYOUTS: Final[Schema] = {
    "payout_key": _S, "task_id": _S, "worker_id": _S, "submission_id": _S, "revision": _I, "state": _S,
    "case_kind": _S, "case_state": _S, "decided_codes": pl.List(pl.String()),
}  # fmt: skip
"""``submission_id`` and ``revision`` are those last acted upon; ``case_state`` is ``open``,
``confirmed``, ``appealed``, ``overturned``, ``withdrawn``, ``lapsed`` or null; ``decided_codes`` are the
reason codes that a person has judged already."""

MEDIANS: Final[Schema] = {"currency": _S, "median_minor": pl.Float64()}
TAKEN: Final[Schema] = {"task_id": _S, "taken": _I}
TAKES_A_SLOT: Final[tuple[PayoutState, ...]] = ("waiting", "held", "posted")
"""The states of a payout in which it takes one of its task's places."""

CREDIT_ENTRIES: Final[Schema] = {
    "sequence": _I, "entry_id": _S, "worker_id": _S, "kind": _S, "r_milli": _I, "s_milli": _I,
    "weight_permille": _I, "at": UTC, "submission_id": _S, "task_id": _S, "publisher_id": _S,
    "decision_id": _S, "rule": _S, "ruleset_digest": _S, "revision": _I, "reverses": _S,
}  # fmt: skip
"""Append-only. ``r_milli`` and ``s_milli`` are thousandths of good and bad experience; an entry that
``reverses`` another undoes it as though it had never been."""

CREDIT_KINDS: Final[Mapping[str, tuple[int, int]]] = {
    "accepted": (1000, 0),
    "accepted_late": (750, 0),
    "quality_bonus": (250, 0),
    "rejected": (0, 1000),
    "abandoned": (0, 500),
    "confirmed_fraud": (0, 10_000),
    "reversal": (0, 0),
}
"""What each kind adds, in thousandths of good and bad experience, before its weight."""


def payout_key(
    submission_id: str, task_id: str, worker_id: str, parent: Callable[[str], "Link | None"]
) -> str:
    """Name the payout that a submission belongs to.

    ``parent`` looks a submission up. The chain is followed through the same worker's submissions to
    the same task. What it names last, known or not, theirs or not, is the root: so the key does not
    change when that one arrives later, and nobody can take another's key by naming their work.
    """
    root, seen = submission_id, {submission_id}
    link = parent(root)
    while link is not None and link.task_id == task_id and link.worker_id == worker_id:
        if link.supersedes is None or link.supersedes in seen or len(seen) > CHAIN_MAX:
            break
        root = link.supersedes
        seen.add(root)
        link = parent(root)
    text = orjson.dumps([root, task_id, worker_id])
    return "p_" + hashlib.sha256(text).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Link:
    """What a chain of revisions is followed by."""

    task_id: str
    worker_id: str
    supersedes: str | None


def decision_id(submission_id: str, revision: int, ruleset_digest: str) -> str:
    """Name the decision of one evaluation: the same for ever."""
    text = orjson.dumps([submission_id, revision, ruleset_digest])
    return "d_" + hashlib.sha256(text).hexdigest()[:32]


def waits_only(outcome: str, risk_level: str, reason_codes: Sequence[str]) -> bool:
    """Tell whether a hold rests on nothing but analysis that is not whole yet.

    ``risk_level`` speaks of the evidence alone: where it is ``highest``, the evidence holds too.
    """
    return (
        outcome == "block_and_review"
        and risk_level != "highest"
        and any(code.startswith(MACHINE_WAITS) for code in reason_codes)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleReport:
    """What a settlement run did: actions carried out by kind, and what was left."""

    done: Mapping[str, int]
    unpriced: int
    unslotted: int
    at: datetime
