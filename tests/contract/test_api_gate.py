"""The API of the payout gate, over SQLite and PostgreSQL: checks, permits, settlements, refusals."""

import asyncio
import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from ledger_worlds import Client, World, api
from pipeline.entry.api import Limits
from pipeline.stores.access import SCOPES
from pipeline.stores.audit import AuditLog
from pipeline.stores.database import Database
from pipeline.stores.keys import KeyRing

ASK = {"submission_id": "s", "amount_minor": 100, "currency": "CNY"}


class Gate:
    """A client with a key for everything."""

    def __init__(self, world: World, folder: Path, **more: Any) -> None:
        self.world = world
        self.app, self.services = api(world, folder, **more)
        self.client = Client(self.app)
        self.key = self.services.access.make("all", SCOPES)
        self._count = 0

    def close(self) -> None:
        self.services.writer.close()
        self.services.reader.close()

    def post(
        self, path: str, body: Any, *, key: str | None = None, idem: str | None = "new"
    ) -> Any:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        self._count += 1
        if idem is not None:
            headers["Idempotency-Key"] = f"k{self._count}" if idem == "new" else idem
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str, key: str | None = None) -> Any:
        return self.client.get(path, headers={"Authorization": f"Bearer {key or self.key}"})

    def check(self, key: str | None = None, **more: Any) -> Any:
        return self.post("/v1/score-checks", ASK | more, key=key, idem=None)

    def settle(self, permit: str, idem: str = "new", key: str | None = None, **more: Any) -> Any:
        return self.post("/v1/settlements", ASK | {"permit": permit} | more, idem=idem, key=key)


@pytest.fixture
def gate(database: Database, tmp_path: Path) -> Iterator[Gate]:
    world = World(database)
    world.task("t")
    world.submit("s")
    made = Gate(world, tmp_path)
    yield made
    made.close()


