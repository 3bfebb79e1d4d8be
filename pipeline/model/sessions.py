"""Which submission an event belongs to: the behaviour log names it late, or not at all."""

import polars as pl

from pipeline.model import clocks, frames


def assign(events: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
    """Give each event the submission it belongs to; drop those that belong to none of these.

    ``events`` is an EVENTS frame, ``submissions`` needs ``submission_id``, ``session_id`` and
    ``submitted_at`` of **every** known submission of the sessions in question. An event that names a
    submission belongs to it. One that never does belongs to its session's submission: the only one,
    or the first that was submitted at or after it by the server's clock, or else the last. The same
    ``event_id`` twice in a session is one event. Returns an EVENTS frame ordered by (submission_id,
    at, event_id).
    """
    known = submissions.select("submission_id", "session_id", "submitted_at").unique()
    timed = events.with_columns(clocks.corrected(events))
    named = timed.join(known.select("submission_id"), on="submission_id", how="semi")
    open_sessions = known.drop_nulls("session_id").sort("submitted_at", "submission_id")
    says = timed.filter(pl.col("submission_id").is_not_null())
    unnamed = (
        timed.filter(pl.col("submission_id").is_null())
        .join(says, on=["session_id", "event_id"], how="anti")
        .drop("submission_id")
        .join(open_sessions.select("session_id").unique(), on="session_id", how="semi")
        .with_columns(
            (pl.col("at_server").fill_nan(0.0) * 1000)
            .cast(pl.Int64, strict=False)
            .cast(frames.UTC)
            .alias("_at")
        )
        .sort("_at")
    )
    last = open_sessions.group_by("session_id", maintain_order=True).agg(
        pl.col("submission_id").last().alias("_last")
    )
    placed = (
        unnamed.join_asof(
            open_sessions,
            left_on="_at",
            right_on="submitted_at",
            by="session_id",
            strategy="forward",
            check_sortedness=False,
        )
        .join(last, on="session_id", how="left")
        .with_columns(pl.coalesce("submission_id", "_last").alias("submission_id"))
    )
    both = pl.concat([named.select(list(frames.EVENTS)), placed.select(list(frames.EVENTS))])
    ordered = both.sort("submission_id", "at", "event_id", nulls_last=True)
    return ordered.unique(["submission_id", "event_id"], keep="first", maintain_order=True)
