"""Training and calibration: pure functions of frames whose outcome is bytes for the asset store.

``self_train`` needs no labels: the platform's own population stands for people, the project's own
generators for bots, and whoever looks like a bot at first sight is left out of the people.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from detectors.kit.strokes import STROKE_FEATURES, FloatArray, IntArray, describe
from detectors.trajectory import calibration, forest, generators, model
from detectors.trajectory.calibration import Calibration
from detectors.trajectory.model import FOLDS, LOGIT_MAX, SHRINK
from detectors.trajectory.sessions import Sessions, observe

SUSPECT: Final = -0.5
"""Mean log-odds from which the first, rough model calls a session suspect."""
GENERATED: Final = 900
"""Bot strokes of each family that a model sees."""
HELD_OUT: Final = 240
PEOPLE_MAX: Final = 9_000
"""Strokes of people that a model sees: an even draw of more."""
PEOPLE_MIN: Final = 300
WORKERS_MIN: Final = 30
CONTAMINATION_MAX: Final = 0.1
"""At most this share of the workers is left out as looking automated: the room trusts that at least
nine in ten are people, and where that fails it finds less, not more."""
VIEWS: Final = {"boosted": tuple(STROKE_FEATURES), "shape": model.SHAPE, "time": model.TIME}
Made: TypeAlias = tuple[FloatArray, FloatArray, IntArray]
"""Bot strokes to train on; others to try the model with, and their families."""
LEAF_ROUGH: Final = 100
LEAF: Final = 25
"""Smallest leaf: a handful of unlabelled bots of one kind cannot claim a leaf of their own and pass
for people."""
SEED: Final = 20_260_101


def train(
    submissions: pl.DataFrame, tasks: pl.DataFrame, events: pl.DataFrame, truth: pl.DataFrame
) -> bytes:
    """Train on labelled sessions and return the model's bytes.

    ``truth`` has ``submission_id``, ``label`` (``honest`` or ``fraud``) and ``kinds``; people are the
    honest ones, bots those whose kinds name ``trajectory.automated`` but not ``trajectory.replayed``
    (a replay moves as a person does), beside all generated families. Raises ``ValueError`` where
    there are too few people.
    """
    sessions = observe(submissions, tasks, events)
    kinds = pl.col("kinds")
    honest = set(truth.filter(pl.col("label") == "honest")["submission_id"])
    bots = set(
        truth.filter(
            kinds.list.contains("trajectory.automated")
            & ~kinds.list.contains("trajectory.replayed")
        )["submission_id"]
    )
    ids = sessions.table["submission_id"].to_list()
    person = np.asarray([s in honest for s in ids], np.bool_)
    caught = np.asarray([s in bots for s in ids], np.bool_)
    return fit(sessions, person, caught, _digest(events), labelled=True)


def self_train(
    submissions: pl.DataFrame, tasks: pl.DataFrame, events: pl.DataFrame
) -> Mapping[str, bytes]:
    """Train and calibrate on a platform's own unlabelled population; return assets by name.

    The model is absent where fewer than ``WORKERS_MIN`` workers move a pointer; the calibration is
    always there, with the cells that had enough workers.
    """
    sessions = observe(submissions, tasks, events)
    digest = _digest(events)
    person = sessions.judged
    assets: dict[str, bytes] = {}
    workers = sessions.table.filter(pl.Series(person))["worker_id"].n_unique()
    strokes = int(person[sessions.owner].sum()) if len(sessions.owner) else 0
    if workers >= WORKERS_MIN and strokes >= PEOPLE_MIN:
        nobody = np.zeros(len(person), np.bool_)
        made = _made(sessions, person, generators.ALL)
        rough = fit(sessions, person, nobody, digest, made=made, rough=True)
        kept = person & ~_suspects(sessions, rough)
        assets[model.ASSET] = fit(sessions, kept, nobody, digest, made=made)
    assets[calibration.ASSET] = calibrate_sessions(
        sessions, submissions, tasks, assets.get(model.ASSET), digest=digest
    )
    return assets


def refit(
    model_data: bytes | None, submissions: pl.DataFrame, tasks: pl.DataFrame, events: pl.DataFrame
) -> Mapping[str, bytes]:
    """Fit anew on a platform's own population; return assets by name.

    A model that was trained on labels is kept and only calibrated: labels say more than a population.
    """
    try:
        trained = model.load(model_data)
    except ValueError:
        trained = None
    if trained is not None and trained.header.get("labelled"):
        return {calibration.ASSET: calibrate(model_data, submissions, tasks, events)}
    return self_train(submissions, tasks, events)


def calibrate(
    model_data: bytes | None,
    submissions: pl.DataFrame,
    tasks: pl.DataFrame,
    events: pl.DataFrame,
    *,
    honest: Collection[str] | None = None,
) -> bytes:
    """Calibrate a model (None: only times and clicks) on a platform's population.

    ``honest`` names submissions known to be; without it the population is taken, and up to a tenth
    of its workers who look automated are left out.
    """
    sessions = observe(submissions, tasks, events)
    return calibrate_sessions(
        sessions, submissions, tasks, model_data, digest=_digest(events), honest=honest
    )


def fit(
    sessions: Sessions,
    person: npt.NDArray[np.bool_],
    caught: npt.NDArray[np.bool_],
    digest: str,
    *,
    families: tuple[str, ...] = generators.ALL,
    made: Made | None = None,
    rough: bool = False,
    labelled: bool = False,
) -> bytes:
    """Fit one pair of models a fold: people of the other folds against caught and generated bots."""
    fold = model.folds(sessions.table["worker_id"].to_list())
    rows = np.flatnonzero(person[sessions.owner])
    if len(rows) < PEOPLE_MIN:
        raise ValueError(f"{len(rows)} strokes of people are too few: {PEOPLE_MIN} are needed")
    shown, tried, family = made or _made(sessions, person, families)
    fitted: dict[str, list[forest.Forest]] = {v: [] for v in VIEWS}
    fitted["isolated"] = []
    low = []
    for k in range(FOLDS):
        people = sessions.features[_even(rows[fold[sessions.owner[rows]] != k])]
        known = sessions.features[np.flatnonzero((caught & (fold != k))[sessions.owner])]
        for name, view in VIEWS.items():
            if rough and name == "boosted":
                continue
            parts = [model.seen(part, view) for part in (people, shown, known)]
            fitted[name].append(_grow(*parts, rough=rough))
        fitted["isolated"].append(_isolate(people))
        if rough:
            fitted["boosted"].append(fitted["shape"][k])
        low.append(_low(fitted["boosted"][k].score(tried), family))
    header = {"data": digest, "families": list(families), "labelled": labelled, **_versions()}
    return model.dump(fitted, float(np.mean(low)), header)


def _made(sessions: Sessions, person: npt.NDArray[np.bool_], families: tuple[str, ...]) -> Made:
    """Draw the bots once for all folds: to train on, and others to say what a bot scores."""
    rows = np.flatnonzero(person[sessions.owner])
    hand = generators.borrow(sessions.cut, sessions.source[_even(rows)])
    shown, _ = _bots(hand, GENERATED, SEED, families)
    tried, family = _bots(hand, HELD_OUT, SEED + 1, families)
    return shown, tried, family


def _grow(people: FloatArray, made: FloatArray, known: FloatArray, *, rough: bool) -> forest.Forest:
    """Boost people against made and known bots; the two sides weigh the same."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = np.concatenate([people, made, known])
    label = np.concatenate([np.zeros(len(people)), np.ones(len(made) + len(known))])
    weight = np.ones(len(rows))
    if len(known):
        weight[len(people) + len(made) :] = max(1.0, 0.25 * len(made) / len(known))
    weight[: len(people)] = weight[len(people) :].sum() / len(people)
    boosting = HistGradientBoostingClassifier(
        max_iter=40 if rough else 140, learning_rate=0.12, max_leaf_nodes=8 if rough else 15,
        min_samples_leaf=LEAF_ROUGH if rough else LEAF, l2_regularization=5.0, max_bins=64,
        early_stopping=False, random_state=SEED,
    )  # fmt: skip
    with threadpool_limits(1):
        boosting.fit(rows, label, sample_weight=weight)
    return forest.of_boosting(boosting)


