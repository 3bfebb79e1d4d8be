"""Client clocks: how far each session's clock stands from the server's, and server times of events."""

from typing import Final

import polars as pl

SKEW_MS_MIN: Final = 2_000.0
"""Smaller differences are delay on the line, and are left alone."""

AT_MS_MAX: Final = 8.64e15
"""The last millisecond that ECMAScript's Date can name; anything beyond is no time."""


def usable(events: pl.DataFrame) -> pl.DataFrame:
    """Keep events whose ``at`` is a finite time between 1970 and ECMAScript's last millisecond."""
    at = pl.col("at")
    return events.filter(at.is_finite() & (at >= 0.0) & (at <= AT_MS_MAX))


def skew(events: pl.DataFrame) -> pl.DataFrame:
    """Estimate each submission's clock error: columns ``submission_id``, ``skew_ms`` Float64.

    ``skew_ms`` is what must be added to ``at`` to get server time: the least delay seen between
    ``at`` and ``received_at``, because delivery can only add to it. Null where the server's clock
    was never recorded; 0 below ``SKEW_MS_MIN``.
    """
    delay = pl.col("received_at").dt.epoch("us").cast(pl.Float64) / 1000.0 - pl.col("at")
    least = usable(events).group_by("submission_id").agg(delay.min().alias("skew_ms"))
    small = pl.col("skew_ms").abs() < SKEW_MS_MIN
    return least.with_columns(pl.when(small).then(0.0).otherwise("skew_ms").alias("skew_ms"))
