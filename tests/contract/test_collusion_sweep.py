"""The scheduled look says what judging would say, in any order of arrival, and writes nothing."""

from datetime import timedelta

import polars as pl

from detectors.checks.conformance import find
from detectors.checks.memory import MemoryPast, world_of
from detectors.collusion import detector
from detectors.collusion.sweep import sweep
from pipeline.model import frames


def worlds():
    crewed, _dealer, honest = detector.examples()
    return world_of(crewed, None), world_of(honest, None)


def test_it_names_the_submissions_that_judging_names():
    crewed, honest = worlds()
    at = crewed.submissions["submitted_at"].max()
    found = sweep(MemoryPast.of(crewed, [detector]), at)
    judged = find(detector, crewed).signals.filter(
        pl.col("reason_code") != "collusion.self_dealing"
    )
    assert set(found.submission_ids) == set(judged["submission_id"])
    (group,) = found.clusters
    assert {m.worker_id for m in group.members} == {f"crew{w}" for w in range(5)}
    assert not sweep(MemoryPast.of(honest, [detector]), at).clusters


def test_who_was_told_to_be_inside_a_group_is_judged_again():
    """A block that later arrivals explain away leaves signals behind that only judging takes back."""
    _, honest = worlds()
    at = honest.submissions["submitted_at"].max()
    told = honest.submissions["submission_id"].sort().head(2)
    stale = pl.DataFrame({"submission_id": told, "reason_code": "collusion.lockstep"})
    signals = pl.concat([frames.empty(frames.SIGNALS), stale], how="diagonal")
    past = MemoryPast(honest, frames.empty(frames.FINGERPRINTS), signals)
    found = sweep(past, at)
    assert found.submission_ids == tuple(told)
    assert not found.clusters


def test_neither_the_order_of_rows_nor_the_hour_within_a_window_matters():
    crewed, _ = worlds()
    at = crewed.submissions["submitted_at"].max()
    past = MemoryPast.of(crewed, [detector])
    assert sweep(past, at) == sweep(past, at + timedelta(hours=1))
    turned = type(crewed)(
        submissions=crewed.submissions.reverse(), contents=crewed.contents, tasks=crewed.tasks,
        workers=crewed.workers, events=crewed.events, blobs=crewed.blobs, decoder=crewed.decoder,
        assets=crewed.assets,
    )  # fmt: skip
    assert sweep(MemoryPast.of(turned, [detector]), at) == sweep(past, at)
    assert not sweep(past, at + timedelta(days=900)).clusters
