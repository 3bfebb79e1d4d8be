"""Webhooks on both databases: signed as the standard's library checks, retried, listed when they fail."""

from collections.abc import Mapping

import pytest
from standardwebhooks.webhooks import Webhook

from ledger_worlds import World
from pipeline.model.errors import UsageError
from pipeline.stores.database import Database
from pipeline.stores.outbox import WAITS, Courier


def test_instructions_leave_signed_once_and_are_retried(database: Database) -> None:
    world = World(database)
    from datetime import UTC, datetime

    world.clock.now = datetime.now(UTC)  # the standard's library looks at the real clock
    statuses: list[int] = [500, 200]
    seen: list[tuple[Mapping[str, str], bytes]] = []

    def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
        seen.append((headers, body))
        return statuses.pop(0) if statuses else 200

    courier = Courier(database, world.ledger, world.clock, post)
    with pytest.raises(UsageError):
        courier.add_endpoint("http://example.org")
    _, secret = courier.add_endpoint("https://example.org/hook")
    world.task("t")
    world.submit("s")
    world.judge("s", "approve")
    world.settle()
    assert courier.deliver_due() == {"delivered": 0, "retry": 1, "failed": 0}
    assert sum(courier.deliver_due().values()) == 0
    told = Webhook(secret).verify(seen[0][1], dict(seen[0][0]))
    assert told["type"] == "payout.instructed"
    assert told["data"]["amount_minor"] == 100
    world.clock.step(seconds=6)
    assert courier.deliver_due()["delivered"] == 1
    assert sum(courier.deliver_due().values()) == 0
    assert seen[0][0]["webhook-id"] == seen[1][0]["webhook-id"]


def test_what_cannot_be_delivered_is_listed_and_replayed(database: Database) -> None:
    world = World(database)
    down = [True]

    def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
        if down[0]:
            raise ConnectionRefusedError
        return 204

    courier = Courier(database, world.ledger, world.clock, post)
    courier.add_endpoint("https://example.org/hook")
    world.task("t")
    world.submit("s")
    world.judge("s", "approve")
    world.settle()
    for wait in (*WAITS, WAITS[-1]):
        courier.deliver_due()
        world.clock.now += wait
    (lost,) = courier.failed()
    assert (lost["attempts"], lost["last_error"]) == (len(WAITS) + 1, "ConnectionRefusedError")
    down[0] = False
    courier.replay(lost["message_id"], lost["endpoint_id"])
    assert courier.deliver_due()["delivered"] == 1
    assert courier.failed() == []
