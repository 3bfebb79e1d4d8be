"""Reading a drop: a folder with the tables of the contract in any of four forms, row by row.

Nothing is loaded whole: text tables are read by the line, Parquet by the row group. A drop only reads;
what the rows mean is decided in ``pipeline.model.rows`` and ``pipeline.stages.ingest``.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.model.errors import ContentError, RowError, UsageError
from pipeline.model.rows import ROW_BYTES_MAX, decode_json
from pipeline.ports import EventChunk, RawRow

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
TABLES = ("tasks", "workers", "submissions", "events")
BLOB_BYTES_MAX = 20 * 1024 * 1024
EVENT_ROWS = 250_000


class FolderDrop:
    """A drop below one folder. Raises ``UsageError`` where it is no drop."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(
                "drop.absent", f"{root} is no folder: name the one that holds submissions.jsonl"
            )
        self._root = root.resolve()
        if not any(self.files(t) for t in TABLES):
            raise UsageError(
                "drop.empty",
                f"{root} holds no {' or '.join(TABLES)} ({', '.join(SUFFIXES)})",
            )

    def files(self, table: str) -> list[Path]:
        """List the files of a table: ``table.jsonl`` … or ``table/*.parquet`` …, by name."""
        alone = [
            self._root / f"{table}{s}" for s in SUFFIXES if (self._root / f"{table}{s}").is_file()
        ]
        folder = self._root / table
        inside = (
            sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIXES))
            if folder.is_dir()
            else []
        )
        return alone + inside

    def byte_count(self) -> int:
        """Count the bytes of all tables, for progress bars."""
        return sum(f.stat().st_size for t in TABLES for f in self.files(t))

    def rows(self, table: str) -> Iterator[RawRow]:
        """Read the rows of a table in the order delivered."""
        for path in self.files(table):
            name = path.relative_to(self._root).as_posix()
            if path.suffix == ".parquet":
                yield from _parquet_rows(path, name)
            elif path.suffix == ".csv":
                yield from _csv_rows(path, name)
            else:
                yield from _json_rows(path, name)

    def events(self) -> Iterator[EventChunk]:
        """Read the behaviour log by the chunk, columnar where it is so on disk."""
        for path in self.files("events"):
            name = path.relative_to(self._root).as_posix()
            if path.suffix == ".parquet":
                yield from _parquet_events(path, name)
            else:
                rows = _csv_rows(path, name) if path.suffix == ".csv" else _json_rows(path, name)
                yield from gathered(rows, name)

    def blob(self, path: str) -> bytes:
        """Read a file that a row names.

        Raises ``ContentError``: ``blob.bad_path`` (it leaves the drop), ``blob.absent``,
        ``blob.empty``, ``blob.too_large``.
        """
        named = Path(path)
        if named.is_absolute() or ".." in named.parts or "\x00" in path or "\\" in path or not path:
            raise ContentError("blob.bad_path", f"{path[:200]!r} leaves the drop")
        target = self._root / named
        try:
            if not target.resolve().is_relative_to(self._root):
                raise ContentError("blob.bad_path", f"{path[:200]!r} leaves the drop")
            size = target.stat().st_size if target.is_file() else None
        except OSError as error:
            raise ContentError("blob.bad_path", f"{path[:200]!r}: {error.strerror}") from error
        if size is None:
            raise ContentError("blob.absent", f"{path} was not delivered")
        if size == 0:
            raise ContentError("blob.empty", f"{path} has no bytes")
        if size > BLOB_BYTES_MAX:
            raise ContentError(
                "blob.too_large", f"{path}: {size:,} bytes, at most {BLOB_BYTES_MAX:,}"
            )
        return target.read_bytes()


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _json_rows(path: Path, name: str) -> Iterator[RawRow]:
    with _open(path) as file:
        number = 0
        while True:
            number += 1
            try:
                line = file.readline(ROW_BYTES_MAX + 1)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield RawRow(
                    file=name, line=number, raw="", error=RowError("row.bad_gzip", str(error))
                )
                return
            if not line:
                return
            while len(line) > ROW_BYTES_MAX and not line.endswith(b"\n"):
                rest = file.readline(ROW_BYTES_MAX)
                if not rest or rest.endswith(b"\n"):
                    break
            if line.strip():
                yield json_row(line, name, number)


def json_row(line: bytes, name: str, number: int) -> RawRow:
    """Decode one line; a line that is no JSON becomes a row that carries its error."""
    raw = line.decode("utf-8", "replace").rstrip("\r\n").replace("\x00", "\\u0000")
    try:
        return RawRow(file=name, line=number, raw=raw, value=decode_json(line))
    except RowError as error:
        return RawRow(file=name, line=number, raw=raw[:65536], error=error)


def _csv_rows(path: Path, name: str) -> Iterator[RawRow]:
    """Cells are text; an empty one is null, and one that opens with ``[`` or ``{`` is JSON."""
    csv.field_size_limit(ROW_BYTES_MAX)
    with path.open("rb") as binary:
        reader = csv.DictReader(io.TextIOWrapper(binary, "utf-8-sig", errors="replace", newline=""))
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                where = reader.line_num
                yield RawRow(
                    file=name, line=where, raw="", error=RowError("row.bad_csv", str(error))
                )
                continue
            if cells is None:
                return
            yield _csv_row(cells, name, reader.line_num)


def _csv_row(cells: dict[str | Any, Any], name: str, line: int) -> RawRow:
    raw = orjson.dumps({str(k): v for k, v in cells.items()}).decode()
    if None in cells:
        error = RowError("row.bad_csv", "the row has more cells than the header")
        return RawRow(file=name, line=line, raw=raw, error=error)
    value: dict[str, Any] = {}
    for key, cell in cells.items():
        if cell is None or cell == "":
            value[key] = None
        elif cell[0] in "[{" and key in ("attachments", "skills", "reference_paths", "site"):
            try:
                value[key] = orjson.loads(cell)
            except orjson.JSONDecodeError as error:
                problem = RowError("row.bad_json", f"{key}: {error}")
                return RawRow(file=name, line=line, raw=raw, error=problem)
        else:
            value[key] = cell
    return RawRow(file=name, line=line, raw=raw, value=value, lax=True)


def _parquet_batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=rows)
    except (pa.ArrowException, OSError) as error:
        raise RowError("row.bad_parquet", str(error)) from error


def _parquet_rows(path: Path, name: str) -> Iterator[RawRow]:
    number = 0
    try:
        for batch in _parquet_batches(path, 1024):
            for value in batch.to_pylist():
                raw = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
                yield RawRow(file=name, line=number, raw=raw, value=value)
                number += 1
    except RowError as error:
        yield RawRow(file=name, line=number, raw="", error=error)


def _parquet_events(path: Path, name: str) -> Iterator[EventChunk]:
    start = 0
    try:
        for batch in _parquet_batches(path, EVENT_ROWS):
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
