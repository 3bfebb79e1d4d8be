"""The queue of what a settlement looks at: marked where something changes, drawn in order of submission.

Whoever writes what may call for a step of money marks the submission in the same transaction. So a
settlement reads what is new, and not what is known, and one that was killed finds the rest still queued.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from pipeline.stores.fetch import IDS_PER_QUERY, among, in_chunks
from pipeline.stores.tables import record

QUEUE: Final = record.unsettled
QUEUE_LOCK: Final = 0x717565756500
"""On PostgreSQL those who mark and those who tick off go one after the other, and never cross."""

Place = tuple[datetime, str]
"""A place in the order of submission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Submissions from the queue, in order of submission, each at the generation it was drawn at."""

    generations: Mapping[str, int]
    places: Mapping[str, datetime]

    @property
    def ids(self) -> list[str]:
        """The submissions, in order."""
        return list(self.generations)

    @property
    def last(self) -> Place:
        """Where the next piece begins."""
        name = self.ids[-1]
        return self.places[name], name


def mark(connection: Connection, submission_ids: Iterable[str]) -> None:
    """Queue known submissions to be looked at by the next settlement, parked ones too."""
    known = record.submissions.c
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    ids = sorted(set(submission_ids))
    if ids:
        _lock(connection)
    for some in in_chunks(ids, IDS_PER_QUERY):
        source = sa.select(known.submitted_at, known.submission_id, sa.literal(1)).where(
            among(known.submission_id, some)
        )
        insert = dialect.insert(QUEUE).from_select(
            ["submitted_at", "submission_id", "generation"], source
        )
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["submitted_at", "submission_id"],
                set_={"generation": QUEUE.c.generation + 1, "parked": sa.null()},
            )
        )


def of_tasks(connection: Connection, task_ids: Iterable[str]) -> set[str]:
    """Return the submissions to those tasks."""
    known, found = record.submissions.c, set[str]()
    for some in in_chunks(sorted(set(task_ids)), IDS_PER_QUERY):
        query = sa.select(known.submission_id).where(among(known.task_id, some))
        found.update(connection.execute(query).scalars())
    return found


def of_pairs(connection: Connection, pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Return the submissions of each (task, worker): the chains that a payout may belong to."""
    known, wanted, found = record.submissions.c, set(pairs), set[str]()
    for some in in_chunks(sorted({worker for _, worker in wanted}), IDS_PER_QUERY):
        tasks = sorted({task for task, worker in wanted if worker in set(some)})
        query = sa.select(known.submission_id, known.task_id, known.worker_id).where(
            among(known.worker_id, some), among(known.task_id, tasks)
        )
        found.update(s for s, t, w in connection.execute(query) if (t, w) in wanted)
    return found


def draw(connection: Connection, after: Place | None, limit: int) -> Drawn:
    """Return the next submissions of the queue behind a place; what is parked is passed over."""
    at, name = QUEUE.c.submitted_at, QUEUE.c.submission_id
    query = sa.select(at, name, QUEUE.c.generation).where(QUEUE.c.parked.is_(None))
    if after is not None:
        place = sa.tuple_(sa.literal(after[0], at.type), sa.literal(after[1]))
        query = query.where(sa.tuple_(at, name) > place)
    rows = connection.execute(query.order_by(at, name).limit(limit)).all()
    return Drawn(
        generations={name: generation for _, name, generation in rows},
        places={name: at for at, name, _ in rows},
    )


def queued(connection: Connection, submission_ids: Sequence[str]) -> set[str]:
    """Return which of these known submissions wait for a settlement, parked or not."""
    known, found = record.submissions.c, set[str]()
    for some in in_chunks(submission_ids, IDS_PER_QUERY):
        query = (
            sa.select(QUEUE.c.submission_id)
            .join(
                record.submissions,
                sa.and_(
                    known.submitted_at == QUEUE.c.submitted_at,
                    known.submission_id == QUEUE.c.submission_id,
                ),
            )
            .where(among(known.submission_id, some))
        )
        found.update(connection.execute(query).scalars())
    return found


def tick_off(
    connection: Connection, drawn: Drawn, parked: Mapping[str, str], kept: Iterable[str]
) -> None:
    """Take from the queue what was looked at, but for ``kept``; park what can only wait.

    What was marked again since it was drawn stays.
    """
    stays = set(kept)
    done = [_row(drawn, s, {}) for s in drawn.ids if s not in parked and s not in stays]
    waits = [_row(drawn, s, {"why": parked[s]}) for s in drawn.ids if s in parked]
    here = sa.and_(
        QUEUE.c.submitted_at == sa.bindparam("place"),
        QUEUE.c.submission_id == sa.bindparam("who"),
        QUEUE.c.generation == sa.bindparam("drawn"),
    )
    if done or waits:
        _lock(connection)
    if done:
        connection.execute(sa.delete(QUEUE).where(here), done)
    if waits:
        connection.execute(sa.update(QUEUE).where(here).values(parked=sa.bindparam("why")), waits)


def waiting(connection: Connection) -> dict[str, int]:
    """Count what is parked, by what it waits for."""
    query = (
        sa.select(QUEUE.c.parked, sa.func.count())
        .where(QUEUE.c.parked.is_not(None))
        .group_by(QUEUE.c.parked)
    )
    return {str(why): int(count) for why, count in connection.execute(query)}


def _row(drawn: Drawn, name: str, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"place": drawn.places[name], "who": name, "drawn": drawn.generations[name], **more}


def _lock(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(QUEUE_LOCK)))
