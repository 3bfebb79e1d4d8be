"""Judging by rules: all conditions in one polars plan, then points, ceilings and hard conditions.

The arithmetic is whole numbers. Hits are rare, so the plan gives one bit a (rule, submission) and
everything after walks hits only.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from pipeline.model.reasons import REASONS
from pipeline.rulebook.book import EVALUATED, Rule, Rulebook
from pipeline.rulebook.lower import lower
from pipeline.rulebook.names import DTYPES
from pipeline.rulebook.syntax import calls_in

CHUNK_ROWS: Final = 1 << 16
"""Rows judged at a time: the columns of one chunk stay in the cache."""

HIT: Final[dict[str, Any]] = {
    "row": pl.UInt32(),
    "rule": pl.UInt32(),
    "points": pl.Int64(),
    "live": pl.Boolean(),
}


_Part: TypeAlias = tuple[npt.NDArray[np.uint32], int]
_OF_SIGNALS: Final = frozenset({"evidence", "cluster", *(r.family for r in REASONS.values())})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """``hits``: row, rule (index into ``rules``), raw points, whether it counts. ``unknown`` the same
    without points: the rules that could not be told for want of a fact.
    """

    rules: tuple[Rule, ...]
    hits: pl.DataFrame
    unknown: pl.DataFrame


def needed(rulebook: Rulebook) -> frozenset[str]:
    """Return the names whose columns the evaluated rules read."""
    rules = [rule for rule in rulebook.rules if rule.status in EVALUATED]
    return frozenset().union(*(rule.names for rule in rules))


def judge(
    columns: pl.DataFrame,
    rulebook: Rulebook,
    workers: pl.Series,
    *,
    bearing: pl.Series | None = None,
) -> Judged:
    """Evaluate every rule that is in shadow, rolled out or live.

    ``columns`` is what ``facts.features`` gives for ``needed(rulebook)``; ``workers`` the worker of
    each row, by which a rollout stays sticky. ``bearing`` tells the rows that carry any signal:
    rules that provably need one are then asked of these rows alone.
    """
    rules = tuple(rule for rule in rulebook.rules if rule.status in EVALUATED)
    conditions = [lower(r.tree, rulebook.names).alias(f"r{i}") for i, r in enumerate(rules)]
    sparse = _sparse(rules, conditions, rulebook) if bearing is not None else frozenset()
    hit_parts: list[_Part] = []
    unknown_parts: list[_Part] = []
    everywhere = np.arange(columns.height, dtype=np.uint32)
    dense = [i for i in range(len(rules)) if i not in sparse]
    _ask(columns, everywhere, conditions, dense, hit_parts, unknown_parts)
    if sparse and bearing is not None:
        some = bearing.arg_true().to_numpy().astype(np.uint32)
        _ask(columns[some], some, conditions, sorted(sparse), hit_parts, unknown_parts)
    rows, owners = _joined(hit_parts)
    lost, askers = _joined(unknown_parts)
    points = _points(columns, rulebook, rules, rows, owners)
    live = _counts(rules, rows, owners, workers)
    hits = pl.DataFrame(
        {"row": rows, "rule": owners, "points": points, "live": live}, schema=HIT
    ).sort("row", "rule")
    unknown = pl.DataFrame(
        {"row": lost, "rule": askers}, schema={"row": pl.UInt32(), "rule": pl.UInt32()}
    ).sort("row", "rule")
    return Judged(rules=rules, hits=hits, unknown=unknown)


def ask(columns: pl.DataFrame, conditions: list[pl.Expr]) -> pl.DataFrame:
    """Evaluate conditions over columns: one plan, one row out for each row in."""
    return columns.select(conditions)


def _ask(
    columns: pl.DataFrame,
    places: npt.NDArray[np.uint32],
    conditions: list[pl.Expr],
    asked: list[int],
    hits: list[_Part],
    unknown: list[_Part],
) -> None:
    """Evaluate some conditions over rows that stand at ``places``, a chunk at a time."""
    chosen = [conditions[i] for i in asked]
    for start in range(0, columns.height if asked else 0, CHUNK_ROWS):
        verdicts = ask(columns.slice(start, CHUNK_ROWS), chosen)
        here = places[start : start + CHUNK_ROWS]
        for index, verdict in zip(asked, verdicts.get_columns(), strict=True):
            if verdict.null_count():
                unknown.append((here[verdict.is_null().arg_true().to_numpy()], index))
            if verdict.any():
                hits.append((here[verdict.arg_true().to_numpy()], index))


def _sparse(
    rules: tuple[Rule, ...], conditions: list[pl.Expr], rulebook: Rulebook
) -> frozenset[int]:
    """Return the rules that are false of every submission without a signal, whatever else holds.

    Each is asked once with all signals at their defaults and everything else unknown. Conditions
    without ``has`` are monotone in what is known (Kleene), so "false" there is false for good.
    """
    blank = {
        name: field.default if name.split(".")[0] in _OF_SIGNALS else None
        for name, field in rulebook.names.items()
    }
    asked = [i for i, rule in enumerate(rules) if "has" not in calls_in(rule.tree)]
    if not asked:
        return frozenset()
    read = sorted(set().union(*(rules[i].names for i in asked)))
    one = pl.DataFrame(
        [pl.Series(name, [blank[name]], dtype=DTYPES[rulebook.names[name].type]) for name in read]
    )
    verdicts = ask(one, [conditions[i] for i in asked]).row(0)
    return frozenset(i for i, verdict in zip(asked, verdicts, strict=True) if verdict is False)


def _joined(
    parts: list[_Part],
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    if not parts:
        return np.zeros(0, np.uint32), np.zeros(0, np.uint32)
    rows = np.concatenate([p for p, _ in parts])
    owners = np.repeat(
        np.array([i for _, i in parts], np.uint32), np.array([p.size for p, _ in parts])
    )
    return rows, owners


def _points(
    columns: pl.DataFrame,
    rulebook: Rulebook,
    rules: tuple[Rule, ...],
    rows: npt.NDArray[np.uint32],
    owners: npt.NDArray[np.uint32],
) -> npt.NDArray[np.int64]:
    """Return each hit's points: the rule's own, times its ``scale`` where it has one.

    A scale is clipped to [0, 1] and unknown counts as 0; halves round up.
    """
    plain = np.array([rule.points for rule in rules], np.int64)
    points = plain[owners] if rules else np.zeros(0, np.int64)
    for index, rule in enumerate(rules):
        if rule.scale_tree is None:
            continue
        mine = np.flatnonzero(owners == index)
        if not mine.size:
            continue
        scale = lower(rule.scale_tree, rulebook.names)
        share = ask(columns[rows[mine]], [scale.fill_nan(None).fill_null(0.0).clip(0.0, 1.0)])
        scaled = np.floor(rule.points * share.to_series().to_numpy() + 0.5)
        points[mine] = scaled.astype(np.int64)
    return points


def _counts(
    rules: tuple[Rule, ...],
    rows: npt.NDArray[np.uint32],
    owners: npt.NDArray[np.uint32],
    workers: pl.Series,
) -> npt.NDArray[np.bool_]:
    """Tell which hits count: live ones, and rolled-out ones for the workers in the share."""
    live = np.array([rule.status != "shadow" for rule in rules], np.bool_)
    counted = live[owners] if rules else np.zeros(0, np.bool_)
    for index, rule in enumerate(rules):
        if rule.status != "rollout":
            continue
        mine = np.flatnonzero(owners == index)
        counted[mine] = [in_share(rule.id, worker, rule.share) for worker in workers[rows[mine]]]
    return counted


def in_share(rule_id: str, worker_id: str, share: float) -> bool:
    """Tell whether a worker is in the ``share`` percent for whom a rolled-out rule counts.

    Sticky: a worker who is in stays in while the share grows.
    """
    bucket = xxhash.xxh64_intdigest(f"{rule_id}\0{worker_id}".encode()) % 10_000
    return bucket < round(share * 100)


def reason_codes(
    rules: tuple[Rule, ...], hits: pl.DataFrame, signals: pl.DataFrame
) -> pl.DataFrame:
    """Return row, rule, reason_code of each counted hit.

    A rule's signal codes are given only where that signal was found on the submission; its other
    codes (``list.*``, ``velocity.*``, ``policy.*``) always. ``signals`` has ``row``, ``reason_code``.
    """
    pairs = [(i, code) for i, rule in enumerate(rules) for code in rule.reasons]
    told = pl.DataFrame(
        {"rule": [i for i, _ in pairs], "reason_code": [c for _, c in pairs]},
        schema={"rule": pl.UInt32(), "reason_code": pl.String()},
    )
    given = hits.select("row", "rule").join(told, on="rule", how="inner")
    always = ~pl.col("reason_code").is_in(list(REASONS))
    found = given.filter(~always).join(signals, on=["row", "reason_code"], how="semi")
    return pl.concat([given.filter(always), found]).sort("row", "rule", "reason_code")
