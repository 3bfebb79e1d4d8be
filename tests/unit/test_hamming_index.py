"""The Hamming index: exact whatever the path, live, durable, and forgetting what it must."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.index import hamming
from pipeline.index.hamming import CodeIndex
from pipeline.model.errors import StoreError


def _near_codes(n: int, seed: int) -> np.ndarray:
    """Random codes, half of them within a few bits of another."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 256, (n, 32), dtype=np.uint8)
    for i in range(0, n, 2):
        bits = np.unpackbits(codes[draw.integers(0, n)])
        bits[draw.choice(256, draw.integers(0, 60), replace=False)] ^= 1
        codes[i] = np.packbits(bits)
    return codes


def _filled(codes: np.ndarray, directory: Path | None = None) -> CodeIndex:
    index = CodeIndex(directory)
    at = np.arange(len(codes))
    index.add(codes, (at // 3).astype(np.uint32), (at % 2).astype(np.int32), at.astype(np.int32))
    return index


def _brute(codes: np.ndarray, asked: np.ndarray, distance_max: int) -> set[tuple[int, int, int]]:
    far = np.bitwise_count(codes[None] ^ asked[:, None]).sum(-1)
    return {(q, r, int(far[q, r])) for q, r in np.argwhere(far <= distance_max).tolist()}


def _rows(hits: hamming.Hits) -> set[tuple[int, int, int]]:
    return set(zip(hits.query.tolist(), hits.slot.tolist(), hits.distance.tolist(), strict=True))


@pytest.mark.parametrize("path", ["numpy", "scan", "buckets"])
@pytest.mark.parametrize("distance_max", [0, 15, 31, 47])
def test_every_path_finds_what_brute_force_finds(
    path: str, distance_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hamming, "COMPILED_FROM", 0 if path == "scan" else 10**12)
    monkeypatch.setattr(hamming, "BUCKETS_FROM", 0 if path == "buckets" else 10**12)
    codes = _near_codes(5000, seed=1)
    asked = codes[:40].copy()
    assert _rows(_filled(codes).nearest(asked, distance_max)) == _brute(codes, asked, distance_max)


def test_limit_keeps_the_nearest_of_the_first_queries() -> None:
    codes = np.zeros((6, 32), np.uint8)
    codes[3, 0] = 1
    found = _filled(codes).nearest([bytes(32)], 4, limit=5)
    assert found.distance.tolist() == [0] * 5
    assert 3 not in found.slot.tolist()


def test_flushed_segments_are_seen_by_another_reader(tmp_path: Path) -> None:
    codes = _near_codes(200, seed=2)
    writer, reader = _filled(codes, tmp_path), CodeIndex(tmp_path)
    assert not len(reader.nearest(codes[:1], 0).doc)
    writer.flush()
    assert reader.refresh()
    assert not reader.refresh()
    assert _rows(reader.nearest(codes[:9], 31)) == _brute(codes, codes[:9], 31)
    assert _rows(CodeIndex(tmp_path).nearest(codes[:9], 31)) == _brute(codes, codes[:9], 31)


def test_many_flushes_keep_few_segments_and_lose_nothing(tmp_path: Path) -> None:
    codes = _near_codes(300, seed=3)
    index = CodeIndex(tmp_path)
    for i in range(0, 300, 10):
        at = np.arange(i, i + 10)
        index.add(codes[at], at.astype(np.uint32), np.zeros(10, np.int32), at.astype(np.int32))
        index.flush()
    folders = [p.name for p in tmp_path.iterdir() if p.is_dir()]
    assert len(folders) <= hamming.SEGMENTS_MAX
    assert _rows(index.nearest(codes, 31)) == _brute(codes, codes, 31)


@pytest.mark.parametrize("stored", [True, False])
def test_what_is_removed_is_forgotten_and_purged(tmp_path: Path, stored: bool) -> None:
    codes = _near_codes(90, seed=4)
    index = _filled(codes, tmp_path if stored else None)
    index.flush()
    index.remove([0, 5])
    assert not {0, 5} & set(index.nearest(codes, 64).doc.tolist())
    index.add(codes[:1], np.array([5], np.uint32), np.zeros(1, np.int32), np.zeros(1, np.int32))
    index.flush()
    assert 0 not in index.nearest(codes, 64).doc.tolist()
    assert 5 in index.nearest(codes[:1], 0).doc.tolist(), "what is added after a removal stays"
    if stored:
        held = [np.load(p) for p in tmp_path.glob("segment-*/docs.npy")]
        assert 0 not in np.concatenate(held), "erased codes leave the disk"


def test_removal_of_everything_leaves_an_empty_index(tmp_path: Path) -> None:
    index = _filled(_near_codes(9, seed=5), tmp_path)
    index.flush()
    index.remove(range(9))
    index.flush()
    assert len(index) == 0
    assert len(CodeIndex(tmp_path)) == 0


def test_the_same_row_twice_is_one_hit() -> None:
    codes = np.ones((1, 32), np.uint8)
    index = CodeIndex()
    for _ in range(2):
        index.add(codes, np.ones(1, np.uint32), np.ones(1, np.int32), np.ones(1, np.int32))
    assert len(index.nearest(codes, 0).doc) == 1


def test_wrong_shapes_and_a_foreign_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32"):
        CodeIndex().add(
            np.zeros((1, 8), np.uint8), np.zeros(1, np.uint32),
            np.zeros(1, np.int32), np.zeros(1, np.int32),
        )  # fmt: skip
    (tmp_path / hamming.MANIFEST).write_text(json.dumps({"version": 99, "segments": []}))
    with pytest.raises(StoreError, match="99"):
        CodeIndex(tmp_path)
    (tmp_path / hamming.MANIFEST).write_text("{")
    with pytest.raises(StoreError, match="manifest"):
        CodeIndex(tmp_path)
