"""Hamming search over 256-bit codes: immutable segments on disk, a small delta in memory.

Small or wide searches scan every code; where a segment is large and the radius at most 31 bits,
sixteen 16-bit buckets answer instead (multi-index hashing, Norouzi et al., arXiv 1307.2982). Both
are exact: what is found never depends on which was taken, on segments or on the order of adding.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.index.shapes import CHUNK_COUNT, CHUNK_VALUES, CODE_BYTES, I32, U8, U32, U64, WORDS
from pipeline.model.errors import StoreError

MANIFEST: Final = "segments.json"
VERSION: Final = 1
SEGMENTS_MAX: Final = 8
BUCKETS_FROM: Final = 100_000
"""Codes in a segment from which buckets are worth their 64 bytes a code."""
BUCKET_RADIUS_MAX: Final = 31
COMPILED_FROM: Final = 20_000_000
"""Comparisons from which loading the compiled loops pays; below, numpy answers at once."""
NUMPY_BLOCK: Final = 65_536


class Hits(NamedTuple):
    """Near codes, ordered by (query, distance, doc, content, slot), each of them once."""

    query: I32
    doc: U32
    content: I32
    slot: I32
    distance: I32


Near: TypeAlias = tuple[U32, U32, I32, I32, U32]
"""Query, document, attachment, place and distance of the near codes of one segment."""


class Segment:
    """An immutable run of codes: planes (4, n) uint64 and beside them whose they are."""

    def __init__(self, planes: U64, docs: U32, contents: I32, slots: I32, name: str = "") -> None:
        self.planes, self.docs, self.contents, self.slots = planes, docs, contents, slots
        self.name = name
        self._buckets: tuple[U64, U32, U32] | None = None

    def __len__(self) -> int:
        return len(self.docs)

    @classmethod
    def open(cls, directory: Path, name: str) -> "Segment":
        """Map a segment that was written before."""
        names = ("planes", "docs", "contents", "slots")
        planes, docs, contents, slots = (
            np.load(directory / name / f"{part}.npy", mmap_mode="r") for part in names
        )
        return cls(planes, docs, contents, slots, name)

    def write(self, directory: Path) -> "Segment":
        """Write under a temporary name, flush to the disk, rename; return the mapped segment."""
        made = Path(tempfile.mkdtemp(prefix=".segment-", dir=directory))
        for part in ("planes", "docs", "contents", "slots"):
            with (made / f"{part}.npy").open("wb") as file:
                np.save(file, getattr(self, part), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        name = "segment-" + made.name.removeprefix(".segment-")
        made.chmod(0o755)
        made.rename(directory / name)
        _sync(directory)
        return Segment.open(directory, name)

    def without(self, docs: U32) -> "Segment":
        """Return the rows of other documents."""
        keep = np.flatnonzero(~np.isin(self.docs, docs))
        return Segment(
            np.ascontiguousarray(self.planes[:, keep]),
            self.docs[keep], self.contents[keep], self.slots[keep],
        )  # fmt: skip

    def search(self, queries: U64, distance_max: int) -> tuple[U32, U32, U32]:
        """Find (query, row, distance) of every near pair; a pair may come more than once."""
        if not len(self) or not queries.shape[1]:
            nothing = np.empty(0, np.uint32)
            return nothing, nothing, nothing
        if len(self) >= BUCKETS_FROM and distance_max <= BUCKET_RADIUS_MAX:
            return self._search_buckets(queries, distance_max)
        if len(self) * queries.shape[1] >= COMPILED_FROM:
            return self._scan(queries, distance_max)
        return self._scan_numpy(queries, distance_max)

    def _scan_numpy(self, queries: U64, distance_max: int) -> tuple[U32, U32, U32]:
        found: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(self), NUMPY_BLOCK):
            block = np.asarray(self.planes[:, start : start + NUMPY_BLOCK])
            for q in range(queries.shape[1]):
                half = np.bitwise_count(block[:2] ^ queries[:2, q, None]).sum(0, dtype=np.int64)
                near = np.flatnonzero(half <= distance_max)
                if not len(near):
                    continue
                rest = np.bitwise_count(block[2:, near] ^ queries[2:, q, None])
                far = half[near] + rest.sum(0, dtype=np.int64)
                kept = far <= distance_max
                rows = near[kept] + start
                found.append(np.stack([np.full(len(rows), q), rows, far[kept]]))
        if not found:
            nothing = np.empty(0, np.uint32)
            return nothing, nothing, nothing
        query, row, distance = np.concatenate(found, axis=1).astype(np.uint32)
        return query, row, distance

    def _scan(self, queries: U64, distance_max: int) -> tuple[U32, U32, U32]:
        from pipeline.index import popcount

        room = 65_536
        while True:
            query, row, distance = (np.empty(room, np.uint32) for _ in range(3))
            count = popcount.scan(self.planes, queries, distance_max, query, row, distance)
            if count <= room:
                return query[:count], row[:count], distance[:count]
            room = count

    def _search_buckets(self, queries: U64, distance_max: int) -> tuple[U32, U32, U32]:
        from pipeline.index import popcount

        codes, heads, rows = self._bucketed()
        asked = np.ascontiguousarray(queries.T)
        flips = 0 if distance_max < CHUNK_COUNT else 1
        parts: list[tuple[U32, U32, U32]] = []
        room = 65_536
        for q, code in enumerate(asked):
            while True:
                row, distance = np.empty(room, np.uint32), np.empty(room, np.uint32)
                count = popcount.probe(
                    codes, heads, rows, code, code.view(np.uint16), flips, distance_max,
                    row, distance,
                )  # fmt: skip
                if count <= room:
                    break
                room = count
            if count:
                unique, first = np.unique(row[:count], return_index=True)
                parts.append((np.full(len(unique), q, np.uint32), unique, distance[first]))
        if not parts:
            nothing = np.empty(0, np.uint32)
            return nothing, nothing, nothing
        query, row, distance = (np.concatenate(part) for part in zip(*parts, strict=True))
        return query, row, distance

    def _bucketed(self) -> tuple[U64, U32, U32]:
        """Build the buckets at the first narrow search: about a third of a second a million."""
        if self._buckets is None:
            from pipeline.index import popcount

            codes = np.ascontiguousarray(self.planes.T)
            heads = np.zeros((CHUNK_COUNT, CHUNK_VALUES + 1), np.uint32)
            rows = np.empty((CHUNK_COUNT, len(self)), np.uint32)
            popcount.bucket(codes.view(np.uint16), heads, rows)
            self._buckets = (codes, heads, rows)
        return self._buckets


class CodeIndex:
    """Whose 256-bit code lies within so many bits of this one?

    One writer, any number of readers of the same directory; a reader sees another's writes at
    ``refresh``. Without a directory everything is kept in memory. The index holds nothing that
    cannot be rebuilt from the fingerprints, so what was not flushed is simply added again.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._segments: list[Segment] = []
        self._delta: list[Segment] = []
        self._removed: set[int] = set()
        self._manifest_seen = ""
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self.refresh()

    def __len__(self) -> int:
        """Count the codes, those not yet purged by ``flush`` included."""
        return sum(map(len, self._segments)) + sum(map(len, self._delta))

    def add(self, codes: U8, docs: U32, contents: I32, slots: I32) -> None:
        """Add codes (n, 32) uint8 of document ``docs``, attachment ``contents``, place ``slots``.

        Raises ``ValueError`` where the shapes differ. Adding the same row twice finds it once.
        """
        codes = np.ascontiguousarray(codes, np.uint8)
        if codes.ndim != 2 or codes.shape[1] != CODE_BYTES:
            raise ValueError(f"codes are (n, {CODE_BYTES}) bytes, not {codes.shape}")
        if not len(codes) == len(docs) == len(contents) == len(slots):
            raise ValueError("codes, docs, contents and slots differ in length")
        if not len(codes):
            return
        self._delta.append(
            Segment(
                _planes(codes),
                np.array(docs, np.uint32),
                np.array(contents, np.int32),
                np.array(slots, np.int32),
            )
        )

    def remove(self, docs: Iterable[int]) -> None:
        """Forget these documents now; ``flush`` also takes their codes off the disk.

        What is added of a document afterwards is kept.
        """
        gone = {int(d) for d in docs}
        if not gone:
            return
        listed = np.fromiter(gone, np.uint32, len(gone))
        self._delta = [s for s in (part.without(listed) for part in self._delta) if len(s)]
        if self._segments:
            self._removed |= gone

    def nearest(self, codes: U8 | Sequence[bytes], distance_max: int, limit: int = 10_000) -> Hits:
        """Find the codes within ``distance_max`` bits of each of ``codes`` (m, 32).

        At most ``limit`` rows in all, the first of that order. Exact.
        """
        asked = _codes_of(codes)
        queries = _planes(asked)
        parts: list[Near] = []
        self._settle_delta()
        removed = np.fromiter(self._removed, np.uint32, len(self._removed))
        for segment in self._segments:
            query, row, distance = segment.search(queries, distance_max)
            if len(removed) and len(row):
                kept = ~np.isin(segment.docs[row], removed)
                query, row, distance = query[kept], row[kept], distance[kept]
            parts.append(_named(segment, query, row, distance))
        for segment in self._delta:
            parts.append(_named(segment, *segment.search(queries, distance_max)))
        return _ordered(parts, limit)

    def flush(self) -> None:
        """Make everything added durable, purge what was removed, and keep segments few."""
        self._settle_delta()
        if self._directory is None:
            self._segments = self._purged(self._segments) + self._delta
            self._delta, self._removed = [], set()
            if len(self._segments) > SEGMENTS_MAX:
                self._segments = [_merged(self._segments)]
            return
        before = {s.name for s in self._segments}
        kept = self._purged(self._segments)
        fresh = [*[s for s in kept if not s.name], *self._delta]
        stay = [s for s in kept if s.name]
        if len(stay) + bool(fresh) > SEGMENTS_MAX:
            stay.sort(key=len)
            half = len(stay) // 2 + 1
            fresh, stay = fresh + stay[:half], stay[half:]
        written = [_merged(fresh).write(self._directory)] if fresh else []
        now = [s for s in stay + written if len(s)]
        if {s.name for s in now} != before or not (self._directory / MANIFEST).exists():
            self._write_manifest([s.name for s in now])
        self._segments, self._delta, self._removed = now, [], set()
        for name in before - {s.name for s in now}:
            shutil.rmtree(self._directory / name, ignore_errors=True)

    def refresh(self) -> bool:
        """See what another writer flushed; return whether anything changed.

        What this instance added and did not flush stays. Raises ``StoreError`` for a directory that
        is not an index of this version.
        """
        if self._directory is None:
            return False
        for _ in range(5):
            text = self._read_manifest()
            if text == self._manifest_seen:
                return False
            try:
                names = _segment_names(text, self._directory)
                known = {s.name: s for s in self._segments}
                opened = [known.get(n) or Segment.open(self._directory, n) for n in names]
            except FileNotFoundError:
                continue  # a writer merged segments between the two reads
            self._segments, self._manifest_seen = opened, text
            return True
        raise StoreError("index.unreadable", f"segments named in {self._directory} are not there")

    def _settle_delta(self) -> None:
        if len(self._delta) > 1:
            self._delta = [_merged(self._delta)]

    def _purged(self, segments: Sequence[Segment]) -> list[Segment]:
        if not self._removed:
            return list(segments)
        gone = np.fromiter(self._removed, np.uint32, len(self._removed))
        return [s.without(gone) if np.isin(s.docs, gone).any() else s for s in segments]

    def _read_manifest(self) -> str:
        assert self._directory is not None
        try:
            return (self._directory / MANIFEST).read_text()
        except FileNotFoundError:
            return ""

    def _write_manifest(self, names: Sequence[str]) -> None:
        assert self._directory is not None
        text = json.dumps({"version": VERSION, "segments": list(names)})
        handle, path = tempfile.mkstemp(prefix=".manifest-", dir=self._directory)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(path).replace(self._directory / MANIFEST)
        _sync(self._directory)
        self._manifest_seen = text


