"""Who carries this key? Sorted runs of 64-bit keys, memory-mapped, and a small delta in memory.

A run is immutable: columns sorted by (key, doc), each as narrow as its values allow; a column of one
repeated value is kept as that value, and keys that many rows carry are kept once. The state is one
tuple of runs that is swapped whole, so a look-up never waits for a writer and never fails while runs
are merged. Exact: what is found does not depend on runs, on the order of adding, or on whether anything
was flushed.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import RLock
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.index.shapes import I32, I64, U32, U64

MANIFEST: Final = "runs.json"
VERSION: Final = 2
RUNS_MAX: Final = 8
"""Runs on disk from which ``flush`` merges the smaller half."""
FAN_OUT: Final = 4
"""So many runs of like size in memory are merged into one."""
COLUMNS: Final = ("keys", "docs", "contents", "positions")
FILES: Final = (*COLUMNS, "heads")
SHARED_FROM: Final = 4
"""Rows a key, on average, from which keys are kept once, with the place of their first row."""
_NARROW: Final = (np.int8, np.uint8, np.int16, np.uint16)

Column: TypeAlias = npt.NDArray[Any]


_NO_HEADS: Final = np.zeros(1, np.uint32)


class Postings(NamedTuple):
    """Who carries keys: ordered by (key, doc, content, position), each row once."""

    keys: U64
    docs: U32
    contents: I32
    positions: I32


class Run:
    """An immutable sorted run: ``keys`` uint64; the other columns (n,) or one value (1,).

    ``keys`` is (n,), or holds each key once (m,) where ``heads`` (m + 1,) uint32 says between which rows
    each lies; without heads that is (1,).
    """

    __slots__ = ("contents", "docs", "heads", "keys", "name", "positions")

    def __init__(
        self,
        keys: U64,
        docs: Column,
        contents: Column,
        positions: Column,
        name: str = "",
        heads: U32 | None = None,
    ) -> None:
        self.heads = _NO_HEADS if heads is None else heads
        self.keys, self.docs, self.contents, self.positions = keys, docs, contents, positions
        self.name = name

    def __len__(self) -> int:
        return int(self.heads[-1]) if len(self.heads) > 1 else len(self.keys)

    @property
    def byte_count(self) -> int:
        """Bytes that the columns take, on disk as in memory."""
        return sum(getattr(self, column).nbytes for column in FILES)

    @classmethod
    def sorted_from(cls, keys: U64, docs: Column, contents: Column, positions: Column) -> "Run":
        """Sort rows into a run."""
        from pipeline.index import ordering

        made, rows = np.empty(len(keys), np.uint64), np.empty(len(keys), np.uint32)
        owners = np.ascontiguousarray(docs, np.uint32)
        whole = _one_value(contents) and _one_value(positions)
        ordering.order(np.ascontiguousarray(keys, np.uint64), owners, made, rows, whole)
        taken = _shrunk(rows) if whole else _narrow(docs, rows)
        once, heads = _once(made)
        return cls(once, taken, _narrow(contents, rows), _narrow(positions, rows), heads=heads)

    def merged_with(self, other: "Run") -> "Run":
        """Merge with another run: one pass over both."""
        from pipeline.index import ordering

        made = np.empty(len(self) + len(other), np.uint64)
        rows = np.empty(len(made), np.uint32)
        mine, theirs = (np.ascontiguousarray(r.whole("docs"), np.uint32) for r in (self, other))
        ordering.merge(self.every_key(), mine, other.every_key(), theirs, made, rows)
        columns: list[Column] = []
        for name in COLUMNS[1:]:
            one, two = getattr(self, name), getattr(other, name)
            if len(one) == len(two) == 1 and one[0] == two[0]:
                columns.append(one)
                continue
            kind = np.uint32 if name == "docs" else np.int32
            parts = [self.whole(name), other.whole(name)]
            both = np.concatenate(parts, dtype=kind, casting="unsafe")
            columns.append(_narrow(both, rows))
        once, heads = _once(made)
        docs, contents, positions = columns
        return Run(once, docs, contents, positions, heads=heads)

    @classmethod
    def open(cls, directory: Path, name: str, rows: int) -> "Run":
        """Map a written run. Raises ``OSError`` or ``ValueError`` where it is not whole."""
        parts = [np.load(directory / name / f"{c}.npy", mmap_mode="r") for c in FILES]
        keys, *others, heads = (np.asarray(part) for part in parts)
        shared = len(heads) > 1
        whole = keys.dtype == np.uint64 and keys.shape == (len(heads) - 1 if shared else rows,)
        whole &= heads.dtype == np.uint32 and (not shared or int(heads[-1]) == rows)
        whole &= all(p.shape in {(rows,), (1,)} and p.dtype.kind in "iu" for p in others)
        if not whole:
            raise ValueError(f"{name} does not hold {rows} postings")
        docs, contents, positions = others
        return cls(keys, docs, contents, positions, name, heads)

    def write(self, directory: Path) -> "Run":
        """Write under a temporary name, flush to the disk, rename; return the mapped run."""
        made = Path(tempfile.mkdtemp(prefix=".run-", dir=directory))
        for column in FILES:
            with (made / f"{column}.npy").open("wb") as file:
                np.save(file, getattr(self, column), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        name = "run-" + made.name.removeprefix(".run-")
        made.chmod(0o755)
        made.rename(directory / name)
        _sync(directory)
        return Run.open(directory, name, len(self))

    def bounds_of(self, asked: U64) -> tuple[I64, I64]:
        """Find between which rows each of the sorted unique keys lies."""
        from pipeline.index import ordering

        begins, ends = np.empty(len(asked), np.int64), np.empty(len(asked), np.int64)
        ordering.find(self.keys, asked, begins, ends)
        if len(self.heads) > 1:
            begins, ends = self.heads[begins].astype(np.int64), self.heads[ends].astype(np.int64)
        return begins, ends

    def rows_of(self, asked: U64) -> tuple[I64, I64]:
        """Find the rows of sorted unique keys: index into ``asked``, row."""
        begins, ends = self.bounds_of(asked)
        counts = ends - begins
        which = np.repeat(np.arange(len(asked)), counts)
        starts = np.repeat(begins - (np.cumsum(counts) - counts), counts)
        return which, starts + np.arange(len(which))

    def every_key(self) -> U64:
        """Return the key of each row."""
        return np.repeat(self.keys, np.diff(self.heads)) if len(self.heads) > 1 else self.keys

    def tally(self, asked: U64, gone: U32) -> I64:
        """Count the distinct documents of sorted unique keys, those in the sorted ``gone`` left out.

        Returns (3, keys): how many, the least and the greatest document; of none 0, 0 and −1.
        """
        from pipeline.index import ordering

        begins, ends = self.bounds_of(asked)
        told = np.empty((3, len(asked)), np.int64)
        docs = self.docs
        if len(docs) == 1 < len(self):
            begins, ends = np.zeros_like(begins), np.minimum(ends - begins, 1)
        ordering.tally(docs, begins, ends, gone, told)
        return told

    def column(self, name: str, rows: I64) -> Column:
        """Return one column at those rows."""
        values: Column = getattr(self, name)
        return np.broadcast_to(values, len(rows)) if len(values) == 1 else values[rows]

    def whole(self, name: str) -> Column:
        """Return one column in full length."""
        values: Column = getattr(self, name)
        return np.broadcast_to(values, len(self)) if len(values) == 1 else values

    def without(self, docs: U32) -> "Run":
        """Return the rows of other documents."""
        keep = np.flatnonzero(~np.isin(self.whole("docs"), docs)).astype(np.uint32)
        kept, contents, positions = (_narrow(self.whole(c), keep) for c in COLUMNS[1:])
        once, heads = _once(self.every_key()[keep])
        return Run(once, kept, contents, positions, heads=heads)


class _State(NamedTuple):
    """What a look-up sees: runs on disk, runs in memory, documents forgotten in the former."""

    disk: tuple[Run, ...] = ()
    delta: tuple[Run, ...] = ()
    removed: U32 = np.empty(0, np.uint32)

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.disk + self.delta


class PostingIndex:
    """Whose fingerprint holds this 64-bit key, and where?

    One writer, any number of readers: threads share an instance, other processes open the same
    directory and see a writer's work at ``refresh``. Without a directory everything is kept in
    memory. The index holds nothing that cannot be added again: what was not flushed is lost with the
    process, and a directory that is absent, cut short or of another version opens empty.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._state = _State()
        self._lock = RLock()
        self._seen = ""
        self.mark: int | None = None
        """What the last ``flush`` that was given a mark said of how far the index is filled."""
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self.refresh()

    def __len__(self) -> int:
        """Count the postings, those not yet purged by ``flush`` included."""
        return sum(map(len, self._state.runs))

    @property
    def byte_count(self) -> int:
        """Bytes of all runs, mapped ones included."""
        return sum(run.byte_count for run in self._state.runs)

    def add(self, keys: U64, docs: U32, contents: I32, positions: I32) -> None:
        """Add postings: arrays of equal length. Adding a row twice finds it once.

        Raises ``ValueError`` where the lengths differ.
        """
        if not len(keys) == len(docs) == len(contents) == len(positions):
            raise ValueError("keys, docs, contents and positions differ in length")
        if not len(keys):
            return
        made = Run.sorted_from(
            np.asarray(keys, np.uint64), np.asarray(docs, np.uint32),
            np.asarray(contents, np.int32), np.asarray(positions, np.int32),
        )  # fmt: skip
        with self._lock:
            delta = [*self._state.delta, made]
            while len(delta) >= FAN_OUT and FAN_OUT * len(delta[-1]) > len(delta[-FAN_OUT]):
                delta[-FAN_OUT:] = [_merged(delta[-FAN_OUT:])]
            self._state = self._state._replace(delta=tuple(delta))

    def snapshot(self) -> tuple[tuple[Run, ...], U32]:
        """Return the runs as they stand, and the documents forgotten in those that have a name."""
        state = self._state
        return state.runs, state.removed

    def lookup(self, keys: U64) -> Postings:
        """Find who carries ``keys`` (any order, repeats allowed)."""
        state = self._state
        asked = np.unique(np.asarray(keys, np.uint64))
        parts: list[tuple[Column, ...]] = []
        for run in state.runs:
            which, rows = run.rows_of(asked)
            if run.name and len(state.removed) and len(rows):
                kept = ~np.isin(run.column("docs", rows), state.removed)
                which, rows = which[kept], rows[kept]
            if len(rows):
                parts.append((which, *(run.column(c, rows) for c in COLUMNS[1:])))
        if not parts:
            none = np.empty(0, np.int32)
            return Postings(np.empty(0, np.uint64), np.empty(0, np.uint32), none, none)
        columns = [np.concatenate([p[i] for p in parts]) for i in range(4)]
        which, docs, contents, positions = columns
        order = np.lexsort((positions, contents, docs, which))
        columns = [c[order] for c in columns]
        fresh = np.ones(len(order), bool)
        fresh[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in columns])
        which, docs, contents, positions = (c[fresh] for c in columns)
        return Postings(
            asked[which], docs.astype(np.uint32), contents.astype(np.int32),
            positions.astype(np.int32),
        )  # fmt: skip

    def counts(self, keys: U64, *, most: int | None = None) -> I64:
        """Count the distinct documents that carry each of ``keys``, in the order asked.

        Counts up to ``most`` are exact; a higher one only says that it is higher.
        """
        state = self._state
        asked, back = np.unique(np.asarray(keys, np.uint64), return_inverse=True)
        none = np.empty(0, np.uint32)
        told = [run.tally(asked, state.removed if run.name else none) for run in state.runs]
        if not told:
            return np.zeros(len(keys), np.int64)
        sums, lows, highs = np.stack(told, axis=1)
        found: I64 = sums.sum(axis=0)
        if len(told) > 1:
            twice = _overlapping(lows, highs)
            if most is not None:
                twice &= sums.max(axis=0) <= most
            if twice.any():
                found[twice] = self._merged_counts(state, asked[twice])
        return found[back]

    @staticmethod
    def _merged_counts(state: _State, asked: U64) -> I64:
        """Count the documents of sorted keys of which several runs may hold the same ones."""
        parts = []
        for run in state.runs:
            which, rows = run.rows_of(asked)
            docs = run.column("docs", rows)
            if run.name and len(state.removed):
                kept = ~np.isin(docs, state.removed)
                which, docs = which[kept], docs[kept]
            parts.append((which << 32) | docs.astype(np.int64))
        seen = np.unique(np.concatenate(parts))
        return np.bincount(seen >> 32, minlength=len(asked))

    def remove(self, docs: Iterable[int]) -> None:
        """Forget these documents now; ``flush`` takes them off the disk. What is added later stays."""
        gone = np.unique(np.fromiter((int(d) for d in docs), np.uint32))
        if not len(gone):
            return
        with self._lock:
            delta = tuple(r for r in (run.without(gone) for run in self._state.delta) if len(r))
            removed = np.union1d(self._state.removed, gone) if self._state.disk else gone[:0]
            self._state = _State(self._state.disk, delta, removed)

    def flush(self, mark: int | None = None) -> None:
        """Make what was added durable, purge what was removed, and keep runs few.

        ``mark`` is kept beside the runs in the same atomic step (see ``mark``): a caller that fills
        the index from a log learns after a crash from where to go on.
        """
        with self._lock:
            if mark is not None:
                self.mark = mark
            self._write(merge_all=False)

    def compact(self) -> None:
        """Merge everything into one run. Look-ups go on meanwhile; call it from any thread."""
        with self._lock:
            self._write(merge_all=True)

    def _write(self, *, merge_all: bool) -> None:
        before = self._state
        kept = [_purged(run, before.removed) for run in before.disk]
        fresh = [run for run in kept if not run.name] + list(before.delta)
        stay = sorted((run for run in kept if run.name), key=len)
        if merge_all and len(stay) + len(fresh) > 1:
            fresh, stay = fresh + stay, []
        elif len(stay) + bool(fresh) > RUNS_MAX:
            half = len(stay) // 2 + 1
            fresh, stay = fresh + stay[:half], stay[half:]
        merged = [r for r in ([_merged(fresh)] if fresh else []) if len(r)]
        if self._directory is None:
            self._state = _State(delta=tuple(stay + merged))
            return
        if len(merged) == 1 and not merged[0].name:
            merged = [merged[0].write(self._directory)]
        now = tuple(run for run in stay + merged if len(run))
        self._write_manifest(now)
        self._state = _State(disk=now)
        for name in {r.name for r in before.disk} - {r.name for r in now}:
            shutil.rmtree(self._directory / name, ignore_errors=True)

    def refresh(self) -> bool:
        """See what another writer flushed; say whether anything changed.

        What this instance added and did not flush stays. A manifest or run that cannot be read makes
        the index empty and ``mark`` None, so that its keeper fills it again.
        """
        if self._directory is None:
            return False
        with self._lock:
            for _ in range(5):
                text = _read(self._directory / MANIFEST)
                if text == self._seen:
                    return False
                named, mark = _manifest(text)
                known = {r.name: r for r in self._state.disk}
                try:
                    opened = tuple(
                        known.get(n) or Run.open(self._directory, n, rows) for n, rows in named
                    )
                except (OSError, ValueError):
                    if _read(self._directory / MANIFEST) != text:
                        continue  # a writer merged runs between the two reads
                    opened, mark = (), None
                self._state = self._state._replace(disk=opened)
                self._seen, self.mark = text, mark
                return True
        return False

    def _write_manifest(self, runs: Sequence[Run]) -> None:
        assert self._directory is not None
        named = [[run.name, len(run)] for run in runs]
        text = json.dumps({"version": VERSION, "mark": self.mark, "runs": named})
        if text == self._seen:
            return
        handle, path = tempfile.mkstemp(prefix=".manifest-", dir=self._directory)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(path).replace(self._directory / MANIFEST)
        _sync(self._directory)
        self._seen = text


