"""The ledger: money, credit and cases, each change one transaction over the open books.

Many small changes may share one commit: ``run_all`` takes them one after the other inside a single
transaction, each behind its own savepoint, because what costs is the disk's acknowledgement.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import polars as pl
import sqlalchemy as sa

from pipeline.model import money
from pipeline.model.errors import BountyguardError
from pipeline.model.money import Action, Plan, Planner, SettleReport
from pipeline.review.cases import RuleRecord, Verdict
from pipeline.review.holdback import NOTHING_KEPT, Holdback
from pipeline.stores import ledger_cases as cases
from pipeline.stores import ledger_deadlines as deadlines
from pipeline.stores import ledger_instructions as instructions
from pipeline.stores import ledger_payouts as payouts
from pipeline.stores import ledger_recall as recalling
from pipeline.stores import ledger_voices as voices
from pipeline.stores import unsettled
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch_by_ids
from pipeline.stores.ledger_books import Books, account_id, plain_clause
from pipeline.stores.ledger_exports import LEDGER_EXPORTS, Export, reconcile
from pipeline.stores.ledger_facts import pieces
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record
from pipeline.stores.unsettled import Drawn

T = TypeVar("T")
PIECE: Final = 4_000
"""Submissions that a settlement plans, carries out and commits at a time."""

Standings = Callable[..., pl.DataFrame]
"""``pipeline.stages.credit.standings``: (entries, worker ids, now=, real_names=) to a frame."""


class Ledger:
    """Moves money and credit, keeps cases. One writer at a time: the head's row lock sees to it."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        standings: Standings | None = None,
        clause: Callable[[str], Mapping[str, str]] = plain_clause,
        holdback: Holdback = NOTHING_KEPT,
    ) -> None:
        self.database = database
        self.clock = clock
        self._standings = standings
        self._clause = clause
        self._holdback = holdback

    # --- writing ---------------------------------------------------------------------------

    def run(self, change: Callable[[Books], T]) -> T:
        """Make one change in a transaction of its own."""
        return self._run(change, settled=False)

    def _run(self, change: Callable[[Books], T], *, settled: bool) -> T:
        with self.database.write() as connection:
            return self._change(connection, change, settled=settled)

    def run_all(self, changes: Sequence[Callable[[Books], Any]]) -> list[Any]:
        """Make several changes with one commit; each gives its result or its ``BountyguardError``.

        If the commit itself fails, none of them has happened and the error is raised.
        """
        results: list[Any] = []
        with self.database.write() as connection:
            for change in changes:
                try:
                    with connection.begin_nested():
                        results.append(self._change(connection, change))
                except BountyguardError as refused:
                    results.append(refused)
        return results

    def _change(
        self, connection: sa.Connection, change: Callable[[Books], T], *, settled: bool = False
    ) -> T:
        books = Books(connection, self.database, self.clock(), self._clause, self._holdback)
        result = change(books)
        books.close(settled=settled)
        return result

    # --- the settle stage ------------------------------------------------------------------

    def settle(
        self,
        plan: Planner,
        *,
        only: Sequence[str] | None = None,
        piece: int = PIECE,
        progress: Callable[[str, int], None] = lambda step, count: None,
    ) -> SettleReport:
        """Plan from what the database says now and carry the plan out, piece by piece of the queue.

        A piece is ``piece`` submissions, in order of submission, planned, carried out and ticked off with
        one commit: however much is queued, one piece is in memory, and a run that was killed goes on
        with the next. ``only`` plans for these submissions, queued or not.
        """
        done: Counter[str] = Counter()
        for drawn, facts in pieces(self.database, limit=piece, only=only):
            made = plan(facts)
            done.update(self._run(partial(_settled, made=made, drawn=drawn), settled=True))
            progress("settle", len(facts.asked))
        with self.database.read() as connection:
            waits = unsettled.waiting(connection)
        return SettleReport(
            done=done, unpriced=waits.get("unpriced", 0), unslotted=waits.get("unslotted", 0),
            at=self.clock(),
        )  # fmt: skip

    def carry_out(self, plan: Plan) -> SettleReport:
        """Carry out a plan. Repeating it, or one made of older facts, changes nothing more."""
        done: Counter[str] = Counter()
        for start in range(0, len(plan.actions), PIECE):
            some = plan.actions[start : start + PIECE]
            done.update(self.run(partial(_carry_out, actions=some)).values())
        return SettleReport(
            done=done, unpriced=plan.unpriced, unslotted=plan.unslotted, at=self.clock()
        )

    # --- cases -----------------------------------------------------------------------------

    def decide(
        self,
        case_id: str,
        verdict: Verdict,
        *,
        person: str,
        reason: str,
        amount_minor: int | None = None,
    ) -> None:
        """Decide a case: see ``ledger_cases.decide``."""
        self.run(
            lambda books: cases.decide(
                books, case_id, verdict, person=person, reason=reason, amount_minor=amount_minor
            )
        )

    def appeal(self, case_id: str, *, worker_id: str, text: str) -> dict[str, Any]:
        """Take in an appeal: see ``ledger_voices.appeal``."""
        return self.run(lambda books: voices.appeal(books, case_id, worker_id=worker_id, text=text))

    def report(self, *, reporter_id: str, submission_id: str, reason: str) -> dict[str, Any]:
        """Take in a report: see ``ledger_voices.report``."""
        return self.run(
            lambda books: voices.report(
                books, reporter_id=reporter_id, submission_id=submission_id, reason=reason
            )
        )

    def finish(self, settlement_id: str, result: str, *, actor: str) -> dict[str, Any]:
        """Take in what became of a payment: see ``ledger_instructions.finish``."""
        return self.run(
            lambda books: instructions.finish(books, settlement_id, result, actor=actor)
        )

    def again(self, payout_key: str, *, actor: str) -> dict[str, Any]:
        """Instruct once more what came back: see ``ledger_instructions.again``."""
        return self.run(lambda books: instructions.again(books, payout_key, actor=actor))

    def bonus(self, payout_key: str, amount_minor: int, *, why: str, actor: str) -> str:
        """Pay a bonus beside a paid payout."""
        return self.run(
            lambda books: payouts.bonus(books, payout_key, amount_minor, why=why, actor=actor)
        )

    def keep_deadlines(self) -> dict[str, int]:
        """Do what is due now: undecided cases, unconfirmed payments, refunds."""
        return self.run(deadlines.keep_deadlines)

    def note(self, actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Write down in the audit chain that somebody did or saw something."""
        self.run(lambda books: books.log(actor, action, subject, detail))

    # --- reading ---------------------------------------------------------------------------

    def exports(self) -> Mapping[str, Export]:
        """What ``bountyguard export`` can print of the ledger, by name."""
        return LEDGER_EXPORTS

    def export_frames(self) -> dict[str, pl.DataFrame]:
        """Return all of that as frames, in a fixed order."""
        return {name: make(self.database, None) for name, make in LEDGER_EXPORTS.items()}

    def reconcile(self) -> list[str]:
        """Prove every account from its entries; return what does not agree."""
        return reconcile(self.database)

    def entries(self, worker_ids: Sequence[str]) -> pl.DataFrame:
        """Return the credit entries of those workers: a CREDIT_ENTRIES frame."""
        table = tables.credit_entries
        with self.database.read() as connection:
            found = fetch_by_ids(
                connection, sa.select(table), table.c.worker_id, worker_ids, money.CREDIT_ENTRIES
            )
        return found.sort("sequence")

    def standings(self, worker_ids: Sequence[str]) -> pl.DataFrame:
        """Return the standing of those workers as rules ask for it.

        Columns ``worker_id``, ``score``, ``level``, ``paid``, ``confirmed``, ``overturned``.
        """
        counts = self._paid_counts(worker_ids)
        frame = pl.DataFrame(
            {"worker_id": sorted(set(worker_ids))}, schema={"worker_id": pl.String()}
        )
        paid = frame.with_columns(
            pl.col("worker_id")
            .replace_strict(counts, default=0, return_dtype=pl.Int64)
            .alias("paid")
        )
        if self._standings is None:
            return paid
        made = self.standing(worker_ids)
        return paid.join(
            made.select("worker_id", "score", "level", "confirmed", "overturned"), on="worker_id"
        ).select("worker_id", "score", "level", "paid", "confirmed", "overturned")

    def standing(self, worker_ids: Sequence[str]) -> pl.DataFrame:
        """Return the whole standing of those workers, with why: ``stages.credit.STANDINGS``."""
        if self._standings is None:
            raise TypeError("this ledger was made without the credit stage")
        named = record.workers.c
        schema: dict[str, pl.DataType] = {
            "worker_id": pl.String(),
            "real_name_verified": pl.Boolean(),
        }
        with self.database.read() as connection:
            known = fetch_by_ids(
                connection, sa.select(record.workers), named.worker_id, worker_ids, schema
            )
        real = frozenset(known.filter(pl.col("real_name_verified"))["worker_id"].to_list())
        return self._standings(
            self.entries(worker_ids), sorted(set(worker_ids)), now=self.clock(), real_names=real
        )

    def _paid_counts(self, worker_ids: Sequence[str]) -> dict[str, int]:
        table = tables.payouts.c
        found: dict[str, int] = {}
        ids = sorted(set(worker_ids))
        with self.database.read() as connection:
            for start in range(0, len(ids), 1000):
                query = (
                    sa.select(table.worker_id, sa.func.count())
                    .where(table.worker_id.in_(ids[start : start + 1000]), table.state == "posted")
                    .group_by(table.worker_id)
                )
                found.update({w: n for w, n in connection.execute(query)})
        return found

    def paid(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return which of these submissions were paid: one column, ``submission_id``."""
        members, table = tables.payout_members.c, tables.payouts.c
        ids = sorted(set(submission_ids))
        found: list[str] = []
        with self.database.read() as connection:
            for start in range(0, len(ids), 1000):
                query = (
                    sa.select(members.submission_id)
                    .join_from(
                        tables.payout_members,
                        tables.payouts,
                        table.payout_key == members.payout_key,
                    )
                    .where(
                        members.submission_id.in_(ids[start : start + 1000]),
                        table.state == "posted",
                    )
                )
                found += connection.execute(query).scalars().all()
        return pl.DataFrame({"submission_id": sorted(found)}, schema={"submission_id": pl.String()})

    def balance(self, kind: money.AccountKind, owner: str, currency: str) -> tuple[int, int]:
        """Return an account's (posted, pending) balance, credits less debits."""
        table = tables.accounts
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(table).where(table.c.account_id == account_id(kind, owner, currency))
            ).one_or_none()
        if row is None:
            return (0, 0)
        return (
            row.credits_posted - row.debits_posted,
            row.credits_pending - row.debits_pending,
        )

    def rule_records(self) -> list[RuleRecord]:
        """Return, by rule, how many of its holds were decided and how many were overturned."""
        frame = LEDGER_EXPORTS["cases"](self.database, None).filter(
            pl.col("state").is_in(["confirmed", "overturned", "appealed"])
        )
        rows = (
            frame.explode("rules", empty_as_null=True)
            .drop_nulls("rules")
            .group_by("rules")
            .agg(
                pl.len().alias("decided"),
                (pl.col("state") == "overturned").sum().alias("overturned"),
            )
            .sort("rules")
        )
        return [
            RuleRecord(rule=rule, decided=decided, overturned=overturned)
            for rule, decided, overturned in rows.iter_rows()
        ]


