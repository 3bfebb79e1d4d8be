"""Replays: an earlier session's strokes played back, in order, however disguised.

An index nominates earlier sessions that share keys of several strokes; then all strokes of both are
compared. What a match is worth is told by decoys: the source's strokes mirrored, reversed and both
are as human as the source, so only what the source explains better than its decoys counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from detectors.kit import strokes
from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from detectors.kit.order import Order
from detectors.kit.strokes import FloatArray, IntArray
from detectors.trajectory import signature
from pipeline.model import frames
from pipeline.ports import Batch, Past

KIND: Final = "trajectory.stroke"
STROKES_MAX: Final = 512
"""More strokes of one submission are not kept: the first tell enough."""
HITS_MIN: Final = 2
"""Distinct strokes that must share a key before two sessions are compared."""
SHARED_MIN: Final = 8
CANDIDATES_MAX: Final = 20
POSTINGS_MAX: Final = 5_000_000
FAR: Final = 4.0
"""Differences beyond so many tolerances count as so many: one wild number spoils no match."""
DECOY_MAX: Final = 8.0
MATCH_MAX: Final = 3.5
PRICE: Final = 0.5
SOFT: Final = 0.15
REPEAT_MAX: Final = 0.5
P_WORTH: Final = 1e-3
P_SURE: Final = 2e-4
EVIDENCE_DECADE: Final = 0.35
"""Honest sessions among 104,000 strokes of others: one in a thousand is worth more than
``_milli(strokes)``, and each further 0.35 makes it ten times rarer (docs/trajectory.md)."""
DTW_BAND: Final = 4
WARPED_MAX: Final = 0.2
"""Median distance after warping, in radii, up to which paths are shown as one and the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The best order-consistent pairing: its worth, and pairs of (mine, theirs, distance).

    ``strokes`` counts mine, each repeated movement once.
    """

    evidence: float
    strokes: int
    pairs: tuple[tuple[int, int, float], ...]


@numba.njit(cache=True)
def _distance(a: FloatArray, b: FloatArray, sign: FloatArray, limit: float) -> float:
    """Mean squared difference, or some number from ``limit`` up once it is that far."""
    total, enough = 0.0, limit * len(a)
    for k in range(len(a)):
        d = min(abs(a[k] - sign[k] * b[k]), FAR)
        total += d * d
        if total >= enough:
            break
    return total / len(a)


@numba.njit(cache=True)
def _align(mine: FloatArray, theirs: FloatArray, decoys: FloatArray, gain: FloatArray,
           near: FloatArray, fresh: npt.NDArray[np.bool_]) -> FloatArray:  # fmt: skip
    """Fill gain and near (n, m) and fresh (n); return the table (n + 1, m + 1) of best sums.

    A stroke that repeats an earlier one of its own session proves nothing a second time.
    """
    n, m = len(mine), len(theirs)
    plain = np.ones(mine.shape[1])
    for i in range(n):
        for j in range(i):
            if fresh[j] and _distance(mine[i], mine[j], plain, REPEAT_MAX) < REPEAT_MAX:
                fresh[i] = False
                break
    for i in range(n):
        floor = DECOY_MAX
        for j in range(m):
            near[i, j] = _distance(mine[i], theirs[j], plain, MATCH_MAX)
            for k in range(len(decoys)):
                floor = min(floor, _distance(mine[i], theirs[j], decoys[k], floor))
        for j in range(m):
            if near[i, j] < MATCH_MAX and fresh[i]:
                gain[i, j] = max(0.0, np.log((floor + SOFT) / (near[i, j] + SOFT)) - PRICE)
    best = np.zeros((n + 1, m + 1))
    for i in range(n):
        for j in range(m):
            best[i + 1, j + 1] = max(best[i, j + 1], best[i + 1, j], best[i, j] + gain[i, j])
    return best


def align(mine: FloatArray, theirs: FloatArray) -> Alignment:
    """Pair strokes of two sessions, (n, SIZE) and (m, SIZE), keeping their order."""
    n, m = len(mine), len(theirs)
    gain, near = np.zeros((n, m)), np.zeros((n, m))
    fresh = np.ones(n, np.bool_)
    best = _align(mine, theirs, signature.DECOYS, gain, near, fresh)
    pairs: list[tuple[int, int, float]] = []
    i, j = n, m
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j, float(near[i, j])))
    return Alignment(
        evidence=float(best[n, m]), strokes=int(fresh.sum()), pairs=tuple(reversed(pairs))
    )


@numba.njit(cache=True)
def _banded(a: FloatArray, b: FloatArray, band: int) -> float:
    n = len(a)
    table = np.full((n + 1, n + 1), np.inf)
    table[0, 0] = 0.0
    for i in range(n):
        for j in range(max(0, i - band), min(n, i + band + 1)):
            d = np.sqrt((a[i, 0] - b[j, 0]) ** 2 + (a[i, 1] - b[j, 1]) ** 2)
            table[i + 1, j + 1] = d + min(table[i, j], table[i, j + 1], table[i + 1, j])
    return float(table[n, n] / n)


def warped_distance(a: FloatArray, b: FloatArray) -> float:
    """Banded dynamic time warping between two remembered paths, in root-mean-square radii a point."""
    return float(_banded(signature.curve(a), signature.curve(b), DTW_BAND))


def fingerprint(batch: Batch, built: FingerprintBuilder) -> None:
    """Remember the signatures of each submission's strokes, and the keys of the telling ones."""
    cut = strokes.cut(batch.events)
    signed, good = signature.sign(cut)
    for number, sid in enumerate(cut.ids):
        mine = cut.of(number)
        kept = signed[mine.start : mine.stop][good[mine.start : mine.stop]][:STROKES_MAX]
        if len(kept) == 0:
            continue
        stored = signature.unpack(signature.pack(kept))
        tells = np.flatnonzero(signature.telling(stored))
        hashed = signature.keys(stored[tells])
        built.add(
            sid, KIND,
            keys=hashed.ravel().tolist(),
            positions=np.repeat(tells, signature.BANDS).tolist(),
            value=signature.pack(kept),
        )  # fmt: skip


