"""The life of the rulebook on a real house: steps, going back, the breaker, recall, the promise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from pipeline.bootstrap import House, open_house, rulebook_of
from pipeline.line import run_line
from pipeline.model.errors import UsageError
from pipeline.rulebook import Rulebook, shipped
from pipeline.rulebook.life import Step
from pipeline.ruling import preview, promised, recall, record_of, roll_back, step, trip
from pipeline.settings import Settings
from pipeline.stores.exports import export

DROP = Path(__file__).resolve().parents[2] / "data" / "demo" / "drop"
RULE = "copies.file_identical"
ACCOUNTS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")


@contextmanager
def house(folder: Path, url: str | None = None, **more: int) -> Iterator[House]:
    home = folder.resolve()
    settings = Settings(
        home=home,
        database_url=url or f"sqlite:///{home / 'bountyguard.db'}",
        fixed_clock=datetime(2026, 6, 1, tzinfo=UTC),
        **more,
    )
    with open_house(settings) as opened:
        yield opened


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as opened:
        yield opened


def bad(book: Rulebook) -> Rulebook:
    """A revision that holds what should be looked at, and only looks at copied files."""
    harsh = replace(book, hold_at=25)
    copied = (RULE, "copies.image_region_reused", "copies.image_near_duplicate")
    return harsh.with_status({rule: ("paused", 100.0) for rule in copied})


def books(opened: House) -> dict[str, pl.DataFrame]:
    """Where everybody's money and standing lie, whatever way they came there."""
    frames = opened.ledger.export_frames()
    workers = export(opened.database, "workers")["worker_id"].to_list()
    sums = pl.col("credits_posted") - pl.col("debits_posted")
    waiting = pl.col("credits_pending") - pl.col("debits_pending")
    accounts = frames["accounts"].select("account_id", sums, waiting.alias("waiting"))
    return {
        "accounts": accounts.filter((pl.col("credits_posted") != 0) | (pl.col("waiting") != 0)),
        "payouts": frames["payouts"].select("payout_key", "state", "amount_minor"),
        "standing": opened.ledger.standing(workers).sort("worker_id"),
        "open": frames["payouts"]
        .filter(pl.col("case_state") == "open")
        .select("payout_key", "case_kind"),
    }


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("full")) as opened:
        run_line(opened, DROP)
        yield opened


@pytest.fixture(scope="module")
def good(full: House) -> dict[str, pl.DataFrame]:
    return books(full)


def test_recalling_a_revision_puts_every_ledger_where_it_would_have_stood(
    tmp_path: Path, database_url: str, good: dict[str, pl.DataFrame]
) -> None:
    with house(tmp_path / "bent", database_url) as bent:
        wrong = bad(shipped())
        bent.rulebooks.keep(wrong)
        roll_back(bent, wrong.digest, by="ann", why="by mistake")
        run_line(bent, DROP)
        assert not books(bent)["accounts"].equals(good["accounts"])
        with pytest.raises(UsageError, match="in force"):
            preview(bent, wrong.digest[:12])
        roll_back(bent, None, by="ann", why="it holds honest work")
        undo = preview(bent, wrong.digest[:12])
        assert undo.released_minor
        assert undo.held_minor
        recall(bent, wrong.digest, by="ann", why="it holds honest work")
        again = preview(bent, wrong.digest)
        paid = undo.actions.filter(pl.col("action") == "hold")["submission_id"].to_list()
        check_restored(bent, good, paid)
        assert set(again.actions["action"]) <= {"hold"}  # paid: a case is open, the money is out
        assert not bent.ledger.reconcile()
        assert not bent.audit().verify()


def check_restored(bent: House, good: dict[str, pl.DataFrame], paid: list[str]) -> None:
    """All is where it would be but for what was paid meanwhile, on which cases are open now."""
    now = books(bent)
    out = bent.ledger.export_frames()["payouts"].filter(pl.col("submission_id").is_in(paid))
    assert set(out["state"]) == {"posted"}
    assert set(out["case_kind"]) == {"late"}
    assert set(out["case_state"]) == {"open"}
    elsewhere = pl.col("payout_key").is_in(out["payout_key"].to_list())
    for name in ("payouts", "open"):
        assert now[name].filter(~elsewhere).equals(good[name].filter(~elsewhere)), name
    theirs = pl.col("worker_id").is_in(out["worker_id"].to_list())
    assert now["standing"].filter(~theirs).equals(good["standing"].filter(~theirs))
    touched = [f":{w}" for w in {*out["worker_id"], *out["task_id"], *out["publisher_id"]}]
    mine = pl.any_horizontal(pl.col("account_id").str.ends_with(t) for t in touched)
    assert now["accounts"].filter(~mine).equals(good["accounts"].filter(~mine))


