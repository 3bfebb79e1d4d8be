"""Fingerprints by key, by nearness and by submission: segments on disk, indexes beside them.

The segments are the record; an index is a cache of one kind, filled from the segments that it has not
read yet. It is kept on disk by the one process that holds the kind's lock; any other reads what is
there and keeps what is newer in memory. A cache that does not fit the record is made anew. Rows that a
later fingerprinting replaced stay in an index until it is: they can only nominate, because what a
detector proves with comes from ``rows``, which knows the newest segment.
"""

import fcntl
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.index.carriers import carriers
from pipeline.index.hamming import CodeIndex
from pipeline.index.owners import Owners
from pipeline.index.postings import PostingIndex
from pipeline.index.sketches import SketchTable, sketched
from pipeline.index.votes import answered
from pipeline.model import frames
from pipeline.model.carriers import Carriers, Sketches
from pipeline.model.errors import StoreError
from pipeline.stores.database import Database
from pipeline.stores.fetch import IDS_PER_QUERY, among, in_chunks
from pipeline.stores.files import write_durably
from pipeline.stores.segments import Segment, Segments
from pipeline.stores.tables import record
from pipeline.stores.warm import KeptPrints, WarmFrames

CODE_BYTES = 32
SEGMENTS_PER_READ = 16
DOCUMENTS_PER_READ = 10_000


FLUSH_ROWS = 200_000
"""Rows added in memory from which the cache on disk is brought up to date."""
STATE = "state.json"
TYPED = -1
"""``content_index`` of what was typed in."""
SKETCHED = frozenset({"text.winnow"})
"""Kinds whose texts are held against each other by the thousand."""
SKETCHES = "sketches.bin"


@dataclass(slots=True)
class _Kind:
    """The indexes of one kind, the last segment that they have read, and what is not on disk yet."""

    postings: PostingIndex
    codes: CodeIndex
    folder: Path | None
    keeper: IO[bytes] | None
    ordinal: int = 0
    segment_id: str = ""
    segments: int = 0
    unsaved: int = 0
    sketches: SketchTable = field(default_factory=SketchTable)
    kept: KeptPrints = field(default_factory=KeptPrints)
    lock: Lock = field(default_factory=Lock)

    @classmethod
    def open(cls, folder: Path | None) -> "_Kind":
        """Open the cache of a kind; without a folder, or with one that is damaged, begin empty."""
        if folder is None:
            return cls(postings=PostingIndex(), codes=CodeIndex(), folder=None, keeper=None)
        folder.mkdir(parents=True, exist_ok=True)
        keeper = _lock(folder)
        try:
            state = orjson.loads((folder / STATE).read_bytes())
            sketches = SketchTable(folder / SKETCHES, keeps=keeper is not None)
            if len(sketches) < int(state["sketched"]):
                raise ValueError(f"{SKETCHES} is cut short")
            return cls(
                postings=PostingIndex(folder / "postings"),
                codes=CodeIndex(folder / "codes"),
                folder=folder,
                keeper=keeper,
                ordinal=int(state["ordinal"]),
                segment_id=str(state["segment_id"]),
                segments=int(state["segments"]),
                sketches=sketches,
            )
        except (FileNotFoundError, ValueError, KeyError, StoreError):
            return cls.empty(folder, keeper)

    @classmethod
    def empty(cls, folder: Path | None, keeper: IO[bytes] | None) -> "_Kind":
        """Begin anew; what is on disk goes only where this process keeps it."""
        if folder is None or keeper is None:
            return cls(postings=PostingIndex(), codes=CodeIndex(), folder=None, keeper=keeper)
        for part in ("postings", "codes"):
            shutil.rmtree(folder / part, ignore_errors=True)
        for name in (STATE, SKETCHES):
            (folder / name).unlink(missing_ok=True)
        return cls(
            postings=PostingIndex(folder / "postings"),
            codes=CodeIndex(folder / "codes"),
            folder=folder,
            keeper=keeper,
            sketches=SketchTable(folder / SKETCHES, keeps=True),
        )

    def save(self) -> None:
        """Bring the cache on disk up to date, if this process keeps it."""
        if self.keeper is None or self.folder is None or not self.unsaved:
            return
        self.postings.flush()
        self.codes.flush()
        self.sketches.flush()
        state = {
            "ordinal": self.ordinal, "segment_id": self.segment_id, "segments": self.segments,
            "sketched": len(self.sketches),
        }  # fmt: skip
        write_durably(self.folder / STATE, orjson.dumps(state))
        self.unsaved = 0


