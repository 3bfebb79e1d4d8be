"""Warm frames and kept prints: what was read lately is not read again, and memory has a limit."""

import itertools

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.stores.warm import KeptPrints, WarmFrames


class Disk:
    """Counts what is read; each segment holds ``rows`` numbers."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.read: list[str] = []

    def ask(self, warm: WarmFrames, segment: str) -> list[int]:
        def scan() -> pl.LazyFrame:
            self.read.append(segment)
            return pl.LazyFrame({"n": range(self.rows)}, schema={"n": pl.Int64})

        return warm.get(segment, "kind", scan).collect()["n"].to_list()


def test_a_segment_is_read_once_and_answers_the_same() -> None:
    warm, disk = WarmFrames(), Disk(5)
    assert disk.ask(warm, "a") == disk.ask(warm, "a") == [0, 1, 2, 3, 4]
    assert disk.read == ["a"]


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    warm, disk = WarmFrames(bytes_max=3 * 80, frame_bytes_max=80), Disk(10)
    for segment in ("a", "b", "c", "a", "d", "a"):
        disk.ask(warm, segment)
    assert disk.read == ["a", "b", "c", "d"]
    assert warm.byte_count <= 240
    disk.ask(warm, "b")
    assert disk.read[-1] == "b"


def test_a_large_segment_is_not_kept() -> None:
    warm, disk = WarmFrames(bytes_max=1_000, frame_bytes_max=79), Disk(10)
    assert disk.ask(warm, "a") == disk.ask(warm, "a")
    assert disk.read == ["a", "a"]
    assert warm.byte_count == 0


class Segments:
    """Documents whose text −1 has two keys, one of them by ``version``, and whose file 0 has key 7."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.version = 0

    def rows(self, documents: npt.NDArray[np.uint32]) -> pl.DataFrame:
        self.read += documents.tolist()
        told = [
            row
            for doc in sorted(set(documents.tolist()) - {9})
            for row in ((doc, -1, doc * 10 + self.version), (doc, -1, doc * 10 + 9), (doc, 0, 7))
        ]
        schema = {"doc": pl.UInt32(), "content_index": pl.Int32(), "key": pl.UInt64()}
        return pl.DataFrame(told, schema=schema, orient="row")

    def ask(self, kept: KeptPrints, *texts: tuple[int, int]) -> list[list[int]]:
        documents = np.array([doc for doc, _ in texts], np.uint32)
        contents = np.array([content for _, content in texts], np.int32)
        bounds, keys = kept.of(documents, contents, self.rows)
        return [keys[a:b].tolist() for a, b in itertools.pairwise(bounds.tolist())]


def test_prints_are_read_once_until_they_are_made_anew() -> None:
    kept, segments = KeptPrints(), Segments()
    asked = ((3, -1), (9, -1), (2, 0), (3, 0), (2, -1), (2, 5))
    first = [[30, 39], [], [7], [7], [20, 29], []]
    assert segments.ask(kept, *asked) == first == segments.ask(kept, *asked)
    assert sorted(segments.read) == [2, 3, 9]
    segments.version = 1
    kept.forget(np.array([3, 4], np.uint32))
    assert segments.ask(kept, *asked) == [[31, 39], *first[1:]]
    assert segments.ask(kept) == []


def test_prints_asked_for_longest_ago_make_room_and_leave_no_bytes() -> None:
    kept, segments = KeptPrints(bytes_max=2_500), Segments()
    for doc in (1, 2, 3, 1, 4):
        segments.ask(kept, (doc, -1))
    assert kept.byte_count <= 2_500
    segments.read.clear()
    segments.ask(kept, (1, -1), (4, -1), (2, -1))
    assert segments.read == [2]
    kept.forget(np.arange(9, dtype=np.uint32))
    assert kept.byte_count == 0
