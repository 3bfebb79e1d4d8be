"""Back-ups taken while the line runs restore to books that balance, and the line goes on from them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.bootstrap import open_house
from pipeline.settings import load_settings
from pipeline.stores.backup import back_up, restore
from pipeline.stores.exports import EXPORTS, export
from pipeline.stores.upkeep import Upkeep

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo" / "drop"
SETTINGS = {"BOUNTYGUARD_CLOCK": "2026-06-01T00:00:00Z", "BOUNTYGUARD_PART": "16"}
RESTORED = 12
"""Back-ups that are restored, spread over the run; a slow machine makes more of them."""
ONE_RUN = [sys.executable, "-m", "pipeline.entry.cli", "run", str(DEMO), "--format", "json"]


def run(home: Path) -> "subprocess.Popen[bytes]":
    env = os.environ | SETTINGS | {"BOUNTYGUARD_HOME": str(home)}
    return subprocess.Popen(ONE_RUN, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)


def back_ups_during(running: "subprocess.Popen[bytes]", home: Path, folder: Path) -> list[Path]:
    """Back up and compact, again and again, for as long as the line runs, and once afterwards."""
    made: list[Path] = []
    with open_house(load_settings(SETTINGS, home=home)) as house:
        upkeep = Upkeep(house.database, house.segments, house.blobs)
        places = house.blobs.objects, house.segments.objects
        going = True
        while going:
            going = running.poll() is None
            target = folder / f"{len(made):03}"
            back_up(house.database, *places, target, now=house.settings.now())
            made.append(target)
            upkeep.compact()
    return made


def standing(home: Path, source: Path | None = None, *, verify: bool = False) -> dict[str, Any]:
    """Restore a back-up where one is named, prove it, and tell what stands in the home."""
    with open_house(load_settings(SETTINGS, home=home)) as house:
        if source is not None:
            restore(house.database, house.blobs.objects, house.segments.objects, source)
        if verify:
            assert house.ledger.reconcile() == []
            assert house.audit().verify() == []
        tables = (*EXPORTS, "transfers", "credit", "payouts", "audit", "accounts")
        told = {t: export(house.database, t, more=house.ledger.exports()).rows() for t in tables}
    del told["segments"]  # compacted here, not there
    return told


@pytest.mark.slow
def test_a_back_up_taken_under_load_restores_to_a_state_that_really_was(tmp_path: Path) -> None:
    home = tmp_path / "home"
    running = run(home)
    try:
        made = back_ups_during(running, home, tmp_path / "copies")
    finally:
        running.kill()
        running.wait()
    whole = standing(home, verify=True)
    assert len(whole["transfers"]) > 0
    middle: list[Path] = []
    for source in made[:: max(1, len(made) // RESTORED)]:
        restored = tmp_path / "restored" / source.name
        told = standing(restored, source, verify=True)
        assert set(told["transfers"]) <= set(whole["transfers"])
        if told["submissions"] and told["assessments"] != whole["assessments"]:
            middle.append(restored)
    assert middle, "no back-up was taken in the middle of the run"
    again = run(middle[-1])
    assert again.wait(timeout=240) in (0, 1)
    assert standing(middle[-1], verify=True) == whole
