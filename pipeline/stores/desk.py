"""What the analysts' console reads, a page at a time, and the rehearsal of a verdict.

Every query has a limit. Nothing here changes anything: a rehearsal is rolled back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from pipeline.model.errors import BountyguardError, LedgerError
from pipeline.review.cases import Verdict
from pipeline.stores import ledger_cases as cases
from pipeline.stores.database import Database
from pipeline.stores.ledger import Ledger
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record

Row = dict[str, Any]
ROWS_MAX: Final = 200
OFFSET_MAX: Final = 100_000
SORTS: Final = ("due", "money", "score")
UNDECIDED: Final = ("open", "appealed")

_case, _member = tables.cases.c, tables.case_members.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which cases to list. ``reason`` is a code or a family; ``named`` an id of whatever kind."""

    states: Sequence[str] = UNDECIDED
    kind: str | None = None
    reason: str | None = None
    named: str | None = None
    decided_by: str | None = None
    sort: str = "due"
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a verdict would do now: the transfers and credit entries that it would add.

    ``refused`` is the code of the refusal, null where it would be carried out.
    """

    verdict: str
    refused: str | None = None
    transfers: Sequence[Row] = ()
    credit: Sequence[Row] = ()


class _Rehearsed(Exception):
    """Ends a rehearsal, so that its transaction is rolled back."""

    def __init__(self, made: Rehearsal) -> None:
        super().__init__(made.verdict)
        self.made = made


def rehearse(ledger: Ledger, case_id: str, verdict: Verdict, *, person: str) -> Rehearsal:
    """Carry a verdict out, read what it added, and roll everything back."""

    def change(books: Books) -> None:
        before = books.next_sequence()
        cases.decide(books, case_id, verdict, person=person, reason="rehearsal")
        books.close()
        added: list[list[Row]] = []
        for table in (tables.transfers, tables.credit_entries):
            query = sa.select(table).where(table.c.sequence > before).order_by(table.c.sequence)
            added.append(_rows(books.connection, query))
        raise _Rehearsed(Rehearsal(verdict=verdict, transfers=added[0], credit=added[1]))

    try:
        ledger.run(change)
    except _Rehearsed as done:
        return done.made
    except BountyguardError as refused:
        return Rehearsal(verdict=verdict, refused=refused.code)
    raise AssertionError("a rehearsal never returns")


class Desk:
    """Reads what people look at: cases with what belongs to them, workers, groups, quarantine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- cases -----------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Count the undecided cases by state."""
        query = (
            sa.select(_case.state, sa.func.count())
            .where(_case.state.in_(UNDECIDED))
            .group_by(_case.state)
        )
        with self._database.read() as connection:
            return {str(state): int(n) for state, n in connection.execute(query)}

    def queue(self, wanted: Wanted) -> tuple[list[Row], bool]:
        """Return a page of cases, and whether there are more.

        Each has its own columns and, summed over its payouts: ``payouts``, ``workers``, ``score`` (the
        highest), ``amount_minor`` and ``currency`` (the first), ``submission_id`` and ``worker_id``
        (of one), ``reason_codes``.
        """
        limit = max(1, min(wanted.limit, ROWS_MAX))
        query = sa.select(tables.cases)
        if wanted.sort in ("money", "score"):
            what = (
                sa.func.sum(_member.amount_minor)
                if wanted.sort == "money"
                else sa.func.max(_member.score)
            )
            most = (
                sa.select(_member.case_id, what.label("most")).group_by(_member.case_id).subquery()
            )
            query = query.join(most, most.c.case_id == _case.case_id).order_by(
                most.c.most.desc(), _case.case_id
            )
        elif wanted.decided_by is not None:
            query = query.order_by(_case.opened_at.desc(), _case.case_id)
        else:
            query = query.order_by(_case.due_at, _case.case_id)
        query = query.where(*_conditions(wanted))
        with self._database.read() as connection:
            offset = max(0, min(wanted.offset, OFFSET_MAX))
            found = _rows(connection, query.limit(limit + 1).offset(offset))
            page = found[:limit]
            sums = _sums(connection, [r["case_id"] for r in page])
        return [r | sums[r["case_id"]] for r in page if r["case_id"] in sums], len(found) > limit

    def case(self, case_id: str) -> Row:
        """Return a case. Raises ``LedgerError('case.unknown')``."""
        with self._database.read() as connection:
            found = _rows(connection, sa.select(tables.cases).where(_case.case_id == case_id))
        if not found:
            raise LedgerError("case.unknown", f"there is no case {case_id!r}")
        return found[0]

    def members(self, case_id: str, *, limit: int = 50, offset: int = 0) -> tuple[list[Row], int]:
        """Return some payouts that a case is about, the highest score first, and how many there are."""
        query = _members().where(_member.case_id == case_id)
        ordered = query.order_by(_member.score.desc(), _member.payout_key)
        with self._database.read() as connection:
            total = connection.execute(
                sa.select(sa.func.count())
                .select_from(tables.case_members)
                .where(_member.case_id == case_id)
            ).scalar_one()
            found = _rows(connection, ordered.limit(min(limit, ROWS_MAX)).offset(max(0, offset)))
        return found, int(total)

    def member(self, case_id: str, submission_id: str) -> Row | None:
        """Return one payout of a case by its submission; None where the case is not about it."""
        query = _members().where(_member.case_id == case_id, _member.submission_id == submission_id)
        with self._database.read() as connection:
            found = _rows(connection, query.limit(1))
        return found[0] if found else None

    def revisions(self, case_id: str) -> int:
        """Sum the revisions of the evaluations that a case rests on: it grows with each newer one."""
        query = sa.select(sa.func.coalesce(sa.func.sum(_member.revision), 0))
        with self._database.read() as connection:
            return int(connection.execute(query.where(_member.case_id == case_id)).scalar_one())

    def decided_by(self, person: str, case_ids: Sequence[str]) -> frozenset[str]:
        """Return which of these cases a person has decided before."""
        table = tables.case_decisions.c
        query = sa.select(table.case_id).where(
            table.person == person, table.case_id.in_(list(case_ids))
        )
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def decisions(self, case_id: str) -> list[Row]:
        """Return what was decided of a case, first to last."""
        table = tables.case_decisions
        return self._some(
            sa.select(table).where(table.c.case_id == case_id).order_by(table.c.ordinal)
        )

    def appeals(self, case_id: str) -> list[Row]:
        """Return what the accused answered, first to last."""
        table = tables.appeals
        query = sa.select(table).where(table.c.case_id == case_id)
        return self._some(query.order_by(table.c.filed_at, table.c.appeal_id))

    def reports(self, submission_id: str) -> list[Row]:
        """Return who accused a submission, first to last."""
        table = tables.reports
        query = sa.select(table).where(table.c.submission_id == submission_id)
        return self._some(query.order_by(table.c.filed_at, table.c.report_id))

    def statements(self, decision_id: str) -> dict[str, Row]:
        """Return the statement of reasons of a decision, by language."""
        table = tables.statements
        found = self._some(sa.select(table).where(table.c.decision_id == decision_id))
        return {row["language"]: orjson.loads(row["body"]) for row in found}

    def snoozes(self, case_id: str) -> list[Row]:
        """Return the rules that were snoozed from a case."""
        table = record.snoozes
        query = sa.select(table).where(table.c.case_id == case_id)
        return self._some(query.order_by(table.c.added_at, table.c.snooze_id))

    def trail(self, subject: str, limit: int = 50) -> list[Row]:
        """Return the newest rows of the audit chain about that subject, newest first."""
        table = tables.audit
        query = sa.select(table).where(table.c.subject == subject[:200])
        return self._some(query.order_by(table.c.sequence.desc()), limit)

    # --- who and what else -----------------------------------------------------------------

    def cases_of_worker(self, worker_id: str, limit: int = 50) -> list[Row]:
        """Return the cases that are about a worker's payouts, the newest first."""
        query = _members().where(_member.worker_id == worker_id)
        return self._some(query.order_by(_case.opened_at.desc(), _member.payout_key), limit)

    def submissions_of_worker(self, worker_id: str, limit: int = 50) -> list[Row]:
        """Return what a worker handed in last, newest first, without the text."""
        table = record.submissions.c
        payout, held = tables.payouts.c, tables.payout_members.c
        query = (
            sa.select(
                table.submission_id, table.task_id, table.submitted_at, table.supersedes,
                payout.state, payout.amount_minor, payout.currency,
            )
            .select_from(record.submissions)
            .join(tables.payout_members, held.submission_id == table.submission_id, isouter=True)
            .join(tables.payouts, payout.payout_key == held.payout_key, isouter=True)
            .where(table.worker_id == worker_id)
            .order_by(table.submitted_at.desc(), table.submission_id)
        )  # fmt: skip
        return self._some(query, limit)

    def members_of_cluster(self, cluster_id: str, limit: int = ROWS_MAX) -> list[Row]:
        """Return payouts that a group's cases are about, the earliest first."""
        query = _members().where(_case.cluster_id == cluster_id)
        return self._some(query.order_by(_member.joined_at, _member.payout_key), limit)

    def quarantine(
        self, *, code: str | None = None, limit: int = 50, offset: int = 0
    ) -> tuple[list[Row], bool]:
        """Return a page of the rows that wait in quarantine, and whether there are more."""
        table = record.quarantine
        names = [c for c in table.c if c.name != "raw"]
        query = sa.select(*names, sa.func.substr(table.c.raw, 1, 2000).label("raw")).where(
            table.c.status == "open"
        )
        if code:
            query = query.where(table.c.code == code)
        ordered = query.order_by(table.c.file, table.c.line, table.c.quarantine_id)
        found = self._some(ordered.offset(max(0, min(offset, OFFSET_MAX))), limit + 1)
        return found[:limit], len(found) > limit

    def quarantine_codes(self) -> list[tuple[str, int]]:
        """Count the rows that wait in quarantine by code, the most frequent first."""
        table = record.quarantine.c
        count = sa.func.count()
        query = sa.select(table.code, count).where(table.status == "open").group_by(table.code)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(count.desc(), table.code).limit(50)).all()
        return [(str(code), int(n)) for code, n in found]

    def _some(self, query: sa.Select[Any], limit: int = ROWS_MAX) -> list[Row]:
        with self._database.read() as connection:
            return _rows(connection, query.limit(max(1, min(limit, ROWS_MAX + 1))))


