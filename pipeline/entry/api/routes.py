"""The other routes: intake, settlements, reports, appeals, statements, keys, health."""

from typing import Annotated, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from pipeline.entry.api.guard import Guard
from pipeline.entry.api.problems import Problem, of_error
from pipeline.entry.api.services import Services
from pipeline.model.errors import BountyguardError, LedgerError
from pipeline.model.money import AMOUNT_MAX
from pipeline.review import permit as permits
from pipeline.stores import gate
from pipeline.stores import ledger_instructions as instructions
from pipeline.stores import ledger_voices as voices
from pipeline.stores.ledger_books import Books
from pipeline.stores.ledger_once import read_statement

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
Words = Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Needed: the same key makes the change once and gets the same answer.",
    ),
]


class Body(BaseModel):
    """A request's body: exact types, nothing unknown."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SettlementIn(Body):
    """What is to be paid, and the permit for it."""

    submission_id: Id
    amount_minor: Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    permit: Annotated[str, Field(min_length=1, max_length=permits.TOKEN_MAX)]


class ResultIn(Body):
    """What became of a payment at the payment provider."""

    status: Literal["posted", "voided"]


class ReportIn(Body):
    """Somebody accuses a submission."""

    reporter_id: Id
    submission_id: Id
    reason: Words


class AppealIn(Body):
    """The accused answers."""

    case_id: Id
    worker_id: Id
    text: Words


class Settlement(BaseModel):
    """A payment: pending, then posted, voided or expired; and what is kept back of the payout."""

    settlement_id: str
    submission_id: str
    amount_minor: int
    currency: str
    status: Literal["pending", "posted", "voided", "expired"]
    held_back_minor: int = 0
    held_back_until: str | None = None


class Report(BaseModel):
    """A report that was taken in."""

    report_id: str
    submission_id: str


class Appeal(BaseModel):
    """An appeal that was taken in, and until when it is answered."""

    appeal_id: str
    case_id: str
    due_at: str


class Receipts(BaseModel):
    """One receipt a row."""

    receipts: list[dict[str, Any]]


ROWS: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}


def router(services: Services, guard: Guard) -> APIRouter:
    """Make the routes that read and change through these services."""
    made = APIRouter()
    _settlements(made, services, guard)
    _voices(made, services, guard)
    _statements(made, services, guard)
    _intake(made, services, guard)
    return made


def _caller(guard: Guard, request: Request, scope: str) -> Any:
    caller = guard.enter(request.headers.get("authorization"), scope)
    request.scope["key_id"] = caller.key_id
    return caller


def _settlement(books: Books, settlement_id: str) -> dict[str, Any]:
    """Show an instruction as the books stand."""
    row, made = instructions.instructed(books, settlement_id)
    kept_until = row["kept_until"]
    return {
        "settlement_id": settlement_id,
        "submission_id": row["submission_id"],
        "amount_minor": made["amount_minor"],
        "currency": made["currency"],
        "status": instructions.status_of(books, settlement_id),
        "held_back_minor": row["kept_minor"],
        "held_back_until": kept_until.isoformat() if kept_until else None,
    }


def _settlements(made: APIRouter, services: Services, guard: Guard) -> None:
    @made.post("/v1/settlements", status_code=201, tags=["gate"], response_model=Settlement)
    async def settle(request: Request, body: SettlementIn, key: IdempotencyKey = None) -> Response:
        """Execute a payout with its permit. The instruction leaves by webhook and export."""
        caller = _caller(guard, request, "settlements")
        now = services.clock()
        claims = permits.read(
            body.permit, lambda kid, data, sig: services.permits.verify(kid, data, sig, now=now)
        )
        if claims.sub != body.submission_id:
            raise Problem(422, "permit.submission", "the permit is for another submission")
        if claims.amount_minor != body.amount_minor:
            raise Problem(422, "permit.amount", "the permit is for another amount")
        if claims.currency != body.currency:
            raise Problem(422, "permit.currency", "the permit is for another currency")
        known = await to_thread.run_sync(services.reader.latest_assessment, body.submission_id)
        if known is None or not caller.may_see(
            publisher_id=known.publisher_id, worker_id=known.worker_id
        ):
            raise Problem(404, "submission.unknown", "there is no such submission")

        def change(books: Books) -> tuple[int, dict[str, Any]]:
            permits.check_times(claims, books.now)
            row = gate.execute(books, claims, actor=caller.key_id)
            newest = f"disburse:{row['payout_key']}:{row['disbursements']}"
            return 201, _settlement(books, newest)

        return await guard.once(request, caller, await request.body(), change)

    @made.post("/v1/settlements/{settlement_id}/result", tags=["gate"], response_model=Settlement)
    async def result(
        request: Request,
        settlement_id: Annotated[str, Path(max_length=200)],
        body: ResultIn,
        key: IdempotencyKey = None,
    ) -> Response:
        """Tell what became of the payment."""
        caller = _caller(guard, request, "settlements")

        def change(books: Books) -> tuple[int, dict[str, Any]]:
            _own(books, settlement_id, caller)
            instructions.finish(books, settlement_id, body.status, actor=caller.key_id)
            return 200, _settlement(books, settlement_id)

        return await guard.once(request, caller, await request.body(), change)

    @made.get("/v1/settlements/{settlement_id}", tags=["gate"], response_model=Settlement)
    async def show(
        request: Request, settlement_id: Annotated[str, Path(max_length=200)]
    ) -> dict[str, Any]:
        """Show where a payment stands."""
        caller = _caller(guard, request, "settlements")

        def look(books: Books) -> dict[str, Any]:
            _own(books, settlement_id, caller)
            return _settlement(books, settlement_id)

        return await guard.write(look)


def _own(books: Books, settlement_id: str, caller: Any) -> None:
    """See to it that a settlement is the caller's business."""
    row, _ = instructions.instructed(books, settlement_id)
    if not caller.may_see(publisher_id=row["publisher_id"], worker_id=row["worker_id"]):
        raise LedgerError("settlement.unknown", "there is no such settlement")