def _lock(folder: Path) -> IO[bytes] | None:
    """Take the kind's lock if nobody has it; it is held until the process ends or closes it."""
    file = (folder / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Documents:
    """Submissions by the small integers that indexes use: ids, times and workers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self.owners = Owners()

    def refresh(self, connection: Connection) -> None:
        """Learn the submissions that arrived since, some thousand at a time."""
        columns = record.submissions.c
        query = (
            sa.select(
                columns.submission_id, columns.worker_id,
                sa.type_coerce(columns.submitted_at, sa.BigInteger()),
            )
            .where(columns.doc >= sa.bindparam("known"))
            .order_by(columns.doc)
            .limit(DOCUMENTS_PER_READ)
        )  # fmt: skip
        with self._lock:
            while rows := connection.execute(query, {"known": len(self.owners)}).all():
                workers = pl.Series([r[1] for r in rows], dtype=pl.String).hash().to_numpy()
                times = np.fromiter((r[2] for r in rows), np.int64, len(rows))
                self.owners.extend([r[0] for r in rows], times, workers)

    def early(
        self,
        keys: np.ndarray[tuple[int], np.dtype[np.uint64]],
        docs: np.ndarray[tuple[int], np.dtype[np.uint32]],
        most: int,
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """Find the rows of each key's earliest documents, all that tie with the last one included.

        None where no key has more than so many. Rows are ordered by (key, doc); thousands of carriers
        are cut before any is named.
        """
        fresh = np.ones(len(keys), bool)
        fresh[1:] = keys[1:] != keys[:-1]
        group = np.cumsum(fresh) - 1
        counts = np.bincount(group)
        if counts.max() <= most:
            return None
        once = fresh.copy()
        once[1:] |= docs[1:] != docs[:-1]
        rows = np.flatnonzero(once)
        times = self.owners.times[docs]
        rows = rows[np.lexsort((times[rows], group[rows]))]
        starts = np.flatnonzero(np.diff(group[rows], prepend=-1))
        ends = np.append(starts[1:], len(rows))
        latest = times[rows[np.minimum(starts + most, ends) - 1]]
        return np.flatnonzero(times <= latest[group])

    def order(
        self,
        keys: np.ndarray[tuple[int], np.dtype[np.uint64]],
        docs: np.ndarray[tuple[int], np.dtype[np.uint32]],
        contents: np.ndarray[tuple[int], np.dtype[np.int32]],
        positions: np.ndarray[tuple[int], np.dtype[np.int32]],
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """Order rows by key, time of hand-in, content and position.

        None where two submissions of one key were handed in at the same instant: their ids decide.
        """
        times = self.owners.times[docs]
        order = np.lexsort((positions, contents, docs, times, keys))
        keys, docs, times = keys[order], docs[order], times[order]
        same = (keys[1:] == keys[:-1]) & (times[1:] == times[:-1])
        return None if bool((same & (docs[1:] != docs[:-1])).any()) else order

    def frame(self, docs: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> pl.DataFrame:
        """Return ``submission_id`` and ``submitted_at`` (µs) beside each integer."""
        return pl.DataFrame(
            [self.named(docs), pl.Series("_at", self.owners.times[docs], dtype=pl.Int64)]
        )

    def named(self, docs: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> pl.Series:
        """Return ``submission_id`` beside each integer."""
        once, back = np.unique(docs, return_inverse=True)
        names = pl.Series("submission_id", self.owners.names(once), dtype=pl.String)
        return names.gather(back)


class FingerprintStore:
    """Reads fingerprints for ``Past``."""

    def __init__(self, database: Database, segments: Segments, folder: Path | None = None) -> None:
        self._database = database
        self._segments = segments
        self._folder = folder
        self._documents = Documents(database)
        self._kinds: dict[str, _Kind] = {}
        self._lock = Lock()
        self._warm = WarmFrames()

    def postings(
        self, kind: str, keys: pl.Series, *, df_max: int | None, earliest: int | None, limit: int
    ) -> pl.DataFrame:
        """Find who has these keys: a POSTINGS frame, each key's earliest submissions first."""
        asked = keys.drop_nulls().unique().sort().to_numpy().astype(np.uint64)
        index = self._ready(kind).postings
        if df_max is not None and len(asked):
            asked = asked[index.counts(asked, most=df_max) <= df_max]
        found, docs, contents, positions = index.lookup(asked)
        kept = None
        if earliest is not None and len(found):
            kept = self._documents.early(found, docs, earliest)
        if kept is not None:
            found, docs = found[kept], docs[kept]
            contents, positions = contents[kept], positions[kept]
        if not len(found):
            return frames.empty(frames.POSTINGS)
        order = self._documents.order(found, docs, contents, positions)
        if order is not None:
            order = order[:limit]
            found, docs = found[order], docs[order]
            contents, positions = contents[order], positions[order]
        hits = pl.DataFrame(
            {
                "key": pl.Series(found, dtype=pl.UInt64),
                "content_index": pl.Series(contents, dtype=pl.Int32),
                "position": pl.Series(positions, dtype=pl.Int32),
            }
        ).hstack(self._documents.frame(docs))
        if order is not None:
            return hits.select(list(frames.POSTINGS))
        ordered = hits.unique().sort("key", "_at", "submission_id", "content_index", "position")
        if kept is not None:
            place = pl.struct("_at", "submission_id").rank("dense").over("key")
            ordered = ordered.filter(place <= earliest)
        return ordered.head(limit).select(list(frames.POSTINGS))

    def carriers(
        self,
        kind: str,
        keys: pl.Series,
        beside: Sequence[str],
        *,
        df_max: int | None,
        earliest: int,
    ) -> Carriers:
        """Find the earliest texts that carry each key."""
        asked = keys.drop_nulls().unique().sort().to_numpy().astype(np.uint64)
        index, owners = self._ready(kind).postings, self._documents.owners
        return carriers(index, asked, owners, owners.numbers(beside), df_max=df_max, most=earliest)

    def named(self, documents: npt.NDArray[np.uint32]) -> pl.DataFrame:
        """Return the ids and times of documents."""
        at = pl.from_epoch("_at", time_unit="us").dt.replace_time_zone("UTC").alias("submitted_at")
        return self._documents.frame(documents).select("submission_id", at)

    def prints(
        self, kind: str, documents: npt.NDArray[np.uint32], contents: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return the distinct keys of texts, from the newest fingerprints."""
        kept = self._ready(kind).kept
        return kept.of(documents, contents, lambda some: self._keys_of(kind, some))

    def _keys_of(self, kind: str, documents: npt.NDArray[np.uint32]) -> pl.DataFrame:
        """Read ``doc``, ``content_index`` and ``key`` of documents, sorted, each once."""
        named = self._documents.named(documents)
        numbered = pl.DataFrame({"submission_id": named, "doc": documents})
        return (
            self.rows(kind, named.to_list())
            .select("submission_id", "content_index", "keys")
            .join(numbered, on="submission_id")
            .select("doc", "content_index", pl.col("keys").alias("key"))
            .explode("key", empty_as_null=True)
            .drop_nulls()
            .unique()
            .sort("doc", "content_index", "key")
        )

    def sketches(self, kind: str, documents: npt.NDArray[np.uint32]) -> Sketches:
        """Return the sketches of what documents typed in; only kinds of SKETCHED have any."""
        return self._ready(kind).sketches.of(documents)

    def votes(
        self, kind: str, asked: pl.DataFrame, *, votes_min: int, rows_max: int, earlier: bool,
        most: int | None,
    ) -> pl.DataFrame:  # fmt: skip
        """Count the words that queries and known pictures share and that lie alike: a VOTES frame."""
        index = self._ready(kind).postings
        return answered(
            index, asked, self._documents.owners, votes_min=votes_min, rows_max=rows_max,
            earlier=earlier, most=most,
        )  # fmt: skip

    def frequencies(self, kind: str, keys: pl.Series) -> pl.DataFrame:
        """Count the submissions that carry each key."""
        asked = keys.drop_nulls().unique().sort().to_numpy().astype(np.uint64)
        counts = self._ready(kind).postings.counts(asked)
        counted = pl.DataFrame(
            {
                "key": pl.Series(asked, dtype=pl.UInt64),
                "df": pl.Series(np.asarray(counts), dtype=pl.Int64, strict=False),
            }
        )
        return counted.filter(pl.col("df") > 0)

    def nearest(
        self, kind: str, codes: Sequence[bytes], *, distance_max: int, limit: int
    ) -> pl.DataFrame:
        """Find stored codes within a Hamming distance: a NEIGHBOURS frame."""
        if not codes:
            return frames.empty(frames.NEIGHBOURS)
        asked = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, CODE_BYTES)
        hits = self._ready(kind).codes.nearest(asked, distance_max=distance_max, limit=2**31 - 1)
        if not len(hits.query):
            return frames.empty(frames.NEIGHBOURS)
        found = pl.DataFrame(
            {
                "query": pl.Series(hits.query, dtype=pl.Int32),
                "content_index": pl.Series(hits.content, dtype=pl.Int32),
                "slot": pl.Series(hits.slot, dtype=pl.Int32),
                "distance": pl.Series(hits.distance, dtype=pl.Int32),
            }
        ).hstack(self._documents.frame(hits.doc))
        order = ["query", "distance", "_at", "submission_id", "content_index", "slot"]
        return found.unique().sort(order).head(limit).select(list(frames.NEIGHBOURS))

    def rows(self, kind: str, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the newest fingerprints of that kind of those submissions."""
        by_segment: dict[str, list[str]] = {}
        table = record.fingerprinted.c
        room = kind.partition(".")[0]
        parts = [frames.empty(frames.FINGERPRINTS)]
        with self._database.read() as connection:
            for some in in_chunks(sorted(set(submission_ids)), IDS_PER_QUERY):
                query = sa.select(table.submission_id, table.segment_id).where(
                    among(table.submission_id, some), table.detector == room
                )
                for submission_id, segment_id in connection.execute(query):
                    if segment_id is not None:
                        by_segment.setdefault(segment_id, []).append(submission_id)
            named = self._segments.named(connection, sorted(by_segment))
        scans = [
            self._of_kind(s, kind).filter(pl.col("submission_id").is_in(by_segment[s.segment_id]))
            for s in named
        ]
        parts += pl.collect_all(scans)
        return pl.concat(parts).sort("submission_id", "content_index")

    def _of_kind(self, segment: Segment, kind: str) -> pl.LazyFrame:
        def scan() -> pl.LazyFrame:
            return self._segments.scan([segment]).filter(pl.col("kind") == kind)

        return self._warm.get(segment.segment_id, kind, scan)

    def close(self) -> None:
        """Bring the caches on disk up to date and give their locks back."""
        for state in self._kinds.values():
            with state.lock:
                state.save()
                if state.keeper is not None:
                    state.keeper.close()
        self._kinds.clear()

    def _ready(self, kind: str) -> _Kind:
        """Bring the indexes of a kind up to date with the listed segments."""
        with self._lock:
            if kind not in self._kinds:
                self._kinds[kind] = _Kind.open(self._folder / kind if self._folder else None)
            state = self._kinds[kind]
        with state.lock, self._database.read() as connection:
            if state.ordinal and not self._fits(connection, state):
                state = self._kinds[kind] = _Kind.empty(state.folder, state.keeper)
            columns = record.segments.c
            fresh = connection.execute(
                sa.select(columns.segment_id, columns.ordinal)
                .where(columns.table_name == "fingerprints", columns.ordinal > state.ordinal)
                .order_by(columns.ordinal)
            ).all()
            self._documents.refresh(connection)
            if not fresh:
                return state
            named = self._segments.named(connection, [r.segment_id for r in fresh])
            for begin in range(0, len(named), SEGMENTS_PER_READ):
                part = named[begin : begin + SEGMENTS_PER_READ]
                scanned = self._segments.scan(part).filter(pl.col("kind") == kind)
                self._fill(kind, state, scanned.collect())
                last = fresh[begin + len(part) - 1]
                state.ordinal, state.segment_id = last.ordinal, last.segment_id
                state.segments += len(part)
                if state.unsaved >= FLUSH_ROWS:
                    state.save()
        return state

    @staticmethod
    def _fits(connection: Connection, state: _Kind) -> bool:
        """Say whether the cache was made from this record, and all that it has read still stands.

        What was joined, erased or evicted is written anew under a later number: a cache that had read
        the old rows would count them twice.
        """
        columns = record.segments.c
        query = sa.select(columns.segment_id).where(columns.ordinal == state.ordinal)
        if connection.execute(query).scalar() != state.segment_id:
            return False
        read = sa.select(sa.func.count()).where(
            columns.table_name == "fingerprints", columns.ordinal <= state.ordinal
        )
        return connection.execute(read).scalar() == state.segments

    def _fill(self, kind: str, state: _Kind, made: pl.DataFrame) -> None:
        docs = pl.Series("_doc", self._documents.owners.numbers(made["submission_id"].to_list()))
        keyed = (
            made.with_columns(docs)
            .filter(pl.col("keys").list.len() > 0)
            .select("_doc", "content_index", "keys", "positions")
            .explode("keys", "positions", empty_as_null=True)
        )
        state.unsaved += keyed.height
        state.kept.forget(docs.to_numpy())
        if keyed.height:
            state.postings.add(
                keyed["keys"].to_numpy().astype(np.uint64),
                keyed["_doc"].to_numpy().astype(np.uint32),
                keyed["content_index"].to_numpy().astype(np.int32),
                keyed["positions"].to_numpy().astype(np.int32),
            )
        if kind in SKETCHED:
            _sketch(state.sketches, keyed.filter(pl.col("content_index") == TYPED))
        coded = made.with_columns(docs).filter(
            pl.col("keys").list.len() == 0, pl.col("value").bin.size() % CODE_BYTES == 0,
            pl.col("value").bin.size() > 0,
        )  # fmt: skip
        for doc, content, value in coded.select("_doc", "content_index", "value").iter_rows():
            codes = np.frombuffer(value, np.uint8).reshape(-1, CODE_BYTES)
            count = len(codes)
            state.unsaved += count
            state.codes.add(
                codes, np.full(count, doc, np.uint32), np.full(count, content, np.int32),
                np.arange(count, dtype=np.int32),
            )  # fmt: skip


def _sketch(table: SketchTable, keyed: pl.DataFrame) -> None:
    """Sketch the keys of texts: ``_doc``, ``keys``."""
    once = keyed.select("_doc", "keys").unique().sort("_doc", "keys")
    docs = once["_doc"].to_numpy()
    named, begins = np.unique(docs, return_index=True)
    bounds = np.append(begins, len(docs)).astype(np.int64)
    table.put(named.astype(np.uint32), sketched(bounds, once["keys"].to_numpy()))
