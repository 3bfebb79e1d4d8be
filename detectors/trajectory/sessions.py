"""One row a submission: what of its behaviour can be judged, measured once for batch and online."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors.kit import strokes
from detectors.kit.strokes import FloatArray, IntArray, Strokes
from pipeline.model import clocks

GAP_MS_MAX: Final = 1000.0
"""Longer gaps between keys are thought, not typing."""
STROKES_MIN: Final = 2
POINTS_MIN: Final = 40
"""Fewer strokes or points of a submission are not judged: never single strokes."""
TELEPORT_PX: Final = 40.0
"""Clicks closer together may be one place."""

SESSION_FEATURES: Final = {
    "strokes": ("count", "strokes long enough to be described"),
    "points": ("count", "pointer positions of mouse and pen"),
    "keys": ("count", "gaps under a second between keys of class character"),
    "key_spread": ("ratio", "standard deviation of these gaps over their mean"),
    "key_median_ms": ("ms", "their median"),
    "clicks": ("count", "mouse or pen presses"),
    "click_places": ("count", "presses at least 40 px from the one before, and the first"),
    "click_hold_ms": ("ms", "median time from press to release"),
    "focus_losses": ("count", "focus.loss events"),
    "dwell_s": ("s", "first to last event"),
    "gap_entropy": ("nat", "entropy of the times between events, by octaves of milliseconds"),
    "client": ("name", "operating system that the user agent names"),
    "pointer": ("name", "pointer type of most pointer events"),
    "typed": ("count", "keys of class character"),
    "pasted": ("count", "characters pasted"),
    "pastes": ("count", "clipboard.paste events"),
    "paste_share": ("ratio", "characters pasted over characters delivered, at most 1"),
    "letters": ("count", "length delivered in letters' worth of writing (a wide character is 3)"),
    "taken_s": ("s", "claim to hand-in, server clock"),
    "skew_ms": ("ms", "server clock minus client clock, least delay seen"),
}
"""Name → (unit, what it is): the session part of the feature dictionary. ``observe`` measures them, but
those from ``typed`` to ``taken_s``, which ``work.writing`` does."""

_CLIENTS: Final = ("Android", "iPhone", "iPad", "Windows", "Macintosh", "CrOS", "Linux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """``table`` has one row a submission of the batch; features are those of the described strokes.

    ``features[i]`` is a stroke of the submission ``table["submission_id"][owner[i]]``; ``source[i]``
    its number in ``cut``.
    """

    table: pl.DataFrame
    cut: Strokes
    features: FloatArray
    owner: IntArray
    source: IntArray

    def mean(self, values: FloatArray, shrink: float = 0.0) -> FloatArray:
        """Mean of one value a stroke for each submission, shrunk to 0 as by ``shrink`` strokes."""
        n = self.table.height
        total = np.bincount(self.owner, weights=values, minlength=n)
        count = np.bincount(self.owner, minlength=n)
        return np.asarray(total / np.maximum(count + shrink, 1e-9))

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """Which submissions moved a pointer enough to be judged by it."""
        enough = (pl.col("strokes") >= STROKES_MIN) & (pl.col("points") >= POINTS_MIN)
        return self.table.select(enough).to_series().to_numpy()


def observe(submissions: pl.DataFrame, tasks: pl.DataFrame, events: pl.DataFrame) -> Sessions:
    """Measure every submission. ``events`` are those of these submissions, assigned."""
    cut = strokes.cut(events)
    described, good = strokes.describe(cut)
    base = (
        submissions.select("submission_id", "worker_id", "task_id")
        .join(tasks.select("task_id", "category"), on="task_id", how="left")
        .unique("submission_id", keep="first")
        .sort("submission_id")
    )
    place = {sid: i for i, sid in enumerate(base["submission_id"])}
    of_cut = np.asarray([place.get(sid, -1) for sid in cut.ids], np.int64)
    owner = of_cut[cut.owner] if len(cut) else np.zeros(0, np.int64)
    rows = np.flatnonzero(good & (owner >= 0))
    counted = pl.DataFrame(
        {
            "submission_id": base["submission_id"],
            "strokes": np.bincount(owner[rows], minlength=base.height).astype(np.int64),
        }
    )
    table = (
        base.join(counted, on="submission_id", how="left")
        .join(_pointer(events), on="submission_id", how="left")
        .join(_typing(events), on="submission_id", how="left")
        .join(_clicks(events), on="submission_id", how="left")
        .join(_client(events), on="submission_id", how="left")
        .join(_course(events), on="submission_id", how="left")
        .join(clocks.skew(events), on="submission_id", how="left")
        .with_columns(
            pl.col("points", "keys", "clicks", "click_places", "focus_losses").fill_null(0),
            pl.col("client", "category", "pointer").fill_null("unknown"),
        )
        .sort("submission_id")
    )
    return Sessions(table=table, cut=cut, features=described[rows], owner=owner[rows], source=rows)


def _pointer(events: pl.DataFrame) -> pl.DataFrame:
    moved = strokes.pointer_rows(events, "pointer.move")
    return moved.group_by("submission_id").agg(
        pl.col("event_id").n_unique().cast(pl.Int64).alias("points"),
        pl.col("pointer_type").drop_nulls().sort().mode().sort().first().alias("pointer"),
    )


def _typing(events: pl.DataFrame) -> pl.DataFrame:
    """How evenly characters were typed."""
    typed = (pl.col("type") == "key.down") & (pl.col("key_class") == "character")
    gap = pl.col("at").diff().over("submission_id")
    gaps = (
        clocks.usable(events.filter(typed))
        .unique(["submission_id", "event_id"])
        .sort("submission_id", "at", "event_id")
        .with_columns(gap.alias("gap"))
        .filter(pl.col("gap").is_between(0.0, GAP_MS_MAX, closed="right"))
    )
    return gaps.group_by("submission_id").agg(
        pl.len().cast(pl.Int64).alias("keys"),
        (pl.col("gap").std(ddof=0) / pl.col("gap").mean()).alias("key_spread"),
        pl.col("gap").median().alias("key_median_ms"),
    )


def _clicks(events: pl.DataFrame) -> pl.DataFrame:
    """Presses, the places they jumped to, and how long they were held."""
    rows = strokes.pointer_rows(events, "pointer.down", "pointer.up").unique(
        ["submission_id", "event_id"], maintain_order=True
    )
    down = pl.col("type") == "pointer.down"
    before = pl.col("type").shift(1).over("submission_id") == "pointer.down"
    held = (~down) & before
    presses = rows.filter(down).with_columns(
        (
            (pl.col("x").diff().over("submission_id") ** 2)
            + (pl.col("y").diff().over("submission_id") ** 2)
        )
        .sqrt()
        .fill_null(TELEPORT_PX)
        .alias("jump")
    )
    holds = (
        rows.with_columns(
            held.alias("held"), pl.col("at").diff().over("submission_id").alias("for")
        )
        .filter(pl.col("held"))
        .group_by("submission_id")
        .agg(pl.col("for").median().alias("click_hold_ms"))
    )
    counted = presses.group_by("submission_id").agg(
        pl.len().cast(pl.Int64).alias("clicks"),
        (pl.col("jump") >= TELEPORT_PX).sum().cast(pl.Int64).alias("click_places"),
    )
    return counted.join(holds, on="submission_id", how="left")


def _course(events: pl.DataFrame) -> pl.DataFrame:
    """How long a session lasted, how often it was left, and how uneven the times between events are."""
    at = pl.col("at")
    ordered = (
        clocks.usable(events).unique(["submission_id", "event_id"]).sort("submission_id", "at")
    )
    gaps = ordered.with_columns(at.diff().over("submission_id").alias("gap"))
    octave = pl.col("gap").clip(1.0, 2.0**20).log(2.0).floor()
    entropy = (
        gaps.drop_nulls("gap")
        .group_by("submission_id", octave.alias("octave"))
        .agg(pl.len().alias("n"))
        .with_columns((pl.col("n") / pl.col("n").sum().over("submission_id")).alias("share"))
        .sort("submission_id", "octave")
        .group_by("submission_id", maintain_order=True)
        .agg((-(pl.col("share") * pl.col("share").log())).sum().alias("gap_entropy"))
    )
    course = ordered.group_by("submission_id").agg(
        ((at.max() - at.min()) / 1000.0).alias("dwell_s"),
        (pl.col("type") == "focus.loss").sum().cast(pl.Int64).alias("focus_losses"),
    )
    return course.join(entropy, on="submission_id", how="left")


def _client(events: pl.DataFrame) -> pl.DataFrame:
    """The operating system that the user agent names: rough on purpose, one cell for many."""
    agent = pl.col("user_agent")
    named = pl.lit("other")
    for client in reversed(_CLIENTS):
        named = (
            pl.when(agent.str.contains(client, literal=True)).then(pl.lit(client)).otherwise(named)
        )
    return (
        events.filter(agent.is_not_null())
        .select("submission_id", named.alias("client"))
        .group_by("submission_id")
        .agg(pl.col("client").sort().first())
    )
