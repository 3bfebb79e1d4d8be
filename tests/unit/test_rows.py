"""What a row of a drop must be to be taken, and what is said of one that is not."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.errors import RowError
from pipeline.model.rows import check_submission, check_task, check_worker, decode_json

GOOD = {
    "submission_id": "s1",
    "task_id": "t1",
    "worker_id": "w1",
    "submitted_at": "2026-03-02T07:32:23.194Z",
}


def refused(row: object) -> str:
    with pytest.raises(RowError) as caught:
        check_submission(row)
    return caught.value.code


def test_a_good_row_is_taken_and_its_time_is_utc() -> None:
    row = check_submission(GOOD | {"submitted_at": "2026-03-02T15:32:23.194+08:00"})
    assert row["submitted_at"] == datetime(2026, 3, 2, 7, 32, 23, 194000, tzinfo=UTC)
    assert row["text"] == ""
    assert row["attachments"] == []


def test_unknown_columns_are_kept() -> None:
    assert check_submission(GOOD | {"mood": "sunny", "n": 3})["extra"] == '{"mood":"sunny","n":3}'


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"submission_id": None}, "row.missing_field"),
        ({"submission_id": ""}, "row.bad_id"),
        ({"submission_id": "q" * 129}, "row.bad_id"),
        ({"submission_id": 7}, "row.wrong_type"),
        ({"worker_id": "a\x00b"}, "row.bad_id"),
        ({"submitted_at": {}}, "row.wrong_type"),
        ({"submitted_at": "yesterday"}, "row.bad_time"),
        ({"submitted_at": "2026-03-02T07:32:23"}, "row.bad_time"),
        ({"submitted_at": "0001-01-01T00:00:00Z"}, "row.bad_time"),
        ({"attachments": "a.jpg"}, "row.wrong_type"),
        ({"attachments": [{"name": "no path"}]}, "row.missing_field"),
        ({"text": "a\x00b"}, "row.bad_text"),
        ({"text": 5}, "row.wrong_type"),
    ],
)
def test_a_bad_row_says_what_is_wrong(change: dict[str, object], code: str) -> None:
    assert refused(GOOD | change) == code


@pytest.mark.parametrize("row", [[], "text", 3, None])
def test_a_row_is_an_object(row: object) -> None:
    assert refused(row) == "row.wrong_type"


def test_money_is_a_whole_number_of_minor_units() -> None:
    assert check_task({"task_id": "t", "bounty_minor": 2250})["bounty_minor"] == 2250
    for wrong in ("ten", 22.5, -1):
        with pytest.raises(RowError):
            check_task({"task_id": "t", "bounty_minor": wrong})


def test_rows_that_came_as_text_may_have_numbers_in_quotes() -> None:
    task = check_task({"task_id": "t", "bounty_minor": "2250", "slots": "3"}, lax=True)
    assert (task["bounty_minor"], task["slots"]) == (2250, 3)
    assert check_worker({"worker_id": "w", "phone_verified": "true"}, lax=True)["phone_verified"]


def test_the_digest_is_of_the_content_and_not_of_its_order() -> None:
    turned = dict(reversed(list(GOOD.items())))
    assert check_submission(GOOD)["row_digest"] == check_submission(turned)["row_digest"]
    changed = check_submission(GOOD | {"text": "x"})["row_digest"]
    assert changed != check_submission(GOOD)["row_digest"]


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_any_value_is_taken_or_refused_with_a_code(value: object) -> None:
    for check in (check_task, check_worker, check_submission):
        row = GOOD | value if isinstance(value, dict) else value
        try:
            check(row)
        except RowError as error:
            assert error.code.startswith("row.")


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        decode_json(data)
    except RowError as error:
        assert error.code == "row.bad_json"
