"""The ledger's contract, on SQLite and on PostgreSQL: payouts, cases, appeals, deadlines, audit."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ledger_worlds import World
from pipeline.model.errors import LedgerError, StoreError
from pipeline.stages import settle
from pipeline.stores import ledger_cases as cases
from pipeline.stores import ledger_instructions as instructions
from pipeline.stores import ledger_payouts as payouts
from pipeline.stores.audit import AuditLog, CheckpointFile
from pipeline.stores.database import Database, open_database
from pipeline.stores.keys import KeyRing
from pipeline.stores.ledger_books import Books
from pipeline.stores.ledger_facts import read_facts
from pipeline.stores.ledger_writer import Writer
from pipeline.stores.tables import ledger as tables

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("BOUNTYGUARD_LEDGER_KILLS", "4"))
"""Set it to 10000 for a night."""


@pytest.fixture
def world(database: Database) -> World:
    made = World(database)
    made.task("t")
    return made


def test_each_outcome_moves_the_money_as_it_says(world: World) -> None:
    for i, outcome in enumerate(("approve", "review", "block_and_review", "decline")):
        world.submit(outcome, worker=outcome, minute=i)
        world.judge(outcome, outcome)
    assert world.settle() == {"post": 2, "hold": 1, "void": 1}
    states = {p["submission_id"]: (p["state"], p["case_kind"]) for p in world.frame("payouts")}
    assert states == {
        "approve": ("posted", None), "review": ("posted", "look"),
        "block_and_review": ("held", "hold"), "decline": ("voided", "decline"),
    }  # fmt: skip
    assert [world.paid(w) for w in states] == [
        100 if s == "posted" else 0 for s, _ in states.values()
    ]
    before = {n: f.to_dicts() for n, f in world.ledger.export_frames().items()}
    world.clock.step(hours=1)
    assert world.settle() == {}
    assert {n: f.to_dicts() for n, f in world.ledger.export_frames().items()} == before
    world.whole()


def test_what_waits_for_analysis_is_paid_when_it_is_whole_and_asks_no_person(world: World) -> None:
    world.submit("s")
    world.judge(
        "s", "block_and_review", codes=["degraded.image", "text.contained"], risk="elevated"
    )
    assert world.settle() == {"wait": 1}
    assert (world.payout("s")["state"], world.frame("cases")) == ("waiting", [])
    world.judge("s", "approve", 2)
    assert world.settle() == {"post": 1}
    assert world.paid() == 100
    world.whole()


def test_a_revision_is_the_same_payout_whatever_arrives_first(world: World) -> None:
    world.submit("v2", minute=5, supersedes="v1")
    world.judge("v2", "approve")
    assert world.settle() == {"post": 1}
    world.submit("v1", minute=1)
    world.judge("v1", "approve")
    world.submit("v3", minute=9, supersedes="v2")
    world.judge("v3", "approve")
    assert world.settle() == {}
    assert world.paid() == 100


def test_nobody_takes_anothers_payout_by_naming_their_work(world: World) -> None:
    world.submit("thief", worker="x", minute=1, supersedes="mine")
    world.judge("thief", "approve")
    world.settle()
    world.submit("mine", worker="w", minute=0)
    world.judge("mine", "approve")
    assert world.settle() == {"post": 1}
    assert (world.paid("w"), world.paid("x")) == (100, 100)


def test_a_root_that_arrives_between_two_paid_revisions_pays_nothing_more(world: World) -> None:
    world.submit("v2", minute=2, supersedes="v1")
    world.judge("v2", "approve")
    world.settle()
    world.submit("v1", minute=1, supersedes="v0")
    world.submit("v0", minute=0)
    for name in ("v0", "v1"):
        world.judge(name, "approve")
    assert world.settle() == {}
    assert world.paid() == 100


def test_slots_are_paid_to_the_earliest_and_a_void_frees_one(world: World) -> None:
    world.task("two", slots=2)
    for minute, (name, outcome) in enumerate(
        {"a": "block_and_review", "b": "approve", "c": "approve"}.items()
    ):
        world.submit(name, "two", worker=name, minute=minute)
        world.judge(name, outcome)
    assert world.settle() == {"hold": 1, "post": 1}
    world.ledger.decide(world.case("a"), "confirm", person="ann", reason="copied")
    assert world.settle() == {"post": 1}
    world.ledger.appeal(world.case("a"), worker_id="a", text="mine")
    world.ledger.decide(world.case("a"), "overturn", person="bob", reason="it was theirs")
    assert [world.paid(w) for w in "abc"] == [100, 100, 100]
    assert world.ledger.balance("platform", "overturned", "CNY")[0] <= 0
    world.whole()


def test_a_paid_one_is_never_flipped_by_a_later_finding(world: World) -> None:
    world.submit("s")
    world.judge("s", "approve")
    world.settle()
    world.judge("s", "decline", 2)
    assert world.settle() == {"late": 1}
    assert (world.payout("s")["state"], world.paid()) == ("posted", 100)
    world.ledger.decide(world.case("s"), "overturn", person="ann", reason="nothing to it")
    world.judge("s", "decline", 3)
    assert world.settle() == {}, "the same finding was judged by a person already"
    world.judge("s", "decline", 4, codes=["image.near_duplicate"])
    assert world.settle() == {"late": 1}
    world.whole()


def test_two_cases_about_one_payout_punish_once(world: World) -> None:
    world.submit("s")
    world.judge("s", "review")
    assert world.settle() == {"post": 1}
    world.ledger.decide(world.case("s"), "confirm", person="ann", reason="a copy")
    world.judge("s", "block_and_review", 2)
    assert world.settle() == {"late": 1}
    world.ledger.decide(world.case("s"), "confirm", person="ann", reason="the same bytes too")
    kinds = [e["kind"] for e in world.frame("credit")]
    assert (kinds.count("confirmed_fraud"), kinds.count("reversal")) == (2, 1)
    assert world.ledger.standing(["w"])["confirmed"].to_list() == [1]
    world.ledger.appeal(world.case("s"), worker_id="w", text="it is mine")
    world.ledger.decide(world.case("s"), "overturn", person="bob", reason="it is")
    assert world.ledger.standing(["w"])["confirmed"].to_list() == [0]


def test_a_hold_that_the_newest_evaluation_does_not_support_is_withdrawn(world: World) -> None:
    for name, outcome in (("s", "block_and_review"), ("d", "decline")):
        world.submit(name, worker=name)
        world.judge(name, outcome)
    world.settle()
    for name in "sd":
        world.judge(name, "approve", 2)
    assert world.settle() == {"withdraw": 2}
    assert [world.paid(n) for n in "sd"] == [100, 100]
    assert {c["state"] for c in world.frame("cases")} == {"withdrawn"}
    world.whole()


@pytest.mark.parametrize(
    "steps", ["review approve", "approve review", "review approve review", "approve review approve"]
)
def test_what_was_judged_in_steps_ends_where_one_step_ends(world: World, steps: str) -> None:
    """Money, open cases and credit, now and when nobody has decided for a week."""
    outcomes = steps.split()
    for worker in ("stepwise", "at once"):
        world.submit(worker, worker=worker)
    for revision, outcome in enumerate(outcomes, 1):
        world.judge("stepwise", outcome, revision)
        world.settle()
    world.judge("at once", outcomes[-1])
    world.settle()

    def where(worker: str) -> list[Any]:
        row = world.payout(worker)
        now_open = row["case_kind"] if row["case_state"] == "open" else None
        told = world.ledger.standing([worker]).drop("worker_id").row(0)
        return [row["state"], now_open, world.paid(worker), told]

    assert where("stepwise") == where("at once")
    world.clock.step(days=8)
    world.ledger.keep_deadlines()
    assert where("stepwise") == where("at once")
    assert world.settle() == {}
    world.whole()


def test_an_unknown_price_is_not_paid_and_not_forgotten(world: World) -> None:
    world.submit("s", task="later")
    world.submit("h", task="later", worker="h")
    world.judge("s", "approve")
    world.judge("h", "block_and_review")
    report = world.ledger.settle(settle.plan)
    assert (dict(report.done), report.unpriced) == ({"hold": 1}, 1)
    world.ledger.decide(world.case("h"), "overturn", person="ann", reason="fine")
    world.task("later", 70)
    assert world.settle() == {"post": 2}
    assert (world.paid("w"), world.paid("h")) == (70, 70)
    world.whole()


def test_a_group_is_one_case_and_is_decided_together(world: World) -> None:
    for name in "abc":
        world.submit(name, worker=name)
        world.judge(name, "block_and_review", codes=["collusion.dense_block"], cluster="ring")
    world.settle()
    assert len({c["case_id"] for c in world.frame("cases")}) == 1
    world.ledger.decide(world.case("a"), "confirm", person="ann", reason="one crew")
    kinds = [e["kind"] for e in world.frame("credit")]
    assert kinds == ["confirmed_fraud"] * 3
    world.whole()


def test_overturning_restores_money_credit_and_standing_in_one(world: World) -> None:
    world.submit("s")
    world.judge("s", "block_and_review")
    world.settle()
    case = world.case("s")
    newcomer = world.ledger.standing(["w"]).row(0, named=True)
    world.ledger.decide(case, "confirm", person="ann", reason="copied")
    (fraud,) = world.frame("credit")
    assert (fraud["rule"], fraud["ruleset_digest"], fraud["revision"]) == (
        "copies.identical",
        "r",
        1,
    )
    assert world.ledger.standing(["w"])["level"][0] == "c_only"
    world.ledger.appeal(case, worker_id="w", text="it is mine")
    with pytest.raises(LedgerError, match="somebody else"):
        world.ledger.decide(case, "overturn", person="ann", reason="oh")
    world.ledger.decide(case, "overturn", person="bob", reason="it is theirs")
    after = world.ledger.standing(["w"]).row(0, named=True)
    assert (after["level"], after["good"], after["bad"]) == ("open", 1.0, 0.0)
    assert after["lower"] > newcomer["lower"]
    assert (world.paid(), after["overturned"]) == (100, 1)
    with pytest.raises(LedgerError, match="overturned"):
        world.ledger.decide(case, "confirm", person="cy", reason="again")
    world.whole()


def test_nobody_decides_in_time(world: World) -> None:
    world.task("dear", 50_000)
    for name, task, outcome in (
        ("small", "t", "block_and_review"), ("big", "dear", "block_and_review"),
        ("look", "t", "review"), ("declined", "t", "decline"),
    ):  # fmt: skip
        world.submit(name, task, worker=name)
        world.judge(name, outcome)
    world.settle()
    assert world.ledger.keep_deadlines() == {}
    world.clock.step(hours=73)
    assert world.ledger.keep_deadlines() == {"released": 1, "escalated": 1}
    assert (world.paid("small"), world.payout("big")["state"]) == (100, "held")
    world.clock.step(days=20)
    done = world.ledger.keep_deadlines()
    assert done["lapsed"] == 1
    world.clock.step(days=20)
    world.ledger.keep_deadlines()
    refunds = [t for t in world.frame("transfers") if t["kind"] == "refund"]
    assert [t["submission_id"] for t in refunds] == ["declined"]
    assert {p["disbursement"] for p in world.frame("payouts") if p["submission_id"] == "look"} == {
        "expired"
    }
    world.whole()


def test_reports_lose_weight_when_they_are_wrong_and_make_a_person_look(world: World) -> None:
    for name in "abcd":
        world.submit(name, worker=name)
        world.judge(name, "approve")
    world.settle()
    for who in ("r1", "r2"):
        world.ledger.report(reporter_id=who, submission_id="a", reason="seen elsewhere")
    assert world.payout("a")["case_kind"] == "late"
    world.ledger.decide(world.case("a"), "overturn", person="ann", reason="nothing to it")
    assert world.paid("a") == 100
    again = world.ledger.report(reporter_id="r1", submission_id="b", reason="this one too")
    assert again["weight_permille"] == 500
    assert world.ledger.report(reporter_id="r1", submission_id="b", reason="x")["filed_at"]
    world.whole()


def test_a_plan_reads_only_what_was_judged_since_the_last(world: World) -> None:
    world.task("other", slots=None)
    for i in range(6):
        world.submit(f"s{i}", "other" if i % 2 else "t", worker=f"w{i}", minute=i)
        world.judge(f"s{i}", "approve")
    assert set(read_facts(world.database).submissions["task_id"]) == {"t", "other"}
    world.settle()
    assert read_facts(world.database).submissions.is_empty()
    world.judge("s1", "block_and_review", revision=2, codes=["file.identical"])
    facts = read_facts(world.database)
    assert facts.submissions["submission_id"].to_list() == ["s1"]
    assert dict(facts.standing.select("submission_id", "revision").iter_rows())["s1"] == 2
    assert facts.payouts.height == facts.members.height == 1
    assert dict(facts.taken.iter_rows()) == {"other": 3}
    world.settle()
    assert world.payout("s1")["case_kind"] == "late"
    world.judge("s3", "block_and_review", revision=2)
    world.judge("s5", "review", revision=2)
    world.submit("held", "t", worker="held", minute=8)
    world.judge("held", "decline")
    world.settle()
    assert read_facts(world.database).submissions.is_empty()  # cases are open, nothing is new
    world.judge("held", "approve", revision=2)
    assert "held" in set(read_facts(world.database).submissions["submission_id"])
    world.submit("s6", "t", worker="w6", minute=9)
    world.settle()
    assert "s6" not in set(read_facts(world.database).submissions["submission_id"])
    world.judge("s6", "approve")
    assert "s6" in set(read_facts(world.database).submissions["submission_id"])


def test_two_settlers_at_once_pay_once(world: World) -> None:
    world.task("five", slots=5)
    for i in range(30):
        world.submit(f"s{i:02}", "five" if i % 2 else "t", worker=f"w{i}", minute=i)
        world.judge(f"s{i:02}", "approve")
    plan = settle.plan(read_facts(world.database))
    with ThreadPoolExecutor(4) as pool:
        done = [f.result() for f in [pool.submit(world.ledger.carry_out, plan) for _ in range(4)]]
    assert sum(sum(r.done.values()) for r in done) == 20
    assert world.settle() == {}
    world.whole()
    assert AuditLog(world.database).verify() == []


def test_one_refused_change_does_not_take_the_others_of_its_commit(world: World) -> None:
    world.submit("s")
    world.judge("s", "approve")
    world.settle()
    key = world.payout("s")["payout_key"]
    gate = threading.Event()
    writer = Writer(world.ledger)
    writer.submit(lambda books: gate.wait(5))
    good = [writer.submit(lambda b, i=i: b.log("x", "noted", str(i), {})) for i in range(5)]
    bad = writer.submit(
        lambda b: instructions.finish(b, "disburse:p_unknown:1", "posted", actor="x")
    )
    broken = writer.submit(lambda b: b.connection.execute(sa.text("SELECT nothing FROM nowhere")))
    late = writer.submit(lambda b: instructions.finish(b, f"disburse:{key}:1", "posted", actor="x"))
    gate.set()
    with pytest.raises(LedgerError):
        bad.result(10)
    with pytest.raises(StoreError):
        broken.result(10)
    assert late.result(10)["disbursement"] == "posted"
    assert [f.result(10) for f in good] == [None] * 5
    writer.close()
    with pytest.raises(StoreError):
        writer.submit(lambda b: None)
    assert AuditLog(world.database).verify() == []
    world.whole()


def test_a_clock_that_steps_back_and_forth_pays_once_and_breaks_no_chain(world: World) -> None:
    for i, step in enumerate((5, -10, 3600, -90_000, 90_000)):
        world.submit(f"s{i}", worker=f"w{i}")
        world.judge(f"s{i}", "approve" if i % 2 else "block_and_review")
        world.clock.now += timedelta(seconds=step)
        world.settle()
        world.ledger.keep_deadlines()
    assert sum(p["state"] == "posted" for p in world.frame("payouts")) == 2
    assert AuditLog(world.database).verify() == []
    world.whole()


def test_tampering_with_the_audit_log_is_seen(world: World, tmp_path: Path) -> None:
    keys = KeyRing(tmp_path / "keys", world.clock())
    log = AuditLog(world.database, CheckpointFile(tmp_path / "elsewhere" / "checkpoints.jsonl"))
    for i in range(6):
        world.ledger.note("ann", "looked", f"s{i}", {"n": i})
    assert log.checkpoint(keys.sign_hex, world.clock()) is not None
    assert log.checkpoint(keys.sign_hex, world.clock()) is None
    world.ledger.note("ann", "looked", "s6", {})
    assert log.verify(keys.verify_hex) == []
    table, head = tables.audit, tables.heads

    def tampered(*statements: sa.Executable) -> list[str]:
        with world.database.engine.connect() as connection, connection.begin() as transaction:
            for statement in statements:
                connection.execute(statement)
            from pipeline.stores import audit

            faults = audit.verify_chain(
                audit._rows(connection), audit._head(connection),
                CheckpointFile(tmp_path / "elsewhere" / "checkpoints.jsonl").read(), keys.verify_hex,
            )  # fmt: skip
            transaction.rollback()
        return faults

    assert tampered() == []
    third = table.c.sequence == 3
    with world.database.read() as connection:
        row2 = connection.execute(sa.select(table).where(table.c.sequence == 2)).one()
    cut = [
        sa.delete(table).where(table.c.sequence > 4),
    ]
    with world.database.read() as connection:
        hash4 = connection.execute(
            sa.select(table.c.hash).where(table.c.sequence == 4)
        ).scalar_one()
    assert tampered(sa.update(table).where(third).values(detail='{"n":9}'))
    assert tampered(sa.update(table).where(third).values(actor="bob"))
    assert tampered(sa.delete(table).where(third))
    assert tampered(sa.update(table).where(third).values(hash=row2.hash))
    assert tampered(
        sa.update(table).where(third).values(sequence=99),
        sa.update(table).where(table.c.sequence == 4).values(sequence=3),
    )
    told = tampered(*cut, sa.update(head).values(audit_sequence=4, audit_hash=hash4))
    assert any("is gone" in fault for fault in told), "only the checkpoint knows of a cut tail"


def test_reconciliation_finds_money_that_is_not_where_the_books_say(world: World) -> None:
    world.submit("s")
    world.judge("s", "block_and_review")
    world.settle()
    table = tables.accounts.c
    for statement in (
        sa.update(tables.payouts).values(funded_minor=90),
        sa.update(tables.accounts).where(table.kind == "escrow").values(credits_posted=101),
        sa.update(tables.transfers).where(tables.transfers.c.kind == "fund").values(amount_minor=9),
        sa.update(tables.payouts).values(state="posted"),
        sa.delete(tables.transfers).where(tables.transfers.c.kind == "payout"),
    ):
        world.whole()
        with world.database.engine.connect() as connection, connection.begin() as moved:
            connection.execute(statement)
            moved.commit()
        assert world.ledger.reconcile(), statement
        restore(world)


def restore(world: World) -> None:
    """Put the books of the test above back."""
    with world.database.write() as connection:
        connection.execute(sa.update(tables.payouts).values(funded_minor=100, state="held"))
        connection.execute(
            sa.update(tables.accounts)
            .where(tables.accounts.c.kind == "escrow")
            .values(credits_posted=100)
        )
        connection.execute(
            sa.update(tables.transfers)
            .where(tables.transfers.c.kind == "fund")
            .values(amount_minor=100)
        )


def test_the_database_stands_behind_every_guard(world: World) -> None:
    """What the code keeps, keys and checks keep again: writing past it is refused."""
    world.submit("s")
    world.judge("s", "approve")
    world.settle()
    kept = world.frame("transfers")
    ended = next(t for t in kept if t["phase"] == "post")
    again = {k: ended[k] for k in ended if k in tables.transfers.c} | {
        "transfer_id": "again", "sequence": 10_000,
    }  # fmt: skip
    for statement, values in (
        (tables.transfers.insert(), again),
        (tables.transfers.insert(), again | {"pending_id": None, "phase": "post"}),
        (tables.transfers.insert(), again | {"pending_id": "nothing"}),
        (tables.payout_members.insert(), {"submission_id": "s", "payout_key": "other"}),
        (
            sa.update(tables.accounts).where(tables.accounts.c.kind == "escrow"),
            {"debits_posted": 999},
        ),
    ):
        with pytest.raises(sa.exc.IntegrityError), world.database.write() as connection:
            connection.execute(statement, [values]) if not statement.is_update else (
                connection.execute(statement.values(**values))
            )


def test_plans_made_apart_never_pay_more_than_the_slots(world: World) -> None:
    world.task("two", slots=2)
    for minute in (5, 6):
        world.submit(f"s{minute}", "two", worker=f"w{minute}", minute=minute)
        world.judge(f"s{minute}", "approve")
    first = settle.plan(read_facts(world.database))
    for minute in (1, 2):
        world.submit(f"s{minute}", "two", worker=f"w{minute}", minute=minute)
        world.judge(f"s{minute}", "approve")
    second = settle.plan(read_facts(world.database))
    world.ledger.carry_out(first)
    world.ledger.carry_out(second)
    assert sum(p["state"] == "posted" for p in world.frame("payouts")) == 2


def _always(books: Any, action: Any, payout: Any) -> bool:
    payouts.settle_one(books, action, payout)
    return True


GUARDS: dict[str, tuple[Any, str, Any, Callable[[World], None]]] = {
    "slots": (payouts, "TAKES_A_SLOT", (), test_plans_made_apart_never_pay_more_than_the_slots),
    "the state before paying": (
        payouts, "_STEPS", payouts._STEPS | {"post": _always}, test_two_settlers_at_once_pay_once,
    ),
    "a submission is of one payout": (
        Books, "enrol", lambda self, submission, key: True,
        test_a_root_that_arrives_between_two_paid_revisions_pays_nothing_more,
    ),
    "an appeal goes to somebody else": (
        cases, "decisions_of", lambda books, case_id: [],
        test_overturning_restores_money_credit_and_standing_in_one,
    ),
    "credit is undone": (
        cases, "_undo_credit", lambda books, member, verdict: None,
        test_overturning_restores_money_credit_and_standing_in_one,
    ),
    "what was judged is not judged again": (
        settle, "_step_of_paid", lambda row, pays, waits: None if pays else "late",
        test_a_paid_one_is_never_flipped_by_a_later_finding,
    ),
}  # fmt: skip


@pytest.mark.parametrize("guard", sorted(GUARDS))
def test_a_guard_that_is_taken_away_is_missed(
    guard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, weakened, behaviour = GUARDS[guard]
    monkeypatch.setattr(place, name, weakened)
    opened = open_database(f"sqlite:///{tmp_path / 'guard.db'}")
    made = World(opened)
    made.task("t")
    with pytest.raises((AssertionError, LedgerError, sa.exc.IntegrityError, pytest.fail.Exception)):
        behaviour(made)
    opened.close()


def test_settlers_killed_at_any_moment_lose_nothing_and_pay_nothing_twice(
    world: World, database_url: str
) -> None:
    count = 120
    world.task("some", slots=20)
    for i in range(count):
        outcome = ("approve", "review", "block_and_review", "decline")[i % 4]
        world.submit(f"s{i:03}", "some" if i % 3 == 0 else "t", worker=f"w{i % 40}", minute=i)
        world.judge(f"s{i:03}", outcome)
    script = (
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "import pipeline.stores.ledger as ledger\n"
        "ledger.ACTIONS_PER_COMMIT = 5\n"
        "from ledger_worlds import World\n"
        "from pipeline.stores.database import open_database\n"
        "world = World(open_database(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "world.settle()\n"
    )
    for kill in range(KILLS):
        racing = [
            subprocess.Popen([sys.executable, "-c", script, database_url], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for child in racing:
            assert child.stdout is not None
            child.stdout.readline()
        time.sleep(0.013 * ((kill * 7) % 11))
        for child in racing:
            child.kill()
            child.communicate()
        fresh = open_database(database_url)
        assert World(fresh).ledger.reconcile() == []
        assert AuditLog(fresh).verify() == []
        fresh.close()
    world.settle()
    assert world.settle() == {}
    states: dict[str, int] = {}
    for row in world.frame("payouts"):
        states[row["state"]] = states.get(row["state"], 0) + 1
    assert states["voided"] == count // 4
    some = [p for p in world.frame("payouts") if p["task_id"] == "some" and p["state"] != "voided"]
    assert len(some) == 20
    world.whole()
