"""Ingest: check every row of a drop, store bytes once, and quarantine what cannot be taken.

Every step is idempotent by key, so a killed ingest that is run again, or a drop that is delivered
twice, ends in the same state as one that was not.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from pipeline.model.errors import BountyguardError, ContentError, RowError
from pipeline.model.eventrows import check_events
from pipeline.model.rows import CHECKS, KEYS
from pipeline.ports import Admission, Decoder, Drop, EventChunk, Intake, RawRow, Refusal

ROWS_PER_TRANSACTION = 500
RAW_CHARACTERS_MAX = 1_000_000

Progress = Callable[[str, int], None]
"""Told the table and how many rows of it were just taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a drop, by table."""

    tables: Mapping[str, Admission] = field(default_factory=dict)

    @property
    def quarantined(self) -> int:
        """How many rows could not be taken, over all tables."""
        return sum(a.quarantined for a in self.tables.values())

    def as_json(self) -> dict[str, dict[str, int]]:
        """Plain values for ``--format json`` and for artifacts."""
        return {
            name: {"new": a.new, "duplicate": a.duplicate, "quarantined": a.quarantined}
            for name, a in self.tables.items()
        }


def ingest(
    drop: Drop, intake: Intake, decoder: Decoder, *, progress: Progress = lambda table, rows: None
) -> IngestReport:
    """Take a drop in: tasks, workers and submissions by the row, the behaviour log by the column."""
    tables: dict[str, Admission] = {}
    for table in ("tasks", "workers", "submissions"):
        taken = Admission()
        for chunk in _chunks(drop.rows(table), ROWS_PER_TRANSACTION):
            taken += take(table, chunk, drop, intake, decoder)
            progress(table, len(chunk))
        tables[table] = taken
    events = Admission()
    for piece in drop.events():
        events += take_events(piece, intake)
        progress("events", piece.frame.height + len(piece.broken))
    tables["events"] = events
    return IngestReport(tables=tables)


def take(
    table: str, rows: Sequence[RawRow], drop: Drop, intake: Intake, decoder: Decoder
) -> Admission:
    """Take in some rows of one table, in one transaction."""
    good: list[tuple[RawRow, Mapping[str, Any]]] = []
    refusals: list[Refusal] = []
    for row in rows:
        try:
            good.append((row, _check(table, row, drop, intake, decoder)))
        except (RowError, ContentError) as error:
            refusals.append(refusal(table, row, error))
    return intake.admit(table, good, refusals)


def take_events(chunk: EventChunk, intake: Intake) -> Admission:
    """Take in a piece of the behaviour log, in one transaction."""
    refusals = [refusal("events", row, row.error) for row in chunk.broken if row.error]
    if chunk.frame.is_empty():
        return intake.admit_events(check_events(chunk.frame).kept, refusals)
    checked = check_events(chunk.frame)
    for row in checked.refused.iter_rows(named=True):
        raw = orjson.dumps(chunk.frame.row(row["row"], named=True), default=str).decode()
        refusals.append(
            Refusal(
                table="events",
                file=chunk.file,
                line=chunk.lines[row["row"]],
                row_id=row["row_id"],
                code=row["code"],
                reason=row["reason"],
                raw=raw,
            )
        )
    return intake.admit_events(checked.kept, refusals)


def refusal(table: str, row: RawRow, error: BountyguardError) -> Refusal:
    """Say for quarantine what is wrong with a row, and keep it."""
    value = row.value if isinstance(row.value, Mapping) else {}
    row_id = value.get(KEYS.get(table, "event_id"))
    return Refusal(
        table=table,
        file=row.file,
        line=row.line,
        row_id=row_id if isinstance(row_id, str) else None,
        code=error.code,
        reason=error.message,
        raw=row.raw[:RAW_CHARACTERS_MAX],
    )


def _check(
    table: str, row: RawRow, drop: Drop, intake: Intake, decoder: Decoder
) -> Mapping[str, Any]:
    if row.error is not None:
        raise row.error
    checked = CHECKS[table](row.value, lax=row.lax)
    if table == "submissions":
        checked["contents"] = [
            _content(index, attachment, drop, intake, decoder)
            for index, attachment in enumerate(checked.pop("attachments"))
        ]
        _seal_contents(checked, [c["digest"] for c in checked["contents"]])
    elif table == "tasks":
        digests = [intake.keep_blob(drop.blob(p)) for p in checked.pop("reference_paths")]
        checked["reference_digests"] = digests
        _seal_contents(checked, digests)
    return checked


def _seal_contents(checked: dict[str, Any], digests: Sequence[str]) -> None:
    """Make the row's digest speak of the bytes too: other bytes under one path are another row."""
    both = checked["row_digest"] + "".join(digests)
    checked["row_digest"] = hashlib.sha256(both.encode()).hexdigest()


def _content(
    index: int, attachment: Mapping[str, Any], drop: Drop, intake: Intake, decoder: Decoder
) -> dict[str, Any]:
    """Look at one file, keep its bytes, and say what they are."""
    data = drop.blob(attachment["path"])
    try:
        probe = decoder.probe(data, attachment["media_type"])
    except ContentError as error:
        raise ContentError(error.code, f"{attachment['path']}: {error.message}") from error
    return {
        "content_index": index,
        "digest": intake.keep_blob(data),
        "media_type": probe.media_type,
        "media_claim": attachment["media_type"],
        "name": attachment["name"],
        "path": attachment["path"],
        "byte_count": len(data),
        "width": probe.width,
        "height": probe.height,
        "frame_count": probe.frame_count,
    }


def _chunks(rows: Iterable[RawRow], size: int) -> Iterator[list[RawRow]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk
