"""How the work came about: pasted in one piece, or handed in sooner than honest work takes."""

import re
from typing import Final

import numpy as np
import polars as pl

from detectors.kit.findings import FindingsBuilder
from detectors.trajectory.calibration import Calibration, Haste
from pipeline.ports import Batch

WIDE: Final = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
LETTERS_PER_WIDE: Final = 3.0
"""A Chinese character, kana or hangul carries about as much as three letters (and costs as many
key presses), so that one rate of writing serves all scripts."""

WRITING_LETTERS_MIN: Final = 60.0
"""Shorter answers do not ask for writing."""
PASTED_SHARE_MIN: Final = 0.4
COMPOSING_LETTERS_S: Final = 1.6
"""19 words a minute: composing, not copying (Karat et al., CHI 1999)."""
COMPOSING_SHARE: Final = 0.5
"""A paste after less than half of the time that composing it takes was not composed meanwhile."""
TYPED_LETTERS_S_MAX: Final = 25.0
"""Nobody types faster: the record over minutes is under 20 strokes a second."""


def letters(text: str) -> float:
    """Length of a text in letters' worth of writing."""
    wide = len(WIDE.findall(text))
    return len(text) - wide + LETTERS_PER_WIDE * wide


def writing(batch: Batch) -> pl.DataFrame:
    """One row a submission with a claim: how long it took, how much was written and pasted.

    ``submission_id``, ``category``, ``taken_s`` (claim to hand-in, server clock), ``characters``,
    ``letters``, ``typed`` (keys of class character), ``pasted`` (characters), ``pastes``,
    ``paste_share``.
    """
    sums = batch.events.group_by("submission_id").agg(
        pl.col("length").filter(pl.col("type") == "clipboard.paste").clip(0).sum().alias("pasted"),
        (pl.col("type") == "clipboard.paste").sum().alias("pastes"),
        ((pl.col("type") == "key.down") & (pl.col("key_class") == "character"))
        .sum()
        .alias("typed"),
        pl.len().alias("events"),
    )
    lengths = [letters(t) for t in batch.submissions["text"]]
    taken = (pl.col("submitted_at") - pl.col("claimed_at")).dt.total_milliseconds() / 1000.0
    return (
        batch.submissions.select(
            "submission_id", "task_id", "supersedes",
            taken.alias("taken_s"),
            pl.col("text").str.len_chars().cast(pl.Int64).alias("characters"),
            pl.Series("letters", lengths, dtype=pl.Float64),
        )
        .join(batch.tasks.select("task_id", "category"), on="task_id", how="left")
        .join(sums, on="submission_id", how="left")
        .with_columns(pl.col("pasted", "pastes", "typed", "events").fill_null(0))
        .with_columns(
            (pl.col("pasted") / pl.col("characters").clip(1)).clip(0.0, 1.0).alias("paste_share")
        )
        .sort("submission_id")
    )  # fmt: skip


def judge(batch: Batch, calibration: Calibration | None, built: FindingsBuilder) -> None:
    """Report pasted work and haste. Both stay below 0.5: they corroborate and never accuse alone.

    A revision of earlier work is left out: most of it was written before this claim.
    """
    haste = {} if calibration is None else calibration.haste
    for row in writing(batch).filter(pl.col("supersedes").is_null()).iter_rows(named=True):
        if row["pastes"]:
            _pasted(row, built)
        taken = row["taken_s"]
        if taken is None or not taken >= 0.0:
            continue
        cell = haste.get(row["category"] or "")
        if cell is not None:
            _too_fast(row, cell, built)
        elif row["letters"] >= WRITING_LETTERS_MIN:
            _faster_than_hands(row, built)


def _pasted(row: dict[str, object], built: FindingsBuilder) -> None:
    pasted, characters = float(row["pasted"]), float(row["characters"])  # type: ignore[arg-type]
    worth, taken = float(row["letters"]), row["taken_s"]  # type: ignore[arg-type]
    share = float(row["paste_share"])  # type: ignore[arg-type]
    if worth < WRITING_LETTERS_MIN or share < PASTED_SHARE_MIN:
        return
    needs = COMPOSING_SHARE * worth * share / COMPOSING_LETTERS_S
    if isinstance(taken, float) and taken > needs * 4.0 + 300.0:
        return
    hurried = 1.0 if not isinstance(taken, float) else float(np.clip(1.5 - taken / needs, 0.0, 1.0))
    built.signal(
        str(row["submission_id"]),
        "trajectory.pasted",
        strength=min(0.45, 0.2 + 0.15 * (share - PASTED_SHARE_MIN) / 0.6 + 0.1 * hurried),
        evidence={
            "pasted_characters": int(pasted), "delivered_characters": int(characters),
            "share": round(share, 3), "pastes": row["pastes"], "typed_keys": row["typed"],
            "taken_s": taken, "composing_needs_s": round(needs / COMPOSING_SHARE, 1),
        },
    )  # fmt: skip


def _too_fast(row: dict[str, object], cell: Haste, built: FindingsBuilder) -> None:
    taken = float(row["taken_s"])  # type: ignore[arg-type]
    p = cell.p_value(taken)
    if taken >= cell.bar_s:
        return
    built.signal(
        str(row["submission_id"]),
        "trajectory.too_fast",
        strength=min(0.45, 0.25 + 0.2 * (1.0 - taken / cell.bar_s)),
        p_value=p,
        evidence={
            "taken_s": taken, "bar_s": round(cell.bar_s, 2), "category": row["category"],
            "median_s": round(cell.median_s, 1), "calibration_workers": cell.workers,
        },
    )  # fmt: skip


def _faster_than_hands(row: dict[str, object], built: FindingsBuilder) -> None:
    taken, worth = float(row["taken_s"]), float(row["letters"])  # type: ignore[arg-type]
    if row["pastes"] or worth / max(taken, 1e-3) < TYPED_LETTERS_S_MAX:
        return
    built.signal(
        str(row["submission_id"]),
        "trajectory.too_fast",
        strength=0.35,
        evidence={
            "taken_s": taken, "letters": worth, "letters_per_s": round(worth / max(taken, 1e-3), 1),
            "hands_at_most": TYPED_LETTERS_S_MAX,
        },
    )  # fmt: skip