def _voices(made: APIRouter, services: Services, guard: Guard) -> None:
    @made.post("/v1/reports", status_code=201, tags=["voices"], response_model=Report)
    async def report(request: Request, body: ReportIn, key: IdempotencyKey = None) -> Response:
        """Take in that somebody accuses a submission."""
        caller = _caller(guard, request, "reports")
        known = await to_thread.run_sync(services.reader.latest_assessment, body.submission_id)
        if known is None:
            raise Problem(404, "submission.unknown", "there is no such submission")

        def change(books: Books) -> tuple[int, dict[str, Any]]:
            row = voices.report(
                books, reporter_id=body.reporter_id, submission_id=body.submission_id,
                reason=body.reason,
            )  # fmt: skip
            return 201, {"report_id": row["report_id"], "submission_id": row["submission_id"]}

        return await guard.once(request, caller, await request.body(), change)

    @made.post("/v1/appeals", status_code=201, tags=["voices"], response_model=Appeal)
    async def appeal(request: Request, body: AppealIn, key: IdempotencyKey = None) -> Response:
        """Take in the answer of the accused; somebody else than who decided will read it."""
        caller = _caller(guard, request, "appeals")
        if caller.tenant is not None and caller.tenant != f"worker:{body.worker_id}":
            raise Problem(404, "case.unknown", "there is no such case")

        def change(books: Books) -> tuple[int, dict[str, Any]]:
            row = voices.appeal(
                books, body.case_id, worker_id=body.worker_id, text=body.text
            )  # fmt: skip
            return 201, {
                "appeal_id": row["appeal_id"],
                "case_id": row["case_id"],
                "due_at": row["due_at"].isoformat(),
            }

        return await guard.once(request, caller, await request.body(), change)


def _statements(made: APIRouter, services: Services, guard: Guard) -> None:
    @made.get("/v1/statements/{decision_id}", tags=["voices"])
    async def statement(
        request: Request,
        decision_id: Annotated[str, Path(max_length=64)],
        language: Annotated[Literal["zh", "en"], Query(description="zh or en")] = "zh",
    ) -> dict[str, Any]:
        """Return the statement of reasons that the worker may read. That it was read is logged."""
        caller = _caller(guard, request, "statements")
        if "\x00" in decision_id:
            raise Problem(404, "case.unknown", "there is no such statement")
        return await guard.write(lambda books: read_statement(books, decision_id, language, caller))


def _intake(made: APIRouter, services: Services, guard: Guard) -> None:
    async def take(request: Request, kind: str) -> Response:
        caller = _caller(guard, request, "intake")
        if caller.tenant is not None:
            raise Problem(403, "key.tenant", "a key that is bound to one party takes nothing in")
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in ("application/json", "application/x-ndjson", "application/jsonl"):
            raise Problem(
                415, "request.media", "the body is application/json or application/x-ndjson"
            )
        body = await request.body()
        if not body.strip():
            raise Problem(422, "request.invalid", "the body is empty")
        known = await guard.known_answer(request, caller, body)
        if known is not None:
            return known
        intake = services.intake
        if intake is None:
            raise Problem(503, "intake.absent", "nothing is taken in here", {"Retry-After": "60"})
        lines = (
            body if media != "application/json" else body.replace(b"\n", b" ").replace(b"\r", b" ")
        )
        try:
            receipts = await to_thread.run_sync(intake, kind, lines)
        except BountyguardError as error:
            raise of_error(error) from error
        told = {"receipts": [dict(r) for r in receipts]}
        return await guard.once(request, caller, body, lambda books: (202, told))

    for kind in ("submissions", "events"):
        _intake_route(made, kind, take)


def _intake_route(made: APIRouter, kind: str, take: Any) -> None:
    @made.post(
        f"/v1/{kind}", status_code=202, tags=["intake"], response_model=Receipts,
        openapi_extra=ROWS, operation_id=f"take_{kind}", summary=f"Take {kind} in",
    )  # fmt: skip
    async def route(request: Request, key: IdempotencyKey = None) -> Response:
        """Take rows in as a drop would hold them, one as JSON or many as JSON Lines."""
        answered: Response = await take(request, kind)
        return answered


__all__ = ["router"]
