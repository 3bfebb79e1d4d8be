"""Votes of a query over postings: as counted by hand, whatever the runs; and who is told."""

from collections import defaultdict
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.owners import Owners
from pipeline.index.postings import PostingIndex
from pipeline.index.votes import Asked, answered, votes
from pipeline.model import frames

Row = tuple[int, int, int, int]
"""Key, document, content, position."""
Word = tuple[int, int, int]
"""Key, place, mode."""

_PLACES = st.builds(
    lambda part, angle, size, feature: part << 19 | angle << 13 | size << 8 | feature,
    st.integers(0, 7), st.sampled_from([0, 3, 5, 31, 60, 63]), st.sampled_from([0, 2, 5, 31]),
    st.integers(0, 255),
)  # fmt: skip
_ROWS = st.sets(
    st.tuples(
        st.integers(0, 4), st.sampled_from([0, 1, 16_384, 70_000]), st.integers(-1, 1), _PLACES
    ),
    max_size=60,
)
_WORDS = st.lists(st.tuples(st.integers(0, 5), _PLACES, st.integers(0, 2)), max_size=30)


def filled(index: PostingIndex, rows: list[Row]) -> None:
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    index.add(
        columns[0].astype(np.uint64), columns[1].astype(np.uint32), columns[2].astype(np.int32),
        columns[3].astype(np.int32),
    )  # fmt: skip


def asked(words: list[Word]) -> Asked:
    keys, places, modes = np.array(words, np.int64).reshape(-1, 3).T
    return Asked(keys.astype(np.uint64), places, modes, np.ones(len(words)))


