"""The doctor says what is misconfigured, missing or stale, and nothing else."""

from pathlib import Path

import pytest

from pipeline.bootstrap import House, open_house
from pipeline.doctor import examine
from pipeline.settings import load_settings
from tests.contract.test_record import event, log


def states(house: House) -> dict[str, str]:
    return {c.check: c.state for c in examine(house)}


def test_a_new_home_is_told_what_is_worth_a_look(tmp_path: Path) -> None:
    with open_house(load_settings({}, home=tmp_path)) as house:
        told = states(house)
    assert "broken" not in told.values()
    assert [c for c, s in told.items() if s == "look"] == ["calibration", "checkpoints"]


def test_what_is_lost_unreachable_or_left_from_a_replay_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"BOUNTYGUARD_CLOCK": "2026-06-01T00:00:00Z", "BOUNTYGUARD_DASK": "tcp://nowhere:8786"}
    with open_house(load_settings(env, home=tmp_path)) as house:
        house.intake.admit_events(log(event("e", "x", 0)), [])
        assert states(house)["segments"] == "ok"
        for path in (tmp_path / "lake" / "events").rglob("*.parquet"):
            path.unlink()
        told = {c.check: c for c in examine(house)}
        assert told["segments"].state == "broken"
        assert "events/day=2026-01-01" in told["segments"].told
        assert told["clock"].state == "look"
        assert told["spread"].state == "broken"
        assert "the database and files" in told["spread"].told
        monkeypatch.setattr(house.blobs.objects, "get", lambda key: b"other bytes")
        assert {c.check: c.state for c in examine(house)}["objects"] == "broken"
