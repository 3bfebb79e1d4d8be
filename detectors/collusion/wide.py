"""Windows too large to be judged with every batch: read slice by slice, judged whole, kept as an asset.

The verdicts are those of the whole graph, as in a smaller window; only when they are made differs. The
schedule (``sweep``) makes them anew and has those judged again of whom they speak; a hand-in that came
since then is told at its next turn.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import polars as pl

from pipeline.ports import Past

Verdicts = Mapping[tuple[str, str], Mapping[str, Any]]
"""(submission, reason code) to the arguments of its signal."""

SLICES: Final = 28
COLUMNS: Final = (
    "submission_id", "task_id", "worker_id", "submitted_at", "publisher_id", "device_id",
    "bounty_minor", "currency", "payout_account_hash",
)  # fmt: skip
"""What crews and dealings read of a window."""


def name_of(horizon: str, since: datetime) -> str:
    """Name the asset that holds the verdicts of a window."""
    return f"collusion.window.{horizon}.{since:%Y-%m-%d}"


def read(past: Past, since: datetime, length: timedelta, rows_max: int) -> pl.DataFrame | None:
    """Read a window slice by slice, in order of submission; None where it has more than ``rows_max``.

    A slice is what stands in memory with all its columns.
    """
    parts: list[pl.DataFrame] = []
    left = rows_max
    for start, stop in _slices(since, length):
        part = past.window(since=start, until=stop, limit=left + 1).select(COLUMNS)
        left -= part.height
        if left < 0:
            return None
        parts.append(part)
    return pl.concat(parts, rechunk=True)


def _slices(since: datetime, length: timedelta) -> Iterator[tuple[datetime, datetime]]:
    step = length / SLICES
    for number in range(SLICES):
        last = number + 1 == SLICES
        yield since + number * step, since + length if last else since + (number + 1) * step


def pack(verdicts: Verdicts) -> bytes:
    """Write verdicts down, the evidence that many share once."""
    shared: dict[tuple[Any, ...], dict[str, Any]] = {}
    for (submission_id, code), said in verdicts.items():
        group = (id(said["evidence"]), said["strength"], said["p_value"])
        if group not in shared:
            more = {name: said[name] for name in ("strength", "p_value", "evidence")}
            shared[group] = more | {"of": []}
        matched = [said.get("matched_submission_id"), said.get("matched_worker_id")]
        shared[group]["of"].append([submission_id, code, *matched])
    return orjson.dumps(list(shared.values()))


def unpack(data: bytes) -> Verdicts:
    """Read verdicts that ``pack`` wrote."""
    verdicts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for group in orjson.loads(data):
        of = group.pop("of")
        for submission_id, code, matched, whose in of:
            more = {"matched_submission_id": matched, "matched_worker_id": whose}
            verdicts[submission_id, code] = group | more
    return verdicts
