"""Hands: one person is told from two, never without enough strokes, a model or a cohort."""

import numpy as np
import polars as pl
import pytest

from detectors.checks.memory import world_of
from detectors.identity import examples, hand
from detectors.identity.ring import rings_of
from detectors.kit import strokes
from pipeline.ports import Example


def moments(person, sessions):
    points = [examples.movement(person, s) for s in sessions]
    owners = np.zeros(sum(len(p) for p in points), np.int64)
    t, x, y = np.concatenate(points).T
    return hand.moments_of(strokes.of_points(("s",), owners, t, x, y))["s"]


@pytest.fixture(scope="module")
def model():
    return hand.load(examples.people()[hand.ASSET])


def test_one_hand_is_told_from_two(model):
    """Forty people who are not in the fit: themselves on another day, and one another."""
    told = {f"{p}/{d}": moments(p, (10 * d, 10 * d + 1)) for p in range(40) for d in range(2)}
    same = [model.compare(f"{p}/0", f"{p}/1", told) for p in range(40)]
    other = [
        model.compare(f"{p}/0", f"{(p + k) % 40}/1", told) for p in range(40) for k in (1, 2, 3)
    ]
    assert sum(s is not None for s in same) >= 32
    assert np.mean([s.p_value <= hand.P_SURE for s in same if s]) >= 0.8
    assert np.mean([o.p_value <= hand.P_SURE for o in other if o]) <= 0.06
    assert max(s.log_ratio for s in same if s) <= hand.LOG_RATIO_MAX


def test_on_a_machine_that_the_cohort_does_not_know_nobody_is_compared(model):
    """A remote desktop hands on whole steps of the grid, late: there all people look like one."""

    def relayed(person):
        t, x, y = examples.movement(person, 0, count=40).T
        slow = strokes.of_points(
            ("s",), np.zeros(len(t), np.int64), 4 * t, np.round(x / 8) * 8, np.round(y / 8) * 8
        )
        return hand.moments_of(slow)["s"]

    told = {str(p): relayed(p) for p in range(12)}
    assert min(m[0] for m in told.values()) >= hand.STROKES_MIN
    assert all(model.compare(str(p), str(p + 1), told) is None for p in range(11))


def test_a_household_is_never_proven_by_its_hands(model):
    """Own tasks on one tablet: a hand as alike as can be leaves it worth a look."""
    alike = hand.Likeness(log_ratio=hand.LOG_RATIO_MAX, p_value=0.002, strokes=(90, 90), cohort=500)
    assert 0.2 <= hand.strength(-2.5, alike) < 0.5
    assert hand.strength(0.8, alike) > 0.5
    common = hand.Likeness(log_ratio=hand.LOG_RATIO_MAX, p_value=0.2, strokes=(90, 90), cohort=500)
    assert hand.strength(6.0, common) == 0.0


def test_too_few_strokes_or_people_say_nothing(model):
    few = moments(3, (0,)) * 0.5
    told = {"a": few, "b": moments(3, (1, 2))}
    assert few[0] < hand.STROKES_MIN
    assert model.compare("a", "b", told) is None
    assert model.compare("a", "nobody", told) is None
    submissions = pl.DataFrame({"submission_id": ["s"], "worker_id": ["w"]})
    rows = pl.DataFrame({"submission_id": ["s"], "value": [told["b"].astype("<f4").tobytes()]})
    assert hand.fit(submissions, rows) == {}
    assert hand.load(None) is None


def test_a_damaged_model_is_refused():
    with pytest.raises(ValueError, match="calibrate again"):
        hand.load(b"PK\x03\x04 no zip")


def test_hands_of_one_device_are_not_compared():
    """One machine marks every hand on it; only accounts that are paid together but work apart are."""
    example = Example(
        title="",
        workers=tuple({"worker_id": w, "payout_account_hash": "purse"} for w in ("a", "b", "c")),
        submissions=tuple(
            {"submission_id": w, "worker_id": w, "device_id": d}
            for w, d in (("a", "tower"), ("b", "tower"), ("c", "laptop"))
        ),
    )
    world = world_of(example, None)
    asked = []
    known = world.submissions.join(
        world.workers.drop("skills", "extra"), on="worker_id", maintain_order="left"
    )
    rings_of(known, world.tasks, lambda a, b: asked.append((a, b)))
    assert asked == [("a", "c")]
