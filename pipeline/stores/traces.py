"""The behaviour log at rest: segments of a day and a share of the workers, each event once.

The day is the server's, as far as a session's clock can be corrected, so that a client whose clock
stands in another year neither keeps its traces for ever nor loses them at once. What a session's
clock was found to be outlives the traces themselves.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl
import sqlalchemy as sa
import xxhash
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from pipeline.model import clocks
from pipeline.stores.database import ROWS_PER_INSERT, Database
from pipeline.stores.fetch import IDS_PER_QUERY, among, fetch, in_chunks
from pipeline.stores.segments import Segments
from pipeline.stores.tables import record

SHARES: Final = 8
"""Workers are spread over so many partitions of a day by a hash of their id: one worker's traces lie
in an eighth of the segments, and eight machines can read a day side by side."""
EVENT_KEY: Final = ("session_id", "event_id", "submission_id")
"""An event that was delivered without its submission may come again with it: that is news."""


def share(worker_id: str) -> int:
    """The share of a worker: a hash of the id, so that it never changes."""
    return xxhash.xxh3_64_intdigest(worker_id.encode()) % SHARES


def day_of(partition: str) -> str:
    """The day of a partition, ``YYYY-MM-DD``."""
    return partition.removeprefix("day=").partition("/")[0]


def may_hold(partition: str, worker_id: str) -> bool:
    """Whether a partition can hold events of a worker; one of an older layout holds anybody's."""
    _, cut, named = partition.partition("/worker=")
    return not cut or named == f"{share(worker_id)}"


def partitions(events: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Cut by day and share; inside a segment a session lies together, in order of time."""
    workers = events["worker_id"].unique().sort()
    shares = pl.DataFrame(
        {"worker_id": workers, "_share": [str(share(w)) for w in workers]},
        schema={"worker_id": pl.String, "_share": pl.String},
    )
    dated = (
        events.with_columns(clocks.corrected(events))
        .with_columns(
            pl.from_epoch(pl.col("at_server").cast(pl.Int64), time_unit="ms")
            .dt.strftime("%Y-%m-%d")
            .alias("_day")
        )
        .drop("at_server")
        .join(shares, on="worker_id", how="left", maintain_order="left")
        .sort("_day", "_share", "session_id", "at", "event_id")
    )
    parts = dated.partition_by(
        "_day", "_share", as_dict=True, include_key=False, maintain_order=True
    )
    return [(f"day={day}/worker={worker}", part) for (day, worker), part in parts.items()]


class Traces:
    """What the record knows of sessions: where their events lie, and how their clocks stand."""

    def __init__(self, database: Database, segments: Segments) -> None:
        self._database = database
        self._segments = segments

    def unknown(self, events: pl.DataFrame) -> pl.DataFrame:
        """Leave out events that are known. Only segments of the same session and time are read.

        They may hold far more than these events: they are streamed past them, so that memory is bounded
        by the events given.
        """
        spans = _spans(events)
        table = record.sessions
        schema = {
            "session_id": pl.String(), "segment_id": pl.String(), "at_first": pl.Float64(),
            "at_last": pl.Float64(),
        }  # fmt: skip
        with self._database.read() as connection:
            held = [
                fetch(connection, sa.select(table).where(among(table.c.session_id, some)), schema)
                for some in in_chunks(spans["session_id"].to_list(), IDS_PER_QUERY)
            ]
            if not any(part.height for part in held):
                return events
            apart = (pl.col("at_last_right") < pl.col("at_first")) | (
                pl.col("at_first_right") > pl.col("at_last")
            )
            near = pl.concat(held).join(spans, on="session_id").filter(~apart.fill_null(False))
            if near.is_empty():
                return events
            listed = self._segments.named(connection, near["segment_id"].unique().to_list())
        known = (
            self._segments.scan(listed)
            .filter(pl.col("session_id").is_in(near["session_id"].unique().to_list()))
            .select(EVENT_KEY)
            .join(events.lazy().select(EVENT_KEY), on=list(EVENT_KEY), how="semi", nulls_equal=True)
            .unique()
            .collect(engine="streaming")
        )
        return events.join(
            known, on=list(EVENT_KEY), how="anti", nulls_equal=True, maintain_order="left"
        )

    def list(self, connection: Connection, segment_id: str, part: pl.DataFrame) -> Sequence[str]:
        """Say which sessions a segment holds, and when; return them."""
        spans = _spans(part).with_columns(pl.lit(segment_id).alias("segment_id"))
        self._database.insert_new(connection, record.sessions, spans.to_dicts())
        return spans["session_id"].to_list()

    def keep_clocks(self, connection: Connection, events: pl.DataFrame) -> None:
        """Keep the least delay ever seen of each session that the server's clock was recorded for."""
        told = clocks.delays(events, "session_id").drop_nulls().sort("session_id").to_dicts()
        table = record.session_clocks
        dialect = sqlite if self._database.is_sqlite else postgresql
        for start in range(0, len(told), ROWS_PER_INSERT):
            made = dialect.insert(table).values(told[start : start + ROWS_PER_INSERT])
            less = sa.case(
                (made.excluded.delay_ms < table.c.delay_ms, made.excluded.delay_ms),
                else_=table.c.delay_ms,
            )
            connection.execute(
                made.on_conflict_do_update(index_elements=["session_id"], set_={"delay_ms": less})
            )


def _spans(events: pl.DataFrame) -> pl.DataFrame:
    """First and last time of each session, on the client's clock."""
    at = pl.col("at")
    return (
        events.group_by("session_id")
        .agg(at.min().alias("at_first"), at.max().alias("at_last"))
        .sort("session_id")
    )
