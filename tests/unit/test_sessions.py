"""Which submission an event belongs to."""

from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.model import frames, sessions

START = datetime(2026, 1, 1, tzinfo=UTC)


def submissions(*rows: tuple[str, str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"submission_id": s, "session_id": x, "submitted_at": START + timedelta(minutes=m)}
            for s, x, m in rows
        ],
        schema_overrides={"submitted_at": frames.UTC},
    )


def events(*rows: tuple[str, str | None, int]) -> pl.DataFrame:
    made = [
        {
            "event_id": e,
            "session_id": "x",
            "worker_id": "w",
            "submission_id": s,
            "type": "page.view",
            "at": (START + timedelta(minutes=m)).timestamp() * 1000,
        }
        for e, s, m in rows
    ]
    return frames.conform(
        pl.DataFrame(made, schema_overrides={"submission_id": pl.String}), frames.EVENTS
    )


def assigned(found: pl.DataFrame) -> dict[str, str]:
    return dict(found.select("event_id", "submission_id").iter_rows())


def test_a_name_decides() -> None:
    found = sessions.assign(events(("e", "b", 1)), submissions(("a", "x", 5), ("b", "x", 9)))
    assert assigned(found) == {"e": "b"}


def test_an_unnamed_event_belongs_to_the_next_submission_or_else_to_the_last() -> None:
    log = events(("early", None, 1), ("between", None, 6), ("late", None, 20))
    found = sessions.assign(log, submissions(("a", "x", 5), ("b", "x", 9)))
    assert assigned(found) == {"early": "a", "between": "b", "late": "b"}


def test_events_of_other_sessions_are_left_out() -> None:
    found = sessions.assign(events(("e", None, 1), ("f", "z", 1)), submissions(("a", "y", 5)))
    assert found.is_empty()


def test_the_same_event_twice_is_one_event() -> None:
    found = sessions.assign(events(("e", None, 1), ("e", None, 1)), submissions(("a", "x", 5)))
    assert found.height == 1


def test_an_event_that_is_named_later_belongs_where_it_says() -> None:
    log = events(("e", None, 1), ("e", "b", 1))
    found = sessions.assign(log, submissions(("a", "x", 5), ("b", "x", 9)))
    assert found.select("event_id", "submission_id").rows() == [("e", "b")]


def test_another_session_cannot_take_away_an_event_by_using_its_id() -> None:
    log = events(("e", None, 1), ("e", None, 1)).with_columns(
        pl.Series("session_id", ["x", "y"], dtype=pl.String)
    )
    known = submissions(("a", "x", 5), ("b", "y", 5))
    assert sessions.assign(log, known)["submission_id"].to_list() == ["a", "b"]
    alone = sessions.assign(log.filter(pl.col("session_id") == "y"), known)
    assert alone["submission_id"].to_list() == ["b"]


def test_times_are_compared_on_the_clock_of_the_server() -> None:
    """The client's clock is 10 minutes slow: what it calls 4 past happened at 14 past."""
    received = pl.Series("received_at", [START + timedelta(minutes=m) for m in (11, 14)])
    log = events(("early", None, 1), ("late", None, 4)).with_columns(received.cast(frames.UTC))
    found = sessions.assign(log, submissions(("a", "x", 12), ("b", "x", 20)))
    assert assigned(found) == {"early": "a", "late": "b"}
