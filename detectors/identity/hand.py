"""One hand behind two accounts: how alike two people move, against a cohort of the platform's own.

Of every submission the moments of its strokes are remembered: sums and sums of squares of 34 features.
Means and spreads of an account are one point; how points of one person scatter and how people differ
is fitted on the platform's workers (``fit``), as the two-covariance model of speaker verification
(Brümmer & de Villiers 2010). The likelihood ratio of two accounts is then ranked among the ratios of
either with a cohort of other people, which gives a conformal p-value.

It confirms and never searches: among many thousands somebody moves alike. A machine leaves its mark on
every hand that it reports, so accounts of one device are not compared, nor is anybody on a machine
unlike those of the cohort: there two strangers look like one person (docs/graph.md).
"""

import io
import math
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash
from scipy.linalg import eigh

from detectors.kit import strokes
from detectors.kit.findings import FingerprintBuilder
from detectors.kit.strokes import FEATURE_COUNT, FloatArray, Strokes
from pipeline.ports import Batch

KIND: Final = "identity.hand"
ASSET: Final = "identity.hand"
SCHEMA: Final = 1
STROKES_MIN: Final = 20
"""Described strokes that an account needs, and that one point of the fit is made of."""
PEOPLE_MIN: Final = 30
"""Workers with two points and more, without whom one person's scatter is not known."""
COHORT_MIN: Final = 50
COHORT_MAX: Final = 500
DIMENSIONS: Final = 10
RIDGE: Final = 0.2
"""Added to the scatter of one person, in units of the spread of all points."""
SPREAD_FLOOR: Final = 0.01
ASSET_BYTES_MAX: Final = 4 << 20
LOG_RATIO_MAX: Final = 3.0
"""A hand is never worth more than 20 to 1: two machines of one kind are alike too."""
FAR: Final = 23.2
"""Squared distance from the platform's people beyond which one in a hundred of them would lie (χ², 10):
whoever is out there moves on a machine that the cohort does not know."""
P_LOOK: Final = 0.05
P_SURE: Final = 0.02
SIZE: Final = 2 * FEATURE_COUNT + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Two accounts' hands: capped log-likelihood ratio, conformal p-value, strokes of each."""

    log_ratio: float
    p_value: float
    strokes: tuple[int, int]
    cohort: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """The fitted model: a linear map to ``DIMENSIONS`` in which one person scatters with variance 1 and
    people differ with variances ``between``, and the points of the cohort with hashes of their ids."""

    centre: FloatArray
    scale: FloatArray
    axes: FloatArray
    between: FloatArray
    cohort: FloatArray
    names: npt.NDArray[np.uint64]

    def point(self, moments: FloatArray) -> FloatArray:
        """Where an account's summed moments lie."""
        return np.asarray(((embed(moments) - self.centre) / self.scale) @ self.axes)

    def usual(self, point: FloatArray) -> bool:
        """Whether a point lies among the platform's people."""
        return float((point**2 / (1.0 + self.between)).sum()) <= FAR

    def log_ratios(self, one: FloatArray, others: FloatArray) -> FloatArray:
        """Log-likelihood ratio of "one person" for a point against others (n, DIMENSIONS)."""
        total, b = 1.0 + self.between, self.between
        det = total**2 - b**2
        squares = one**2 + others**2
        same = (total * squares - 2.0 * b * one * others) / det + np.log(det)
        apart = squares / total + 2.0 * np.log(total)
        return np.asarray(0.5 * (apart - same).sum(axis=-1))

    def compare(self, a: str, b: str, moments: Mapping[str, FloatArray]) -> Likeness | None:
        """Compare two accounts; None where either has shown too few strokes, or lies far out."""
        mine, theirs = moments.get(a), moments.get(b)
        if mine is None or theirs is None or min(mine[0], theirs[0]) < STROKES_MIN:
            return None
        x, y = self.point(mine), self.point(theirs)
        if not (self.usual(x) and self.usual(y)):
            return None
        ratio = float(self.log_ratios(x, y[None, :])[0])
        others = self.cohort[~np.isin(self.names, [_name(a), _name(b)])]
        beaten = max(int((self.log_ratios(p, others) >= ratio).sum()) for p in (x, y))
        return Likeness(
            log_ratio=min(ratio, LOG_RATIO_MAX),
            p_value=(1.0 + beaten) / (len(others) + 1.0),
            strokes=(int(mine[0]), int(theirs[0])),
            cohort=len(others),
        )


def strength(link_log_odds: float, likeness: Likeness) -> float:
    """Twice the probability of one person less one: the link's log-odds and the hand's together.

    Zero where more than ``P_LOOK`` of the cohort are as alike, below proof unless ``P_SURE`` at most are.
    """
    if likeness.p_value > P_LOOK or likeness.log_ratio <= 0.0:
        return 0.0
    odds = link_log_odds + likeness.log_ratio
    told = max(0.0, 2.0 / (1.0 + math.exp(-odds)) - 1.0)
    return told if likeness.p_value <= P_SURE else min(told, 0.45)


def _name(worker_id: str) -> int:
    return xxhash.xxh3_64_intdigest(worker_id.encode())


