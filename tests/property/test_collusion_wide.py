"""A window too large for every batch is told from an asset as it would be told at once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from detectors.checks.conformance import find
from detectors.checks.memory import MemoryPast
from detectors.collusion import CollusionDetector, room, wide
from detectors.collusion.sweep import judged_whole, sweep
from pipeline.model import frames
from tests.property.test_collusion_order import AT, messy_world

ROWS = 50


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_an_asset_tells_is_what_the_whole_graph_tells(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = messy_world(seed)
    wanted = find(CollusionDetector(), world).signals
    assert not wanted.is_empty()
    narrow = tuple(replace(h, rows_max=ROWS, wide_max=100_000) for h in room.HORIZONS)
    monkeypatch.setattr(room, "HORIZONS", narrow)
    assert find(CollusionDetector(), world).signals.is_empty()  # nobody has looked at it whole yet
    past = MemoryPast.of(world, [CollusionDetector()])
    assets: dict[str, bytes] = {}
    for horizon, since in room.windows_of(world.submissions["submitted_at"]):
        made = judged_whole(past, horizon, since)
        assert wide.unpack(wide.pack(made)).keys() == made.keys()
        assets[wide.name_of(horizon.name, since)] = wide.pack(made)
    told = replace(world, assets=assets)
    assert find(CollusionDetector(), told).signals.equals(wanted)


def test_a_sweep_gives_the_assets_of_wide_windows_and_whom_they_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = messy_world(1)
    past, at = MemoryPast.of(world, [CollusionDetector()]), AT + timedelta(days=14)
    plain = sweep(past, at)
    assert not plain.assets
    narrow = tuple(replace(h, rows_max=ROWS, wide_max=100_000) for h in room.HORIZONS)
    monkeypatch.setattr(room, "HORIZONS", narrow)
    found = sweep(past, at)
    named = {key[0] for data, _ in found.assets.values() for key in wide.unpack(data)}
    assert named
    assert set(plain.submission_ids) <= set(found.submission_ids)
    assert named <= set(found.submission_ids)
    assert found.clusters == plain.clusters


def test_a_window_beyond_its_most_is_not_read_whole() -> None:
    world = messy_world(1)
    past = MemoryPast(world, frames.empty(frames.FINGERPRINTS))
    length = timedelta(days=28)
    whole = wide.read(past, AT - timedelta(days=1), length, 10_000)
    assert whole is not None
    wanted = past.window(since=AT - timedelta(days=1), until=AT + timedelta(days=27))
    assert whole.equals(wanted.select(wide.COLUMNS))
    assert wide.read(past, AT - timedelta(days=1), length, whole.height) is not None
    assert wide.read(past, AT - timedelta(days=1), length, whole.height - 1) is None
