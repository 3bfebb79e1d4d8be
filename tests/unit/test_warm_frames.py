"""Warm frames: what was read lately is not read again, and memory has a limit."""

import polars as pl

from pipeline.stores.warm import WarmFrames


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
