"""How the command line speaks: tables and progress for people, JSON and nothing else for programs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import orjson
import polars as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

OUTCOME_COLOUR = {
    "approve": "green", "review": "yellow", "block_and_review": "red", "decline": "bold red",
}  # fmt: skip


class Format(str, Enum):
    """``text`` for people, ``json`` for programs."""

    text = "text"
    json = "json"


class FileFormat(str, Enum):
    """The forms a table can be exported in."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


people = Console(stderr=True)
"""Progress and warnings: standard error, so that standard output stays clean."""
page = Console(width=None if sys.stdout.isatty() else 132)
"""Tables that were asked for: standard output; wide where it is no terminal that says how wide it is."""


def write_json(value: object) -> None:
    """Write one JSON document and a line's end to standard output, and nothing else."""
    sys.stdout.write(orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode() + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Make a table; outcomes get their colour. A list of facts has columns without names."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_header=any(columns),
    )
    for column in columns:
        numeric = rows and all(isinstance(r[columns.index(column)], int | float) for r in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _told(value: object) -> str:
    """Write a value as a person reads it: times to the second in UTC, lists as words."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(_told(v) for v in value)
    return str(value)


def _cell(value: object) -> str:
    text = _told(value)
    colour = OUTCOME_COLOUR.get(text)
    escaped = text.replace("[", r"\[")
    return f"[{colour}]{escaped}[/{colour}]" if colour else escaped


class Advance(Protocol):
    """Tells the progress display that ``count`` more of ``step`` are done."""

    def __call__(self, step: str, count: int) -> None:
        """Advance one bar."""
        ...


@contextmanager
def progress(quiet: bool) -> Iterator[Advance]:
    """Show a bar for each step that reports, on standard error, where a person looks at it."""
    if quiet or not people.is_terminal:
        yield lambda step, count: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=people, transient=True) as display:
        bars: dict[str, TaskID] = {}

        def advance(step: str, count: int) -> None:
            if step not in bars:
                bars[step] = display.add_task(step, total=None)
            display.advance(bars[step], count)

        yield advance


def write_frame(frame: pl.DataFrame, form: FileFormat, target: Path | None) -> None:
    """Write a frame to a file or to standard output. Times are RFC 3339 in JSON and CSV."""
    if form is FileFormat.parquet:
        if target is None:
            frame.write_parquet(sys.stdout.buffer, compression="zstd")
        else:
            frame.write_parquet(target, compression="zstd")
        return
    data = _jsonl(frame) if form is FileFormat.jsonl else _csv(frame)
    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        target.write_bytes(data)


JSON_COLUMNS = ("signals", "abstentions", "arithmetic", "detector_versions", "evidence", "extra")


def _jsonl(frame: pl.DataFrame) -> bytes:
    nested = [c for c in JSON_COLUMNS if c in frame.columns]
    lines = []
    for row in frame.iter_rows(named=True):
        for column in nested:
            if row[column] is not None:
                row[column] = orjson.Fragment(row[column])
        lines.append(orjson.dumps(row, option=orjson.OPT_UTC_Z))
    return b"".join(line + b"\n" for line in lines)


def _csv(frame: pl.DataFrame) -> bytes:
    """Cells that a spreadsheet would run as a formula are defused with a leading apostrophe."""
    lists = [
        pl.col(n).list.join(" ") for n, t in frame.schema.items() if isinstance(t, pl.List)
    ]  # fmt: skip
    flat = frame.with_columns(lists)
    defused = [
        pl.when(pl.col(n).str.contains(r"^[=+\-@\t\r]"))
        .then("'" + pl.col(n))
        .otherwise(pl.col(n))
        .alias(n)
        for n, t in flat.schema.items()
        if t == pl.String()
    ]
    return flat.with_columns(defused).write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ").encode()
