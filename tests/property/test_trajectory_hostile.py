"""Whatever a log holds: an answer or an abstention, never a crash and never an accusation."""

import math
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.checks import Blind, world_of
from detectors.checks.conformance import check_order_free, find
from detectors.trajectory import detector, examples, picture
from pipeline.model import frames
from pipeline.ports import Example


def judge(events: list[dict[str, Any]]) -> set[str]:
    one = Example(
        title="",
        submissions=({"submission_id": "a", "session_id": "x"},),
        events=tuple(
            {"submission_id": "a", "session_id": "x", "worker_id": "w"} | e for e in events
        ),
    )
    world = world_of(one, Blind())
    picture(world.batch().events, world.batch().events, title="<a>", pairs=[(0, 0)])
    return set(find(detector, world).signals["reason_code"])


def move(i: int, at: float, x: float | None, y: float | None) -> dict[str, Any]:
    return {
        "event_id": f"e{i}", "type": "pointer.move", "pointer_type": "mouse",
        "at": at, "x": x, "y": y,
    }  # fmt: skip


ODD = [0.0, -1.0, math.nan, math.inf, -math.inf, 1e9, -1e9, 1e300, 5e-324, None]


@pytest.mark.parametrize("value", ODD)
def test_odd_coordinates(value: float | None) -> None:
    assert judge([move(i, 1e12 + 16.0 * i, value, value) for i in range(60)]) == set()


@pytest.mark.parametrize("value", [0.0, -1e12, math.nan, math.inf, -math.inf, 1e300])
def test_odd_times(value: float) -> None:
    assert judge([move(i, value, float(7 * i), float(i * i % 50)) for i in range(60)]) == set()


def test_nothing_and_almost_nothing() -> None:
    assert judge([]) == set()
    assert judge([move(0, 1e12, 5.0, 5.0)]) == set()


def test_many_moves_at_one_place_and_time() -> None:
    rows = [move(i, 1e12, 5.0, 5.0) for i in range(20_000)]
    assert judge(rows) == set()


def test_very_many_strokes_along_a_ruler_among_others() -> None:
    """More ways to choose them than a float can count."""
    rows = []
    for stroke in range(1200):
        for k in range(9):
            wobble = 0.0 if stroke % 2 else 40.0 * math.sin(k * stroke)
            at = 1e12 + 1000.0 * stroke + 16.0 * k
            rows.append(move(len(rows), at, 20.0 * k, 300.0 + wobble))
    assert judge(rows) == {"trajectory.automated"}


@pytest.mark.parametrize("gap", [1.0, 16.0, 100.0])
def test_a_session_of_very_many_events(gap: float) -> None:
    """30,000 of them; a million where BOUNTYGUARD_LONG is set."""
    draw = np.random.default_rng(1)
    count = 1_000_000 if "BOUNTYGUARD_LONG" in os.environ else 30_000
    at = 1e12 + np.cumsum(draw.choice([gap, 300.0], count, p=[0.9, 0.1]))
    place = np.cumsum(draw.normal(0.0, 4.0, (count, 2)), axis=0)
    columns = {
        "event_id": [f"e{i}" for i in range(count)], "session_id": "x", "worker_id": "w",
        "submission_id": "a", "type": "pointer.move", "pointer_type": "mouse", "at": at,
        "x": place[:, 0], "y": place[:, 1],
    }  # fmt: skip
    world = replace(
        world_of(
            Example(title="", submissions=({"submission_id": "a", "session_id": "x"},)), Blind()
        ),
        events=frames.conform(pl.DataFrame(columns), frames.EVENTS),
    )
    drawn = picture(world.batch().events, world.batch().events)
    assert len(drawn) < 2_000_000
    assert find(detector, world).signals.is_empty()


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    ["pointer.move", "pointer.down", "pointer.up", "key.down", "clipboard.paste",
                     "wheel", "focus.loss"]
                ),
                "at": st.floats() | st.floats(1e12, 1e12 + 1e5),
                "x": st.none() | st.floats() | st.floats(0, 2000),
                "y": st.none() | st.floats() | st.floats(0, 2000),
                "pointer_type": st.sampled_from(["mouse", "touch", "pen", "", None]),
                "key_class": st.sampled_from(["character", "editing", None]),
                "length": st.none() | st.integers(-(2**62), 2**62),
            }
        ),
        max_size=40,
    )
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_log(rows: list[dict[str, Any]]) -> None:
    judge([{"event_id": f"e{i}"} | row for i, row in enumerate(rows)])


@given(
    st.floats() | st.floats(-90, 90), st.floats() | st.floats(-180, 180),
    st.none() | st.floats(), st.booleans(),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_any_position(lat: float, lon: float, accuracy: float | None, mocked: bool) -> None:
    ping = {
        "event_id": "g", "type": "geo.ping", "at": 1e12, "lat": lat, "lon": lon,
        "accuracy_m": accuracy, "mocked": mocked,
    }  # fmt: skip
    assert judge([ping]) <= ({"trajectory.location_mocked"} if mocked else set())


def test_order_of_arrival_changes_no_finding_among_replays_of_replays() -> None:
    submissions, events = [], []
    for i in range(5):
        sid, at = f"s{i}", examples.START + timedelta(hours=i)
        submissions.append(examples.sent(sid, at))
        hand = 1 if i in (0, 2, 4) else 10 + i
        events += examples.moves(sid, at, seed=hand, scale=1.0 + 0.01 * i, shake=0.4 * (i > 0))
    world = world_of(
        Example(title="", submissions=tuple(submissions), events=tuple(events)), Blind()
    )
    found = find(detector, world).signals
    assert set(found["submission_id"]) == {"s2", "s4"}
    check_order_free(detector, world, tries=3, seed=7)