def by_hand(
    rows: set[Row], words: list[Word], votes_min: int
) -> dict[tuple[int, ...], tuple[int, float]]:
    carried = {k: sum(r[0] == k for r in rows) for k, _, _ in words}
    bins: dict[tuple[int, ...], dict[tuple[int, ...], list[tuple[int, int, float]]]]
    bins = defaultdict(lambda: defaultdict(list))
    for key, place, mode in words:
        for row_key, doc, content, other in rows:
            if row_key != key:
                continue
            turn = (place // 2**13 % 64 - other // 2**13 % 64) % 64
            grow = place // 2**8 % 32 - other // 2**8 % 32
            pair = (doc, content, mode, place // 2**19, other // 2**19)
            hit = (place % 256, other % 256, 1 / (1 + log2(max(carried[key], 1))))
            bins[pair][0, turn // 8, grow // 4].append(hit)
            bins[pair][1, (turn + 4) % 64 // 8, (grow + 2) // 4].append(hit)
    told = {}
    for pair, grids in bins.items():
        counts = [
            (min(len({h[i] for h in hits}) for i in (0, 1)), sum(h[2] for h in hits) / len(hits))
            for hits in grids.values() if len(hits) >= votes_min
        ]  # fmt: skip
        if counts and max(c for c, _ in counts) >= votes_min:
            told[pair] = (max(c for c, _ in counts), max(c * rare for c, rare in counts))
    return told


@settings(deadline=None)
@given(_ROWS, _WORDS, st.integers(1, 3), st.integers(0, 60))
def test_votes_are_those_counted_by_hand_whatever_the_runs(
    rows: set[Row], words: list[Word], votes_min: int, cut: int
) -> None:
    index = PostingIndex()
    some = sorted(rows)
    filled(index, some[:cut])
    filled(index, some[cut:])
    found = votes(index, asked(words), votes_min=votes_min, rows_max=10_000)
    pairs = zip(*(np.asarray(c, np.int64).tolist() for c in found[:5]), strict=True)
    told = dict(
        zip(pairs, zip(found.votes.tolist(), found.weights.tolist(), strict=True), strict=True)
    )
    wanted = by_hand(rows, words, votes_min)
    assert told.keys() == wanted.keys()
    for pair, (count, weight) in wanted.items():
        assert told[pair] == (count, pytest.approx(weight, abs=1e-5))
    assert found.weights.tolist() == sorted(found.weights.tolist(), reverse=True)


def test_votes_are_the_same_from_disk_and_forget_who_was_removed(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = sorted(
        {(int(k), int(d), 0, int(p)) for k, d, p in
         zip(draw.integers(0, 40, 9000), draw.integers(0, 90_000, 9000) // 600 * 600,
             draw.integers(0, 2**22, 9000), strict=True)}
    )  # fmt: skip
    words = [
        (int(k), int(p), 0)
        for k, p in zip(draw.integers(0, 40, 60), draw.integers(0, 2**22, 60), strict=True)
    ]
    memory, disk = PostingIndex(), PostingIndex(tmp_path)
    for index in (memory, disk):
        filled(index, rows[:5000])
        filled(index, rows[5000:])
    disk.compact()
    one, two = (votes(i, asked(words), votes_min=2, rows_max=10**6) for i in (memory, disk))
    assert len(one.docs) > 100
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    gone = sorted({int(d) for d in one.docs[:5]})
    disk.remove(gone)
    left = votes(disk, asked(words), votes_min=2, rows_max=10**6)
    assert not set(left.docs.tolist()) & set(gone)
    assert set(left.docs.tolist()) == set(one.docs.tolist()) - set(gone)


def test_words_of_most_worth_are_read_first_and_no_more_than_may_be() -> None:
    index = PostingIndex()
    common = [(1, doc, 0, feature) for doc in range(50) for feature in range(3)]
    filled(index, [*common, *((2, 7, 0, feature) for feature in range(3))])
    words = [(1, f, 0) for f in range(3)] + [(2, f, 0) for f in range(3)]
    every = votes(index, asked(words), votes_min=3, rows_max=1000)
    assert len(every.docs) == 50
    few = votes(index, asked(words), votes_min=3, rows_max=100)
    assert few.docs.tolist() == [7]
    liked = asked(words)._replace(worth=np.array([100.0] * 3 + [1.0] * 3))
    assert len(votes(index, liked, votes_min=3, rows_max=455).docs) == 50
    with pytest.raises(ValueError, match="rows_max"):
        votes(index, liked, votes_min=3, rows_max=2**25)


def test_only_one_side_is_told_and_of_many_the_heaviest_and_the_earliest() -> None:
    index = PostingIndex()
    count = 40
    filled(index, [(f, doc, 0, f) for doc in range(count) for f in range(4 if doc < 30 else 6)])
    names = [f"s{doc:02}" for doc in range(count)]
    times = np.arange(count, dtype=np.int64) // 2  # two at a time: names decide between them
    owners = Owners.of(names, times)
    words = pl.DataFrame(
        {"query": 3, "submission_id": "s25", "key": list(range(6)), "place": list(range(6)), "mode": 0,
         "worth": 1.0},
        schema=dict(frames.ASKED),
    )  # fmt: skip
    ask = {"votes_min": 3, "rows_max": 10_000}
    before = answered(index, words, owners, earlier=True, most=None, **ask)
    assert sorted(before["submission_id"]) == names[:25]
    assert set(before["query"]) == {3}
    after = answered(index, words, owners, earlier=False, most=None, **ask)
    assert sorted(after["submission_id"]) == names[26:]
    best = answered(index, words, owners, earlier=False, most=10, **ask)
    assert (
        sorted(best["submission_id"]) == names[26:]
    )  # ten heaviest of six votes; the earliest of four
    best = answered(index, words, owners, earlier=False, most=2, **ask)
    assert set(names[26:28]) <= set(best["submission_id"])


def test_the_foremost_are_those_of_all_that_could_be_counted() -> None:
    """Bounds decide who is counted at all; the answer is as if everybody had been."""
    draw = np.random.default_rng(4)
    docs = 3_000
    rows = [
        (int(k), int(d), 0, int(a) << 13 | int(s) << 8 | int(f))
        for d in range(docs)
        for k, a, s, f in zip(
            draw.integers(0, 30, 12), draw.integers(0, 64, 12), draw.integers(4, 9, 12),
            range(12), strict=True,
        )
    ]  # fmt: skip
    index = PostingIndex()
    filled(index, rows)
    words = [(k, int(draw.integers(0, 64)) << 13 | 6 << 8 | k, k % 2) for k in range(60)]
    names = [f"s{d:04}" for d in range(docs)]
    times = draw.integers(0, 40, docs)  # many come at one time
    owners = Owners.of(names, times)
    keys, places, modes = np.array(words).T
    asking = pl.DataFrame(
        {"query": 0, "submission_id": names[1500], "key": keys, "place": places, "mode": modes,
         "worth": 1.0},
        schema=dict(frames.ASKED),
    )  # fmt: skip
    ask = {"votes_min": 3, "rows_max": 10**6, "earlier": False}
    every = answered(index, asking, owners, most=None, **ask)
    weights = every.group_by("submission_id").agg(pl.col("weight").max())
    assert len(weights) > 500
    for most in (1, 4, 30):
        least = weights["weight"].sort(descending=True)[most - 1]
        good = weights.filter(pl.col("weight") >= weights["weight"].max() / 2)["submission_id"]
        came = {sid: int(times[int(sid[1:])]) for sid in good}
        last = sorted(came.values())[min(most, len(came)) - 1]
        wanted = {sid for sid, at in came.items() if at <= last}
        wanted |= set(weights.filter(pl.col("weight") >= least)["submission_id"])
        told = answered(index, asking, owners, most=most, **ask)
        assert set(told["submission_id"]) == wanted
        assert told.equals(every.filter(pl.col("submission_id").is_in(sorted(wanted))))
