"""A house trains the words that its pictures are looked up by, and uses them from then on."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from detectors.image import vocabulary
from detectors.image.drawings import photo
from detectors.image.examples import jpeg, png
from pipeline.bootstrap import House, open_house
from pipeline.line import judge, keep_vocabulary, learn_pictures, take_in
from pipeline.model.errors import UsageError
from pipeline.settings import load_settings
from pipeline.stores.exports import export

OURS = photo(61, 240, 320)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a handful of pictures suffice."""
    monkeypatch.setattr(vocabulary, "FEATURES_NEEDED", 400)
    monkeypatch.setattr(vocabulary, "CENTRES", 32)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    drop = tmp_path / "drop"
    (drop / "blobs").mkdir(parents=True)
    crop = np.ascontiguousarray(OURS[20:200, 30:260])
    for name, data in (("a.png", png(OURS)), ("b.jpg", jpeg(crop)), ("c.png", png(photo(62)))):
        (drop / "blobs" / name).write_bytes(data)
    rows = [
        {
            "submission_id": name[0], "task_id": "t", "worker_id": f"w-{name}", "text": "",
            "submitted_at": f"2026-01-01T0{hour}:00:00Z",
            "attachments": [{"path": f"blobs/{name}", "media_type": "image/png", "name": name}],
        }
        for hour, name in enumerate(("a.png", "b.jpg", "c.png"))
    ]  # fmt: skip
    (drop / "submissions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    with open_house(load_settings({}, home=tmp_path / "home")) as opened:
        take_in(opened, drop)
        yield opened


def _said(house: House) -> list[tuple[str, str, str]]:
    found = export(house.database, "signals").filter(pl.col("detector") == "image")
    return sorted(
        found.select("submission_id", "matched_submission_id", "detector_version").iter_rows()
    )


def test_new_words_are_versioned_by_their_digest_and_find_what_the_old_ones_did(
    house: House,
) -> None:
    judge(house)
    before = _said(house)
    assert [row[:2] for row in before] == [("b", "a")]
    data = bytearray(vocabulary.shipped().to_bytes())
    data[100] ^= 1
    keep_vocabulary(house, bytes(data))
    assert house.work.waiting(0) == 3
    judge(house)
    after = _said(house)
    assert [row[:2] for row in after] == [("b", "a")]
    assert after[0][2].endswith(vocabulary.Vocabulary.from_bytes(bytes(data)).digest[:8])
    assert after[0][2] != before[0][2]
    kept = house.known.fingerprints("image.words", ["a"])
    assert kept["version"].to_list() == [after[0][2]]
    keep_vocabulary(house, bytes(data))
    assert house.work.waiting(0) == 0, "the same words change nothing"
    keep_vocabulary(house, vocabulary.shipped().to_bytes())
    judge(house)
    assert _said(house) == before


def test_words_are_trained_on_a_folder_or_on_what_was_handed_in(
    house: House, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="too few"):
        learn_pictures(house)
    folder = tmp_path / "mine" / "deep"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(99))
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(png(photo(70 + seed)))
    with pytest.raises(UsageError, match="too few"):
        learn_pictures(house, folder.parent)


@pytest.mark.usefixtures("few")
def test_trained_words_depend_on_the_pictures_alone(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bytes] = []
    monkeypatch.setattr("pipeline.line.keep_vocabulary", lambda house, data: kept.append(data))
    for seed in range(3):
        (tmp_path / f"{seed}.png").write_bytes(png(photo(70 + seed)))
    one, two = learn_pictures(house, tmp_path), learn_pictures(house, tmp_path)
    assert one == two
    assert kept[0] == kept[1]
    assert learn_pictures(house) != one