def nominate(asked: pl.DataFrame, past: Past) -> pl.DataFrame:
    """Who shares keys of at least ``HITS_MIN`` strokes: columns ``query``,
    ``submission_id``, ``hits`` (strokes), ``shared`` (keys), most shared keys first.

    One stroke suffices if it shares ``SHARED_MIN`` keys. ``asked`` is a FINGERPRINTS frame.
    """
    wanted = (
        asked.filter(pl.col("keys").list.len() > 0)
        .select(pl.col("submission_id").alias("query"), "keys", pl.col("positions").alias("stroke"))
        .explode("keys", "stroke", empty_as_null=True)
        .rename({"keys": "key"})
    )
    if wanted.is_empty():
        return pl.DataFrame(
            schema={
                "query": pl.String,
                "submission_id": pl.String,
                "hits": pl.UInt32,
                "shared": pl.UInt32,
            }
        )
    found = past.postings(KIND, wanted["key"].unique(), limit=POSTINGS_MAX)
    return (
        wanted.join(found.select("key", "submission_id"), on="key")
        .filter(pl.col("query") != pl.col("submission_id"))
        .group_by("query", "submission_id")
        .agg(pl.col("stroke").n_unique().alias("hits"), pl.len().alias("shared"))
        .filter((pl.col("hits") >= HITS_MIN) | (pl.col("shared") >= SHARED_MIN))
        .sort("query", "shared", "submission_id", descending=[False, True, False])
    )


def touched(batch: Batch, past: Past) -> frozenset[str]:
    """Name the known sessions that these may be the source of."""
    mine = past.fingerprints(KIND, batch.ids)
    return frozenset(nominate(mine, past)["submission_id"]) - frozenset(batch.ids)


def judge(batch: Batch, past: Past, built: FindingsBuilder) -> dict[str, Alignment]:
    """Report sessions that play back an earlier one; return the alignment of each reported."""
    mine = past.fingerprints(KIND, batch.ids)
    nominated = nominate(mine, past)
    names = sorted({*nominated["query"], *nominated["submission_id"]})
    order = Order.of(past, names)
    signed = _signed(mine, past, names)
    found: dict[str, Alignment] = {}
    for (query,), rows in nominated.group_by("query", maintain_order=True):
        accused = str(query)
        sources = [
            s for s in rows["submission_id"] if s in signed and order.accusable(accused, s)
        ]  # an index may still name what was evicted or erased
        ranked = [(align(signed[accused], signed[s]), s) for s in sources[:CANDIDATES_MAX]]
        if not ranked:
            continue
        best, source = max(ranked, key=lambda pair: (pair[0].evidence, pair[1]))
        if tail(best) > P_WORTH:
            continue
        found[accused] = best
        _report(accused, source, best, signed, order, built)
    return found


def _signed(mine: pl.DataFrame, past: Past, names: Sequence[str]) -> dict[str, FloatArray]:
    known = set(mine["submission_id"])
    others = past.fingerprints(KIND, [n for n in names if n not in known])
    both = pl.concat([mine, others.select(list(frames.FINGERPRINTS))])
    return {s: signature.unpack(v) for s, v in both.select("submission_id", "value").iter_rows()}


def _report(accused: str, source: str, best: Alignment, signed: dict[str, FloatArray],
            order: Order, built: FindingsBuilder) -> None:  # fmt: skip
    a, b = signed[accused], signed[source]
    shown = []
    for i, j, near in best.pairs[:6]:
        shown.append(
            {
                "stroke": i, "source_stroke": j, "distance": round(near, 3),
                "warped": round(warped_distance(a[i], b[j]), 4),
                "path": _drawn(a[i]), "source_path": _drawn(b[j]),
            }
        )  # fmt: skip
    warped = float(np.median([row["warped"] for row in shown]))
    p = tail(best)
    sure = p <= P_SURE and warped <= WARPED_MAX
    strength = 0.75 + 0.02 * min(10.0, np.log10(P_SURE / p)) if sure else 0.35
    built.signal(
        accused,
        "trajectory.replayed",
        strength=strength,
        p_value=p,
        matched_submission_id=source,
        matched_worker_id=order[source].worker_id,
        evidence={
            "evidence": round(best.evidence, 2), "strokes_matched": len(best.pairs),
            "strokes": best.strokes, "source_strokes": len(b),
            "warped_distance": round(warped, 4), "pairs": shown,
        },
    )  # fmt: skip


def _milli(count: int) -> float:
    """Worth that one honest session of so many strokes in a thousand exceeds."""
    return float(min(2.1, 1.52 + 0.3 * np.log2(max(count, 2) / 2.0)))


def tail(found: Alignment) -> float:
    """Chance that honest work is worth so much: an exponential tail through the measured 0.1 %."""
    exponent = (found.evidence - _milli(found.strokes)) / EVIDENCE_DECADE
    return float(min(1.0, 1e-3 * 10.0 ** -max(-3.0, min(exponent, 12.0))))


def _drawn(one: FloatArray) -> list[list[int]]:
    """The remembered path in percent of its radius, every second point: small enough to be shown."""
    points: IntArray = np.round(100.0 * signature.curve(one)[::2]).astype(np.int64)
    return [[int(x), int(y)] for x, y in points]
