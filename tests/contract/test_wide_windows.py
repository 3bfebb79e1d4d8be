"""Windows too large for every batch: a run finds the same in them, and they are queued page by page."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from detectors.checks.memory import world_of
from detectors.collusion import detector, room, sweep
from pipeline import line
from pipeline.bootstrap import House, open_house
from pipeline.ports import Past
from pipeline.settings import load_settings
from pipeline.stores import work
from pipeline.stores.exports import export


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """The room's own example of a crew, as a drop."""
    crewed = world_of(next(iter(detector.examples())), None)
    folder = tmp_path / "drop"
    folder.mkdir()
    for name, keys in (("tasks", ("task_id", "publisher_id")), ("submissions", ())):
        frame = getattr(crewed, name)
        rows = frame.select(keys or ("submission_id", "task_id", "worker_id", "submitted_at"))
        told = [orjson.dumps(r, option=orjson.OPT_UTC_Z) for r in rows.iter_rows(named=True)]
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(told) + b"\n")
    return folder


def judged(home: Path, drop: Path, then: Callable[[House], None]) -> pl.DataFrame:
    with open_house(load_settings({}, home=home)) as house:
        line.take_in(house, drop)
        line.judge(house)
        then(house)
        return export(house.database, "signals").filter(pl.col("detector") == "collusion")


def test_a_wide_window_is_judged_by_a_run_as_a_narrow_one_is(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets: list[str] = []

    def kept(house: House) -> None:
        assets.extend(export(house.database, "assets")["name"].to_list())

    wanted = judged(tmp_path / "narrow", drop, kept)
    assert wanted["reason_code"].n_unique() == 2
    assert not [name for name in assets if name.startswith("collusion.window")]
    narrow = tuple(
        replace(h, rows_max=100, wide_max=100_000 if h.wide_max else 0) for h in room.HORIZONS
    )
    monkeypatch.setattr(room, "HORIZONS", narrow)
    told = judged(tmp_path / "wide", drop, kept)
    named = [name for name in assets if name.startswith("collusion.window")]
    assert named
    only = [c for c in told.columns if c != "signal_id"]
    assert told.select(only).equals(wanted.select(only))


def test_a_wide_window_is_judged_again_only_where_it_grew(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = tuple(
        replace(h, rows_max=100, wide_max=100_000 if h.wide_max else 0) for h in room.HORIZONS
    )
    monkeypatch.setattr(room, "HORIZONS", narrow)
    times: list[datetime] = []

    def whole(
        past: Past, horizon: room.Horizon, since: datetime
    ) -> dict[tuple[str, str], dict[str, Any]]:
        times.append(since)
        return {}

    monkeypatch.setattr(sweep, "judged_whole", whole)
    lines = (drop / "submissions.jsonl").read_bytes().splitlines(keepends=True)

    def grown(house: House) -> None:
        first = len(times)
        assert first > 0
        told = [row.replace(b'"submission_id":"', b'"submission_id":"later-') for row in lines]
        (drop / "submissions.jsonl").write_bytes(b"".join(told))
        line.take_in(house, drop)
        line.judge(house)
        assert {*times[first:]} >= {*times[:first]}
        grew = len(times)
        house.work.queue_all(depth=1)
        line.judge(house)
        assert len(times) == grew

    judged(tmp_path / "home", drop, grown)


def test_a_window_is_queued_page_by_page(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "IDS_PER_PAGE", 7)

    def again(house: House) -> None:
        known = house.known.window().sort("submitted_at", "submission_id")
        since, until = known["submitted_at"][10], known["submitted_at"][40]
        inside = known.filter(pl.col("submitted_at").is_between(since, until, closed="left"))
        assert house.work.queue_window(since, until, depth=2) == inside.height > 20
        assert house.work.waiting(2) == inside.height
        assert {t.submission_id for t in house.work.next(2, 1_000)} == set(inside["submission_id"])
        house.work.queue_all(depth=1)
        assert house.work.waiting(1) == known.height

    judged(tmp_path / "home", drop, again)
