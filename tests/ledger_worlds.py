"""Small markets for tests of money: tasks, submissions and evaluations put straight into the record."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson

from pipeline.review.holdback import NOTHING_KEPT, Holdback
from pipeline.stages import credit, settle
from pipeline.stores import tallies, unsettled
from pipeline.stores.access import Access
from pipeline.stores.database import Database
from pipeline.stores.gate import GateReader
from pipeline.stores.keys import KeyRing
from pipeline.stores.ledger import Ledger
from pipeline.stores.ledger_writer import Writer
from pipeline.stores.tables import record

START = datetime(2026, 3, 1, tzinfo=UTC)
CODES = {"block_and_review": ["file.identical"], "decline": ["file.identical"]}


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = START + timedelta(days=1)

    def __call__(self) -> datetime:
        return self.now

    def step(self, **more: float) -> None:
        self.now += timedelta(**more)


def _write(connection: Any, table: Any, row: dict[str, Any]) -> None:
    """Insert a row, and queue and count what the stores that write such rows queue and count."""
    connection.execute(table.insert(), [row])
    if table is record.submissions:
        tallies.arrived(connection, [row["submission_id"]])
    elif table is record.tasks:
        unsettled.mark(connection, unsettled.of_tasks(connection, [row["task_id"]]))
        tallies.priced(connection, [row["task_id"]])
    else:
        unsettled.mark(connection, [row["submission_id"]])
        tallies.judged(connection, [row["submission_id"]])


class World:
    """A database with a ledger over it, and short words to fill it."""

    def __init__(self, database: Database, *, holdback: Holdback = NOTHING_KEPT) -> None:
        self.database = database
        self.clock = Clock()
        self.ledger = Ledger(database, self.clock, standings=credit.standings, holdback=holdback)
        self._docs = 0
        self._connection: Any = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Put what is told inside the block into the record with one commit."""
        with self.database.write() as connection:
            self._connection = connection
            try:
                yield
            finally:
                self._connection = None

    def _insert(self, table: Any, row: dict[str, Any]) -> None:
        if self._connection is not None:
            _write(self._connection, table, row)
            return
        with self.database.write() as connection:
            _write(connection, table, row)

    def task(self, name: str, bounty: int | None = 100, **more: Any) -> None:
        row = {
            "task_id": name, "publisher_id": f"publisher of {name}", "bounty_minor": bounty,
            "currency": "CNY" if bounty is not None else None, "slots": None, "deadline_at": None,
            "reference_digests": "[]", "extra": "{}", "row_digest": "",
        } | more  # fmt: skip
        self._insert(record.tasks, row)

    def submit(
        self, name: str, task: str = "t", worker: str = "w", minute: int = 0, **more: Any
    ) -> None:
        self._docs += 1
        row = {
            "submission_id": name, "doc": self._docs, "task_id": task, "worker_id": worker,
            "submitted_at": START + timedelta(minutes=minute), "text": "", "supersedes": None,
            "extra": "{}", "row_digest": "",
        } | more  # fmt: skip
        self._insert(record.submissions, row)

    def judge(
        self,
        name: str,
        outcome: str,
        revision: int = 1,
        codes: Sequence[str] | None = None,
        risk: str | None = None,
        cluster: str | None = None,
    ) -> None:
        told = list(CODES.get(outcome, []) if codes is None else codes)
        held = outcome in ("block_and_review", "decline")
        signals = [
            {"reason_code": c, "strength": 0.9, "matched_submission_id": "other",
             "evidence": {"cluster_id": cluster} if cluster else {}}
            for c in told
        ]  # fmt: skip
        row = {
            "submission_id": name, "revision": revision, "score": 90 if held else 3,
            "risk_level": risk or ("highest" if held else "normal"), "outcome": outcome,
            "reason_codes": orjson.dumps(told).decode(), "signals": orjson.dumps(signals).decode(),
            "abstentions": "[]", "ruleset_digest": "r", "detector_versions": "{}",
            "arithmetic": '{"rules":[{"rule":"copies.identical","state":"counted"}]}',
            "input_digest": "", "evaluated_at": START, "evaluation_status": "new",
        }  # fmt: skip
        self._insert(record.assessments, row)

    def settle(self) -> dict[str, int]:
        return dict(self.ledger.settle(settle.plan).done)

    def frame(self, name: str) -> list[dict[str, Any]]:
        return self.ledger.exports()[name](self.database, None).to_dicts()

    def payout(self, submission: str) -> dict[str, Any]:
        (row,) = [p for p in self.frame("payouts") if p["submission_id"] == submission]
        return row

    def case(self, submission: str) -> str:
        return str(
            [c["case_id"] for c in self.frame("cases") if c["submission_id"] == submission][-1]
        )

    def paid(self, worker: str = "w") -> int:
        return self.ledger.balance("payable", worker, "CNY")[0]

    def whole(self) -> None:
        assert self.ledger.reconcile() == []


def api(
    world: World, folder: Path, *, intake: Callable[..., Any] | None = None, **more: Any
) -> tuple[Any, Any]:
    """Make the API over a world; returns the application and its services."""
    from pipeline.entry.api import Services, create_app

    services = Services(
        database=world.database,
        ledger=world.ledger,
        writer=Writer(world.ledger),
        access=Access(world.database, world.ledger, world.clock),
        permits=KeyRing(folder / "keys", world.clock()),
        reader=GateReader(world.database),
        clock=world.clock,
        intake=intake,
        **more,
    )
    return create_app(services), services


class Client:
    """A plain client of an ASGI application, in this process."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def post(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, **more))

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            return await client.request(method, path, **more)