def _once(keys: U64) -> tuple[U64, U32 | None]:
    """Keep each of sorted keys once, with the bounds of its rows, where that is smaller."""
    fresh = keys[1:] != keys[:-1]
    distinct = int(np.count_nonzero(fresh)) + 1
    if SHARED_FROM * distinct > len(keys) or len(keys) > np.iinfo(np.uint32).max:
        return keys, None
    heads = np.concatenate([[0], np.flatnonzero(fresh) + 1, [len(keys)]])
    return keys[heads[:-1]], heads.astype(np.uint32)


def _one_value(values: Column) -> bool:
    if not len(values) or values[0] != values[-1]:
        return False
    return values.strides == (0,) or bool((values == values[0]).all())


def _narrow(values: Column, rows: U32) -> Column:
    """Take a column at ``rows``, in the narrowest type; one repeated value is kept once."""
    from pipeline.index import ordering

    if _one_value(values):
        return _shrunk(values[:1])
    kind = np.uint32 if values.dtype == np.uint32 else np.int32
    taken: Column = np.empty(len(rows), kind)
    given: Column = np.ascontiguousarray(values, kind)
    ordering.gather(given, rows, taken)
    return _shrunk(taken)


def _shrunk(values: Column) -> Column:
    """Keep a column in the narrowest type, one repeated value once."""
    if not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    if low == high:
        values = values[:1]
    for narrow in _NARROW:
        if np.iinfo(narrow).min <= low and high <= np.iinfo(narrow).max:
            return values.astype(narrow)
    return values