def _settled(books: Books, made: Plan, drawn: Drawn) -> list[str]:
    """Carry out a plan and tick off what was drawn for it; return the kinds of what was done.

    A step that the books had moved on from stays queued: it is planned again on newer facts.
    """
    done = _carry_out(books, made.actions)
    moved_on = [a.submission_id for a in made.actions if a.submission_id not in done]
    unsettled.tick_off(books.connection, drawn, made.parked, moved_on)
    return list(done.values())


def _carry_out(books: Books, actions: Sequence[Action]) -> dict[str, str]:
    """Take these steps; return the kind of each that was taken, by submission."""
    books.load_members([a.submission_id for a in actions])
    books.load_tasks({a.task_id for a in actions})
    books.load([a.payout_key for a in actions], {n for a in actions for n in _accounts_of(a)})
    return {
        a.submission_id: a.kind for a in actions if payouts.carry_out(books, a, recalling.STEPS)
    }


def _accounts_of(action: Action) -> Iterator[str]:
    """Name the accounts that a step may move money between."""
    yield account_id("publisher", action.publisher_id or "-", action.currency)
    yield account_id("escrow", action.task_id, action.currency)
    yield account_id("payable", action.worker_id, action.currency)
    yield account_id("paid", action.worker_id, action.currency)


__all__ = ["Books", "Ledger"]
