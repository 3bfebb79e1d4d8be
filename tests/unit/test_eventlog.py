"""A log read by the column says what it says line by line, however odd its lines are."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.model.eventrows import check_events
from pipeline.ports import EventChunk
from pipeline.stores import eventlog, jsonlines
from pipeline.stores.eventlog import gathered, json_events
from pipeline.stores.jsonlines import json_rows

ODD = [
    {"at": "1500000000001"},
    {"x": "left"},
    {"x": 1e300},
    {"length": 1.5},
    {"length": 2**62},
    {"mocked": "true"},
    {"user_agent": 'with "quotes" and \\ and {braces} [FBAN]'},
    {"path": "/任务/一"},
    {"session_id": None},
    {"event_id": 7},
    {"type": "pointer.teleport"},
    {"lat": 91.0},
    {"received_at": "yesterday"},
    {"note": {"deep": [1, [2]]}},
]
RAW = [b"", b"{", b"[1]", b'{"event_id": "\\ud800"}', b"\xff", b"null", b'{"event_id": 1e999}']


def event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}", "session_id": "x", "worker_id": "w", "type": "pointer.move",
        "at": 1.5e12 + number, "x": 1.5 * number, "y": 2.0, "pointer_type": "mouse",
    } | more  # fmt: skip


def lines() -> Iterator[bytes]:
    """Plain stretches with an odd or a broken line between them."""
    number = 0
    for odd in (*ODD, *RAW):
        for _ in range(9):
            yield orjson.dumps(event(number))
            number += 1
        yield odd if isinstance(odd, bytes) else orjson.dumps(event(number, **odd))
        number += 1


def taken(chunks: list[EventChunk]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """What is kept, and the line and code of what is refused."""
    kept, refused = [], []
    for chunk in chunks:
        refused += [(row.line, row.error.code) for row in chunk.broken if row.error]
        checked = check_events(chunk.frame) if chunk.frame.width else None
        if checked is not None:
            kept.append(checked.kept)
            places = checked.refused.select("row", "code").iter_rows()
            refused += [(chunk.lines[row], code) for row, code in places]
    return pl.concat(kept).sort("event_id"), sorted(refused)


@pytest.mark.parametrize("block_bytes", [1, 700, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_say_what_lines_say(
    block_bytes: int, end: bytes, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonlines, "BLOCK_BYTES", block_bytes)
    data = end.join(lines())
    path = tmp_path / ("events.jsonl.gz" if packed else "events.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    kept, refused = taken(list(json_events(path, path.name)))
    alone, refused_alone = taken(
        [c for row in json_rows(path, path.name) for c in gathered(iter([row]), path.name)]
    )
    assert refused == refused_alone
    assert kept.equals(alone)
    assert kept.height > 9 * len(ODD)


def test_plain_lines_are_read_by_the_column(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(orjson.dumps(event(i)) + b"\n" for i in range(100)))
    (block,) = jsonlines.blocks(path)
    frame = eventlog._columns(block)
    assert frame is not None
    assert frame.height == 100


def test_chunks_are_bounded_and_keep_their_line_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonlines, "BLOCK_BYTES", 500)
    monkeypatch.setattr(eventlog, "EVENT_ROWS", 50)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(orjson.dumps(event(i)) + b"\n" for i in range(400)))
    chunks = list(json_events(path, path.name))
    assert max(c.frame.height for c in chunks) <= 60
    assert pl.concat([c.lines for c in chunks]).to_list() == list(range(1, 401))


def test_a_gzip_that_breaks_off_keeps_what_was_read(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(orjson.dumps(event(i)) + b"\n" for i in range(5000)))
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    kept, refused = taken(list(json_events(path, path.name)))
    assert kept.height > 100
    assert "row.bad_gzip" in {code for _, code in refused}


def test_a_line_longer_than_any_row_is_one_broken_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonlines, "BLOCK_BYTES", 100)
    monkeypatch.setattr(jsonlines, "ROW_BYTES_MAX", 1000)
    path = tmp_path / "events.jsonl"
    good = orjson.dumps(event(1))
    path.write_bytes(b'{"event_id": "' + b"a" * 5000 + good + b"\n" + good + b"\n")
    kept, refused = taken(list(json_events(path, path.name)))
    assert kept["event_id"].to_list() == ["e1"]
    assert [line for line, _ in refused] == [1]
