"""The whole line on real input: every valid row assessed, a second run changes nothing, kills neither."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo"
KILLS = int(os.environ.get("BOUNTYGUARD_KILLS", "50"))
PARTS = 10
"""Tests that share the kills, so that several processes can share the tests."""
TABLES = (
    "assessments", "evaluations", "signals", "abstentions", "quarantine", "submissions", "tasks",
    "workers", "contents", "segments", "assets", "transfers", "holds", "credit", "cases",
)  # fmt: skip


def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "BOUNTYGUARD_HOME": str(home),
        "BOUNTYGUARD_CLOCK": "2026-06-01T00:00:00Z",
        "NO_COLOR": "1",
    }


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "pipeline.entry.cli", *map(str, words)]


def bountyguard(home: Path, *words: object, statuses: Sequence[int] = (0,)) -> bytes:
    done = subprocess.run(
        command(*words), env=environment(home), cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode in statuses, done.stderr.decode()[-2000:]
    return done.stdout


def state(home: Path) -> dict[str, bytes]:
    """Every exported table as bytes, and which files are stored."""
    script = (
        "import sys, orjson\n"
        "from pipeline.bootstrap import open_house\n"
        "from pipeline.entry.output import _jsonl\n"
        "from pipeline.settings import load_settings\n"
        "from pipeline.stores.exports import export\n"
        "if __name__ == '__main__':\n"
        "    with open_house(load_settings()) as house:\n"
        "        made = {t: _jsonl(export(house.database, t, more=house.ledger.exports())).decode()\n"
        "                for t in sys.argv[1:]}\n"
        "    sys.stdout.buffer.write(orjson.dumps(made))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *TABLES],
        env=environment(home), cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    found: dict[str, bytes] = {k: v.encode() for k, v in orjson.loads(done.stdout).items()}
    blobs = (p.relative_to(home).as_posix() for p in (home / "blobs").rglob("*") if p.is_file())
    found["blobs"] = "\n".join(sorted(blobs)).encode()
    return found


def test_a_second_run_changes_nothing_byte_for_byte(tmp_path: Path) -> None:
    bountyguard(tmp_path, "run", DEMO / "drop", statuses=(1,))
    first = state(tmp_path)
    bountyguard(tmp_path, "run", DEMO / "drop", statuses=(1,))
    assert state(tmp_path) == first
    assert first["assessments"]


def test_json_on_standard_output_is_clean(tmp_path: Path) -> None:
    told = bountyguard(tmp_path, "run", DEMO / "drop", "--format", "json", statuses=(1,))
    report = orjson.loads(told)
    assert report["outcomes"]["approve"] > 0
    assert report["held"]
    held = report["held"][0]["submission_id"]
    answer = orjson.loads(bountyguard(tmp_path, "check", held, "--format", "json"))
    assert answer["outcome"] in ("block_and_review", "decline")
    why = orjson.loads(bountyguard(tmp_path, "explain", held, "--format", "json"))
    assert why["signals"]
    shown = bountyguard(tmp_path, "explain", "bicycle-6").decode()  # to people, letter by letter
    assert "Im{\u0430}gine the bike {\u0430}s" in shown
    assert "Im{a}gine the bike {a}s" in shown
    lines = bountyguard(tmp_path, "export", "assessments", "--format", "jsonl").splitlines()
    assert all(orjson.loads(line)["submission_id"] for line in lines)


def test_a_backtest_of_the_rulebook_in_force_holds_what_is_held(tmp_path: Path) -> None:
    told = bountyguard(tmp_path, "run", DEMO / "drop", "--format", "json", statuses=(1,))
    truth = ("--truth", DEMO / "truth.jsonl", "--format", "json")
    first = orjson.loads(bountyguard(tmp_path, "rules", "backtest", *truth))
    assert first == orjson.loads(bountyguard(tmp_path, "rules", "backtest", *truth))
    held = [m["submissions"] for m in first["money"] if m["outcome"] == "block_and_review"]
    assert sum(held) == orjson.loads(told)["outcomes"]["block_and_review"]
    assert first["false_holds"]["hits"] == 0


def test_an_unknown_submission_is_never_a_silent_yes(tmp_path: Path) -> None:
    answer = orjson.loads(bountyguard(tmp_path, "check", "nobody", "--format", "json"))
    assert answer["outcome"] == "block_and_review"
    assert answer["reason_codes"] == ["pending.analysis"]


@pytest.mark.market
def test_the_small_market_is_assessed_row_by_row(tmp_path: Path, market: Path) -> None:
    drop = market / "small" / "drop"
    bountyguard(tmp_path, "run", drop, statuses=(1,))
    first = state(tmp_path)
    truth = (market / "small" / "truth.jsonl").read_bytes().splitlines()
    valid = {orjson.loads(line)["submission_id"] for line in truth}
    assessed = [orjson.loads(line)["submission_id"] for line in first["assessments"].splitlines()]
    assert sorted(valid) == sorted(assessed)
    refused = {
        (row["file"], row["line"]): row["code"]
        for row in map(orjson.loads, first["quarantine"].splitlines())
    }
    expected = (market / "small" / "expected_quarantine.jsonl").read_bytes().splitlines()
    for row in map(orjson.loads, expected):
        assert refused[row["file"], row.get("line", row.get("row"))] == row["code"]
    bountyguard(tmp_path, "run", drop, statuses=(1,))
    assert state(tmp_path) == first


SOME = ("bicycle-", "poster-", "minutes-", "bird-", "sign-", "ring-", "broken-")


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the sample drop with every kind of row, so that a run is a matter of seconds."""
    drop = tmp_path_factory.mktemp("some") / "drop"
    shutil.copytree(DEMO / "drop", drop)
    lines = (drop / "submissions.jsonl").read_bytes().splitlines(keepends=True)
    kept = [x for x in lines if any(f'"{name}'.encode() in x for name in SOME)]
    (drop / "submissions.jsonl").write_bytes(b"".join(kept))
    return drop


@pytest.fixture(scope="module")
def undisturbed(
    some: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], float]:
    """The state after a run that nobody killed, and how long such a run takes."""
    home = tmp_path_factory.mktemp("undisturbed")
    bountyguard(home, "run", some, statuses=(1,))
    wanted = state(home)
    again = tmp_path_factory.mktemp("timed")
    start = time.monotonic()
    bountyguard(again, "run", some, statuses=(1,))
    return wanted, time.monotonic() - start


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_moment_and_run_again_it_ends_the_same(
    part: int, some: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    wanted, duration_s = undisturbed
    draw = random.Random(20260601 + part)
    for number in range(-(-KILLS // PARTS)):
        home = tmp_path / str(number)
        after_s = draw.uniform(0.15, 1.0) * duration_s
        with subprocess.Popen(
            command("run", some), env=environment(home), cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as victim:  # fmt: skip
            time.sleep(after_s)
            os.killpg(victim.pid, signal.SIGKILL)
        bountyguard(home, "run", some, statuses=(1,))
        found = state(home)
        different = [name for name in wanted if found[name] != wanted[name]]
        assert not different, f"killed after {after_s:.2f} s: {different} differ"
