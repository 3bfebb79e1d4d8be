"""Credit against a plain model: any history of work, refusals, fraud, reversals and quiet days.

``BOUNTYGUARD_MACHINE_RUNS=5000`` for a night; the ordinary run takes 200.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scipy.stats import beta

from pipeline.model.money import CREDIT_KINDS
from pipeline.stages import credit

RUNS = int(os.environ.get("BOUNTYGUARD_MACHINE_RUNS", "200"))
KINDS = ("accepted", "accepted_late", "quality_bonus", "rejected", "abandoned", "confirmed_fraud")


class Worker(RuleBasedStateMachine):
    """One worker's entries, as the ledger would post them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 3, 1, 9, tzinfo=UTC)
        self.entries: list[dict[str, Any]] = []
        self.real_name = False

    def post(self, kind: str, publisher: str, weight: int, at: datetime, undoes: Any) -> None:
        good, bad = CREDIT_KINDS[kind]
        number = len(self.entries)
        self.entries.append(
            {"sequence": number, "entry_id": f"e{number}", "worker_id": "w", "kind": kind,
             "r_milli": good, "s_milli": bad, "weight_permille": weight, "at": at,
             "publisher_id": publisher, "reverses": undoes}
        )  # fmt: skip

    @rule(
        kind=st.sampled_from(KINDS[:2] * 6 + KINDS),
        publisher=st.sampled_from("abcdefgh"),
        weight=st.sampled_from([1000, 1000, 400, 0]),
        times=st.sampled_from([1, 3, 12]),
        ago=st.sampled_from([0, 0, 3]),
    )
    def work(self, kind: str, publisher: str, weight: int, times: int, ago: int) -> None:
        for _ in range(1 if kind == "confirmed_fraud" else times):
            self.post(kind, publisher, weight, self.now - timedelta(days=ago), None)

    @rule(days=st.sampled_from([1, 1, 30, 200]))
    def days_pass(self, days: int) -> None:
        self.now += timedelta(days=days)

    @precondition(lambda self: self.standing())
    @rule(which=st.integers(0, 1000))
    def overturned(self, which: int) -> None:
        """An entry is taken back: nothing is left of it, and what it had changed is as before."""
        one = self.standing()[which % len(self.standing())]
        as_if_never = [e for e in self.entries if e is not one]
        self.post("reversal", "", 1000, self.now, one["entry_id"])
        theirs, ours = self.say(as_if_never), self.say(self.entries)
        assert {k: v for k, v in theirs.items() if k != "overturned"} == {
            k: v for k, v in ours.items() if k != "overturned"
        }

    @rule()
    def name_is_verified(self) -> None:
        self.real_name = True

    def standing(self) -> list[dict[str, Any]]:
        undone = {e["reverses"] for e in self.entries}
        return [e for e in self.entries if e["entry_id"] not in undone and not e["reverses"]]

    def say(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        return credit.standing("w", entries, now=self.now, real_name_verified=self.real_name)

    @invariant()
    def agrees(self) -> None:
        good, bad, frauds = plain(self.standing(), self.now)
        told = self.say(self.entries)
        lower, upper = beta.ppf(0.05, good + 1, bad + 1), beta.ppf(0.95, good + 1, bad + 1)
        assert (told["good"], told["bad"], told["lower"], told["upper"]) == pytest.approx(
            (good, bad, lower, upper), rel=1e-9, abs=1e-9
        )
        if min(abs(lower - 0.7), abs(lower - 0.9), abs(upper - 0.6)) < 1e-9:
            return
        level = "suspended" if frauds >= 2 else "c_only" if upper < 0.6 else "open"
        grade = "C"
        if level == "open" and lower >= 0.7:
            grade = "A" if lower >= 0.9 and self.real_name else "B"
        running = {"suspended": 0, "c_only": 1}.get(level, {"A": 10, "B": 6, "C": 3}[grade])
        assert (told["level"], told["grade"], told["concurrent_max"]) == (level, grade, running)
        assert told["why"]
        if not any(e["s_milli"] for e in self.standing()):
            assert told["level"] == "open", "nobody is restricted for being new, or for good work"


def plain(entries: list[dict[str, Any]], now: datetime) -> tuple[float, float, int]:
    """Good and bad experience and recent frauds, worked out entry by entry in the plainest words."""
    by_publisher: dict[str, float] = {}
    bad, frauds = 0.0, 0
    for e in entries:
        if e["kind"] == "confirmed_fraud":
            days = max(0.0, (now - e["at"]).total_seconds() / 86_400)
            bad += 10.0 * 0.5 ** (days / 365)
            frauds += days <= 365
            continue
        later = {o["at"].date() for o in entries if o["at"].date() > e["at"].date()}
        counts = e["weight_permille"] / 1000 * 0.5 ** (len(later) / 90)
        bad += e["s_milli"] / 1000 * counts
        earlier_that_day = [
            o
            for o in entries
            if o["kind"].startswith("accepted")
            and o["at"].date() == e["at"].date()
            and (o["at"], o["sequence"]) < (e["at"], e["sequence"])
        ]
        if e["kind"].startswith("accepted") and len(earlier_that_day) >= 10:
            continue
        gave = by_publisher.get(e["publisher_id"], 0.0)
        by_publisher[e["publisher_id"]] = gave + e["r_milli"] / 1000 * counts
    cap = max(8.0, fair_share(list(by_publisher.values())))
    return sum(min(gave, cap) for gave in by_publisher.values()), bad, frauds


def fair_share(gave: list[float]) -> float:
    """The most that one may count for, where nobody counts for more than a fifth: by bisection."""
    if len([g for g in gave if g > 0]) < 5:
        return 0.0
    low, high = 0.0, max(gave)
    for _ in range(200):
        middle = (low + high) / 2
        if middle <= 0.2 * sum(min(g, middle) for g in gave) + 1e-12:
            low = middle
        else:
            high = middle
    return low


@pytest.mark.timeout(86_400)
def test_credit_agrees_with_a_plain_model() -> None:
    run_state_machine_as_test(
        Worker,
        settings=settings(
            max_examples=RUNS, stateful_step_count=20, deadline=None, derandomize=RUNS <= 200,
            suppress_health_check=list(HealthCheck), database=None,
        ),
    )  # fmt: skip
