"""Holdback: the share, who it is kept of, and what an operator may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.review.holdback import NOTHING_KEPT, PERCENT_MAX, Holdback, read_holdback


@given(st.integers(0, 10**12), st.integers(0, 100), st.integers(0, PERCENT_MAX), st.integers(1, 50))
def test_no_more_than_the_share_is_kept_and_only_of_newcomers(
    amount: int, before: int, percent: int, first: int
) -> None:
    kept = Holdback(percent, 14, first).kept(amount, before)
    assert 0 <= kept * 100 <= amount * percent
    assert kept == 0 or before < first
    assert NOTHING_KEPT.kept(amount, before) == 0


def test_terms_are_read() -> None:
    assert read_holdback("10") == Holdback(10, 14, 20)
    assert read_holdback("5:30:3") == Holdback(5, 30, 3)


@pytest.mark.parametrize(
    "bad", ["", "x", "10%", "51", "10:0", "10:14:0", "10:14:20:1", "-1", "1:400"]
)
def test_terms_that_cannot_be_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"10:14:20|percent"):
        read_holdback(bad)
