"""The model of automation: boosted trees and isolation forests, one pair a fold of workers.

A worker is always scored by the fold whose training did not see them: the fold is a hash of the id.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from detectors.kit.strokes import STROKE_FEATURES, FloatArray, IntArray
from detectors.trajectory import forest
from detectors.trajectory.forest import Forest
from detectors.trajectory.sessions import Sessions

ASSET: Final = "trajectory.model"
SCHEMA: Final = "trajectory.model/2"
FOLDS: Final = 3
SHAPE: Final = (
    "straightness", "bulge", "skewness", "line_residual_log", "jerk_log", "acceleration_log",
    "turning", "turning_spread", "turning_lag1", "turns_none", "turns_sharp", "turns_same_sign",
    "axis_steps", "small_steps",
)  # fmt: skip
TIME: Final = (
    "speed_log", "speed_peak", "speed_spread", "speed_lag1", "peak_time", "speed_humps",
    "early_path", "late_path", "step_spread", "step_lag1", "interval_log", "interval_spread",
    "interval_mode", "interval_entropy", "power_law", "jerk_fit", "even_fit",
)  # fmt: skip
"""Two views of a stroke. Odd hardware looks odd in one (a remote desktop's clock); a script in both."""
LOGIT_MAX: Final = 6.0
"""One stroke is never worth more: no single stroke decides."""
SHRINK: Final = 1.0
MODEL_BYTES_MAX: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Beside ``Sessions.table``: mean log-odds of a bot (shrunk) by all features, by shape alone and by
    time alone, and mean strangeness; greater is worse."""

    all: FloatArray
    shape: FloatArray
    time: FloatArray
    strange: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``bot_low``: the score that nine in ten unseen bot sessions of the project's families exceed."""

    boosted: tuple[Forest, ...]
    shape: tuple[Forest, ...]
    time: tuple[Forest, ...]
    isolated: tuple[Forest, ...]
    bot_low: float
    digest: str
    header: Mapping[str, Any]

    def score(self, sessions: Sessions) -> Scores:
        """Score submissions, each by the fold that has not seen its worker."""
        fold = folds(sessions.table["worker_id"].to_list())[sessions.owner]
        views = {"all": self.boosted, "shape": self.shape, "time": self.time}
        told: dict[str, FloatArray] = {}
        for name, forests in (*views.items(), ("strange", self.isolated)):
            values = np.zeros(len(fold))
            for k in range(FOLDS):
                mine = np.flatnonzero(fold == k)
                values[mine] = forests[k].score(sessions.features[mine])
            if name == "strange":
                told[name] = sessions.mean(values)
            else:
                told[name] = sessions.mean(np.clip(values, -LOGIT_MAX, LOGIT_MAX), SHRINK)
        return Scores(**told)


def folds(workers: list[str]) -> IntArray:
    """The fold of each worker: a hash of the id, so that it never changes."""
    return np.asarray([xxhash.xxh3_64_intdigest(w.encode()) % FOLDS for w in workers], np.int64)


def schema_digest() -> str:
    """Digest of the names, units and order of the features: another schema is another model."""
    described = [[name, *told] for name, told in STROKE_FEATURES.items()]
    return xxhash.xxh3_128_hexdigest(orjson.dumps(described))


def seen(features: FloatArray, view: tuple[str, ...]) -> FloatArray:
    """Blank out all features but those of a view, so that no tree can split on them."""
    kept = np.zeros_like(features)
    columns = [i for i, name in enumerate(STROKE_FEATURES) if name in view]
    kept[:, columns] = features[:, columns]
    return kept


def dump(fitted: Mapping[str, list[Forest]], bot_low: float, header: Mapping[str, Any]) -> bytes:
    """Write an npz of numbers and a JSON header; nothing in it can be executed."""
    told = {**header, "schema": SCHEMA, "features": schema_digest(), "bot_low": bot_low}
    arrays: dict[str, npt.NDArray[Any]] = {
        "header": np.frombuffer(orjson.dumps(told, option=orjson.OPT_SORT_KEYS), np.uint8)
    }
    for name, forests in fitted.items():
        for k in range(FOLDS):
            arrays |= forests[k].arrays(f"{name}{k}")
    written = io.BytesIO()
    np.savez_compressed(written, allow_pickle=False, **arrays)
    return written.getvalue()


def load(data: bytes | None) -> Model | None:
    """Read what ``dump`` wrote; None where there is none.

    Raises ``ValueError`` where the schema or the features are others: train again.
    """
    if data is None:
        return None
    if len(data) > MODEL_BYTES_MAX:
        raise ValueError(f"{ASSET} has {len(data)} bytes: more than any model of this room")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return _read(stored, digest(data))
    except (zipfile.BadZipFile, KeyError, EOFError) as broken:
        raise ValueError(f"{ASSET} is damaged ({broken}): train again") from broken


def _read(stored: Any, name: str) -> Model:
    header: dict[str, Any] = orjson.loads(stored["header"].tobytes())
    if header.get("schema") != SCHEMA or header.get("features") != schema_digest():
        raise ValueError(
            f"{ASSET} was trained for other features ({header.get('schema')!r}): train again"
        )
    return Model(
        **{
            kind: tuple(forest.read(stored, f"{kind}{k}") for k in range(FOLDS))
            for kind in ("boosted", "shape", "time", "isolated")
        },
        bot_low=float(header["bot_low"]),
        digest=name,
        header=header,
    )


def digest(data: bytes) -> str:
    """Name a model by its bytes."""
    return xxhash.xxh3_128_hexdigest(data)
