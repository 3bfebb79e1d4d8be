"""The identity room keeps the contract of a detector."""

import orjson
import polars as pl

from detectors.checks import Blind, check_detector
from detectors.checks.memory import MemoryPast, world_of
from detectors.identity import detector
from pipeline.model import frames
from pipeline.ports import Example


def test_the_room_keeps_the_contract():
    check_detector(detector, Blind())


def test_work_repeated_between_accounts_of_one_purse_corroborates_and_is_drawn():
    """What other rooms proved counts between accounts of a key, on record or found this moment."""
    example = Example(
        title="",
        workers=tuple({"worker_id": w, "payout_account_hash": "purse"} for w in ("a", "b")),
        submissions=tuple(
            {"submission_id": s, "worker_id": w, "task_id": s}
            for s, w in (("a0", "a"), ("a1", "a"), ("b0", "b"), ("b1", "b"))
        ),
    )
    world = world_of(example, None)
    row = {
        "detector": "image", "detector_version": "1", "reason_code": "image.near_duplicate",
        "p_value": None, "evidence": "{}",
    }  # fmt: skip
    said = pl.DataFrame(
        [
            row | {"submission_id": "b0", "strength": 0.9, "matched_submission_id": "a0",
                   "matched_worker_id": "a"},
            row | {"submission_id": "b1", "strength": 0.9, "matched_submission_id": "x0",
                   "matched_worker_id": "stranger"},
        ],
        schema=dict(frames.SIGNALS),
    )  # fmt: skip
    fingerprints = detector.fingerprint(world.batch())

    def found(batch, stored):
        told = detector.detect(batch, MemoryPast(world, fingerprints, stored)).signals
        return {r["submission_id"]: r for r in told.to_dicts()}

    plain = found(world.batch(), frames.empty(frames.SIGNALS))
    now = found(world.batch(signals=said), frames.empty(frames.SIGNALS))
    later = found(world.batch(["b1"]), said)
    assert now["b1"]["strength"] > plain["b1"]["strength"] + 0.2
    assert later["b1"] == now["b1"]
    evidence = orjson.loads(now["b1"]["evidence"])
    assert evidence["facts"]["copied_from_each_other"] == 1
    kinds = {(x["kind"], x["a"], x["b"]) for x in evidence["cluster"]["links"]}
    assert kinds == {("payout", "a", "b"), ("copy", "a", "b")}
