"""Both rooms on the labelled development markets: every ring and block, and nobody honest."""

import os
from datetime import datetime
from pathlib import Path

import orjson
import polars as pl
import pytest

from detectors.checks.memory import MemoryBlobs, MemoryPast, World
from detectors.collusion import detector as collusion
from detectors.identity import detector as identity
from pipeline.model import frames

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[2] / ".." / "shared"))
SURE = 0.5


def lines(path):
    for line in path.read_bytes().splitlines():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            yield row


def moment(value):
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def world_of_drop(folder):
    """What these rooms read of a drop; rows that cannot be taken are left out."""
    given = folder / "drop"
    tasks = {
        r["task_id"]: {k: r.get(k) for k in ("task_id", "publisher_id", "currency")}
        | {"bounty_minor": m if isinstance(m := r.get("bounty_minor"), int) else None}
        for r in lines(given / "tasks.jsonl") if isinstance(r.get("task_id"), str)
    }  # fmt: skip
    workers = {
        r["worker_id"]: {k: r.get(k) for k in (
            "worker_id", "payout_account_hash", "phone_verified", "real_name_verified", "social_linked")}
        | {"registered_at": moment(r.get("registered_at"))}
        for r in lines(given / "workers.jsonl") if isinstance(r.get("worker_id"), str)
    }  # fmt: skip
    submissions = {
        r["submission_id"]: {k: r.get(k) for k in (
            "submission_id", "task_id", "worker_id", "session_id", "device_id", "ip", "supersedes")}
        | {"claimed_at": moment(r.get("claimed_at")), "submitted_at": at, "text": ""}
        for r in lines(given / "submissions.jsonl")
        if all(isinstance(r.get(k), str) and r[k] for k in ("submission_id", "task_id", "worker_id"))
        and (at := moment(r.get("submitted_at"))) is not None
    }  # fmt: skip

    def frame(rows, schema):
        made = pl.DataFrame(list(rows.values()), infer_schema_length=None, strict=False)
        return frames.conform(made, schema)

    return World(
        submissions=frame(submissions, frames.SUBMISSIONS),
        contents=frames.empty(frames.CONTENTS),
        tasks=frame(tasks, frames.TASKS),
        workers=frame(workers, frames.WORKERS),
        events=frames.empty(frames.EVENTS),
        blobs=MemoryBlobs(),
        decoder=None,
        assets={},
    )


@pytest.mark.market
@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize(
    ("detector", "scheme"), [(identity, "identity.ring"), (collusion, "collusion.block")]
)
def test_every_ring_and_block_and_nobody_honest(size, detector, scheme):
    folder = SHARED / "market" / size
    if not folder.exists():
        pytest.skip(f"the development market {size} is not beside the project")
    world = world_of_drop(folder)
    found = detector.detect(world.batch(), MemoryPast.of(world, [detector])).signals
    truth = {r["submission_id"]: r for r in lines(folder / "truth.jsonl")}
    known = set(world.submissions["submission_id"])
    ring = {s for s, r in truth.items() if r.get("scheme") == scheme and s in known}
    honest = {s for s, r in truth.items() if r["label"] == "honest" and not r.get("ambiguous")}
    sure = set(found.filter(pl.col("strength") >= SURE)["submission_id"])
    named = set(found["submission_id"])
    assert ring <= sure
    assert not named & honest
    assert found["evidence"].str.len_bytes().max() <= 4096
    looks = {r.get("confounder") for s, r in truth.items() if s in named}
    assert not looks & {"office_nat", "popular_publisher"}
