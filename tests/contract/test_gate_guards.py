"""Each guard of money, cases, permits and the API, taken away one at a time: something must fail.

The guards are found in the source: every ``if`` of these modules whose body refuses (raises, or returns
``False``, ``None`` or a refusing outcome). The scenarios say what must hold. For each guard that refused
something in a scenario, the function that holds it is compiled anew without it, and that scenario must
fail. A guard that no scenario reaches is a failure too, so that none can be added untested.
"""

import ast
import asyncio
import base64
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import httpx
import orjson
import pytest
import sqlalchemy as sa

from ledger_worlds import World
from pipeline.entry.api import Limits, checks, edge, guard, routes
from pipeline.model.errors import BountyguardError
from pipeline.model.money import Plan
from pipeline.review import gate as word
from pipeline.review import permit
from pipeline.stages import settle
from pipeline.stores import (
    access,
    gate,
    keys,
    ledger_books,
    ledger_cases,
    ledger_clusters,
    ledger_holdback,
    ledger_instructions,
    ledger_once,
    ledger_payouts,
    ledger_recall,
    ledger_voices,
)
from pipeline.stores.access import SCOPES
from pipeline.stores.database import open_database
from pipeline.stores.ledger_facts import read_facts
from tests.contract.test_api_gate import ASK, Gate

MODULES: tuple[ModuleType, ...] = (
    access, checks, edge, gate, guard, keys, ledger_books, ledger_cases, ledger_clusters,
    ledger_holdback, ledger_instructions, ledger_once, ledger_payouts, ledger_recall, ledger_voices,
    permit, routes, word,
)  # fmt: skip
RETURNS_NO = ("False", "None", "'decline'", "'block_and_review'")
NO_GUARDS = {
    "recognise: if not dot or": "bounds what is looked up; the look-up refuses the same",
    "_read: if '\\x00' in submission_id": "spares a store a name that it cannot hold",
    "_body: if message['type'] ==": "a client that went away gets no answer anyway",
    "newest: if not self._made": "a ring makes its first key itself",
    "_route_of: if path is None": "names a request for the log; nothing is refused",
    "answered: if row is None": "not a refusal: the key is new",
    "statement: if '\\x00'": "spares a store a name that it cannot hold",
    "_settle: if before is not None and (before['state'] != 'waiting'": "the word has refused it before",
}
"""What looks like a guard and refuses nothing by itself, and why."""


MISSED = (
    AssertionError, BountyguardError, sa.exc.SQLAlchemyError, LookupError, TypeError, ValueError,
    AttributeError, pytest.fail.Exception,
)  # fmt: skip
"""What a scenario may end by when a guard is gone: wrong answers, and whatever breaks behind it."""


@dataclass(frozen=True)
class Guard:
    """An ``if`` that refuses: where it stands, and the line by which it does."""

    module: ModuleType
    function: str
    line: int
    refuses_at: int
    told: str

    def __str__(self) -> str:
        return f"{self.module.__name__}.{self.told}"


Reached = dict[Guard, list[Callable[[World, Path], None]]]


@cache
def guards() -> tuple[Guard, ...]:
    found = {}
    for module in MODULES:
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        for outer in _functions(tree):
            for node in ast.walk(outer[1]):
                if isinstance(node, ast.If) and _refuses(node):
                    name = _innermost(outer[1], node)
                    told = f"{name}: if {ast.unparse(node.test)}"
                    if not any(told.startswith(no) for no in NO_GUARDS):
                        made = Guard(module, outer[0], node.lineno, node.body[0].lineno, told)
                        found[module.__name__, node.lineno] = made
    return tuple(found.values())


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The functions of a module and the methods of its classes, with their qualified names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def _innermost(outer: ast.AST, wanted: ast.If) -> str:
    name = str(outer.name)  # type: ignore[attr-defined]
    for node in ast.walk(outer):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and wanted in ast.walk(node):
            name = node.name
    return name


def _refuses(node: ast.If) -> bool:
    last = node.body[-1]
    if isinstance(last, ast.Raise):
        return last.exc is not None and "AssertionError" not in ast.unparse(last.exc)
    if not isinstance(last, ast.Return) or last.value is None or node.orelse:
        return False
    return ast.unparse(last.value) in RETURNS_NO


