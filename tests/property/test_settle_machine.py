"""Money, credit, cases, appeals and permits against a plain model, in any order of what can happen.

Findings come and go, people decide and appeal, days pass with nobody deciding, permits are kept and used
late, twice, after a finding, after a rotation of keys, or changed by somebody.

``BOUNTYGUARD_MACHINE_RUNS=5000`` for a night; the ordinary run takes 200 in all.
"""

import base64
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger_worlds import World
from pipeline.model.errors import LedgerError
from pipeline.model.money import decision_id
from pipeline.review.gate import answer
from pipeline.review.holdback import Holdback
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
KEPT = 10
"""Percent of each payout that is kept back for ``KEPT_DAYS``."""
KEPT_DAYS = 5
DEAR = 30_000
"""The bounty of the last one's task: so much that no deadline pays it."""
SLOTS = 2
outcomes = st.sampled_from(["approve", "review", "block_and_review", "decline"])
names = st.sampled_from(NAMES)
which = st.integers(0, 7)
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

    bounty: int = BOUNTY
    revision: int = 0
    outcome: str | None = None
    codes: frozenset[str] = frozenset()
    state: str | None = None
    amount: int = 0
    kept: int = 0
    kept_until: datetime | None = None
    lost: int = 0
    case: str | None = None
    kind: str | None = None
    judged: frozenset[str] = frozenset()
    acted: int = 0
    accepted: bool = False
    bad: bool = False
    deciders: set[str] = field(default_factory=set)
    due: datetime | None = None
    since: datetime | None = None
    appeals: dict[int, datetime] = field(default_factory=dict)
    revoked: int = 0

    @property
    def pays(self) -> bool:
        """Whether a check would say yes."""
        found = self.outcome in ("approve", "review")
        if self.case == "confirmed" or (
            self.case in ("appealed", "lapsed") and self.kind != "late"
        ):
            return False
        if self.case == "overturned":
            return found or (self.outcome is not None and self.codes <= self.judged)
        if self.case == "open" and self.kind != "look":
            return False
        return found and self.revoked < self.revision


@dataclass(frozen=True)
class Permit:
    """What the plain model knows of a permit that was given out."""

    token: str
    name: str
    amount: int
    revision: int
    issued: datetime
    key: str


WITHIN = {"hold": timedelta(hours=72), "look": timedelta(days=7), "late": timedelta(days=15),
          "decline": timedelta(days=15)}  # fmt: skip