def _members() -> sa.Select[Any]:
    """Select payouts with their case and where the money stands; JSON columns as text."""
    payout = tables.payouts.c
    return (
        sa.select(
            tables.case_members, _case.kind, _case.state, _case.cluster_id, _case.opened_at,
            _case.due_at, payout.state.label("payout_state"), payout.case_state,
            payout.task_id, payout.publisher_id,
        )
        .join(tables.cases, _case.case_id == _member.case_id)
        .join(tables.payouts, payout.payout_key == _member.payout_key, isouter=True)
    )  # fmt: skip


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.states:
        found.append(_case.state.in_(tuple(wanted.states)))
    if wanted.kind:
        found.append(_case.kind == wanted.kind)
    if wanted.reason:
        open_ended = "" if "." in wanted.reason else "."
        like = _member.reason_codes.contains(f'"{wanted.reason}{open_ended}', autoescape=True)
        found.append(_case.case_id.in_(sa.select(_member.case_id).where(like)))
    if wanted.named:
        about = sa.or_(_member.submission_id == wanted.named, _member.worker_id == wanted.named)
        found.append(
            sa.or_(
                _case.case_id == wanted.named,
                _case.cluster_id == wanted.named,
                _case.case_id.in_(sa.select(_member.case_id).where(about)),
            )
        )
    if wanted.decided_by is not None:
        decided = tables.case_decisions.c
        mine = sa.select(decided.case_id).where(decided.person == wanted.decided_by)
        found.append(_case.case_id.in_(mine))
    return found