def embed(moments: FloatArray) -> FloatArray:
    """Means and log spreads of the features: (2 · FEATURE_COUNT,)."""
    n, total, squares = moments[0], moments[1 : FEATURE_COUNT + 1], moments[FEATURE_COUNT + 1 :]
    mean = total / n
    spread = np.sqrt(np.maximum(squares / n - mean**2, 0.0))
    return np.concatenate([mean, np.log(spread + SPREAD_FLOOR)])


def moments_of(cut: Strokes) -> dict[str, FloatArray]:
    """Count, sums and sums of squares of the features of each submission's described strokes."""
    features, good = strokes.describe(cut)
    good &= np.isfinite(features).all(axis=1)
    made: dict[str, FloatArray] = {}
    for number, sid in enumerate(cut.ids):
        inside = cut.of(number)
        rows = features[inside.start : inside.stop][good[inside.start : inside.stop]]
        if len(rows):
            made[sid] = np.concatenate([[len(rows)], rows.sum(axis=0), (rows**2).sum(axis=0)])
    return made


def fingerprint(batch: Batch, built: FingerprintBuilder) -> None:
    """Remember the moments of each submission's strokes as little-endian float32."""
    for sid, moments in moments_of(strokes.cut(batch.events)).items():
        built.add(sid, KIND, value=moments.astype("<f4").tobytes())


def read(fingerprints: pl.DataFrame) -> dict[str, FloatArray]:
    """Read FINGERPRINTS rows of ``KIND``: moments by submission."""
    return {
        sid: np.frombuffer(value, "<f4").astype(np.float64)
        for sid, value in fingerprints.select("submission_id", "value").iter_rows()
        if value is not None and len(value) == 4 * SIZE
    }


def of_accounts(
    rows: Iterable[tuple[str, str]], told: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Sum the moments of (submission, worker) rows by worker."""
    made: dict[str, FloatArray] = defaultdict(lambda: np.zeros(SIZE))
    for sid, worker in rows:
        if sid in told:
            made[worker] = made[worker] + told[sid]
    return dict(made)


def fit(submissions: pl.DataFrame, fingerprints: pl.DataFrame) -> dict[str, bytes]:
    """Fit on the platform's workers: the asset by name, or nothing where there are too few.

    ``submissions`` is a SUBMISSIONS frame in order of submission, ``fingerprints`` holds rows of
    ``KIND``. Half of the workers, by a hash of their ids, give the model; the other half the cohort.
    """
    told = read(fingerprints)
    chunks: dict[str, list[FloatArray]] = defaultdict(list)
    open_: dict[str, FloatArray] = {}
    for sid, worker in submissions.select("submission_id", "worker_id").iter_rows():
        if sid in told:
            open_[worker] = open_.get(worker, 0.0) + told[sid]
            if open_[worker][0] >= STROKES_MIN:
                chunks[worker].append(embed(open_.pop(worker)))
    ranked = sorted(chunks, key=_name)
    people = [chunks[w] for w in ranked if _name(w) % 2 == 0]
    cohort = [w for w in ranked if _name(w) % 2][:COHORT_MAX]
    if sum(len(p) > 1 for p in people) < PEOPLE_MIN or len(cohort) < COHORT_MIN:
        return {}
    centre, scale, axes, between = two_covariances(people)
    points = ((np.array([chunks[w][0] for w in cohort]) - centre) / scale) @ axes
    written = io.BytesIO()
    np.savez_compressed(
        written, allow_pickle=False, schema=np.array([SCHEMA, FEATURE_COUNT]), centre=centre,
        scale=scale, axes=axes, between=between, cohort=points,
        names=np.array([_name(w) for w in cohort], np.uint64),
    )  # fmt: skip
    return {ASSET: written.getvalue()}


def two_covariances(
    people: Sequence[Sequence[FloatArray]],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Fit centre, scale, axes and variances between people to each person's embedded points."""
    every = np.array([e for p in people for e in p])
    centre, scale = every.mean(axis=0), every.std(axis=0) + 1e-6
    points = [(np.array(p) - centre) / scale for p in people]
    apart = np.concatenate([p - p.mean(axis=0) for p in points])
    within = apart.T @ apart / max(1, len(every) - len(people)) + RIDGE * np.eye(len(centre))
    between = np.cov(np.array([p.mean(axis=0) for p in points]).T)
    values, vectors = eigh(between, within)
    top = slice(-1, -DIMENSIONS - 1, -1)
    return centre, scale, vectors[:, top], np.maximum(values[top], 1e-3)


def load(data: bytes | None) -> Hands | None:
    """Read what ``fit`` wrote; None where there is none, or one for other features.

    Raises ``ValueError`` where it is damaged: fit again.
    """
    if data is None:
        return None
    if len(data) > ASSET_BYTES_MAX:
        raise ValueError(f"{ASSET} has {len(data)} bytes: more than any of this room")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            if stored["schema"].tolist() != [SCHEMA, FEATURE_COUNT]:
                return None
            names = ("centre", "scale", "axes", "between", "cohort", "names")
            return Hands(**{name: stored[name] for name in names})
    except (zipfile.BadZipFile, KeyError, EOFError) as broken:
        raise ValueError(f"{ASSET} is damaged ({broken}): calibrate again") from broken
