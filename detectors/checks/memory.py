"""A small world in memory: the ``Past`` of a handful of submissions. The only fake there is."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from pipeline.index.carriers import carriers
from pipeline.index.owners import Owners
from pipeline.index.postings import PostingIndex
from pipeline.index.sketches import sketched
from pipeline.index.votes import answered
from pipeline.model import frames, sessions
from pipeline.model.carriers import Carriers, Sketches
from pipeline.model.errors import ContentError
from pipeline.ports import Batch, Decoder, Detector, Example

_START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryBlobs:
    """Bytes by SHA-256 digest, in a dictionary."""

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their digest."""
        digest = hashlib.sha256(data).hexdigest()
        self._bytes[digest] = data
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes, or raise ``ContentError('blob.absent')``."""
        if digest not in self._bytes:
            raise ContentError("blob.absent", f"no blob {digest}")
        return self._bytes[digest]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All frames of a few submissions; ``batch(ids)`` cuts a batch out of it."""

    submissions: pl.DataFrame
    contents: pl.DataFrame
    tasks: pl.DataFrame
    workers: pl.DataFrame
    events: pl.DataFrame
    blobs: MemoryBlobs
    decoder: Decoder
    assets: Mapping[str, bytes]

    def batch(self, ids: Sequence[str] | None = None, signals: pl.DataFrame | None = None) -> Batch:
        """Make the batch of those submissions (all: None), ordered by submission."""
        mine = self.submissions.sort("submitted_at", "submission_id")
        if ids is not None:
            mine = mine.filter(pl.col("submission_id").is_in(list(ids)))
        return Batch(
            submissions=mine,
            contents=self.contents.join(
                mine.select("submission_id"), on="submission_id", how="semi"
            ),
            tasks=self.tasks.join(mine.select("task_id").unique(), on="task_id", how="semi"),
            workers=self.workers.join(
                mine.select("worker_id").unique(), on="worker_id", how="semi"
            ),
            events=self.events_of(mine["submission_id"].to_list()),
            blobs=self.blobs,
            decoder=self.decoder,
            signals=frames.empty(frames.SIGNALS) if signals is None else signals,
        )

    def events_of(self, ids: Sequence[str]) -> pl.DataFrame:
        """Cut the behaviour log of those submissions."""
        assigned = sessions.assign(self.events, self.submissions)
        return assigned.filter(pl.col("submission_id").is_in(list(ids)))