def _sums(connection: sa.Connection, case_ids: Sequence[str]) -> dict[str, Row]:
    """Sum the payouts of some cases up, and gather their reasons."""
    named = _member.case_id.in_(list(case_ids))
    sums = sa.select(
        _member.case_id,
        sa.func.count().label("payouts"),
        sa.func.count(sa.distinct(_member.worker_id)).label("workers"),
        sa.func.max(_member.score).label("score"),
        sa.func.sum(_member.amount_minor).label("amount_minor"),
        sa.func.min(_member.currency).label("currency"),
        sa.func.min(_member.submission_id).label("submission_id"),
        sa.func.min(_member.worker_id).label("worker_id"),
    ).where(named).group_by(_member.case_id)  # fmt: skip
    found = {str(row["case_id"]): row | {"reason_codes": set()} for row in _rows(connection, sums)}
    codes = sa.select(_member.case_id, _member.reason_codes).where(named).distinct().limit(5_000)
    for row in _rows(connection, codes):
        found[row["case_id"]]["reason_codes"].update(orjson.loads(row["reason_codes"]))
    return {
        name: row
        | {"reason_codes": sorted(row["reason_codes"]), "amount_minor": int(row["amount_minor"])}
        for name, row in found.items()
    }


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in connection.execute(query).mappings()]


def waits_until(case: Mapping[str, Any], appeals: Sequence[Mapping[str, Any]]) -> datetime:
    """Return by when somebody must decide: an appeal has its own time."""
    due: datetime = case["due_at"]
    if case["state"] == "appealed" and appeals:
        dues: list[datetime] = [due, *(a["due_at"] for a in appeals)]
        return max(dues)
    return due
