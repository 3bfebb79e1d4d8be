"""Money, credit and cases against a plain model, in any order of findings, verdicts, appeals, permits.

``BOUNTYGUARD_MACHINE_RUNS=5000`` for a night; the ordinary run takes 200 in all.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ledger_worlds import World

from pipeline.model.errors import LedgerError
from pipeline.model.money import decision_id
from pipeline.review.gate import answer
from pipeline.review.permit import Claims, Grant, check_times, issue, read
from pipeline.stages.settle import restate
from pipeline.stores import gate
from pipeline.stores import ledger_payouts as payouts
from pipeline.stores.audit import AuditLog
from pipeline.stores.database import open_database
from pipeline.stores.keys import KeyRing
from pipeline.stores.tables import ledger as tables

RUNS = int(os.environ.get("BOUNTYGUARD_MACHINE_RUNS", "200"))
NAMES = tuple(f"s{i}" for i in range(4))
BOUNTY = 100
SLOTS = 3
outcomes = st.sampled_from(["approve", "review", "block_and_review", "decline"])
names = st.sampled_from(NAMES)
people = st.sampled_from(["ann", "bob", "cy", "di"])


@cache
def template() -> Path:
    """An empty database with its tables made, to be copied."""
    path = Path(tempfile.mkdtemp()) / "empty.db"
    made = open_database(f"sqlite:///{path}")
    with made.write() as connection:
        connection.execute(sa.text("SELECT 1"))
    made.engine.raw_connection().cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    made.close()
    return path


def _careless(connection: Any, record: Any) -> None:
    """What is tested here is not the disk."""
    connection.execute("PRAGMA synchronous=OFF").close()


@dataclass
class Work:
    """What the plain model knows of one submission."""

    revision: int = 0
    outcome: str | None = None
    codes: frozenset[str] = frozenset()
    state: str | None = None
    case: str | None = None
    kind: str | None = None
    judged: frozenset[str] = frozenset()
    acted: int = 0
    accepted: bool = False
    deciders: set[str] = field(default_factory=set)
    appealed: int = -1
    decisions: int = 0


class Market(RuleBasedStateMachine):
    """Four workers, one task of three places, and whoever judges, decides, appeals and settles."""

    @initialize()
    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        shutil.copyfile(template(), folder / "m.db")
        database = open_database(f"sqlite:///{folder / 'm.db'}", migrate=False)
        sa.event.listen(database.engine, "connect", _careless)
        self.world = World(database)
        self.keys = KeyRing(folder / "keys", self.world.clock())
        self.world.task("t", BOUNTY, slots=SLOTS)
        self.model = {name: Work() for name in NAMES}
        self.over = 0  # paid beyond the slots, because a person overturned
        for i, name in enumerate(NAMES):
            self.world.submit(name, worker=name, minute=i)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.whole()
            assert AuditLog(self.world.database).verify() == []
            self.world.database.close()
            self._folder.cleanup()

    def live(self) -> int:
        return sum(w.state in ("held", "posted") for w in self.model.values())

    @rule(name=names, outcome=outcomes, code=st.sampled_from(["file.identical", "text.contained"]))
    def judge(self, name: str, outcome: str, code: str) -> None:
        work = self.model[name]
        work.revision += 1
        work.outcome = outcome
        work.codes = (
            frozenset([code]) if outcome in ("block_and_review", "decline") else frozenset()
        )
        self.world.judge(name, outcome, work.revision, codes=sorted(work.codes))

    @rule()
    def settle(self) -> None:
        self.world.settle()
        for work in self.model.values():
            self._settle(work)

    def _settle(self, work: Work) -> None:
        if work.outcome is None:
            return
        pays = work.outcome in ("approve", "review")
        if work.state == "posted":
            if pays and work.case == "open" and work.kind == "late":
                work.case, work.acted = "withdrawn", work.revision
                if not work.accepted and work.outcome == "review":
                    self._open(work, "look")
            elif not pays and work.acted != work.revision and not work.codes <= work.judged and (
                work.case not in ("open", "appealed")
            ):  # fmt: skip
                self._open(work, "late")
        elif work.state in ("held", "voided"):
            place = work.state == "held" or self.live() < SLOTS
            if pays and work.case == "open" and place:
                work.state, work.case, work.acted = "posted", "withdrawn", work.revision
                if work.outcome == "review":
                    self._open(work, "look")
        elif not pays and work.outcome == "decline":
            work.state = "voided"
            self._open(work, "decline")
        elif self.live() < SLOTS:
            work.state, work.acted = ("posted" if pays else "held"), work.revision
            if work.outcome != "approve":
                self._open(work, "look" if pays else "hold")

    @rule()
    def recall(self) -> None:
        """What was judged anew moves as though the newest judgement had been the first."""
        self.settle()
        self.world.ledger.settle(partial(restate, submission_ids=frozenset(NAMES)))
        for work in self.model.values():
            if work.state is not None and work.acted != work.revision:
                self._restate(work)

    def _restate(self, work: Work) -> None:
        holds = work.outcome in ("block_and_review", "decline")
        looked = (work.state, work.case, work.kind) == ("posted", "open", "look")
        if looked and work.outcome == "approve":
            work.case, work.acted = "withdrawn", work.revision
        elif looked and holds:
            self._open(work, "late")
        elif work.state == "posted" and work.case in (None, "withdrawn"):
            if work.outcome == "review":
                self._open(work, "look")
        elif work.case == "open" and work.state == "held" and work.outcome == "decline":
            work.state = "voided"
            self._open(work, "decline")
        elif (work.case, work.state, work.kind, work.outcome) == (
            "open", "voided", "decline", "block_and_review",
        ) and self.live() < SLOTS:  # fmt: skip
            work.state = "held"
            self._open(work, "hold")

    def _open(self, work: Work, kind: str) -> None:
        work.case, work.kind, work.acted = "open", kind, work.revision
        work.deciders, work.appealed, work.decisions = set(), -1, 0
        self.case_codes = None

    @rule(name=names, person=people, verdict=st.sampled_from(["confirm", "refuse", "overturn"]))
    def decide(self, name: str, person: str, verdict: Any) -> None:
        work = self.model[name]
        row = self._row(name)
        if row is None or row["case_id"] is None:
            return
        allowed = work.case in ("open", "appealed") and person not in work.deciders
        (member,) = self._rows(tables.case_members, case_id=row["case_id"])
        try:
            self.world.ledger.decide(row["case_id"], verdict, person=person, reason="seen")
        except LedgerError as refused:
            assert not allowed, refused
            return
        assert allowed
        work.deciders.add(person)
        work.decisions += 1
        work.judged |= frozenset(payouts.codes_of(member["reason_codes"]))
        work.case = "overturned" if verdict == "overturn" else "confirmed"
        if verdict == "overturn" and work.state != "posted":
            self.over += work.state == "voided" and self.live() >= SLOTS
            work.state = "posted"
        elif verdict != "overturn" and work.state == "held":
            work.state = "voided"

    @rule(name=names, worker=names)
    def appeal(self, name: str, worker: str) -> None:
        work, row = self.model[name], self._row(name)
        if row is None or row["case_id"] is None:
            return
        allowed = worker == name and work.case in ("open", "confirmed", "appealed")
        try:
            self.world.ledger.appeal(row["case_id"], worker_id=worker, text="it is mine")
        except LedgerError:
            assert not allowed
            return
        assert allowed
        if work.case == "confirmed":
            work.case = "appealed"

    @rule(name=names, minutes=st.sampled_from([0, 10, 40]), again=st.booleans())
    def pay_with_permit(self, name: str, minutes: int, again: bool) -> None:
        work = self.model[name]
        reader = gate.GateReader(self.world.database)
        known = reader.latest_assessment(name)
        reader.close()
        assert known is not None
        told = answer(known)
        if not told.pays:
            assert work.outcome is None or work.outcome not in ("approve", "review") or (
                work.case is not None
            )  # fmt: skip
            return
        grant = Grant(
            submission_id=name, payee=name, amount_minor=BOUNTY, currency="CNY",
            decision_id=told.decision_id, revision=work.revision,
        )  # fmt: skip
        assert told.decision_id == decision_id(name, work.revision, "r")
        now = self.world.clock()
        token, _ = issue(grant, now, self.keys.sign, lambda: self.keys.newest)
        claims = read(token, lambda kid, data, sig: self.keys.verify(kid, data, sig, now=now))
        self.world.clock.step(minutes=minutes)
        self._use(claims, work, expired=minutes == 40)
        if again:
            self._use(claims, work, expired=minutes == 40)

    def _use(self, claims: Claims, work: Work, *, expired: bool) -> None:
        may = not expired and work.state is None and self.live() < SLOTS

        def change(books: Any) -> None:
            check_times(claims, books.now)
            gate.execute(books, claims, actor="test")

        try:
            self.world.ledger.run(change)
        except LedgerError as refused:
            assert not may, refused
            return
        assert may
        work.state, work.acted = "posted", work.revision
        if work.outcome == "review":
            self._open(work, "look")

    @rule(name=names, result=st.sampled_from(["posted", "voided"]))
    def provider(self, name: str, result: str) -> None:
        row = self._row(name)
        if row is None or row["disbursement"] is None:
            return
        done = row["disbursement"] in ("pending", result)
        try:
            self.world.ledger.finish(row["payout_key"], result, actor="provider")
        except LedgerError:
            assert not done
            return
        assert done

    def _row(self, name: str) -> dict[str, Any] | None:
        found = self._rows(tables.payouts, worker_id=name)
        return found[0] if found else None

    def _rows(self, table: sa.Table, **where: str) -> list[dict[str, Any]]:
        query = sa.select(table).where(*(table.c[k] == v for k, v in where.items()))
        with self.world.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @invariant()
    def money_agrees(self) -> None:
        if not hasattr(self, "world"):
            return
        rows = {row["worker_id"]: row for row in self._rows(tables.payouts)}
        held = {
            (row["kind"], row["owner"]): row["credits_posted"] - row["debits_posted"]
            for row in self._rows(tables.accounts)
        }
        assert sum(held.values()) == 0
        for name, work in self.model.items():
            row = rows.get(name)
            assert (row["state"] if row else None) == work.state
            assert (row["case_state"] if row else None) == work.case
            assert held.get(("payable", name), 0) + held.get(("paid", name), 0) == (
                BOUNTY if work.state == "posted" else 0
            )

    @invariant()
    def credit_agrees(self) -> None:
        if not hasattr(self, "world"):
            return
        entries = self._rows(tables.credit_entries)
        undone = {e["reverses"] for e in entries}
        for name, work in self.model.items():
            standing = [
                e["kind"]
                for e in entries
                if e["worker_id"] == name and e["entry_id"] not in undone and not e["reverses"]
            ]
            accepted = sum(k.startswith("accepted") for k in standing)
            bad = sum(k in ("confirmed_fraud", "rejected") for k in standing)
            assert accepted <= (work.state == "posted")
            work.accepted = bool(accepted)
            if work.state == "posted" and work.case in (None, "withdrawn"):
                assert accepted == 1
            if (work.state, work.case, work.kind) == ("posted", "open", "look"):
                assert accepted == 0
            if work.case in ("confirmed", "appealed"):
                assert (accepted, bad) == (0, 1)
            if work.case == "overturned":
                assert (accepted, bad) == (1, 0)


def machine(runs: int) -> None:
    run_state_machine_as_test(
        Market,
        settings=settings(
            max_examples=runs, stateful_step_count=12, deadline=None, derandomize=runs <= 200,
            suppress_health_check=list(HealthCheck), database=None,
        ),
    )  # fmt: skip


@pytest.mark.timeout(86_400)
def test_the_ledger_agrees_with_a_plain_model() -> None:
    machine(RUNS)