class MemoryPast:
    """The ``Past`` of a ``World`` and of the fingerprints that detectors made of it."""

    def __init__(
        self, world: World, fingerprints: pl.DataFrame, signals: pl.DataFrame | None = None
    ) -> None:
        self._world = world
        self._fingerprints = fingerprints
        self._signals = frames.empty(frames.SIGNALS) if signals is None else signals
        self._indexes: dict[str, tuple[PostingIndex, Owners]] = {}

    @classmethod
    def of(cls, world: World, detectors: Iterable[Detector]) -> "MemoryPast":
        """Fingerprint the whole world with those detectors."""
        made = [frames.empty(frames.FINGERPRINTS)]
        made += [
            frames.check(d.fingerprint(world.batch()), frames.FINGERPRINTS, d.spec.name)
            for d in detectors
        ]
        return cls(world, pl.concat(made))

    def _postings(self, kind: str) -> pl.DataFrame:
        return (
            self._fingerprints.filter(pl.col("kind") == kind, pl.col("keys").list.len() > 0)
            .select(
                pl.col("keys").alias("key"), "submission_id", "content_index",
                pl.col("positions").alias("position"),
            )
            .explode("key", "position", empty_as_null=True)
            .select(list(frames.POSTINGS))
        )  # fmt: skip

    def postings(
        self,
        kind: str,
        keys: pl.Series,
        *,
        df_max: int | None = None,
        earliest: int | None = None,
        limit: int = 100_000,
    ) -> pl.DataFrame:
        """Find who else has these keys."""
        hits = self._postings(kind).filter(pl.col("key").is_in(keys.unique().to_list()))
        if df_max is not None:
            hits = hits.filter(pl.col("submission_id").n_unique().over("key") <= df_max)
        carried = hits.group_by("key").len()["len"].max()
        when = self._world.submissions.select("submission_id", "submitted_at")
        hits = hits.join(when, on="submission_id", how="left")
        if earliest is not None and isinstance(carried, int) and carried > earliest:
            place = pl.struct("submitted_at", "submission_id").rank("dense").over("key")
            hits = hits.filter(place <= earliest)
        ordered = hits.sort("key", "submitted_at", "submission_id", "content_index", "position")
        return ordered.drop("submitted_at").head(limit)

    def votes(
        self, kind: str, asked: pl.DataFrame, *, votes_min: int, rows_max: int, earlier: bool,
        most: int | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """Count the words that a query and known pictures share and that lie alike."""
        index, owners = self._index_of(kind)
        return answered(
            index, asked, owners, votes_min=votes_min, rows_max=rows_max, earlier=earlier, most=most
        )

    def sketches(self, kind: str, documents: npt.NDArray[np.uint32]) -> Sketches:
        """Return the sketches of what was typed in."""
        return sketched(*self.prints(kind, documents, np.full(len(documents), -1, np.int32)))

    def _index_of(self, kind: str) -> tuple[PostingIndex, Owners]:
        if kind not in self._indexes:
            self._indexes[kind] = self._indexed(kind)
        return self._indexes[kind]

    def _indexed(self, kind: str) -> tuple[PostingIndex, Owners]:
        known = self._world.submissions.sort("submitted_at", "submission_id")
        names = known["submission_id"].to_list()
        times = known["submitted_at"].dt.epoch("us").to_numpy().astype(np.int64)
        owners = Owners.of(names, times, known["worker_id"].hash().to_numpy())
        rows = self._postings(kind).filter(pl.col("submission_id").is_in(names))
        index = PostingIndex()
        index.add(
            rows["key"].to_numpy().astype(np.uint64),
            owners.numbers(rows["submission_id"].to_list()),
            rows["content_index"].to_numpy().astype(np.int32),
            rows["position"].to_numpy().astype(np.int32),
        )
        return index, owners

    def carriers(
        self, kind: str, keys: pl.Series, beside: Sequence[str], *, df_max: int | None = None,
        earliest: int,
    ) -> Carriers:  # fmt: skip
        """Find the earliest carriers of keys, by number."""
        index, owners = self._index_of(kind)
        asked = keys.drop_nulls().unique().sort().to_numpy().astype(np.uint64)
        return carriers(index, asked, owners, owners.numbers(beside), df_max=df_max, most=earliest)

    def named(self, documents: npt.NDArray[np.uint32]) -> pl.DataFrame:
        """Return the ids and times of numbers."""
        known = self._world.submissions.sort("submitted_at", "submission_id")
        return known.select("submission_id", "submitted_at")[documents]

    def prints(
        self, kind: str, documents: npt.NDArray[np.uint32], contents: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return the distinct keys of texts."""
        kept = self._fingerprints.filter(pl.col("kind") == kind)
        found: dict[tuple[str, int], list[int]] = {}
        for sid, content, keys in kept.select("submission_id", "content_index", "keys").iter_rows():
            found.setdefault((sid, content), []).extend(keys)
        asked = zip(
            self.named(documents)["submission_id"].to_list(), contents.tolist(), strict=True
        )
        each = [np.unique(np.array(found.get(one, []), np.uint64)) for one in asked]
        bounds = np.cumsum([0, *map(len, each)]).astype(np.int64)
        return bounds, np.concatenate([np.empty(0, np.uint64), *each])

    def frequencies(self, kind: str, keys: pl.Series) -> pl.DataFrame:
        """Count the submissions that carry each key."""
        counted = (
            self.postings(kind, keys, limit=2**62)
            .group_by("key")
            .agg(pl.col("submission_id").n_unique().cast(pl.Int64).alias("df"))
        )
        return counted.sort("key")

    def nearest(
        self, kind: str, codes: Sequence[bytes], *, distance_max: int, limit: int = 10_000
    ) -> pl.DataFrame:
        """Find stored 256-bit codes within a Hamming distance, by looking at all of them."""
        rows: list[tuple[int, str, int, int, int]] = []
        kept = self._fingerprints.filter(pl.col("kind") == kind).drop_nulls("value")
        for sid, index, value in kept.select("submission_id", "content_index", "value").iter_rows():
            stored = np.frombuffer(value, np.uint8).reshape(-1, 32)
            for query, code in enumerate(codes):
                far = np.bitwise_count(stored ^ np.frombuffer(code, np.uint8)).sum(axis=1)
                rows += [
                    (query, sid, index, int(slot), int(far[slot]))
                    for slot in np.flatnonzero(far <= distance_max)
                ]
        found = pl.DataFrame(rows, schema=dict(frames.NEIGHBOURS), orient="row")
        return found.sort("query", "distance", "submission_id", "content_index", "slot").head(limit)

    def fingerprints(self, kind: str, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the stored rows of that kind for those submissions."""
        return self._fingerprints.filter(
            pl.col("kind") == kind, pl.col("submission_id").is_in(list(submission_ids))
        ).sort("submission_id", "content_index")

    def submissions(
        self, submission_ids: Sequence[str], *, columns: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Return those submissions, in order of submission."""
        found = self._ordered(pl.col("submission_id").is_in(list(submission_ids)))
        return found.select(columns or found.columns)

    def _ordered(self, *where: pl.Expr) -> pl.DataFrame:
        return self._world.submissions.filter(*where).sort("submitted_at", "submission_id")

    def contents(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the files of those submissions."""
        return self._world.contents.filter(
            pl.col("submission_id").is_in(list(submission_ids))
        ).sort("submission_id", "content_index")

    def events(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the behaviour log of those submissions."""
        return self._world.events_of(submission_ids)

    def tasks(self, task_ids: Sequence[str]) -> pl.DataFrame:
        """Return those tasks."""
        return self._world.tasks.filter(pl.col("task_id").is_in(list(task_ids))).sort("task_id")

    def workers(self, worker_ids: Sequence[str]) -> pl.DataFrame:
        """Return those workers."""
        mine = pl.col("worker_id").is_in(list(worker_ids))
        return self._world.workers.filter(mine).sort("worker_id")

    def of_task(self, task_ids: Sequence[str], *, limit: int = 10_000) -> pl.DataFrame:
        """Return the submissions to those tasks, earliest first."""
        return self._ordered(pl.col("task_id").is_in(list(task_ids))).filter(
            pl.int_range(pl.len()).over("task_id") < limit
        )

    def of_worker(
        self,
        worker_ids: Sequence[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 10_000,
        columns: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Return the submissions by those workers."""
        mine = self._ordered(pl.col("worker_id").is_in(list(worker_ids)), *_within(since, until))
        kept = mine.filter(pl.int_range(pl.len()).over("worker_id") < limit)
        return kept.select(columns or kept.columns)

    def window(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1_000_000,
    ) -> pl.DataFrame:
        """Return the window with what its tasks and workers add."""
        tasks = self._world.tasks.select(
            "task_id", "publisher_id", "category", "bounty_minor", "currency"
        )
        workers = self._world.workers.select("worker_id", "payout_account_hash")
        return (
            self._ordered(*_within(since, until))
            .head(limit)
            .drop("text", "extra")
            .join(tasks, on="task_id", how="left", maintain_order="left")
            .join(workers, on="worker_id", how="left", maintain_order="left")
        )

    def signals(
        self, submission_ids: Sequence[str] | None = None, *, codes: Sequence[str] = (),
        limit: int = 1_000_000,
    ) -> pl.DataFrame:  # fmt: skip
        """Return stored signals."""
        found = self._signals
        if submission_ids is not None:
            found = found.filter(pl.col("submission_id").is_in(list(submission_ids)))
        if codes:
            found = found.filter(pl.col("reason_code").is_in(list(codes)))
        return found.sort(found.columns, nulls_last=True).head(limit)

    def asset(self, name: str) -> bytes | None:
        """Return an asset of the world."""
        return self._world.assets.get(name)

    def blob(self, digest: str) -> bytes:
        """Return the bytes of a file."""
        return self._world.blobs.get(digest)


def _within(since: datetime | None, until: datetime | None) -> list[pl.Expr]:
    where = []
    if since is not None:
        where.append(pl.col("submitted_at") >= since)
    if until is not None:
        where.append(pl.col("submitted_at") < until)
    return where


def world_of(example: Example, decoder: Decoder) -> World:
    """Build the world of an example, filling in what it leaves out.

    Times run one minute apart in the order given, each submission has its own worker, session and
    device, and all share the task ``t`` of the publisher ``p``, unless the example says otherwise.
    ``files`` are pairs of (name, bytes); ``reference_files`` of a task are bytes.
    """
    blobs = MemoryBlobs()
    submissions, contents = [], []
    for i, given in enumerate(example.submissions):
        row: dict[str, Any] = {
            "submission_id": f"s{i}", "task_id": "t", "worker_id": f"w{i}", "text": "",
            "submitted_at": _START + timedelta(minutes=i), "session_id": f"x{i}",
            "device_id": f"d{i}", "extra": "{}",
        } | dict(given)  # fmt: skip
        row.setdefault("claimed_at", row["submitted_at"] - timedelta(minutes=30))
        for index, (name, data) in enumerate(row.pop("files", ())):
            contents.append(_content_row(row["submission_id"], index, name, data, blobs, decoder))
        submissions.append(row)
    named_tasks = {s["task_id"] for s in submissions} | {t["task_id"] for t in example.tasks}
    given_tasks = {t["task_id"]: dict(t) for t in example.tasks}
    tasks = []
    for task_id in sorted(named_tasks):
        task: dict[str, Any] = {
            "task_id": task_id, "publisher_id": "p", "title": "", "brief": "", "category": "c",
            "language": "en", "bounty_minor": 1000, "currency": "CNY", "slots": 100,
            "posted_at": _START - timedelta(days=1), "extra": "{}",
        } | given_tasks.get(task_id, {})  # fmt: skip
        task["reference_digests"] = [blobs.put(b) for b in task.pop("reference_files", ())]
        tasks.append(task)
    given_workers = {w["worker_id"]: dict(w) for w in example.workers}
    named_workers = {s["worker_id"] for s in submissions} | given_workers.keys()
    workers = [
        {"worker_id": w, "payout_account_hash": f"pay-{w}", "skills": [], "extra": "{}"}
        | given_workers.get(w, {})
        for w in sorted(named_workers)
    ]
    events = [{"event_id": f"e{i}"} | dict(e) for i, e in enumerate(example.events)]
    return World(
        submissions=_frame(submissions, frames.SUBMISSIONS),
        contents=_frame(contents, frames.CONTENTS),
        tasks=_frame(tasks, frames.TASKS),
        workers=_frame(workers, frames.WORKERS),
        events=_frame(events, frames.EVENTS),
        blobs=blobs,
        decoder=decoder,
        assets=example.assets,
    )


def _content_row(
    submission_id: str, index: int, name: str, data: bytes, blobs: MemoryBlobs, decoder: Decoder
) -> dict[str, Any]:
    row = {
        "submission_id": submission_id, "content_index": index, "digest": blobs.put(data),
        "name": name, "path": f"blobs/{name}", "byte_count": len(data),
        "media_type": "application/octet-stream",
    }  # fmt: skip
    try:
        probe = decoder.probe(data)
    except ContentError:
        return row
    return row | {
        "media_type": probe.media_type, "width": probe.width, "height": probe.height,
        "frame_count": probe.frame_count,
    }  # fmt: skip


def _frame(rows: Sequence[Mapping[str, Any]], schema: frames.Schema) -> pl.DataFrame:
    unknown = {key for row in rows for key in row} - schema.keys()
    if unknown:
        raise TypeError(f"an example names columns that there are not: {sorted(unknown)}")
    return pl.DataFrame([dict(r) for r in rows], schema=dict(schema))


def canonical(frame: pl.DataFrame) -> bytes:
    """Bytes that are equal for frames of equal rows, in whatever order."""
    return orjson.dumps(sorted(orjson.dumps(r, default=str).decode() for r in frame.to_dicts()))
