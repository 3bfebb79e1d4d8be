"""What an event must be to be taken: by the column, with nothing lost and nothing invented."""

import polars as pl
import pytest

from pipeline.model import frames
from pipeline.model.eventrows import check_events

GOOD = {"event_id": "e", "session_id": "x", "worker_id": "w", "type": "page.view", "at": 1e12}


def checked(**change: object) -> tuple[int, list[str]]:
    row = GOOD | change
    result = check_events(pl.DataFrame([row], strict=False))
    assert result.kept.schema == dict(frames.EVENTS)
    return result.kept.height, result.refused["code"].to_list()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"event_id": None}, "event.missing_field"),
        ({"session_id": ""}, "event.missing_field"),
        ({"type": "mind.read"}, "event.unknown_type"),
        ({"at": "soon"}, "event.bad_time"),
        ({"at": None}, "event.bad_time"),
        ({"at": float("nan")}, "event.bad_time"),
        ({"at": -1.0}, "event.bad_time"),
        ({"at": 1e15}, "event.bad_time"),
        ({"received_at": "soon"}, "event.bad_time"),
        ({"lat": 91.0, "lon": 0.0}, "event.bad_position"),
        ({"lat": 0.0, "lon": float("inf")}, "event.bad_position"),
        ({"worker_id": "w" * 129}, "event.bad_id"),
    ],
)
def test_a_bad_event_says_what_is_wrong(change: dict[str, object], code: str) -> None:
    assert checked(**change) == (0, [code])


def test_a_good_event_is_taken_with_numbers_in_quotes() -> None:
    assert checked(x="12.5", at="1700000000000", received_at="2026-03-02T07:32:23.194Z") == (1, [])


def test_the_same_event_twice_is_one() -> None:
    twice = pl.DataFrame([GOOD, GOOD])
    assert check_events(twice).kept.height == 1


def test_no_events_are_no_trouble() -> None:
    assert check_events(pl.DataFrame()).kept.is_empty()