def _merged(runs: Sequence[Run]) -> Run:
    """Merge runs two by two, the shortest first."""
    left = sorted(runs, key=len, reverse=True)
    while len(left) > 1:
        made = left.pop().merged_with(left.pop())
        left.append(made)
        left.sort(key=len, reverse=True)
    return left[0]


def _purged(run: Run, removed: U32) -> Run:
    if not len(removed) or not np.isin(run.whole("docs"), removed).any():
        return run
    return run.without(removed)


def _overlapping(lows: I64, highs: I64) -> npt.NDArray[np.bool_]:
    """Mark keys of which some runs' documents may be the same: their ranges (runs, keys) overlap."""
    order = np.argsort(lows, axis=0, kind="stable")
    low, high = (np.take_along_axis(part, order, axis=0) for part in (lows, highs))
    reached = np.maximum.accumulate(high, axis=0)
    met = (reached[:-1] >= low[1:]) & (high[1:] >= 0)
    marked: npt.NDArray[np.bool_] = np.logical_or.reduce(met, axis=0)
    return marked


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _manifest(text: str) -> tuple[list[tuple[str, int]], int | None]:
    """Read names and lengths of the runs; nothing where it is no manifest of this version."""
    try:
        manifest: Any = json.loads(text)
        if manifest["version"] != VERSION:
            return [], None
        runs = [(str(name), int(rows)) for name, rows in manifest["runs"]]
        safe = all(Path(name).name == name for name, _ in runs)
        return (runs, manifest["mark"]) if safe else ([], None)
    except (ValueError, KeyError, TypeError):
        return [], None


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