class Market(RuleBasedStateMachine):
    """Four workers, one task of three places, and whoever judges, decides, appeals and settles."""

    @initialize(first=st.lists(outcomes, min_size=len(NAMES), max_size=len(NAMES)))
    def start(self, first: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        shutil.copyfile(template(), folder / "m.db")
        database = open_database(f"sqlite:///{folder / 'm.db'}", migrate=False)
        sa.event.listen(database.engine, "connect", _careless)
        self.world = World(database, holdback=Holdback(KEPT, KEPT_DAYS))
        self.keys = KeyRing(folder / "keys", self.world.clock())
        self.retired: dict[str, datetime] = {}
        self.used: set[str] = set()
        self.permits: list[Permit] = []
        self.world.task("t", BOUNTY, slots=SLOTS)
        self.world.task("dear", DEAR)
        self.model = {name: Work() for name in NAMES}
        self.model[NAMES[-1]].bounty = DEAR
        for i, name in enumerate(NAMES):
            task = "dear" if name == NAMES[-1] else "t"
            self.world.submit(name, task, worker=name, minute=i)
            self.judge(name, first[i], "file.identical")

    def one_of(self, wanted: Callable[[Work], bool], n: int) -> str:
        """One of those, so that few steps are spent on nothing; any where there is none."""
        found = [name for name, work in self.model.items() if wanted(work)]
        return (found or list(NAMES))[n % len(found or NAMES)]

    def has_cases(self) -> bool:
        return any(w.case for w in self.model.values())

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.whole()
            assert AuditLog(self.world.database).verify() == []
            self.world.database.close()
            self._folder.cleanup()

    def place(self, work: Work) -> bool:
        """Whether the task still pays another one."""
        taken = sum(
            w.state in ("held", "posted") for w in self.model.values() if w.bounty == BOUNTY
        )
        return work.bounty != BOUNTY or taken < SLOTS

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
            self._settle_paid(work, pays)
        elif work.state in ("held", "voided"):
            place = work.state == "held" or self.place(work)
            if pays and work.case == "open" and place:
                work.case = "withdrawn"
                self._pay(work, work.bounty)
        elif not pays and work.outcome == "decline":
            work.state = "voided"
            self._open(work, "decline")
        elif self.place(work) and pays:
            self._pay(work, work.bounty)
        elif self.place(work):
            work.state = "held"
            self._open(work, "hold")

    def _settle_paid(self, work: Work, pays: bool) -> None:
        same = work.acted == work.revision
        if pays and work.case == "open":
            if work.kind == "late":
                work.case, work.acted = "withdrawn", work.revision
                if not work.accepted:
                    self._accept_or_look(work)
            elif work.kind == "look" and work.outcome == "approve":
                work.case, work.acted, work.accepted = "withdrawn", work.revision, True
        elif pays and work.outcome == "review" and work.case in (None, "withdrawn") and not same:
            work.accepted = False
            self._open(work, "look")
        elif not (pays or same or work.codes <= work.judged) and (
            work.case not in ("open", "appealed")
        ):
            self._open(work, "late")

    def _pay(self, work: Work, amount: int) -> None:
        work.state, work.acted, work.amount = "posted", work.revision, amount
        self._keep(work, min(amount, work.bounty))
        self._accept_or_look(work)

    def _keep(self, work: Work, base: int) -> None:
        work.kept = base * KEPT // 100
        work.kept_until = self.world.clock() + timedelta(days=KEPT_DAYS)

    def _accept_or_look(self, work: Work) -> None:
        if work.outcome == "review":
            self._open(work, "look")
        else:
            work.accepted = True

    @rule()
    def recall(self) -> None:
        """What was judged anew moves as though the newest judgement had been the first."""
        self.settle()
        self.world.ledger.settle(partial(restate, submission_ids=frozenset(NAMES)))
        for work in self.model.values():
            if work.state is not None and work.acted != work.revision and work.case == "open":
                self._restate(work)

    def _restate(self, work: Work) -> None:
        if (work.state, work.kind) == ("posted", "look") and work.outcome in (
            "block_and_review", "decline",
        ):  # fmt: skip
            self._open(work, "late")
        elif work.state == "held" and work.outcome == "decline":
            work.state = "voided"
            self._open(work, "decline")
        elif (work.state, work.kind, work.outcome) == (
            "voided", "decline", "block_and_review",
        ) and self.place(work):  # fmt: skip
            work.state = "held"
            self._open(work, "hold")

    def _open(self, work: Work, kind: str) -> None:
        now = self.world.clock()
        work.case, work.kind, work.acted = "open", kind, work.revision
        work.deciders, work.appeals = set(), {}
        work.since, work.due = now, now + WITHIN[kind]

    @precondition(has_cases)
    @rule(n=which, person=people, verdict=st.sampled_from(["confirm", "refuse", "overturn"]))
    def decide(self, n: int, person: str, verdict: Any) -> None:
        name = self.one_of(lambda w: w.case in ("open", "appealed"), n)
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
        work.judged |= frozenset(payouts.codes_of(member["reason_codes"]))
        self._decided(work, person, verdict, member["revision"])

    def _decided(self, work: Work, person: str, verdict: str, revision: int) -> None:
        work.deciders.add(person)
        work.since = self.world.clock()
        if verdict == "overturn":
            work.case, work.accepted, work.bad = "overturned", True, False
            if work.state != "posted":
                work.state, work.amount = "posted", work.bounty
                self._keep(work, work.bounty)
            return
        work.case, work.accepted, work.bad = "confirmed", False, True
        work.revoked = max(work.revoked, revision)
        if work.state == "held":
            work.state = "voided"

    @precondition(has_cases)
    @rule(n=which, somebody_else=st.sampled_from([False, False, False, True]))
    def appeal(self, n: int, somebody_else: bool) -> None:
        name = self.one_of(lambda w: w.case in ("confirmed", "lapsed"), n)
        worker = NAMES[NAMES.index(name) - 1] if somebody_else else name
        work, row = self.model[name], self._row(name)
        if row is None or row["case_id"] is None:
            return
        now, ordinal = self.world.clock(), len(work.deciders)
        told = work.since is not None and now <= work.since + timedelta(days=15)
        allowed = (
            worker == name
            and work.case in ("open", "confirmed", "appealed", "lapsed")
            and (told or ordinal in work.appeals)
        )
        try:
            self.world.ledger.appeal(row["case_id"], worker_id=worker, text="it is mine")
        except LedgerError:
            assert not allowed
            return
        assert allowed
        if ordinal not in work.appeals:
            work.appeals[ordinal] = now + timedelta(days=7)
            if work.case in ("confirmed", "lapsed"):
                work.case = "appealed"

    @rule(hours=st.sampled_from([1, 73, 8 * 24, 16 * 24]))
    def nobody_decides(self, hours: int) -> None:
        self.world.clock.step(hours=hours)
        now = self.world.clock()
        rows = {name: self._row(name) for name in NAMES}
        self.world.ledger.keep_deadlines()
        for name, work in self.model.items():
            self._end_keeping(work, now)
            row = rows[name]
            if row is None or work.case not in ("open", "appealed") or work.due is None:
                continue
            if work.due > now or (work.case == "appealed" and max(work.appeals.values()) > now):
                continue
            (member,) = self._rows(tables.case_members, case_id=row["case_id"])
            if work.case == "open" and work.kind in ("decline", "late"):
                work.case = "lapsed"
            elif work.bounty == DEAR and (work.case, work.kind) != ("open", "look"):
                work.due = now + timedelta(days=1)
            else:
                work.judged |= frozenset(payouts.codes_of(member["reason_codes"]))
                self._decided(work, "system:deadline", "overturn", member["revision"])

    def _end_keeping(self, work: Work, now: datetime) -> None:
        if work.case == "confirmed" and work.since and work.since + timedelta(days=15) <= now:
            work.lost += work.kept
            work.kept = 0
        elif work.case not in ("open", "appealed", "confirmed") and (
            work.kept_until and work.kept_until <= now
        ):
            work.kept = 0

    @rule(n=which, share=st.sampled_from([60, 100, 140]))
    def ask(self, n: int, share: int) -> None:
        name = self.one_of(lambda w: w.pays and w.state is None, n)
        work = self.model[name]
        reader = gate.GateReader(self.world.database)
        known = reader.latest_assessment(name)
        reader.close()
        assert known is not None
        told = answer(known)
        assert told.pays == work.pays
        if not told.pays:
            return
        amount = work.bounty * share // 100
        grant = Grant(
            submission_id=name, payee=name, amount_minor=amount, currency="CNY",
            decision_id=told.decision_id, revision=work.revision,
        )  # fmt: skip
        assert told.decision_id == decision_id(name, work.revision, "r")
        now = self.world.clock()
        token, claims = issue(grant, now, self.keys.sign, lambda: self.keys.newest)
        issued = datetime.fromtimestamp(claims.iat, now.tzinfo)
        made = Permit(token, name, amount, work.revision, issued, self.keys.newest)
        self.permits.append(made)

    @rule(minutes=st.sampled_from([1, 10, 20, -10, -40]))
    def the_clock_steps(self, minutes: int) -> None:
        self.world.clock.step(minutes=minutes)

    @rule()
    def rotate(self) -> None:
        self.retired[self.keys.newest] = self.world.clock()
        newest = self.keys.newest
        self.keys.rotate(self.world.clock())
        made = dict(self._made_of_keys())
        self.retired[newest] = made[self.keys.newest]

    def _made_of_keys(self) -> list[tuple[str, datetime]]:
        return [(kid, made) for made, kid in self.keys._made]

    def has_permits(self) -> bool:
        return bool(self.permits)

    @precondition(has_permits)
    @rule(n=which, at=st.integers(0, 600))
    def change(self, n: int, at: int) -> None:
        """Somebody changes a letter of a permit: whichever it is, the permit is none any more."""
        permit = self.permits[n % len(self.permits)]
        where = at % len(permit.token)
        letter = "A" if permit.token[where] != "A" else "B"
        forged = permit.token[:where] + letter + permit.token[where + 1 :]
        with pytest.raises(LedgerError, match=r"not one of ours"):
            self._read(forged)

    def _read(self, token: str) -> Claims:
        now = self.world.clock()
        return read(token, lambda kid, data, sig: self.keys.verify(kid, data, sig, now=now))

    @precondition(has_permits)
    @rule(n=which)
    def use(self, n: int) -> None:
        permit = self.permits[-1 - n % len(self.permits)]
        wanted = self._refusal(permit)

        def pay(books: Any) -> None:
            check_times(claims, books.now)
            gate.execute(books, claims, actor="test")

        try:
            claims = self._read(permit.token)
            self.world.ledger.run(pay)
        except LedgerError as refused:
            assert refused.code == wanted
            return
        assert wanted is None
        self.used.add(claims.jti)
        self._pay(self.model[permit.name], permit.amount)

    def _refusal(self, permit: Permit) -> str | None:
        """The one code that this permit is refused with now; None where it pays."""
        work, now = self.model[permit.name], self.world.clock()
        if permit.key in self.retired and self.retired[permit.key] + timedelta(days=2) <= now:
            return "permit.forged"
        if now >= permit.issued + timedelta(minutes=30):
            return "permit.expired"
        if now < permit.issued - timedelta(minutes=5):
            return "permit.not_yet"
        if self._jti(permit) in self.used:
            return "permit.used"
        if work.revision != permit.revision or not work.pays:
            return "permit.revoked"
        if work.state == "posted":
            return "settlement.already_paid"
        return None if self.place(work) else "settlement.no_slot"

    def _jti(self, permit: Permit) -> str:
        body = permit.token.split(".")[1]
        told: dict[str, str] = orjson.loads(base64.urlsafe_b64decode(body + "=="))
        return told["jti"]

    @rule(name=names, result=st.sampled_from(["posted", "voided"]))
    def provider(self, name: str, result: str) -> None:
        row = self._row(name)
        if row is None or row["disbursement"] is None:
            return
        done = row["disbursement"] in ("pending", result)
        name = f"disburse:{row['payout_key']}:{row['disbursements']}"
        try:
            self.world.ledger.finish(name, result, actor="provider")
        except LedgerError:
            assert not done
            return
        assert done

    @rule(name=names)
    def instruct_again(self, name: str) -> None:
        """What came back, or was never confirmed, is instructed once more, and nothing else is."""
        row = self._row(name)
        if row is None or row["state"] != "posted":
            return
        (account,) = self._rows(tables.accounts, kind="payable", owner=name)
        left = account["credits_posted"] - account["debits_posted"] - account["debits_pending"]
        try:
            self.world.ledger.again(row["payout_key"], actor="ann")
        except LedgerError as refused:
            assert (refused.code, left) == ("settlement.nothing_owed", 0)
            return
        assert left > 0

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
                work.amount - work.kept - work.lost if work.state == "posted" else 0
            )
            assert held.get(("holdback", name), 0) == work.kept

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
            assert (accepted, bad) == (work.accepted, work.bad)


def machine(runs: int) -> None:
    run_state_machine_as_test(
        Market,
        settings=settings(
            max_examples=runs, stateful_step_count=30, deadline=None, derandomize=runs <= 200,
            suppress_health_check=list(HealthCheck), database=None,
        ),
    )  # fmt: skip


@pytest.mark.timeout(86_400)
def test_the_ledger_agrees_with_a_plain_model() -> None:
    machine(RUNS)
