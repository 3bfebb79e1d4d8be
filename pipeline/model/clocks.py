"""Client clocks beside the server's: how far each session's, or submission's, stands off."""

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


def delays(events: pl.DataFrame, by: str) -> pl.DataFrame:
    """The least time from ``at`` to ``received_at``: columns ``by`` and ``delay_ms`` Float64.

    Delivery can only add to it, so that the least is how far the server's clock is ahead of the
    client's. Null where the server's clock was never recorded.
    """
    delay = pl.col("received_at").dt.epoch("us").cast(pl.Float64) / 1000.0 - pl.col("at")
    return usable(events).group_by(by).agg(delay.min().alias("delay_ms"))


def skew(events: pl.DataFrame, by: str = "submission_id") -> pl.DataFrame:
    """What must be added to ``at`` to get server time: columns ``by`` and ``skew_ms`` Float64.

    The least delay seen; 0 below ``SKEW_MS_MIN``; null where there is none.
    """
    least = pl.col("delay_ms")
    small = least.abs() < SKEW_MS_MIN
    return delays(events, by).select(by, pl.when(small).then(0.0).otherwise(least).alias("skew_ms"))


def corrected(events: pl.DataFrame, by: str = "session_id") -> pl.Series:
    """Milliseconds of the server's clock for each event, in the order given; ``at`` where unknown."""
    with_skew = events.select(by, "at").join(
        skew(events, by), on=by, how="left", maintain_order="left"
    )
    told = with_skew.select((pl.col("at") + pl.col("skew_ms").fill_null(0.0)).alias("at_server"))
    return told.to_series()
