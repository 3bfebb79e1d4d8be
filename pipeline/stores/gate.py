"""The payout gate's store side: reads what a score check needs in one query, settles with a permit.

The reader keeps connections of its own and asks the driver directly: a point read
costs some ten microseconds on SQLite, and there is no cache that could be stale.
"""

import asyncio
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from queue import Empty, LifoQueue
from typing import Any, Final, Protocol

import orjson
import psycopg
import sqlalchemy as sa

from pipeline.model.errors import LedgerError, StoreError
from pipeline.model.money import TAKES_A_SLOT, Action, Link, payout_key
from pipeline.review.gate import Known, answer, check_amount
from pipeline.review.permit import Claims
from pipeline.stores import ledger_payouts as payouts
from pipeline.stores.database import BUSY_TIMEOUT_MS, Database
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record

READERS_MAX: Final = 8
"""Connections to PostgreSQL that read for one event loop; more do not read more."""
READ_WITHIN_S: Final = 5.0

_CHECK: Final = """
SELECT s.submission_id, s.worker_id, s.task_id, t.publisher_id, t.bounty_minor, t.currency,
       a.revision, a.score, a.risk_level, a.outcome, a.reason_codes, a.ruleset_digest,
       p.case_kind, p.case_state, p.decided_codes,
       (SELECT max(r.revision) FROM permit_revocations r WHERE r.submission_id = s.submission_id)
FROM submissions s
LEFT JOIN tasks t ON t.task_id = s.task_id
LEFT JOIN assessments a ON a.submission_id = s.submission_id AND a.revision =
    (SELECT max(b.revision) FROM assessments b WHERE b.submission_id = s.submission_id)
LEFT JOIN payout_members m ON m.submission_id = s.submission_id
LEFT JOIN payouts p ON p.payout_key = m.payout_key
WHERE s.submission_id = {}
"""


class AssessmentReader(Protocol):
    """Reads what is known of one submission."""

    def latest_assessment(self, submission_id: str) -> Known | None:
        """Return it with its newest evaluation; None for a submission that is not known."""
        ...

    async def read(self, submission_id: str) -> Known | None:
        """Return the same to an event loop, without holding it up."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class GateReader:
    """Implements ``AssessmentReader`` on the driver's own connections.

    A read of SQLite takes less time than giving it to a thread would; of PostgreSQL it waits for the
    answer in the event loop.
    """

    def __init__(self, database: Database) -> None:
        self._url = database.engine.url
        self._is_sqlite = database.is_sqlite
        self._sql = _CHECK.format("?" if self._is_sqlite else "%s")
        self._idle: LifoQueue[Any] = LifoQueue()
        self._loops = _Waiting()

    def latest_assessment(self, submission_id: str) -> Known | None:
        """Read a submission and its newest evaluation. Raises ``StoreError``."""
        connection = None
        try:
            connection = self._take()
            row = connection.execute(self._sql, (submission_id,)).fetchone()
        except (sqlite3.Error, psycopg.Error) as error:
            if connection is not None:
                connection.close()
            raise StoreError("store.unreachable", "the database does not answer") from error
        self._idle.put(connection)
        return None if row is None else known_of(row)

    async def read(self, submission_id: str) -> Known | None:
        """Read it for an event loop. Raises ``StoreError``, also for an answer that does not come."""
        if self._is_sqlite:
            return self.latest_assessment(submission_id)
        idle, places = self._loops.of(asyncio.get_running_loop())
        connection = None
        try:
            async with places, asyncio.timeout(READ_WITHIN_S):
                connection = idle.pop() if idle else await self._connect_waiting()
                row = await (await connection.execute(self._sql, (submission_id,))).fetchone()
        except (psycopg.Error, TimeoutError) as error:
            self._loops.drop([*idle, *([connection] if connection else [])])
            idle.clear()  # one that broke is seldom alone
            raise StoreError("store.unreachable", "the database does not answer") from error
        except asyncio.CancelledError:
            self._loops.drop([connection] if connection else [])
            raise
        idle.append(connection)
        return None if row is None else known_of(row)

    def close(self) -> None:
        """Give the connections back."""
        while not self._idle.empty():
            self._idle.get().close()
        self._loops.close()

    def _take(self) -> Any:
        """Return a connection that nobody uses, or a new one."""
        try:
            return self._idle.get_nowait()
        except Empty:
            return self._connect()

    def _connect(self) -> Any:
        if self._is_sqlite:
            made = sqlite3.connect(
                f"file:{self._url.database}?mode=ro", uri=True, isolation_level=None,
                timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False,
            )  # fmt: skip
            made.execute("PRAGMA query_only=ON")
            return made
        return psycopg.connect(self._address(), autocommit=True, connect_timeout=5)

    async def _connect_waiting(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            self._address(), autocommit=True, connect_timeout=5
        )

    def _address(self) -> str:
        plain = self._url.set(drivername="postgresql")
        return plain.render_as_string(hide_password=False)


class _Waiting:
    """Connections that wait in the one event loop that made them; another loop gets new ones."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        self._places = asyncio.Semaphore(READERS_MAX)

    def of(
        self, loop: asyncio.AbstractEventLoop
    ) -> tuple[list[psycopg.AsyncConnection[Any]], asyncio.Semaphore]:
        """Return this loop's idle connections, and the places for those in use."""
        if loop is not self._loop:
            self.close()
            self._loop, self._idle = loop, []
            self._places = asyncio.Semaphore(READERS_MAX)
        return self._idle, self._places

    def drop(self, connections: Iterable[psycopg.AsyncConnection[Any]]) -> None:
        """End connections at once; their loop need not run any more."""
        for connection in connections:
            connection.pgconn.finish()

    def close(self) -> None:
        """End what is idle."""
        self.drop(self._idle)
        self._idle.clear()


