"""The sample drop is what its generator makes, in the contract's form, small, and told by its README."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo"
REASON_FAMILIES = {"text", "file", "image", "provenance", "trajectory", "identity", "collusion"}


def lines(path: Path) -> list[Any]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            rows.append(None)
    return rows


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    program = ROOT / "scripts" / "make_demo_drop.py"
    subprocess.run([sys.executable, program, folder], check=True, capture_output=True)
    return folder


def test_it_is_at_most_a_megabyte() -> None:
    assert sum(p.stat().st_size for p in (ROOT / "data").rglob("*") if p.is_file()) <= 1_000_000


def test_the_generator_makes_it(remade: Path) -> None:
    for name in ("drop/tasks.jsonl", "drop/workers.jsonl", "drop/submissions.jsonl", "truth.jsonl"):
        assert (remade / name).read_bytes() == (DEMO / name).read_bytes()
    parquet = "drop/events/part-0.parquet"
    assert pl.read_parquet(remade / parquet).equals(pl.read_parquet(DEMO / parquet))
    made = sorted(p.name for p in (remade / "drop" / "blobs").iterdir())
    assert made == sorted(p.name for p in (DEMO / "drop" / "blobs").iterdir())


def test_truth_and_drop_name_each_other() -> None:
    truth = {row["submission_id"]: row for row in lines(DEMO / "truth.jsonl")}
    rows = [row for row in lines(DEMO / "drop" / "submissions.jsonl") if row]
    known = {row["submission_id"]: row for row in rows if "submission_id" in row}
    assert len(truth) == 79
    assert truth.keys() <= known.keys()
    assert {sid for sid in known.keys() - truth.keys()} == {
        "broken-polyglot", "broken-half", "broken-page", "broken-absent", "broken-outside",
    }  # fmt: skip
    for sid, told in truth.items():
        assert told["label"] in {"honest", "fraud"}
        assert (told["label"] == "fraud") == bool(told["kinds"])
        assert {kind.partition(".")[0] for kind in told["kinds"]} <= REASON_FAMILIES
        source = told["source_submission_id"]
        if source is not None:
            assert known[source]["submitted_at"] < known[sid]["submitted_at"]


def test_every_task_worker_and_file_is_there() -> None:
    drop = DEMO / "drop"
    tasks = {row["task_id"] for row in lines(drop / "tasks.jsonl")}
    workers = {row["worker_id"] for row in lines(drop / "workers.jsonl")}
    told = {row["submission_id"] for row in lines(DEMO / "truth.jsonl")}
    for row in lines(drop / "submissions.jsonl"):
        if row and row.get("submission_id") in told:
            assert row["task_id"] in tasks
            assert row["worker_id"] in workers
            assert all((drop / file["path"]).is_file() for file in row["attachments"])


def test_the_readme_names_what_was_done() -> None:
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for row in lines(DEMO / "truth.jsonl"):
        if row["label"] == "fraud" and not row["submission_id"].startswith("follow-"):
            assert f"`{row['submission_id']}`" in text
