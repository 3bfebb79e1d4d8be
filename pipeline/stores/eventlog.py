"""Reading a behaviour log: whatever form it comes in, chunks of columns of bounded size come out.

Parquet is columnar already. Plain JSON Lines are parsed by the column; a line that is not plain is
decoded alone, so that one odd row costs its block some speed and the others nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.model import frames
from pipeline.model.errors import RowError
from pipeline.ports import EventChunk, RawRow
from pipeline.stores.jsonlines import Block, blocks, json_row

EVENT_ROWS: Final = 250_000
_PLAIN: Final = pl.Schema(
    {n: pl.String() if n == "received_at" else dtype for n, dtype in frames.EVENTS.items()}
)
"""The EVENTS schema as JSON writes it: a time is text."""
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    name: {pl.Float64(): (int, float), pl.Int64(): (int,), pl.Boolean(): (bool,)}.get(dtype, (str,))
    for name, dtype in _PLAIN.items()
}


def parquet_batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Read a Parquet file by so many rows. Raises ``RowError`` (``row.bad_parquet``)."""
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=rows)
    except (pa.ArrowException, OSError) as error:
        raise RowError("row.bad_parquet", str(error)) from error


def parquet_events(path: Path, name: str) -> Iterator[EventChunk]:
    """Read a Parquet log by the chunk; lines are rows from 0."""
    start = 0
    try:
        for batch in parquet_batches(path, EVENT_ROWS):
            frame = pl.DataFrame(pa.Table.from_batches([batch]))
            yield EventChunk(
                file=name, frame=frame, lines=pl.int_range(start, start + frame.height, eager=True)
            )
            start += frame.height
    except RowError as error:
        broken = RawRow(file=name, line=start, raw="", error=error)
        yield EventChunk(
            file=name, frame=pl.DataFrame(), lines=pl.Series([], dtype=pl.Int64), broken=(broken,)
        )


def json_events(path: Path, name: str) -> Iterator[EventChunk]:
    """Read a log of JSON Lines by the chunk."""
    plain = _Plain(name)
    odd: list[RawRow] = []
    for block in blocks(path):
        if block.error is not None:
            plain.broken.append(
                RawRow(
                    file=name, line=block.line + block.data.count(b"\n"), raw="", error=block.error
                )
            )
        frame = _columns(block)
        if frame is not None:
            numbers = pl.int_range(block.line, block.line + frame.height, eager=True)
            plain.add(frame, numbers)
        else:
            odd += plain.decode(block)
        if plain.rows >= EVENT_ROWS:
            yield plain.chunk()
            plain = _Plain(name)
        if len(odd) >= EVENT_ROWS:
            yield from gathered(iter(odd), name)
            odd = []
    if plain.rows:
        yield plain.chunk()
    yield from gathered(iter(odd), name)


def _columns(block: Block) -> pl.DataFrame | None:
    """Parse flat objects, one a line, whose values have the types of the contract; else None.

    Nesting is refused before it is parsed; so are ``\\u`` escapes, which may be half a character.
    """
    data = block.data
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if not data or data.count(b"{") != lines or b"[" in data or b"\\u" in data:
        return None
    try:
        frame = pl.read_ndjson(data, schema=_PLAIN)
    except pl.exceptions.PolarsError:
        return None
    return frame if frame.height == lines else None


@dataclass(slots=True)
class _Plain:
    """Rows of the declared types, gathered until they make a chunk."""

    name: str
    frames: list[pl.DataFrame] = field(default_factory=list)
    lines: list[pl.Series] = field(default_factory=list)
    broken: list[RawRow] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(f.height for f in self.frames) + len(self.broken)

    def add(self, frame: pl.DataFrame, lines: pl.Series) -> None:
        self.frames.append(frame)
        self.lines.append(lines)

    def decode(self, block: Block) -> list[RawRow]:
        """Add a block line by line; return the rows that have values of other types."""
        fit: list[RawRow] = []
        odd: list[RawRow] = []
        for number, line in enumerate(block.data.split(b"\n"), block.line):
            if not line.strip():
                continue
            row = json_row(line, self.name, number)
            if row.error is not None:
                self.broken.append(row)
            elif isinstance(row.value, dict) and _fits(row.value):
                fit.append(row)
            else:
                odd.append(row)
        if fit:
            values = {n: [row.value.get(n) for row in fit] for n in _PLAIN}  # type: ignore[attr-defined]
            frame = pl.DataFrame(values, schema=_PLAIN)
            self.add(frame, pl.Series([row.line for row in fit], dtype=pl.Int64))
        return odd

    def chunk(self) -> EventChunk:
        return EventChunk(
            file=self.name,
            frame=pl.concat([_PLAIN.to_frame(), *self.frames]),
            lines=pl.concat([pl.Series([], dtype=pl.Int64), *self.lines]),
            broken=tuple(self.broken),
        )


def _fits(value: Mapping[str, Any]) -> bool:
    for name, kinds in _KINDS.items():
        given = value.get(name)
        if given is None:
            continue
        if not isinstance(given, kinds) or (isinstance(given, bool) and bool not in kinds):
            return False
        if isinstance(given, int) and abs(given) > 2**53:
            return False
    return True


def gathered(rows: Iterator[RawRow], name: str) -> Iterator[EventChunk]:
    """Gather rows into frames; a value of another type than its column's becomes text."""
    good: list[dict[str, Any]] = []
    lines: list[int] = []
    broken: list[RawRow] = []
    for row in rows:
        if row.error is None and isinstance(row.value, dict):
            good.append(row.value)
            lines.append(row.line)
        else:
            broken.append(row if row.error else _no_object(row))
        if len(good) + len(broken) >= EVENT_ROWS:
            yield _chunk(name, good, lines, broken)
            good, lines, broken = [], [], []
    if good or broken:
        yield _chunk(name, good, lines, broken)


def _no_object(row: RawRow) -> RawRow:
    error = RowError("row.wrong_type", "an event is an object")
    return RawRow(file=row.file, line=row.line, raw=row.raw, error=error)


def _chunk(
    name: str, good: list[dict[str, Any]], lines: list[int], broken: list[RawRow]
) -> EventChunk:
    columns = sorted({key for row in good for key in row})
    series = []
    for column in columns:
        values = [row.get(column) for row in good]
        series.append(pl.Series(column, [_scalar(v) for v in values], strict=False))
    return EventChunk(
        file=name,
        frame=pl.DataFrame(series),
        lines=pl.Series(lines, dtype=pl.Int64),
        broken=tuple(broken),
    )


def _scalar(value: object) -> object:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value