@contextmanager
def without(taken: Guard) -> Iterator[None]:
    """Compile the function that holds a guard without it, while the block runs."""
    source = Path(str(taken.module.__file__))
    tree = ast.parse(source.read_text(encoding="utf-8"))

    class Remove(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST:
            self.generic_visit(node)
            if node.lineno != taken.line:
                return node
            return ast.copy_location(ast.Pass(), node)

    code = compile(ast.fix_missing_locations(Remove().visit(tree)), str(source), "exec")
    for part in taken.function.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    holder: Any = taken.module
    for part in taken.function.split("."):
        holder = vars(holder)[part]
    function: FunctionType = getattr(holder, "fget", None) or holder
    kept = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = kept


# --- scenarios -------------------------------------------------------------------------------

SCENARIOS: list[Callable[[World, Path], None]] = []


def scenario(made: Callable[[World, Path], None]) -> Callable[[World, Path], None]:
    SCENARIOS.append(made)
    return made


def refuses(code: str, change: Callable[[], Any]) -> None:
    with pytest.raises(BountyguardError) as told:
        change()
    assert told.value.code == code


def run(world: World, change: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: world.ledger.run(change)


def add(world: World, name: str, outcome: str = "approve", task: str = "t", **more: Any) -> None:
    world.submit(name, task, worker=more.pop("worker", name), **more)
    world.judge(name, outcome)


@scenario
def money_moves_by_the_rules(world: World, folder: Path) -> None:
    def move(amount: int, *, into: str = "CNY", out_of: str = "publisher") -> Any:
        def change(books: Any) -> None:
            debit = books.account(out_of, "p", "CNY")
            books.transfer("x", "fund", debit, books.account("platform", "t", into), amount)

        return run(world, change)

    refuses("transfer.amount", move(0))
    refuses("transfer.currency", move(1, into="USD"))
    refuses("transfer.overdrawn", move(1, out_of="payable"))
    refuses("transfer.unknown", run(world, lambda b: b.resolve("nothing", "post")))

    def reserve(books: Any) -> None:
        accounts = books.account("publisher", "p", "CNY"), books.account("platform", "t", "CNY")
        books.transfer("y", "fund", *accounts, 10, pending=True)

    world.ledger.run(reserve)
    refuses("transfer.amount", run(world, lambda b: b.resolve("y", "post", amount_minor=11)))
    world.ledger.run(lambda b: b.resolve("y", "post"))
    refuses("transfer.resolved", run(world, lambda b: b.resolve("y", "void")))
    world.whole()


@scenario
def a_step_that_was_taken_does_nothing_more(world: World, folder: Path) -> None:
    for name, outcome in (("a", "approve"), ("r", "review"), ("h", "block_and_review"),
                          ("d", "decline")):  # fmt: skip
        add(world, name, outcome)
    world.submit("w", worker="w")
    world.judge("w", "block_and_review", codes=["degraded.image"], risk="normal")
    taken_twice(world, settle.plan, {"post": 2, "hold": 1, "void": 1, "wait": 1})
    for name, outcome in (("a", "decline"), ("h", "approve"), ("r", "approve")):
        world.judge(name, outcome, 2)
    late = taken_twice(world, settle.plan, {"late": 1, "withdraw": 1, "clear": 1})
    again = tuple(replace(a, revision=3) for a in late.actions if a.kind == "late")
    assert dict(world.ledger.carry_out(Plan(actions=again)).done) == {}
    world.ledger.decide(world.case("a"), "overturn", person="ann", reason="fine")
    assert dict(world.ledger.carry_out(late).done) == {}
    world.judge("r", "review", 3)
    taken_twice(world, settle.plan, {"look": 1})
    add(world, "h2", "block_and_review")
    world.settle()
    world.judge("r", "decline", 4)
    world.judge("h2", "decline", 2)
    world.judge("d", "block_and_review", 2)
    everybody = frozenset({"r", "h2", "d"})
    taken_twice(
        world,
        partial(settle.restate, submission_ids=everybody),
        {"escalate": 1, "refuse": 1, "rehold": 1},
    )
    world.whole()


def taken_twice(world: World, planner: Any, done: dict[str, int]) -> Plan:
    made: Plan = planner(read_facts(world.database))
    assert dict(world.ledger.carry_out(made).done) == done
    before = world.frame("payouts"), world.frame("transfers"), world.frame("credit")
    assert dict(world.ledger.carry_out(made).done) == {}
    assert (world.frame("payouts"), world.frame("transfers"), world.frame("credit")) == before
    return made


@scenario
def a_step_planned_on_older_facts_does_nothing(world: World, folder: Path) -> None:
    world.task("one", slots=1)
    add(world, "late", task="one", minute=9)
    add(world, "w2", supersedes="w1", worker="w", minute=5)
    first = settle.plan(read_facts(world.database))
    add(world, "early", task="one", minute=1)
    world.ledger.carry_out(settle.plan(read_facts(world.database)))
    assert dict(world.ledger.carry_out(first).done) == {}
    assert [p["submission_id"] for p in world.frame("payouts") if p["task_id"] == "one"] == [
        "early"
    ]
    (other,) = [a for a in first.actions if a.submission_id == "w2"]
    stolen = Plan(actions=(replace(other, payout_key="p_other"),))
    assert dict(world.ledger.carry_out(stolen).done) == {}
    world.whole()


@scenario
def a_payout_ends_once(world: World, folder: Path) -> None:
    add(world, "s", worker="w")
    add(world, "held", "block_and_review")
    world.settle()
    key, held = world.payout("s")["payout_key"], world.payout("held")["payout_key"]
    refuses(
        "transfer.resolved",
        run(world, lambda b: ledger_instructions.disburse(b, b.payout(key), 1, decision="d")),
    )
    refuses(
        "settlement.unknown", lambda: world.ledger.finish(f"disburse:{held}:1", "posted", actor="p")
    )
    world.ledger.finish(f"disburse:{key}:1", "posted", actor="p")
    refuses(
        "settlement.finished", lambda: world.ledger.finish(f"disburse:{key}:1", "voided", actor="p")
    )
    add(world, "back")
    world.settle()
    bounced = world.payout("back")["payout_key"]
    world.ledger.finish(f"disburse:{bounced}:1", "voided", actor="p")
    refuses(
        "transfer.resolved",
        run(world, lambda b: ledger_payouts.pay(b, b.payout(bounced), decision="d")),
    )
    refuses("bonus.unpaid", lambda: world.ledger.bonus(held, 5, why="good", actor="ann"))
    refuses("settlement.unknown", lambda: world.ledger.again(held, actor="ann"))
    assert world.ledger.again(bounced, actor="ann")["disbursements"] == 2
    refuses("settlement.nothing_owed", lambda: world.ledger.again(bounced, actor="ann"))
    world.ledger.finish(f"disburse:{bounced}:1", "voided", actor="p")
    world.ledger.finish(f"disburse:{bounced}:2", "posted", actor="p")
    refuses("settlement.nothing_owed", lambda: world.ledger.again(bounced, actor="ann"))
    world.whole()


@scenario
def a_case_is_decided_by_people_with_reasons(world: World, folder: Path) -> None:
    add(world, "s", "block_and_review", worker="w")
    world.settle()
    case = world.case("s")

    def decide(verdict: Any, person: str = "ann", reason: str = "seen", **more: Any) -> Any:
        return lambda: world.ledger.decide(
            more.pop("case", case), verdict, person=person, reason=reason, **more
        )

    refuses("case.unknown", decide("confirm", case="c_0"))
    refuses("case.verdict", decide("maybe"))
    refuses("case.no_person", decide("confirm", person=" "))
    refuses("case.no_reason", decide("confirm", reason=" "))
    refuses("case.amount", decide("overturn", amount_minor=101))
    decide("confirm")()
    refuses("case.decided", decide("overturn", person="bob"))
    refuses(
        "cluster.nothing_waits",
        run(world, lambda b: ledger_clusters.decide_cluster(
            b, "ring", "confirm", person="ann", reason="one crew"
        )),
    )  # fmt: skip
    world.ledger.appeal(case, worker_id="w", text="mine")
    refuses("case.same_person", decide("overturn"))
    decide("overturn", person="bob")()
    world.whole()


@scenario
def the_accused_and_the_accusers_are_heard_within_bounds(world: World, folder: Path) -> None:
    add(world, "s", "block_and_review", worker="w")
    add(world, "p", worker="x")
    world.settle()
    case = world.case("s")

    def appeal(worker: str = "w", text: str = "mine") -> Any:
        return lambda: world.ledger.appeal(case, worker_id=worker, text=text)

    refuses("appeal.not_yours", appeal("x"))
    refuses("appeal.empty", appeal(text=" "))
    world.ledger.decide(case, "confirm", person="ann", reason="copied")
    world.clock.step(days=15, minutes=1)
    refuses("appeal.too_late", appeal())
    world.clock.step(days=-1)
    appeal()()
    world.ledger.decide(case, "overturn", person="bob", reason="theirs")
    refuses("appeal.nothing", appeal())

    def report(of: str, reason: str = "copied", who: str = "r") -> Any:
        return lambda: world.ledger.report(reporter_id=who, submission_id=of, reason=reason)

    refuses("report.empty", report("p", " "))
    for n in range(20):
        report(f"n{n}")()
    refuses("report.too_many", report("p"))


@scenario
def a_payment_goes_by_a_permit_that_is_good_now(world: World, folder: Path) -> None:
    world.task("one", slots=1)
    for name, task in (("a", "one"), ("b", "one"), ("c", "t"), ("d", "t"), ("e", "t")):
        add(world, name, task=task, minute=ord(name))
    ring = keys.KeyRing(folder / "ring", world.clock())
    reader = gate.GateReader(world.database)

    def claims(name: str, **more: Any) -> permit.Claims:
        known = reader.latest_assessment(name)
        assert known is not None
        grant = permit.Grant(
            submission_id=name, payee=name, amount_minor=100, currency="CNY",
            decision_id=word.answer(known).decision_id, revision=known.revision or 0,
        )  # fmt: skip
        return permit.issue(replace(grant, **more), world.clock(), ring.sign, lambda: ring.newest)[
            1
        ]

    def use(made: permit.Claims) -> Any:
        return run(world, lambda b: gate.execute(b, made, actor="test"))

    good = {name: claims(name) for name in "abcd"}
    use(good["a"])()
    refuses("permit.used", use(good["a"]))
    refuses("settlement.already_paid", use(claims("a", amount_minor=90)))
    refuses("settlement.no_slot", use(good["b"]))
    refuses("permit.revoked", use(claims("c", payee="thief")))
    refuses("permit.revoked", use(permit.Claims(**{f: getattr(good["c"], f) for f in
            good["c"].__struct_fields__} | {"sub": "nobody"})))  # fmt: skip
    refuses("amount.currency", use(claims("c", currency="USD")))
    refuses("amount.exceeds_bounty", use(claims("c", amount_minor=151)))
    refuses("amount.invalid", use(claims("c", amount_minor=0)))
    world.judge("c", "review", 2)
    refuses("permit.revoked", use(good["c"]))
    world.judge("d", "block_and_review", 2)
    world.settle()
    world.judge("d", "approve", 3)
    held = claims("d")
    refuses("permit.revoked", use(held))
    for age, code in ((31, "permit.expired"), (-60, "permit.not_yet")):
        world.clock.step(minutes=age)
        refuses(code, lambda: permit.check_times(good["b"], world.clock()))
        world.clock.step(minutes=-age)
    reader.close()
    world.whole()


@scenario
def the_word_follows_what_people_decided(world: World, folder: Path) -> None:
    known = word.Known(
        submission_id="s", worker_id="w", task_id="t", revision=2, outcome="approve", bounty_minor=9
    )

    def says(**more: Any) -> str:
        return word.answer(replace(known, **more)).outcome

    assert says() == "approve"
    for state in ("confirmed", "appealed", "lapsed"):
        assert says(case_kind="hold", case_state=state) == "decline"
    assert says(case_kind="late", case_state="confirmed") == "decline"
    assert says(case_kind="late", case_state="lapsed") == "approve"
    for kind in ("hold", "decline", "late"):
        assert says(case_kind=kind, case_state="open") == "block_and_review"
    assert says(case_kind="look", case_state="open", outcome="review") == "review"
    assert says(revoked_revision=2) == "block_and_review"
    assert says(revoked_revision=1) == "approve"
    assert says(case_kind="hold", case_state="overturned", revoked_revision=2) == "approve"
    assert word.answer(replace(known, revision=None)).reason_codes == ("pending.analysis",)


def api_gate(world: World, folder: Path, **more: Any) -> Gate:
    return Gate(world, folder, **more)


def told(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text


@scenario
def a_forged_permit_is_known(world: World, folder: Path) -> None:
    add(world, "s", worker="w")
    door = api_gate(world, folder)
    try:
        good = door.check().json()["permit"]
        head, body, signature = good.split(".")
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        other_spelling = signature[:-1] + letters[letters.index(signature[-1]) | 1]
        claims = orjson.loads(base64.urlsafe_b64decode(body + "=="))
        header = orjson.loads(base64.urlsafe_b64decode(head + "=="))

        def part(value: Any) -> str:
            return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()

        def signed(value: Any) -> str:
            text = f"{part(value)}.{body}"
            made = door.services.permits.sign(text.encode())[1]
            return f"{text}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"

        for bad in (
            "a.b", f"{head}.{part(claims | {'amount_minor': 90})}.{signature}",
            f"{head}.{body}.{other_spelling}", signed(header | {"alg": "none"}),
            f"{part(header | {'kid': 'none'})}.{body}.{signature}",
        ):  # fmt: skip
            told(door.settle(bad), 422, "permit.forged")
        told(door.settle(good, amount_minor=90), 422, "permit.amount")
        told(door.settle(good, currency="USD"), 422, "permit.currency")
        told(door.settle(good, submission_id="other"), 422, "permit.submission")
        assert door.settle(good).status_code == 201
    finally:
        door.close()


@scenario
def keys_open_what_they_are_for(world: World, folder: Path) -> None:
    add(world, "s", "decline", worker="w")
    door = api_gate(world, folder, intake=lambda kind, data: [])
    make = door.services.access.make
    try:
        world.settle()
        add(world, "free", worker="f")
        basic = {"Authorization": f"Basics {door.key}"}
        told(door.client.post("/v1/score-checks", json=ASK, headers=basic), 401, "key.unknown")
        told(door.check(key=door.key[:-1] + ("A" if door.key[-1] != "A" else "B")), 401,
             "key.unknown")  # fmt: skip
        told(door.check(key=make("narrow", ["reports"])), 403, "key.scope")
        slow = make("slow", ["checks"], per_minute=6)
        assert [door.check(key=slow).status_code for _ in range(2)] == [200, 429]
        theirs = make("x", SCOPES, tenant="worker:somebody else")
        told(door.check(key=theirs), 404, "submission.unknown")
        decision = world.frame("statements")[0]["decision_id"]
        told(door.get(f"/v1/statements/{decision}", theirs), 404, "case.unknown")
        appeal = {"case_id": world.case("s"), "worker_id": "w", "text": "mine"}
        told(door.post("/v1/appeals", appeal, key=theirs), 404, "case.unknown")
        good = door.check(submission_id="free").json()["permit"]
        told(door.settle(good, key=theirs, submission_id="free"), 404, "submission.unknown")
        made = door.settle(good, submission_id="free").json()["settlement_id"]
        told(door.get(f"/v1/settlements/{made}", theirs), 404, "settlement.unknown")
        told(door.post("/v1/submissions", {"a": 1}, key=theirs), 403, "key.tenant")
        report = {"reporter_id": "r", "submission_id": "none", "reason": "x"}
        told(door.post("/v1/reports", report), 404, "submission.unknown")
        for change, code in (
            (partial(make, "n", []), "key.scope"),
            (partial(make, "n", ["checks"], tenant="me"), "key.tenant"),
            (partial(door.services.access.rotate, "none"), "key.unknown"),
        ):
            refuses(code, change)
        world.clock.step(minutes=5)
        door.services.access.revoke(slow.removeprefix("bgk_").partition(".")[0])
        told(door.check(key=slow), 401, "key.unknown")
    finally:
        door.close()


@scenario
def requests_have_bounds_and_are_made_once(world: World, folder: Path) -> None:
    add(world, "s", worker="w")
    door = api_gate(world, folder, limits=Limits(body_max=1000), intake=lambda kind, data: [])
    try:
        headers = {"Authorization": f"Bearer {door.key}", "Content-Type": "application/json"}
        big = headers | {"Content-Length": "2000"}
        post = door.client.post
        told(post("/v1/score-checks", content=b"x" * 2000, headers=big), 413, "request.too_large")

        huge = headers | {"Content-Length": str(100 << 20)}
        told(post("/v1/score-checks", content=b"x", headers=huge), 413, "request.too_large")
        odd = headers | {"Content-Length": "ten"}
        told(post("/v1/score-checks", content=b"x", headers=odd), 400, "request.length")

        async def streamed() -> Any:
            for _ in range(20):
                yield b"x" * 100

        told(post("/v1/score-checks", content=streamed(), headers=headers), 413,
             "request.too_large")  # fmt: skip
        told(door.client.get("/v1/score-checks", headers=headers), 405, "route.method")
        text = headers | {"Content-Type": "text/plain"}
        told(post("/v1/score-checks", content=b"{}", headers=text), 415, "request.media")
        once = {"Idempotency-Key": "k"}
        told(post("/v1/submissions", content=b"{}", headers=text | once), 415, "request.media")
        told(post("/v1/submissions", content=b" ", headers=headers | once), 422, "request.invalid")
        report = {"reporter_id": "r", "submission_id": "s", "reason": "copied"}
        told(door.post("/v1/reports", report, idem=None), 400, "idempotency.missing")
        told(door.post("/v1/reports", report, idem="x" * 300), 400, "idempotency.bad_key")
        assert door.post("/v1/reports", report, idem="one").status_code == 201
        told(door.post("/v1/reports", report | {"reason": "y"}, idem="one"), 422,
             "idempotency.reused")  # fmt: skip
        told(asyncio.run(two_at_once(door, report)), 409, "idempotency.in_progress")
    finally:
        door.close()
    shut = api_gate(world, folder / "shut", limits=Limits(under_way_max=1))
    busy = api_gate(world, folder / "busy", limits=Limits(under_way_max=0))
    try:
        told(busy.check(), 503, "server.busy")
        told(shut.post("/v1/submissions", {"a": 1}), 503, "intake.absent")
    finally:
        shut.close()
        busy.close()


async def two_at_once(door: Gate, report: dict[str, str]) -> httpx.Response:
    """The same change asked for twice while the first is under way: the answer to the second."""
    wait = threading.Event()
    door.services.writer.submit(lambda books: wait.wait(10))
    headers = {"Authorization": f"Bearer {door.key}", "Idempotency-Key": "two"}
    transport = httpx.ASGITransport(app=door.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
        ask = partial(client.post, "/v1/reports", json=report, headers=headers)
        first = asyncio.create_task(ask())
        await asyncio.sleep(0.05)
        second = asyncio.create_task(ask())
        await asyncio.wait([second], timeout=0.5)
        wait.set()
        await first
        return await second


# --- the test --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "empty.db"
    made = open_database(f"sqlite:///{path}")
    made.engine.raw_connection().cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    made.close()
    return path


def play(act: Callable[[World, Path], None], template: Path, folder: Path) -> None:
    folder.mkdir()
    shutil.copyfile(template, folder / "x.db")
    world = World(open_database(f"sqlite:///{folder / 'x.db'}", migrate=False))
    try:
        world.task("t")
        act(world, folder)
    finally:
        world.database.close()


@pytest.fixture(scope="module")
def reached(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Reached:
    """By guard, the scenarios in which it refused something."""
    folder = tmp_path_factory.mktemp("reached")
    files = {str(module.__file__) for module in MODULES}
    found: Reached = {each: [] for each in guards()}
    for number, act in enumerate(SCENARIOS):
        lines: set[tuple[str, int]] = set()

        def look(frame: Any, event: str, arg: Any, lines: Any = lines) -> Any:
            if frame.f_code.co_filename not in files:
                return None
            if event == "line":
                lines.add((frame.f_code.co_filename, frame.f_lineno))
            return look

        before = sys.gettrace()
        sys.settrace(look)
        threading.settrace(look)
        try:
            play(act, template, folder / str(number))
        finally:
            sys.settrace(before)
            threading.settrace(None)  # type: ignore[arg-type]
        for each in guards():
            if (each.module.__file__, each.refuses_at) in lines:
                found[each].append(act)
    return found


def test_every_guard_refuses_something(reached: Reached) -> None:
    assert len(guards()) > 60
    assert [str(g) for g in guards() if not reached[g]] == []


@pytest.mark.parametrize("taken", guards(), ids=str)
def test_a_guard_that_is_taken_away_is_missed(
    taken: Guard, reached: Reached, template: Path, tmp_path: Path
) -> None:
    for number, act in enumerate(reached[taken]):
        with without(taken):
            try:
                play(act, template, tmp_path / str(number))
            except MISSED:
                return
    pytest.fail("every scenario holds without it")
