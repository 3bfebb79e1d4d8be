"""How well one hand is told from two, by people whom the model has not seen.

    python benchmarks/graph_hands.py [--repeats 4] [--format json]

SapiMouse: 72 people with two recordings each, every one on a computer of their own. Half of them give the
model, by chance; of the others each is laid beside itself in the other recording, and beside the rest,
who are the cohort too (without the pair). Balabit: four people whose pointers came through one kind
of remote desktop, cut into accounts of a session each; a stranger there has the same machine.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from detectors.identity import hand
from detectors.kit import strokes
from detectors.kit.strokes import FloatArray

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[1] / ".." / "shared"))


def told(source: str, pieces: int) -> dict[tuple[str, str], FloatArray]:
    """Moments by (person, session), of at most so many described strokes of each."""
    rows = (
        pl.read_parquet(SHARED / "traces" / f"pointer_{source}.parquet")
        .filter(pl.col("type") == "pointer.move", pl.col("x").is_not_null())
        .filter(pl.col("x") < 60_000)
        .sort("session_id", "at", maintain_order=True)
    )
    person = dict(rows.select("session_id", "worker_id").unique().iter_rows())
    ids = tuple(rows["session_id"].unique(maintain_order=True))
    cut = strokes.of_points(
        ids, rows["session_id"].rle_id().to_numpy().astype(np.int64),
        *(rows[c].to_numpy().astype(np.float64) for c in ("at", "x", "y")),
    )  # fmt: skip
    features, good = strokes.describe(cut)
    good &= np.isfinite(features).all(axis=1)
    made = {}
    for number, sid in enumerate(ids):
        mine = cut.of(number)
        use = features[mine.start : mine.stop][good[mine.start : mine.stop]]
        for k in range(min(pieces, len(use) // hand.STROKES_MIN)):
            part = use[k * hand.STROKES_MIN : (k + 1) * hand.STROKES_MIN]
            made[(person[sid], f"{sid}/{k}")] = np.concatenate(
                [[len(part)], part.sum(axis=0), (part**2).sum(axis=0)]
            )
    return made


def joined(parts: list[FloatArray]) -> FloatArray:
    return np.sum(parts, axis=0)


def people_of(data: dict[tuple[str, str], FloatArray]) -> dict[str, dict[str, list[FloatArray]]]:
    """Pieces by person and session."""
    made: dict[str, dict[str, list[FloatArray]]] = {}
    for (person, piece), moments in data.items():
        made.setdefault(person, {}).setdefault(piece.rsplit("/", 1)[0], []).append(moments)
    return made


def fitted(people: list[dict[str, list[FloatArray]]]) -> hand.Hands:
    centre, scale, axes, between = hand.two_covariances(
        [[hand.embed(m) for parts in p.values() for m in parts] for p in people]
    )
    none = np.zeros((0, hand.DIMENSIONS))
    return hand.Hands(
        centre=centre, scale=scale, axes=axes, between=between, cohort=none,
        names=np.zeros(0, np.uint64),
    )  # fmt: skip


def p_value(model: hand.Hands, x: FloatArray, y: FloatArray, cohort: FloatArray) -> float:
    ratio = model.log_ratios(x, y[None, :])[0]
    beaten = max(int((model.log_ratios(z, cohort) >= ratio).sum()) for z in (x, y))
    return (1 + beaten) / (len(cohort) + 1)


def trial(draw: np.random.Generator, pieces: int) -> list[dict[str, Any]]:
    """One split of people: p-values and ratios of pairs of the unseen half, and of the foreign machine."""
    people = people_of(told("sapimouse", 100))
    names = draw.permutation(sorted(people))
    model = fitted([people[n] for n in names[:36]])
    unseen = {n: [joined(v[:pieces]) for v in people[n].values()] for n in names[36:]}
    points = {n: [model.point(m) for m in v] for n, v in unseen.items()}
    first = {n: p[0] for n, p in points.items()}
    rows = []
    for a in points:
        for b in points:
            cohort = np.array([first[n] for n in points if n not in (a, b)])
            y = points[b][-1]
            if a == b and len(points[a]) < 2:
                continue
            rows.append(
                {"who": "same person" if a == b else "two people", "source": "sapimouse",
                 "usual": model.usual(first[a]) and model.usual(y),
                 "ratio": float(model.log_ratios(first[a], y[None, :])[0]),
                 "p": p_value(model, first[a], y, cohort)}
            )  # fmt: skip
    foreign = [
        (n, model.point(joined(parts[:pieces])))
        for n, sessions in people_of(told("balabit", pieces)).items()
        for parts in list(sessions.values())[:6]
    ]
    cohort = np.array(list(first.values()))
    for i, (a, x) in enumerate(foreign):
        for b, y in foreign[i + 1 :]:
            rows.append(
                {"who": "same person" if a == b else "two people", "source": "balabit",
                 "usual": model.usual(x) and model.usual(y),
                 "ratio": float(model.log_ratios(x, y[None, :])[0]),
                 "p": p_value(model, x, y, cohort)}
            )  # fmt: skip
    return rows


def summary(rows: list[dict[str, Any]], strokes_each: int) -> list[dict[str, Any]]:
    table = pl.DataFrame(rows)
    made = []
    for source in ("sapimouse", "balabit"):
        same = table.filter(pl.col("source") == source, pl.col("who") == "same person")
        two = table.filter(pl.col("source") == source, pl.col("who") == "two people")
        strangers = np.sort(two["ratio"].to_numpy())
        alike = (pl.col("p") <= hand.P_LOOK) & pl.col("usual")
        above = np.searchsorted(strangers, same["ratio"].to_numpy()) / len(strangers)
        made.append(
            {"source": source, "strokes": strokes_each, "same_pairs": same.height,
             "two_pairs": two.height, "auc": round(float(above.mean()), 3),
             "compared": round(float(table.filter(pl.col("source") == source)["usual"].mean()), 3),
             "same_at_look": round(same.select(alike.mean()).item(), 3),
             "two_at_look": round(two.select(alike.mean()).item(), 4)}
        )  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--format", default="table", choices=["table", "json"])
    given = parser.parse_args()
    made = []
    for pieces in (1, 2):
        draw = np.random.default_rng(5)
        rows = [r for _ in range(given.repeats) for r in trial(draw, pieces)]
        made += summary(rows, pieces * hand.STROKES_MIN)
    if given.format == "json":
        print(json.dumps(made))
    else:
        for row in made:
            print("  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
