"""What a platform's own workers usually do: bars and null scores, learnt there and nowhere else.

An asset of canonical JSON, pinned by its digest. Whatever was not calibrated with enough workers is
absent from it, and the room then abstains or stays with what physics allows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

ASSET: Final = "trajectory.calibration"
SCHEMA: Final = "trajectory.calibration/1"
WORKERS_MIN: Final = 100
"""1 / α workers at α = 1 %: a cell with fewer is left out, and the room abstains in it."""
HASTE_WORKERS_MIN: Final = 30
HASTE_Z: Final = 4.3
"""The bar of haste in robust standard deviations of log time below the median: far below the first
percentile (2.33), because a quick worker is not a cheat and times have heavier tails than a Gaussian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Haste:
    """How long a category's work takes: log-normal with robust centre and lower spread."""

    workers: int
    median_s: float
    spread: float

    @property
    def bar_s(self) -> float:
        """Seconds below which work is called too fast."""
        return float(self.median_s * np.exp(-HASTE_Z * self.spread))

    def p_value(self, taken_s: float) -> float:
        """Chance of so short a time under the log-normal, never below 1 / (workers + 1)."""
        z = (math.log(max(taken_s, 1e-3)) - math.log(self.median_s)) / self.spread
        below = 0.5 * math.erfc(-z / math.sqrt(2.0))
        return max(below, 1.0 / (self.workers + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All cells of one platform. ``nulls`` maps a cell to one score a worker, ascending."""

    haste: Mapping[str, Haste] = field(default_factory=dict)
    clicks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    nulls: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    model_digest: str = ""
    data_digest: str = ""
    shifted: Mapping[str, str] = field(default_factory=dict)
    """Pointer types whose cells were withdrawn, and why: those who hand in now are other people."""

    def cell(self, pointer: str, category: str, client: str) -> str | None:
        """The finest calibrated cell of a submission; None where there is none."""
        names = cell_names(pointer, category, client)
        return next((name for name in names if f"model|{name}" in self.nulls), None)


def dump(calibration: Calibration) -> bytes:
    """Write canonical JSON."""
    return orjson.dumps(
        {
            "schema": SCHEMA,
            "haste": {k: asdict(v) for k, v in calibration.haste.items()},
            "clicks": {k: list(v) for k, v in calibration.clicks.items()},
            "nulls": {k: v.tolist() for k, v in calibration.nulls.items()},
            "model_digest": calibration.model_digest,
            "data_digest": calibration.data_digest,
            "shifted": dict(calibration.shifted),
        },
        option=orjson.OPT_SORT_KEYS,
    )


def load(data: bytes | None) -> Calibration | None:
    """Read what ``dump`` wrote; None where there is none. Raises ``ValueError`` on another schema."""
    if data is None:
        return None
    read: dict[str, Any] = orjson.loads(data)
    if read.get("schema") != SCHEMA:
        raise ValueError(f"{ASSET} has schema {read.get('schema')!r}, not {SCHEMA!r}: recalibrate")
    if not read.keys() >= {"haste", "clicks", "nulls", "model_digest", "data_digest"}:
        raise ValueError(f"{ASSET} is damaged: recalibrate")
    return Calibration(
        haste={k: Haste(**v) for k, v in read["haste"].items()},
        clicks={k: (int(v[0]), int(v[1])) for k, v in read["clicks"].items()},
        nulls={k: np.asarray(v, np.float64) for k, v in read["nulls"].items()},
        model_digest=read["model_digest"],
        data_digest=read["data_digest"],
        shifted=read.get("shifted", {}),
    )


def p_value(null: npt.NDArray[np.float64], score: float) -> float:
    """Conformal p-value of a score against calibration scores, ascending: (1 + #{≥}) / (n + 1)."""
    at_least = len(null) - int(np.searchsorted(null, score, side="left"))
    return (1.0 + at_least) / (len(null) + 1.0)


def cell_names(pointer: str, category: str, client: str) -> tuple[str, str, str]:
    """The cells of a submission, finest first: pointer × category × client, then coarser."""
    return (f"{pointer}|{category}|{client}", f"{pointer}|{category}", pointer)


def haste_cells(submissions: pl.DataFrame, tasks: pl.DataFrame) -> dict[str, Haste]:
    """Fit the time that each category takes, each worker weighing the same.

    The median and the 15th percentile below it give centre and spread of log time, so that a hasty
    or dawdling minority (up to about a tenth) moves the bar little. Cells with fewer than
    ``HASTE_WORKERS_MIN`` workers are left out.
    """
    taken = (pl.col("submitted_at") - pl.col("claimed_at")).dt.total_milliseconds() / 1000.0
    times = (
        submissions.filter(pl.col("supersedes").is_null())
        .select("submission_id", "worker_id", "task_id", taken.alias("taken_s"))
        .join(tasks.select("task_id", "category"), on="task_id")
        .filter(pl.col("taken_s") > 0.0)
        .drop_nulls("category")
        .with_columns((1.0 / pl.len().over("category", "worker_id")).alias("weight"))
        .sort("category", "taken_s", "submission_id")
    )
    cells: dict[str, Haste] = {}
    for (category,), mine in times.group_by("category", maintain_order=True):
        workers = mine["worker_id"].n_unique()
        if workers < HASTE_WORKERS_MIN:
            continue
        low, middle = _weighted(
            np.log(mine["taken_s"].to_numpy()), mine["weight"].to_numpy(), (0.15, 0.5)
        )
        spread = max((middle - low) / 1.0364, 0.15)
        cells[str(category)] = Haste(
            workers=workers, median_s=float(np.exp(middle)), spread=float(spread)
        )
    return cells


def _weighted(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], at: Sequence[float]
) -> list[float]:
    """Quantiles of ascending values under weights."""
    place = (np.cumsum(weights) - weights / 2) / weights.sum()
    return [float(q) for q in np.interp(at, place, values)]
