"""Voices of phrases: the compiled count beside the definition, written out with sets."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from detectors.text.voices import ALIKE, VOICES_MAX, Phrases, voices
from pipeline.index.sketches import sketched
from pipeline.model.carriers import Sketches

Node = tuple[str, int]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


def end_to_end(sets: Sequence[set[int]]) -> tuple[Ints, Keys]:
    bounds = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    return bounds, np.array([k for one in sets for k in sorted(one)], np.uint64)


def counted(
    rows: Sequence[tuple[int, int, Node, str, int]], quiet: dict[int, set[int]],
    prints: dict[Node, set[int]], *, sketches: bool = True,
) -> dict[tuple[int, int], int]:  # fmt: skip
    ordered = sorted(rows, key=lambda r: (r[0], r[1], r[4], r[2]))
    groups = {
        named: list(some)[:VOICES_MAX]
        for named, some in itertools.groupby(ordered, key=lambda r: r[:2])
    }
    pairs = sorted({(node, by) for some in groups.values() for _, _, node, by, _ in some})
    nodes = [node for node, _ in pairs]
    of = {by: n for n, by in enumerate(sorted({by for _, by in pairs}))}
    phrases = Phrases(
        texts=np.array([text for text, _ in groups], np.int64),
        bounds=np.cumsum([0, *map(len, groups.values())]).astype(np.int64),
        members=np.array(
            [pairs.index((node, by)) for some in groups.values() for _, _, node, by, _ in some],
            np.int64,
        ),
        workers=np.array([of[by] for _, by in pairs], np.uint64),
    )
    texts = np.array([t for t in sorted(quiet) for _ in quiet[t]], np.int64)
    keys = np.array([k for t in sorted(quiet) for k in sorted(quiet[t])], np.uint64)
    asked: list[int] = []

    def ask(some: Ints) -> tuple[Ints, Keys]:
        asked.extend(some.tolist())
        return end_to_end([prints[nodes[n]] for n in some.tolist()])

    known = sketched(*end_to_end([prints[n] for n in nodes])) if sketches else None
    found = voices(phrases, known or Sketches.room(len(nodes)), ask, (texts, keys))
    assert sketches or len(phrases.members) < 2 or asked
    return dict(zip(groups, found.tolist(), strict=True))


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
    assert counted(rows, quiet, prints, sketches=False) == said
    assert len(set(said.values())) > 3


def test_copies_are_one_voice_and_what_the_task_gave_makes_no_copies() -> None:
    brief, own = set(range(10)), {n: {100 + n, 200 + n, 300 + n} for n in range(3)}
    prints: dict[Node, set[int]] = {(f"s{n}", 0): brief | own[n] for n in range(3)}
    rows = [(0, 7, (f"s{n}", 0), f"w{n}", n) for n in range(3)]
    assert counted(rows, {}, prints) == {(0, 7): 1}
    assert counted(rows, {0: brief}, prints) == {(0, 7): 3}
    assert counted(rows, {1: brief}, prints) == {(0, 7): 1}
    assert counted([], {0: brief}, prints) == {}


def test_texts_that_share_little_are_told_apart_without_their_fingerprints() -> None:
    draw = np.random.default_rng(3)
    prints: dict[Node, set[int]] = {
        (f"s{n:02}", 0): {7, *draw.integers(0, 2**63, 50).tolist()} for n in range(16)
    }
    rows = [(0, 7, node, node[0], n) for n, node in enumerate(prints)]
    bounds, keys = end_to_end(list(prints.values()))
    phrases = Phrases(
        texts=np.zeros(1, np.int64), bounds=np.array([0, 16]), members=np.arange(16),
        workers=np.arange(16, dtype=np.uint64),
    )  # fmt: skip
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.uint64))

    def refuse(some: Ints) -> tuple[Ints, Keys]:
        raise AssertionError(f"asked for {some}")

    assert voices(phrases, sketched(bounds, keys), refuse, nothing).tolist() == [16]
    assert counted(rows, {}, prints) == {(0, 7): 16}
