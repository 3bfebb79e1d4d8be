"""One group, one case: a verdict on the group reaches every member's payout, and so does its reversal."""

import json
from functools import partial

import pytest

from ledger_worlds import World
from pipeline.model.errors import LedgerError
from pipeline.stores.ledger_clusters import decide_cluster, members_of_cluster


@pytest.fixture
def world(database):
    made = World(database)
    made.task("t")
    return made


def crew(world):
    """Two held members, and one that was paid before the crew was seen."""
    world.submit("early", worker="w0")
    world.judge("early", "approve")
    world.settle()
    for name in ("a", "b"):
        world.submit(name, worker=f"w-{name}")
        world.judge(name, "block_and_review", codes=["collusion.lockstep"], cluster="crew")
    world.judge(
        "early", "block_and_review", revision=2, codes=["collusion.lockstep"], cluster="crew"
    )
    world.settle()


def test_a_verdict_on_the_group_reaches_held_and_paid_members(world):
    crew(world)
    told = world.ledger.run(partial(members_of_cluster, cluster_id="crew"))
    assert {r["worker_id"] for r in told} == {"w0", "w-a", "w-b"}
    done = world.ledger.run(
        partial(
            decide_cluster, cluster_id="crew", verdict="confirm", person="ann", reason="one crew"
        )
    )
    assert set(done) == {r["case_id"] for r in told}
    fraud = {e["worker_id"] for e in world.frame("credit") if e["kind"] == "confirmed_fraud"}
    assert fraud == {"w0", "w-a", "w-b"}
    assert not world.paid("w-a")
    world.whole()
    with pytest.raises(LedgerError, match="waits"):
        world.ledger.run(
            partial(
                decide_cluster, cluster_id="crew", verdict="confirm", person="bob", reason="again"
            )
        )


def test_its_reversal_reaches_them_too(world):
    crew(world)
    call = partial(decide_cluster, cluster_id="crew")
    done = world.ledger.run(partial(call, verdict="confirm", person="ann", reason="one crew"))
    for case_id in done:
        (who, *_) = [c["worker_id"] for c in world.frame("cases") if c["case_id"] == case_id]
        world.ledger.appeal(case_id, worker_id=who, text="we are a class of students")
    with pytest.raises(LedgerError, match="somebody else"):
        world.ledger.run(partial(call, verdict="overturn", person="ann", reason="oh"))
    assert not world.paid("w-a")
    world.ledger.run(partial(call, verdict="overturn", person="bob", reason="they are"))
    assert [world.paid(w) for w in ("w0", "w-a", "w-b")] == [100, 100, 100]
    world.whole()


def test_groups_are_listed_with_their_money(world):
    from pipeline.entry.cli_clusters import grouped

    crew(world)
    rows = [c for c in world.frame("cases") if c["cluster_id"]]
    (group,) = grouped(rows)
    assert (group["workers"], group["payouts"], group["money"]) == (3, 3, {"CNY": 300})
    assert json.dumps(group["cases"])
