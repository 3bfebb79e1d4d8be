"""The behaviour log, checked by the column: a frame in, an EVENTS frame and the refused rows out."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.model import frames
from pipeline.model.records import EVENT_TYPES, ID_LENGTH_MAX

AT_MAX_MS: Final = 4_102_444_800_000.0
"""2100-01-01: a client clock beyond it is no clock."""

_TEXT: Final = [name for name, dtype in frames.EVENTS.items() if dtype == pl.String()]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvents:
    """``kept``: an EVENTS frame. ``refused``: ``row`` (position in the input), ``row_id``, ``code``,
    ``reason``.
    """

    kept: pl.DataFrame
    refused: pl.DataFrame


def check_events(raw: pl.DataFrame) -> CheckedEvents:
    """Check a frame of events whose columns may have any type.

    Codes: ``event.missing_field`` (no event_id, session_id, worker_id or type), ``event.bad_id``,
    ``event.unknown_type``, ``event.bad_time`` (``at`` is no finite time of this century, or
    ``received_at`` no RFC 3339 time), ``event.bad_position`` (beyond WGS 84, or no number).
    """
    frame = _typed(raw).with_row_index("_row")
    required = ("event_id", "session_id", "worker_id", "type")
    blank = {c: pl.col(c).is_null() | (pl.col(c) == "") for c in required}
    long_id = pl.any_horizontal(
        (pl.col(c).str.len_chars() > ID_LENGTH_MAX) | pl.col(c).str.contains("\x00", literal=True)
        for c in ("event_id", "session_id", "worker_id", "submission_id")
    ).fill_null(False)
    at = pl.col("at")
    bad_at = ~(at.is_finite() & (at >= 0) & (at < AT_MAX_MS)).fill_null(False)
    off_globe = _beyond("lat", 90.0) | _beyond("lon", 180.0)
    unknown = ~pl.col("type").is_in(sorted(EVENT_TYPES))
    problems = [
        *((cond, "event.missing_field", f"{name} is absent") for name, cond in blank.items()),
        (long_id, "event.bad_id", "an id is longer than 128 characters"),
        (unknown, "event.unknown_type", "the type is none of the known ones"),
        (bad_at, "event.bad_time", "at is no time"),
        (pl.col("_bad_received"), "event.bad_time", "received_at is no RFC 3339 time"),
        (off_globe, "event.bad_position", "the position is not on the globe"),
    ]
    code = pl.lit(None, pl.String())
    reason = pl.lit(None, pl.String())
    for condition, name, why in reversed(problems):
        code = pl.when(condition).then(pl.lit(name)).otherwise(code)
        reason = pl.when(condition).then(pl.lit(why)).otherwise(reason)
    judged = frame.with_columns(code.alias("_code"), reason.alias("_reason"))
    kept = judged.filter(pl.col("_code").is_null()).select(list(frames.EVENTS))
    refused = judged.filter(pl.col("_code").is_not_null()).select(
        pl.col("_row").cast(pl.Int64).alias("row"),
        pl.col("event_id").alias("row_id"),
        pl.col("_code").alias("code"),
        pl.col("_reason").alias("reason"),
    )
    return CheckedEvents(
        kept=kept.unique(
            ["session_id", "event_id", "submission_id"], keep="first", maintain_order=True
        ),
        refused=refused,
    )


def _beyond(name: str, limit: float) -> pl.Expr:
    value = pl.col(name)
    return (~(value.is_finite() & (value.abs() <= limit))).fill_null(False)


def _typed(raw: pl.DataFrame) -> pl.DataFrame:
    """Cast each column to its declared type; what cannot be cast becomes null (or NaN for numbers)."""
    columns: list[pl.Expr] = []
    for name, dtype in frames.EVENTS.items():
        if name not in raw.columns:
            columns.append(pl.lit(None, dtype).alias(name))
        elif name == "received_at":
            columns.append(_instant(raw, name).alias(name))
        elif dtype == pl.Float64():
            value = pl.col(name).cast(pl.Float64, strict=False)
            broken = value.is_null() & pl.col(name).is_not_null()
            columns.append(pl.when(broken).then(float("nan")).otherwise(value).alias(name))
        elif dtype == pl.Boolean() and raw.schema[name] == pl.String():
            columns.append(pl.col(name).str.to_lowercase().is_in(["true", "1"]).alias(name))
        else:
            columns.append(pl.col(name).cast(dtype, strict=False).alias(name))
    typed = raw.select(columns)
    if "received_at" not in raw.columns:
        return typed.with_columns(pl.lit(False).alias("_bad_received"))
    was_given = raw["received_at"].is_not_null()
    if raw.schema["received_at"] == pl.String():
        was_given = was_given & (raw["received_at"] != "")
    return typed.with_columns((typed["received_at"].is_null() & was_given).alias("_bad_received"))


def _instant(raw: pl.DataFrame, name: str) -> pl.Expr:
    dtype = raw.schema[name]
    if dtype == pl.String():
        return pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return pl.col(name).cast(pl.Datetime("us", dtype.time_zone)).dt.convert_time_zone("UTC")
    return pl.lit(None, frames.UTC)