def _isolate(people: FloatArray) -> forest.Forest:
    from sklearn.ensemble import IsolationForest

    isolation = IsolationForest(n_estimators=80, max_samples=256, random_state=SEED)
    isolation.fit(people)
    return forest.of_isolation(isolation)


def _bots(
    hand: generators.Hand, count: int, seed: int, families: tuple[str, ...]
) -> tuple[FloatArray, IntArray]:
    cut, family = generators.generate(hand, count, seed, families)
    described, good = describe(cut)
    return described[good], family[good]


def _low(logit: FloatArray, family: IntArray) -> float:
    """The score that nine in ten sessions of three strokes exceed, over all families."""
    logit = np.clip(logit, -LOGIT_MAX, LOGIT_MAX)
    scores = []
    for name in np.unique(family):
        mine = logit[family == name]
        triples = mine[: len(mine) // 3 * 3].reshape(-1, 3)
        scores.append(triples.sum(axis=1) / (3 + SHRINK))
    return float(np.quantile(np.concatenate(scores), 0.1))


def _even(rows: IntArray) -> IntArray:
    if len(rows) <= PEOPLE_MAX:
        return rows
    return rows[np.linspace(0, len(rows) - 1, PEOPLE_MAX).round().astype(np.int64)]


def _suspects(sessions: Sessions, data: bytes) -> npt.NDArray[np.bool_]:
    """Submissions that look like a bot by shape and by time alike: at most a tenth.

    By both, because odd hardware (a remote desktop's clock) looks odd in one, and its owners are
    people: leaving them out of the training would make the model accuse them.
    """
    read = model.load(data)
    assert read is not None
    scores = read.score(sessions)
    score = np.minimum(scores.shape, scores.time)
    judged = sessions.judged
    most = int(CONTAMINATION_MAX * judged.sum())
    bar = max(SUSPECT, float(np.sort(score[judged])[::-1][most]) if most < judged.sum() else 0.0)
    return np.asarray(judged & (score > bar))


def calibrate_sessions(
    sessions: Sessions,
    submissions: pl.DataFrame,
    tasks: pl.DataFrame,
    model_data: bytes | None,
    *,
    digest: str,
    honest: Collection[str] | None = None,
) -> bytes:
    """Calibrate on measured sessions: one score a worker and cell, drawn by a hash."""
    table = sessions.table
    known = pl.lit(True) if honest is None else pl.col("submission_id").is_in(list(honest))
    nulls: dict[str, FloatArray] = {}
    read = model.load(model_data)
    if read is not None:
        scores = read.score(sessions)
        drawn = one_a_worker(
            table.with_columns(
                pl.Series("score", scores.all), pl.Series("strange", scores.strange),
                pl.Series("judged", sessions.judged),
            ).filter(pl.col("judged") & known)
        )  # fmt: skip
        if honest is None:
            drawn = _trimmed(drawn, read.bot_low)
        for cell, mine in cells(drawn):
            nulls[f"model|{cell}"] = np.sort(mine["score"].to_numpy())
            nulls[f"strange|{cell}"] = np.sort(mine["strange"].to_numpy())
    people = submissions.filter(known)
    return calibration.dump(
        Calibration(
            haste=calibration.haste_cells(people, tasks),
            clicks=_click_cells(table.filter(known)),
            nulls=nulls,
            model_digest="" if model_data is None else model.digest(model_data),
            data_digest=digest,
        )
    )


def one_a_worker(table: pl.DataFrame) -> pl.DataFrame:
    """Order submissions by a hash, so that the first of a worker is drawn and not chosen."""
    draw = [xxhash.xxh3_64_intdigest(s.encode()) for s in table["submission_id"]]
    return table.with_columns(pl.Series("draw", draw, dtype=pl.UInt64)).sort("draw")


def _trimmed(drawn: pl.DataFrame, bot_low: float) -> pl.DataFrame:
    """Leave out the workers who look most like bots, at most a tenth of them."""
    worst = drawn.group_by("worker_id").agg(pl.col("score").max()).sort("score", "worker_id")
    most = int(CONTAMINATION_MAX * worst.height)
    looks = worst.tail(most).filter(pl.col("score") > 0.5 * bot_low)
    return drawn.join(looks, on="worker_id", how="anti", maintain_order="left")


def cells(drawn: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Cut into cells with at least ``calibration.WORKERS_MIN`` workers, one row a worker in each."""
    found = []
    for level in (("pointer", "category", "client"), ("pointer", "category"), ("pointer",)):
        for name, mine in drawn.group_by(level, maintain_order=True):
            each = mine.unique("worker_id", keep="first", maintain_order=True)
            if each.height >= calibration.WORKERS_MIN:
                found.append(("|".join(str(n) for n in name), each))
    return sorted(found, key=lambda pair: pair[0])


def _click_cells(table: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """By client: workers who clicked in several places, and those of them who never moved."""
    clicked = table.filter(pl.col("click_places") >= 2)
    each = clicked.group_by("client", "worker_id").agg((pl.col("points") == 0).all().alias("still"))
    counted = each.group_by("client").agg(pl.len().alias("n"), pl.col("still").sum())
    rows = sorted(counted.select("client", "n", "still").iter_rows())
    total = each.group_by("worker_id").agg(pl.col("still").all())
    return {
        **{client: (int(n), int(still)) for client, n, still in rows},
        "*": (total.height, int(total["still"].sum())),
    }


def _digest(events: pl.DataFrame) -> str:
    """Digest of the events used, whatever their order."""
    ids = "\n".join(events["event_id"].drop_nulls().unique().sort())
    return xxhash.xxh3_128_hexdigest(ids.encode())


def _versions() -> dict[str, Any]:
    import sklearn

    return {"sklearn": sklearn.__version__, "numpy": np.__version__, "seed": SEED}