def test_a_step_is_in_force_until_somebody_edits_the_file(empty: House) -> None:
    done = step(empty, Step(rule=RULE, to="paused", by="ann", why="floods"))
    assert not done.waits
    assert empty.rulebook().by_id[RULE].status == "paused"
    assert done.rulebook.digest == empty.rulebook().digest != shipped().digest
    edited = shipped().with_status({RULE: ("shadow", 100.0)})
    assert empty.rulebooks.in_force(edited).by_id[RULE].status == "shadow"
    with empty.database.read() as connection:
        rows = connection.execute(sa.text("select actor, action, subject from audit")).all()
    assert ("ann", "rule.stepped", RULE) in [tuple(r) for r in rows]


def test_four_eyes_let_a_rule_count_and_two_stop_it(tmp_path: Path) -> None:
    with house(tmp_path, rule_approvals=2) as opened:
        assert not step(opened, Step(rule=RULE, to="paused", by="ann", why="")).waits
        back = Step(rule=RULE, to="live", by="ann", why="mended")
        assert step(opened, back).waits
        assert step(opened, back).waits  # the same person twice is one person
        assert opened.rulebook().by_id[RULE].status == "paused"
        assert not step(opened, replace(back, by="bo")).waits
        assert opened.rulebook().by_id[RULE].status == "live"


def test_a_revision_comes_back_by_the_beginning_of_its_digest(empty: House) -> None:
    old = replace(shipped(), hold_at=70)
    empty.rulebooks.keep(old)
    step(empty, Step(rule=RULE, to="paused", by="ann", why=""))
    assert roll_back(empty, old.digest[:8], by="ann", why="").digest == old.digest
    assert roll_back(empty, None, by="ann", why="").digest == shipped().digest
    for unknown in (old.digest[:7], "0" * 8, "%" * 8):
        with pytest.raises(UsageError) as refused:
            roll_back(empty, unknown, by="ann", why="")
        assert refused.value.code == "rules.no_such_revision"


def test_every_rulebook_that_judged_is_on_record(full: House) -> None:
    assert full.rulebooks.revisions()["digest"].to_list() == [shipped().digest]
    assert full.rulebooks.find(shipped().digest[:16]) == shipped()


@pytest.mark.usefixtures("good")
def test_a_rule_whose_holds_are_overturned_steps_back_by_itself(full: House) -> None:
    book = full.rulebook()
    record = record_of(full, book)
    assert record.filter(pl.col("rule") == RULE).select("hits", "decided").row(0)[0] > 0
    assert trip(full) == ()
    strict = replace(book.by_id[RULE].limits, overturned_min=1, overturned_max=0.0)
    written = replace(
        book, rules=tuple(replace(r, limits=strict) if r.id == RULE else r for r in book.rules)
    )
    full.rulebooks.keep(written)
    full.rulebooks.pin(written.digest)
    cases = full.ledger.export_frames()["cases"].filter(
        pl.col("rules").list.contains(RULE) & (pl.col("state") == "open")
    )
    full.ledger.decide(cases["case_id"][0], "overturn", person="ann", reason="it was their own")
    (tripped,) = trip(full)
    assert tripped.rule == RULE
    assert "1 of 1 decided cases were overturned" in tripped.why
    assert full.rulebook().by_id[RULE].status == "shadow"
    assert trip(full) == ()
    full.rulebooks.pin(None)
    full.rulebooks.forget_steps()


def test_a_promise_on_too_few_honest_payouts_holds_nothing_by_points(full: House) -> None:
    assert full.bench().promise is None
    made = promised(full)
    assert sum(t.honest for t in made.slices.values()) > 10
    assert not any(t.enough for t in made.slices.values())
    assert full.bench().promise == made
    step(full, Step(rule=RULE, to="paused", by="ann", why=""))
    assert full.bench().promise is None  # it was made for another revision
    full.rulebooks.forget_steps()
    assert rulebook_of(full.settings).digest == full.rulebook().digest
    full.rulebooks.promise(full.rulebook().digest, None)
    assert full.bench().promise is None
