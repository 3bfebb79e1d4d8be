"""Reading a drop: a folder with the tables of the contract in any of four forms, row by row.

Nothing is loaded whole: text tables are read by the line, Parquet by the row group. A drop only reads;
what the rows mean is decided in ``pipeline.model.rows`` and ``pipeline.stages.ingest``.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from pipeline.model.errors import ContentError, RowError, UsageError
from pipeline.model.rows import ROW_BYTES_MAX
from pipeline.ports import EventChunk, RawRow
from pipeline.stores.eventlog import gathered, json_events, parquet_batches, parquet_events
from pipeline.stores.jsonlines import json_rows

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
TABLES = ("tasks", "workers", "submissions", "events")
BLOB_BYTES_MAX = 20 * 1024 * 1024


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
                yield from json_rows(path, name)

    def events(self) -> Iterator[EventChunk]:
        """Read the behaviour log by the chunk, columnar where it is so on disk."""
        for path in self.files("events"):
            name = path.relative_to(self._root).as_posix()
            if path.suffix == ".parquet":
                yield from parquet_events(path, name)
            elif path.suffix == ".csv":
                yield from gathered(_csv_rows(path, name), name)
            else:
                yield from json_events(path, name)

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


def _parquet_rows(path: Path, name: str) -> Iterator[RawRow]:
    number = 0
    try:
        for batch in parquet_batches(path, 1024):
            for value in batch.to_pylist():
                raw = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
                yield RawRow(file=name, line=number, raw=raw, value=value)
                number += 1
    except RowError as error:
        yield RawRow(file=name, line=number, raw="", error=error)
