"""The life of a rule: steps, agreement, stepping back by itself, and going back to an old revision."""

import polars as pl
import pytest

from pipeline.model.errors import StoreError, UsageError
from pipeline.rulebook import shipped
from pipeline.rulebook.engine import in_share
from pipeline.rulebook.life import RECORD, Step, breaker, rollback, take
from pipeline.rulebook.restoring import restore

RULE = "copies.text_contained"


def test_a_step_gives_another_revision_and_leaves_the_old_one() -> None:
    book = shipped()
    digest = book.digest
    now = take(book, Step(rule=RULE, to="paused", by="ann", why="floods"))
    assert book.digest == digest != now.digest
    assert now.by_id[RULE].status == "paused"
    back = take(now, Step(rule=RULE, to="live", by="ann", why="mended"))
    assert back.digest == digest


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (Step(rule="no.such", to="live", by="a", why=""), "rules.no_such_rule"),
        (Step(rule=RULE, to="draft", by="a", why=""), "rules.no_such_step"),
        (Step(rule=RULE, to="rollout", by="a", why="", share=101.0), "rules.share"),
        (Step(rule=RULE, to="rollout", by="a", why="", approved_by=("a",)), "rules.not_approved"),
    ],
)
def test_what_must_not_follow_is_refused(step: Step, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        take(shipped(), step, approvals_min=2)
    assert caught.value.code == code


def test_two_people_make_a_rule_count_and_one_can_stop_it() -> None:
    book = shipped()
    step = Step(rule=RULE, to="rollout", by="ann", why="", share=10.0, approved_by=("bo",))
    assert take(book, step, approvals_min=2).by_id[RULE].share == 10.0
    take(book, Step(rule=RULE, to="shadow", by="ann", why=""), approvals_min=2)


def test_an_archived_rule_stays_archived() -> None:
    book = take(shipped(), Step(rule=RULE, to="archived", by="a", why=""))
    with pytest.raises(UsageError, match="comes nothing"):
        take(book, Step(rule=RULE, to="live", by="a", why=""))


def test_a_share_is_sticky_while_it_grows() -> None:
    workers = [f"w{i}" for i in range(4000)]
    shares = {s: {w for w in workers if in_share("a.b", w, s)} for s in (0.0, 5.0, 25.0, 100.0)}
    assert shares[0.0] == set()
    assert shares[5.0] < shares[25.0] < shares[100.0] == set(workers)
    assert 0.22 < len(shares[25.0]) / 4000 < 0.28
    assert {w for w in workers if in_share("c.d", w, 25.0)} != shares[25.0]


def record(*rows: tuple[str, int, int, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RECORD, orient="row")


def test_a_rule_past_its_limit_steps_back_and_says_so() -> None:
    book = shipped()
    bad = record((RULE, 1000, 60, 40, 5), ("copies.file_identical", 1000, 250, 0, 0))
    after, tripped = breaker(book, bad)
    assert {t.rule for t in tripped} == {RULE, "copies.file_identical"}
    assert all(after.by_id[t.rule].status == "shadow" for t in tripped)
    assert "5 of 40 decided cases were overturned (12%" in next(
        t.why for t in tripped if t.rule == RULE
    )
    assert breaker(after, bad) == (after, ())


def test_a_rule_within_its_limits_or_with_few_cases_stays() -> None:
    book = shipped()
    fine = record((RULE, 199, 199, 29, 29), ("no.such", 9999, 9999, 99, 99))
    assert breaker(book, fine) == (book, ())


def test_old_revisions_are_restored_bit_for_bit_and_rolled_back_to() -> None:
    book = shipped()
    again = restore(book.canonical(), book.digest)
    assert again == book
    assert again.canonical() == book.canonical()
    later = take(book, Step(rule=RULE, to="paused", by="a", why=""))
    assert rollback([book, later], book.digest[:12]) == book
    with pytest.raises(UsageError, match="no revision"):
        rollback([book], "0" * 64)
    with pytest.raises(UsageError, match="no revision"):
        rollback([book], "")
    with pytest.raises(StoreError, match="not 0000"):
        restore(book.canonical(), "0" * 64)