def refused(answer: Any, status: int, code: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_no_analysis_is_neither_yes_nor_no(gate: Gate) -> None:
    for name in ("s", "never seen", "\x00"):
        told = gate.check(submission_id=name)
        assert told.json()["outcome"] == "block_and_review"
        assert told.json()["reason_codes"] == ["pending.analysis"]
        assert told.json()["permit"] is None
        assert told.headers["retry-after"] == "5"


def test_a_missing_detector_is_named_and_worth_a_retry(gate: Gate) -> None:
    gate.world.judge("s", "block_and_review", codes=["degraded.image"], risk="normal")
    told = gate.check()
    assert told.json()["reason_codes"] == ["degraded.image"]
    assert (told.json()["permit"], told.headers["retry-after"]) == (None, "5")


def test_the_same_question_gets_the_same_answer_and_a_new_finding_another(gate: Gate) -> None:
    gate.world.judge("s", "approve")
    first = gate.check().json()
    assert first["permit"]
    assert gate.check().json() == first
    gate.world.judge("s", "block_and_review", 2)
    second = gate.check().json()
    assert (second["outcome"], second["permit"]) == ("block_and_review", None)
    assert second["decision_id"] != first["decision_id"]


def test_a_permit_pays_once(gate: Gate) -> None:
    gate.world.judge("s", "approve")
    permit = gate.check().json()["permit"]
    made = gate.settle(permit, idem="one")
    assert (made.status_code, made.json()["status"]) == (201, "pending")
    again = gate.settle(permit, idem="one")
    assert (again.status_code, again.json()) == (201, made.json())
    refused(gate.settle(permit), 409, "permit.used")
    gate.world.clock.step(hours=1)
    refused(gate.settle(gate.check().json()["permit"]), 409, "settlement.already_paid")
    assert gate.world.paid() == 100
    assert gate.world.settle() == {}
    gate.world.whole()


def test_what_the_provider_says_ends_the_payment(gate: Gate) -> None:
    gate.world.judge("s", "approve")
    made = gate.settle(gate.check().json()["permit"]).json()["settlement_id"]
    path = f"/v1/settlements/{made}"
    assert gate.post(f"{path}/result", {"status": "posted"}).json()["status"] == "posted"
    assert gate.get(path).json()["status"] == "posted"
    refused(gate.post(f"{path}/result", {"status": "voided"}), 409, "settlement.finished")
    refused(gate.get("/v1/settlements/disburse:p_0:1"), 404, "settlement.unknown")
    assert gate.world.ledger.balance("paid", "w", "CNY")[0] == 100
    gate.world.whole()


def test_each_wrong_permit_has_its_own_code(gate: Gate) -> None:
    gate.world.judge("s", "approve")
    permit = gate.check().json()["permit"]
    head, body, signature = permit.split(".")
    claims = orjson.loads(base64.urlsafe_b64decode(body + "=="))
    more = (
        base64.urlsafe_b64encode(orjson.dumps(claims | {"amount_minor": 150})).rstrip(b"=").decode()
    )
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for forged in (f"{head}.{more}.{signature}", f"{none}.{body}.", f"{head}.{body}.", "x", "a.b.c",
                   f"{head}.{body}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'Q'}"):  # fmt: skip
        refused(gate.settle(forged), 422, "permit.forged")
    refused(gate.settle(permit, amount_minor=99), 422, "permit.amount")
    refused(gate.settle(permit, currency="USD"), 422, "permit.currency")
    refused(gate.settle(permit, submission_id="other"), 422, "permit.submission")
    gate.world.clock.step(minutes=31)
    refused(gate.settle(permit), 409, "permit.expired")
    gate.world.clock.step(days=-2)
    refused(gate.settle(permit), 409, "permit.not_yet")
    gate.world.clock.step(days=2, minutes=-31)
    gate.world.judge("s", "approve", 2)
    refused(gate.settle(permit), 409, "permit.revoked")
    assert gate.world.frame("transfers") == []


def test_a_key_that_is_rotated_verifies_until_it_is_long_retired(gate: Gate) -> None:
    gate.world.judge("s", "approve")
    permit = gate.check().json()["permit"]
    old = gate.services.permits.newest
    gate.services.permits.rotate(gate.world.clock())
    published = gate.client.get("/.well-known/jwks.json").json()["keys"]
    assert [k["kid"] for k in published] == [old, gate.services.permits.newest]
    assert gate.settle(permit).status_code == 201
    gate.world.clock.step(days=3)
    assert len(gate.client.get("/.well-known/jwks.json").json()["keys"]) == 1


def test_a_rotation_by_another_process_is_seen_at_once(gate: Gate, tmp_path: Path) -> None:
    gate.world.judge("s", "approve")
    ours = gate.services.permits
    theirs = KeyRing(tmp_path / "keys", gate.world.clock())
    old = ours.newest
    assert theirs.newest == old
    assert theirs.rotate_if_older(timedelta(days=30), gate.world.clock()) is None
    new = theirs.rotate_if_older(timedelta(0), gate.world.clock())
    assert ours.newest == new != old
    permit = issue_by(theirs, gate)
    assert gate.settle(permit).status_code == 201
    listed = gate.client.get("/.well-known/jwks.json").json()["keys"]
    assert [k["kid"] for k in listed] == [old, new]


def issue_by(ring: KeyRing, gate: Gate) -> str:
    """The permit that another process would give for the same question."""
    head, body, _ = gate.check().json()["permit"].split(".")
    kid, signature = ring.sign(f"{head}.{body}".encode())
    assert orjson.loads(base64.urlsafe_b64decode(head + "=="))["kid"] == kid
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_idempotency_keys_are_needed_and_are_for_one_request(gate: Gate) -> None:
    gate.world.judge("s", "approve")
    permit = gate.check().json()["permit"]
    refused(
        gate.post("/v1/settlements", ASK | {"permit": permit}, idem=None),
        400,
        "idempotency.missing",
    )
    assert gate.settle(permit, idem="k").status_code == 201
    report = {"reporter_id": "r", "submission_id": "s", "reason": "copied"}
    refused(gate.post("/v1/reports", report, idem="k"), 422, "idempotency.reused")


def test_an_answer_is_kept_for_ninety_days_and_its_key_never_pays_again(gate: Gate) -> None:
    gate.world.judge("s", "approve")
    permit = gate.check().json()["permit"]
    made = gate.settle(permit, idem="k").json()
    gate.world.clock.step(minutes=4)
    gate.world.ledger.keep_deadlines()
    assert gate.settle(permit, idem="k").json() == made
    gate.world.clock.step(days=91)
    gate.world.ledger.keep_deadlines()
    assert gate.settle(permit, idem="k").json()["code"].startswith("permit.")
    assert gate.world.paid() == 100


def test_a_part_and_a_bonus_leave_the_books_whole(gate: Gate) -> None:
    for name, amount in (("part", 60), ("more", 140)):
        gate.world.submit(name, worker=name)
        gate.world.judge(name, "approve")
        permit = gate.check(submission_id=name, amount_minor=amount).json()["permit"]
        made = gate.settle(permit, submission_id=name, amount_minor=amount)
        assert made.status_code == 201, made.text
        assert (made.json()["amount_minor"], gate.world.paid(name)) == (amount, amount)
    assert [i["amount_minor"] for i in gate.world.frame("instructions")] == [60, 140]
    gate.world.judge("s", "approve")
    refused(gate.check(amount_minor=151), 422, "amount.exceeds_bounty")
    refused(gate.check(currency="USD"), 422, "amount.currency")
    gate.world.whole()


def test_other_peoples_ids_are_not_there(gate: Gate) -> None:
    gate.world.judge("s", "decline")
    gate.world.settle()
    made = gate.services.access.make
    theirs = made("x", SCOPES, tenant="publisher:somebody else")
    worker = made("y", SCOPES, tenant="worker:somebody else")
    mine = made("z", SCOPES, tenant="worker:w")
    decision = gate.world.frame("statements")[0]["decision_id"]
    for key in (theirs, worker):
        refused(gate.check(key=key), 404, "submission.unknown")
        refused(gate.get(f"/v1/statements/{decision}", key), 404, "case.unknown")
        appeal = {"case_id": gate.world.case("s"), "worker_id": "w", "text": "mine"}
        refused(gate.post("/v1/appeals", appeal, key=key), 404, "case.unknown")
    assert gate.get(f"/v1/statements/{decision}", mine).json()["submission_id"] == "s"


def test_keys_and_scopes_are_held(gate: Gate) -> None:
    access = gate.services.access
    for bad in (
        None,
        "",
        "Bearer",
        "Bearer x",
        "Bearer bgk_a.b",
        "Basic abc",
        f"Bearer {gate.key}x",
    ):
        headers = {} if bad is None else {"Authorization": bad}
        refused(gate.client.post("/v1/score-checks", json=ASK, headers=headers), 401, "key.unknown")
    narrow = access.make("narrow", ["reports"])
    refused(gate.check(key=narrow), 403, "key.scope")
    refused(gate.settle("x", key=narrow), 403, "key.scope")
    slow = access.make("slow", ["checks"], per_minute=12)
    answers = [gate.check(key=slow).status_code for _ in range(4)]
    assert answers == [200, 200, 429, 429]
    key_id = gate.key.removeprefix("bgk_").partition(".")[0]
    fresh = access.rotate(key_id)
    assert gate.check(key=fresh).status_code == 200
    assert gate.check().status_code == 200
    access.revoke(key_id)
    refused(gate.check(), 401, "key.unknown")
    kept = orjson.dumps([[str(v) for v in row] for row in _all_keys(gate)])
    assert fresh.partition(".")[2].encode() not in kept


def _all_keys(gate: Gate) -> list[Any]:
    import sqlalchemy as sa

    from pipeline.stores.tables import ledger as tables

    with gate.world.database.read() as connection:
        return list(connection.execute(sa.select(tables.api_keys)))


def test_the_accused_reads_why_and_another_person_decides(gate: Gate) -> None:
    world = gate.world
    world.judge("s", "block_and_review")
    world.settle()
    assert gate.check().json()["outcome"] == "block_and_review"
    case = world.case("s")
    world.ledger.decide(case, "confirm", person="ann", reason="the same bytes")
    assert gate.check().json()["outcome"] == "decline"
    decision = world.frame("statements")[0]["decision_id"]
    for language in ("zh", "en"):
        told = gate.get(f"/v1/statements/{decision}?language={language}").json()
        assert told["facts"][0]["reason_code"] == "file.identical"
        assert told["rules"][0]["rule"] == "copies.identical"
    made = gate.post("/v1/appeals", {"case_id": case, "worker_id": "w", "text": "my own photo"})
    assert made.status_code == 201
    world.ledger.decide(case, "overturn", person="bob", reason="the original has its history")
    assert gate.check().json()["outcome"] == "approve"
    assert world.paid() == 100
    read = [a for a in world.frame("audit") if a["action"] == "statement.read"]
    assert len(read) == 2
    world.whole()
    assert AuditLog(world.database).verify() == []


def test_bodies_beyond_the_limit_and_slow_senders_are_refused(
    database: Database, tmp_path: Path
) -> None:
    gate = Gate(World(database), tmp_path, limits=Limits(body_max=1000, body_within_s=0.2))
    big = b'{"submission_id":"' + b"x" * 5000 + b'"}'
    headers = {"Authorization": f"Bearer {gate.key}", "Content-Type": "application/json",
               "Idempotency-Key": "k"}  # fmt: skip

    async def chunks(slow: bool) -> Any:
        for at in range(0, len(big), 100):
            if slow:
                await asyncio.sleep(0.05)
            yield big[at : at + 100]

    async def ask() -> None:
        transport = httpx.ASGITransport(app=gate.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            for path in ("/v1/score-checks", "/v1/settlements", "/v1/reports"):
                refused(
                    await client.post(path, content=big, headers=headers), 413, "request.too_large"
                )
                streamed = await client.post(path, content=chunks(False), headers=headers)
                refused(streamed, 413, "request.too_large")
                huge = headers | {"Content-Length": str(100 << 20)}
                refused(
                    await client.post(path, content=b"x", headers=huge), 413, "request.too_large"
                )
                slow = await client.post(path, content=chunks(True), headers=headers)
                refused(slow, 408, "request.slow")

    asyncio.run(ask())
    gate.close()


def test_rows_are_taken_in_once(database: Database, tmp_path: Path) -> None:
    taken: list[tuple[str, bytes]] = []

    def intake(kind: str, data: bytes) -> list[dict[str, str]]:
        taken.append((kind, data))
        return [{"id": "s", "status": "new"}]

    gate = Gate(World(database), tmp_path, intake=intake)
    for _ in range(2):
        told = gate.post("/v1/submissions", {"submission_id": "s"}, idem="k")
        assert (told.status_code, told.json()["receipts"][0]["status"]) == (202, "new")
    assert len(taken) == 1
    refused(
        gate.post("/v1/submissions", {"submission_id": "other"}, idem="k"),
        422,
        "idempotency.reused",
    )
    gate.close()


def test_ready_only_when_nothing_is_stale(database: Database, tmp_path: Path) -> None:
    stale: list[str] = []
    gate = Gate(World(database), tmp_path, ready=lambda: stale)
    assert gate.client.get("/healthz").json() == {"status": "ok"}
    assert gate.client.get("/readyz").status_code == 200
    stale.append("the rules are stale")
    refused(gate.client.get("/readyz"), 503, "not_ready")
    stale.clear()
    gate.check()
    assert "bountyguard_score_checks_total" in gate.client.get("/metrics").text
    gate.close()
    refused(gate.client.get("/readyz"), 503, "not_ready")