def known_of(row: Any) -> Known:
    """Turn a row of the check's query into what is known."""
    return Known(
        submission_id=row[0], worker_id=row[1], task_id=row[2], publisher_id=row[3],
        bounty_minor=row[4], currency=row[5], revision=row[6], score=row[7] or 0,
        risk_level=row[8] or "normal", outcome=row[9],
        reason_codes=orjson.loads(row[10]) if row[10] else (), ruleset_digest=row[11] or "",
        case_kind=row[12], case_state=row[13],
        decided_codes=orjson.loads(row[14]) if row[14] else (), revoked_revision=row[15],
    )  # fmt: skip


def execute(books: Books, claims: Claims, *, actor: str) -> dict[str, Any]:
    """Settle with a permit whose signature and times were found good: reserve, post, instruct.

    Raises ``LedgerError``: ``permit.used``, ``permit.revoked``, ``settlement.already_paid``,
    ``settlement.no_slot``, and those of ``check_amount``. Nothing has happened then.
    """
    used = books.connection.execute(
        sa.select(tables.permit_uses.c.payout_key).where(
            tables.permit_uses.c.permit_id == claims.jti
        )
    ).first()
    if used is not None:
        raise LedgerError("permit.used", "the permit was used already")
    known, link, submitted = _read_known(books, claims.sub)
    now_says = answer(known)
    if now_says.decision_id != claims.decision_id or not now_says.pays:
        raise LedgerError("permit.revoked", "a later finding or decision has revoked the permit")
    if known.worker_id != claims.payee:
        raise LedgerError("permit.revoked", "the permit is for another payee")
    check_amount(known, claims.amount_minor, claims.currency)
    action = _action(books, known, link, claims, submitted)
    row = _settle(books, action, claims)
    books.add(
        tables.permit_uses,
        {"permit_id": claims.jti, "payout_key": row["payout_key"], "used_at": books.now},
    )
    detail = {
        "permit": claims.jti, "decision": claims.decision_id, "amount_minor": claims.amount_minor,
        "currency": claims.currency, "payout": row["payout_key"],
    }  # fmt: skip
    books.log(actor, "settlement.made", claims.sub, detail)
    return row