def _segment_names(text: str, directory: Path) -> list[str]:
    if not text:
        return []
    try:
        manifest: Any = json.loads(text)
        if manifest["version"] != VERSION:
            raise StoreError(
                "index.version", f"{directory} holds index version {manifest['version']}"
            )
        return [str(name) for name in manifest["segments"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("index.unreadable", f"{directory / MANIFEST} is no manifest") from error


def _codes_of(codes: U8 | Sequence[bytes]) -> U8:
    if isinstance(codes, np.ndarray):
        return np.ascontiguousarray(codes, np.uint8).reshape(-1, CODE_BYTES)
    return np.frombuffer(b"".join(codes), np.uint8).reshape(-1, CODE_BYTES)


def _planes(codes: U8) -> U64:
    """Turn codes (n, 32) into planes (4, n)."""
    return np.ascontiguousarray(codes.view(np.uint64).reshape(-1, WORDS).T)


def _merged(segments: Sequence[Segment]) -> Segment:
    if len(segments) == 1:
        return segments[0]
    return Segment(
        np.ascontiguousarray(np.concatenate([s.planes for s in segments], axis=1)),
        np.concatenate([s.docs for s in segments]),
        np.concatenate([s.contents for s in segments]),
        np.concatenate([s.slots for s in segments]),
    )


def _named(segment: Segment, query: U32, row: U32, distance: U32) -> "Near":
    docs, contents, slots = segment.docs[row], segment.contents[row], segment.slots[row]
    return query, docs, contents, slots, distance


def _ordered(parts: Sequence["Near"], limit: int) -> Hits:
    if not parts:
        none = np.empty(0, np.int32)
        return Hits(none, np.empty(0, np.uint32), none, none, none)
    query, doc, content, slot, distance = (np.concatenate(p) for p in zip(*parts, strict=True))
    order = np.lexsort((slot, content, doc, distance, query))
    rows = np.stack([np.asarray(a, np.int64)[order] for a in (query, doc, content, slot, distance)])
    if rows.shape[1] > 1:
        fresh = np.concatenate([[True], (rows[:, 1:] != rows[:, :-1]).any(axis=0)])
        rows = rows[:, fresh]
    rows = rows[:, :limit]
    return Hits(
        rows[0].astype(np.int32), rows[1].astype(np.uint32), rows[2].astype(np.int32),
        rows[3].astype(np.int32), rows[4].astype(np.int32),
    )  # fmt: skip


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
