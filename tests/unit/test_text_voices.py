"""Voices of phrases: the compiled count beside the definition, written out with sets."""

import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from detectors.text.voices import ALIKE, VOICES_MAX, voices
from pipeline.ports import Past

Node = tuple[str, int]


class Remembered:
    """As much of the past as voices ask for."""

    def __init__(self, prints: dict[Node, set[int]]) -> None:
        self._prints = prints

    def fingerprints(self, kind: str, submission_ids: Sequence[str]) -> pl.DataFrame:
        rows = [(s, c, sorted(k)) for (s, c), k in self._prints.items() if s in submission_ids]
        schema: dict[str, Any] = {
            "submission_id": pl.String, "content_index": pl.Int32, "keys": pl.List(pl.UInt64),
        }  # fmt: skip
        return pl.DataFrame(rows, schema=schema, orient="row")


def table(rows: Sequence[tuple[int, int, Node, str, int]]) -> pl.DataFrame:
    told = [(text, key, *node, by, at) for text, key, node, by, at in rows]
    schema: dict[str, Any] = {
        "text": pl.Int64, "key": pl.UInt64, "submission_id": pl.String,
        "content_index": pl.Int32, "by": pl.String, "at": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(told, schema=schema, orient="row")


def muted(quiet: dict[int, set[int]]) -> pl.DataFrame:
    rows = [(text, key) for text, keys in quiet.items() for key in sorted(keys)]
    return pl.DataFrame(rows, schema={"text": pl.Int64, "key": pl.UInt64}, orient="row")


def counted(
    rows: Sequence[tuple[int, int, Node, str, int]], quiet: dict[int, set[int]],
    prints: dict[Node, set[int]],
) -> dict[tuple[int, int], int]:  # fmt: skip
    past = cast(Past, Remembered(prints))
    found = voices(table(rows).sample(fraction=1, shuffle=True, seed=1), muted(quiet), past, "k")
    return {(text, key): n for text, key, n in found.iter_rows()}


def by_definition(
    rows: Sequence[tuple[int, int, Node, str, int]], quiet: dict[int, set[int]],
    prints: dict[Node, set[int]],
) -> dict[tuple[int, int], int]:  # fmt: skip
    said: dict[tuple[int, int], int] = {}
    ordered = sorted(rows, key=lambda r: (r[0], r[1], r[4], r[2]))
    for (text, key), group in itertools.groupby(ordered, key=lambda r: r[:2]):
        components: list[list[tuple[set[int], str]]] = []
        for _, _, node, by, _ in list(group)[:VOICES_MAX]:
            own = prints[node] - quiet.get(text, set())
            near = [
                c for c in components
                if any(by == b or (own & o and len(own & o) >= ALIKE * min(len(own), len(o)))
                       for o, b in c)
            ]  # fmt: skip
            rest = [c for c in components if c not in near]
            components = [*rest, [(own, by), *itertools.chain(*near)]]
        said[text, key] = len(components)
    return said


@pytest.mark.parametrize("seed", range(20))
def test_voices_are_components_of_one_worker_and_of_like_texts(seed: int) -> None:
    draw = np.random.default_rng(seed)
    stems = [set(draw.integers(0, 2**63, 12).tolist()) for _ in range(4)]
    prints: dict[Node, set[int]] = {}
    for n in range(40):
        kept = draw.choice(sorted(stems[n % 4]), int(draw.integers(0, 12)), replace=False)
        prints[f"s{n // 2}", n % 2] = {*kept.tolist(), *draw.integers(0, 2**63, n % 9).tolist()}
    nodes = list(prints)
    quiet = {0: set(sorted(stems[0])[:6]), 2: set().union(*stems)}
    rows = [
        (text, key, nodes[n], f"w{n % 11}", int(draw.integers(3)))
        for text in range(4)
        for key in range(5)
        for n in draw.choice(40, int(draw.integers(1, 24)), replace=False).tolist()
    ]
    said = counted(rows, quiet, prints)
    assert said == by_definition(rows, quiet, prints)
    assert len(set(said.values())) > 3


def test_copies_are_one_voice_and_what_the_task_gave_makes_no_copies() -> None:
    brief, own = set(range(10)), {n: {100 + n, 200 + n, 300 + n} for n in range(3)}
    prints: dict[Node, set[int]] = {(f"s{n}", 0): brief | own[n] for n in range(3)}
    rows = [(0, 7, (f"s{n}", 0), f"w{n}", n) for n in range(3)]
    assert counted(rows, {}, prints) == {(0, 7): 1}
    assert counted(rows, {0: brief}, prints) == {(0, 7): 3}
    assert counted(rows, {1: brief}, prints) == {(0, 7): 1}
    assert counted([], {0: brief}, prints) == {}