def _settle(books: Books, action: Action, claims: Claims) -> dict[str, Any]:
    if not books.enrol(action.submission_id, action.payout_key):
        raise AssertionError("its payout is the one that it is part of, or a new one")
    before = books.payout(action.payout_key)
    if before is not None and before["state"] == "posted":
        raise LedgerError("settlement.already_paid", "the payout was made already")
    if before is not None and (
        before["state"] != "waiting" or before["case_state"] not in (None, "overturned")
    ):
        raise LedgerError("permit.revoked", "the payout waits for a person's decision")
    if before is None and action.slots is not None and (
        books.slots_taken(action.task_id, TAKES_A_SLOT) >= action.slots
    ):  # fmt: skip
        raise LedgerError("settlement.no_slot", "the task has paid as many as it pays")
    base = min(claims.amount_minor, action.amount_minor)
    payouts.settle_one(
        books, action, before, amount_minor=base, bonus_minor=claims.amount_minor - base
    )
    row = books.payout(action.payout_key)
    if row is None:
        raise AssertionError("a settled payout has a row")
    return row


def _read_known(books: Books, submission_id: str) -> tuple[Known, Link, datetime]:
    sql = _CHECK.format(":who")
    row = books.connection.execute(sa.text(sql), {"who": submission_id}).one_or_none()
    more = books.connection.execute(
        sa.select(record.submissions.c.supersedes, record.submissions.c.submitted_at).where(
            record.submissions.c.submission_id == submission_id
        )
    ).one_or_none()
    if row is None or more is None:
        raise LedgerError("permit.revoked", "the submission is not known")
    known = known_of(row)
    return known, Link(known.task_id, known.worker_id, more.supersedes), more.submitted_at


def _action(books: Books, known: Known, link: Link, claims: Claims, submitted: datetime) -> Action:
    key = books.member(known.submission_id)
    if key is None:
        chain = _chain(books, known.submission_id, link)
        books.load_members(chain)
        acted = sorted(k for name in chain if (k := books.member(name)))
        key = acted[0] if acted else payout_key(
            known.submission_id, known.task_id, known.worker_id, chain.get
        )  # fmt: skip
    task = books.connection.execute(
        sa.select(record.tasks.c.slots, record.tasks.c.deadline_at).where(
            record.tasks.c.task_id == known.task_id
        )
    ).one_or_none()
    priced = known.bounty_minor is not None and known.currency is not None
    return Action(
        kind="post",
        payout_key=key,
        submission_id=known.submission_id,
        revision=known.revision or 0,
        outcome=answer(known).outcome,
        task_id=known.task_id,
        worker_id=known.worker_id,
        publisher_id=known.publisher_id,
        amount_minor=(known.bounty_minor or 0) if priced else claims.amount_minor,
        currency=claims.currency,
        slots=task.slots if task else None,
        reason_codes=tuple(known.reason_codes),
        ruleset_digest=known.ruleset_digest,
        score=known.score,
        on_time=task is None or task.deadline_at is None or submitted <= task.deadline_at,
    )


def _chain(books: Books, submission_id: str, link: Link) -> dict[str, Link]:
    """Return the submissions that this one revises, and those that revise it, of one worker and task."""
    table = record.submissions.c
    found = {submission_id: link}
    up = link.supersedes
    while up is not None and up not in found and len(found) < 1_000:
        row = books.connection.execute(
            sa.select(table.task_id, table.worker_id, table.supersedes).where(
                table.submission_id == up
            )
        ).one_or_none()
        if row is None or (row.task_id, row.worker_id) != (link.task_id, link.worker_id):
            break
        found[up] = Link(row.task_id, row.worker_id, row.supersedes)
        up = row.supersedes
    waiting = list(found)
    while waiting and len(found) < 1_000:
        below = books.connection.execute(
            sa.select(table.submission_id, table.task_id, table.worker_id, table.supersedes).where(
                table.supersedes.in_(waiting),
                table.task_id == link.task_id,
                table.worker_id == link.worker_id,
            )
        ).all()
        waiting = [r.submission_id for r in below if r.submission_id not in found]
        found |= {
            r.submission_id: Link(r.task_id, r.worker_id, r.supersedes)
            for r in below
            if r.submission_id in waiting
        }
    return found
