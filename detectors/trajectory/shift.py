"""Whether a calibration still speaks of the people who hand in; where it does not, it is withdrawn.

A conformal p-value holds for workers like those who calibrated it. Another office, another recorder
or a whole new country is not like them, and a model would call its people scripts. The room trusts
that nine in ten workers are people: where surely more than a tenth would be flagged, the calibration
is at fault and not they.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from scipy.special import bdtrc

from detectors.trajectory import automation, calibration, model
from detectors.trajectory.calibration import Calibration
from detectors.trajectory.sessions import Sessions, observe
from detectors.trajectory.training import CONTAMINATION_MAX, one_a_worker

WORKERS_MIN: Final = 30
"""Fewer workers tell nothing."""
LEVEL: Final = 1e-3
"""How improbable so many flags must be, were only a tenth of the workers scripts."""


def withdraw(
    assets: Mapping[str, bytes],
    submissions: pl.DataFrame,
    tasks: pl.DataFrame,
    events: pl.DataFrame,
) -> bytes | None:
    """Hold a calibration against recent hand-ins; return it without what does not hold any more.

    ``assets`` holds ``trajectory.model`` and ``trajectory.calibration``; the frames are those of the
    hand-ins. None where the calibration stands, or where too few workers can be looked at. Raises
    ``ValueError`` where an asset is of another schema.
    """
    norm = calibration.load(assets.get(calibration.ASSET))
    if norm is None:
        return None
    sessions = observe(submissions, tasks, events)
    clicks = _clicks(sessions, norm)
    shifted = dict(norm.shifted) | _moves(sessions, norm, model.load(assets.get(model.ASSET)))
    if shifted == dict(norm.shifted) and clicks == norm.clicks:
        return None
    kept = {k: v for k, v in norm.nulls.items() if k.split("|")[1] not in shifted}
    return calibration.dump(replace(norm, nulls=kept, clicks=clicks, shifted=shifted))


def _moves(sessions: Sessions, norm: Calibration, trained: model.Model | None) -> dict[str, str]:
    """Pointer types of which surely more than a tenth of the workers would be flagged, and why."""
    if trained is None or norm.model_digest != trained.digest:
        return {}
    scores = trained.score(sessions)
    flagged = np.zeros(sessions.table.height, np.bool_)
    looked = np.zeros(sessions.table.height, np.bool_)
    keys = sessions.table.select("pointer", "category", "client").rows()
    for i in np.flatnonzero(sessions.judged).tolist():
        cell = norm.cell(*keys[i])
        if cell is not None:
            looked[i] = True
            flagged[i] = automation.noticed(scores, i, cell, trained, norm)
    told = sessions.table.with_columns(pl.Series("flagged", flagged)).filter(pl.Series(looked))
    each = one_a_worker(told).unique("worker_id", keep="first", maintain_order=True)
    counted = each.group_by("pointer").agg(pl.len().alias("n"), pl.col("flagged").sum().alias("k"))
    return {
        pointer: f"{k} of {n} workers would be flagged: they are not the people it was made of"
        for pointer, n, k in counted.sort("pointer").select("pointer", "n", "k").iter_rows()
        if _too_many(k, n)
    }


def _clicks(sessions: Sessions, norm: Calibration) -> dict[str, tuple[int, int]]:
    """The click cells without those of which too many workers now click without moving."""
    rows = sessions.table.filter(pl.col("click_places") >= 3)
    each = rows.group_by("client", "worker_id").agg((pl.col("points") == 0).all().alias("still"))
    counted = each.group_by("client").agg(pl.len().alias("n"), pl.col("still").sum().alias("k"))
    gone = {
        client for client, n, k in counted.select("client", "n", "k").iter_rows() if _too_many(k, n)
    }
    if not gone:
        return dict(norm.clicks)
    return {client: told for client, told in norm.clicks.items() if client not in {*gone, "*"}}


def _too_many(flagged: int, workers: int) -> bool:
    if workers < WORKERS_MIN or not flagged:
        return False
    return bool(bdtrc(flagged - 1, workers, CONTAMINATION_MAX) < LEVEL)
