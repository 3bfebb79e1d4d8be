"""Carriers and sketches: the compiled loops beside what is written out by hand."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.index.carriers import carriers
from pipeline.index.owners import Owners
from pipeline.index.postings import PostingIndex
from pipeline.index.sketches import SketchTable, sketched
from pipeline.model.carriers import Carriers

Row = tuple[int, int, int, int]


def told(found: Carriers, owners: Owners) -> dict[int, list[tuple[str, int]]]:
    names = owners.names(found.documents)
    rows = [
        (names[p], c) for p, c in zip(found.places.tolist(), found.contents.tolist(), strict=True)
    ]
    cuts = found.bounds.tolist()
    return {k: rows[cuts[i] : cuts[i + 1]] for i, k in enumerate(found.keys.tolist())}


@pytest.mark.parametrize("seed", range(8))
def test_the_earliest_texts_of_each_key_are_told_by_time_then_name(
    seed: int, tmp_path: Path
) -> None:
    draw = np.random.default_rng(seed)
    count = 60
    names = [f"s{n}é" if n % 7 == 0 else f"s{n}" for n in draw.permutation(count).tolist()]
    times = draw.integers(0, 12, count)  # many at one instant: names decide between them
    owners = Owners()
    for some in np.array_split(np.arange(count), 5):
        workers = (some % 9).astype(np.uint64)
        owners.extend([names[n] for n in some.tolist()], times[some], workers)
    rows: set[Row] = {
        (int(draw.integers(6)), int(draw.integers(count)), int(draw.integers(-1, 2)), n % 3)
        for n in range(400)
    }
    index = PostingIndex(tmp_path / "runs" if seed % 2 else None)
    for some in np.array_split(np.array(sorted(rows)), 6):
        keys, docs, contents, positions = some.T
        index.add(
            keys.astype(np.uint64), docs.astype(np.uint32), contents.astype(np.int32),
            positions.astype(np.int32),
        )  # fmt: skip
        if seed % 4 == 1:
            index.flush()
    gone = set(draw.choice(count, 5, replace=False).tolist())
    index.remove(gone)
    known = {row for row in rows if row[1] not in gone}
    beside = draw.choice(count, 4, replace=False).astype(np.uint32)
    for most, df_max in ((3, None), (64, 30), (5, 40)):
        found = carriers(
            index, np.arange(7, dtype=np.uint64), owners, beside, df_max=df_max, most=most
        )
        expected = {}
        for key in range(7):
            texts = {(times[d], names[d], c) for k, d, c, _ in known if k == key}
            if df_max is None or len({name for _, name, _ in texts}) <= df_max:
                expected[key] = [(name, c) for _, name, c in sorted(texts)[:most]]
        assert told(found, owners) == expected
        order = [(times[d], names[d]) for d in found.documents.tolist()]
        assert order == sorted(order)
        assert found.documents[found.beside].tolist() == beside.tolist()
        assert found.workers.tolist() == [d % 9 for d in found.documents.tolist()]


def test_names_are_found_again_and_strangers_are_not() -> None:
    owners = Owners()
    names = [f"{'x' * (n % 40)}{n}" for n in range(5_000)]
    for start in range(0, 5_000, 700):
        some = names[start : start + 700]
        owners.extend(some, np.zeros(len(some), np.int64), np.zeros(len(some), np.uint64))
    assert len(owners) == 5_000
    assert owners.numbers(names[::-1]).tolist() == list(range(5_000))[::-1]
    assert [owners.name(n) for n in (0, 699, 700, 4_999)] == [
        names[n] for n in (0, 699, 700, 4_999)
    ]
    assert owners.numbers([]).tolist() == []
    with pytest.raises(KeyError, match="nobody"):
        owners.number("nobody")


def test_a_sketch_bounds_what_two_sets_share_and_outlives_its_process(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    common = draw.integers(0, 2**63, 30).tolist()
    sets = [
        sorted({*common[: int(draw.integers(30))], *draw.integers(0, 2**63, n).tolist()})
        for n in draw.integers(0, 300, 40).tolist()
    ]
    bounds = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    made = sketched(bounds, np.array([k for one in sets for k in one], np.uint64))
    for a in range(40):
        for b in range(a):
            most = int(np.bitwise_count(made.marks[a] & made.marks[b]).sum())
            assert most + min(made.spare[a], made.spare[b]) >= len({*sets[a]} & {*sets[b]})
    path, docs = tmp_path / "sketches.bin", np.arange(0, 400, 10, dtype=np.uint32)
    kept = SketchTable(path, keeps=True)
    kept.put(docs[:20], made.at(np.arange(20)))
    beside = SketchTable(path)
    kept.put(docs[20:] + np.uint32(100_000), made.at(np.arange(20, 40)))
    beside.put(docs[20:], made.at(np.arange(20, 40)))
    kept.flush()
    again = SketchTable(path, keeps=True)
    for table, asked in (
        (kept, docs[20:] + 100_000),
        (again, docs[20:] + 100_000),
        (beside, docs[20:]),
    ):
        both = np.concatenate([docs[:20], asked]).astype(np.uint32)
        assert all(np.array_equal(x, y) for x, y in zip(table.of(both), made, strict=True))
    assert again.of(np.array([3, 2**31], np.uint32)).sizes.tolist() == [0, 0]
