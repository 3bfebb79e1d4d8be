"""Rows that come one at a time or as JSON Lines over the API, with a receipt for each."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.model.errors import ContentError, RowError, UsageError
from pipeline.model.rows import KEYS
from pipeline.ports import Admission, Decoder, EventChunk, Intake, RawRow, Refusal
from pipeline.stages.ingest import take, take_events
from pipeline.stores.drops import BLOB_BYTES_MAX
from pipeline.stores.eventlog import gathered
from pipeline.stores.jsonlines import json_row

SOURCE = "api"


class Reception:
    """Takes in what a drop would hold; a file comes inside its row, as ``data_base64``."""

    def __init__(self, intake: Intake, decoder: Decoder, arrived: Callable[[], None]) -> None:
        self._intake = intake
        self._decoder = decoder
        self._arrived = arrived

    def __call__(self, kind: str, data: bytes) -> Sequence[Mapping[str, Any]]:
        """Take JSON Lines in; return a receipt a row: ``id``, ``status``, ``code``, ``reason``."""
        if kind not in ("submissions", "events", "tasks", "workers"):
            raise UsageError("intake.kind", f"there is no table {kind!r}")
        lines = [line for line in data.split(b"\n") if line.strip()]
        rows = [json_row(line, SOURCE, number) for number, line in enumerate(lines, 1)]
        receipts = self._events(rows) if kind == "events" else [self._one(kind, r) for r in rows]
        self._arrived()
        return receipts

    def _one(self, kind: str, row: RawRow) -> Mapping[str, Any]:
        listener = _Listener(self._intake)
        admitted = take(kind, [row], _Enclosed(row), listener, self._decoder)
        value = row.value if isinstance(row.value, Mapping) else {}
        row_id = value.get(KEYS[kind])
        if admitted.quarantined:
            code, reason = listener.refused.get(
                row.line, ("row.conflict", "known with other content; the known row stands")
            )
            return {"id": row_id, "status": "quarantined", "code": code, "reason": reason}
        return {"id": row_id, "status": "new" if admitted.new else "duplicate"}

    def _events(self, rows: Sequence[RawRow]) -> list[Mapping[str, Any]]:
        listener = _Listener(self._intake)
        for chunk in gathered(iter(rows), SOURCE):
            take_events(chunk, listener)
        receipts: list[Mapping[str, Any]] = []
        for row in rows:
            value = row.value if isinstance(row.value, Mapping) else {}
            told = listener.refused.get(row.line)
            receipt: dict[str, Any] = {"id": value.get("event_id"), "status": "new"}
            if told is not None:
                receipt |= {"status": "quarantined", "code": told[0], "reason": told[1]}
            receipts.append(receipt)
        return receipts


class _Listener:
    """Passes everything on to the intake and remembers why rows were refused, by line."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.refused: dict[int, tuple[str, str]] = {}

    def keep_blob(self, data: bytes) -> str:
        return self._intake.keep_blob(data)

    def admit(
        self,
        table: str,
        rows: Sequence[tuple[RawRow, Mapping[str, Any]]],
        refusals: Sequence[Refusal],
    ) -> Admission:
        self.refused |= {r.line: (r.code, r.reason) for r in refusals}
        return self._intake.admit(table, rows, refusals)

    def admit_events(self, events: Any, refusals: Sequence[Refusal]) -> Admission:
        self.refused |= {r.line: (r.code, r.reason) for r in refusals}
        return self._intake.admit_events(events, refusals)


class _Enclosed:
    """The files that one row brings along, by the path that it gives them."""

    def __init__(self, row: RawRow) -> None:
        value = row.value if isinstance(row.value, Mapping) else {}
        given = value.get("attachments")
        self._files = {
            a["path"]: a.get("data_base64")
            for a in (given if isinstance(given, list) else [])
            if isinstance(a, Mapping) and isinstance(a.get("path"), str)
        }

    def rows(self, table: str) -> Sequence[RawRow]:
        return ()

    def events(self) -> Sequence[EventChunk]:
        return ()

    def blob(self, path: str) -> bytes:
        """Return an enclosed file. Raises ``ContentError`` (``blob.absent``, ``blob.too_large``)."""
        text = self._files.get(path)
        if not isinstance(text, str):
            raise ContentError("blob.absent", f"{path[:200]} was not enclosed as data_base64")
        if len(text) > BLOB_BYTES_MAX * 4 // 3 + 4:
            raise ContentError("blob.too_large", f"{path[:200]}: at most {BLOB_BYTES_MAX:,} bytes")
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RowError("row.wrong_type", f"{path[:200]}: data_base64 is no base64") from error
        if not data:
            raise ContentError("blob.empty", f"{path[:200]} has no bytes")
        return data
