"""``POST /v1/score-checks``: the lean route. msgspec in, one point read, one signature, msgspec out."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from pipeline.entry.api.edge import Metrics
from pipeline.entry.api.guard import Guard
from pipeline.entry.api.problems import Problem, of_error
from pipeline.entry.api.services import Services
from pipeline.model.errors import BountyguardError
from pipeline.model.money import AMOUNT_MAX
from pipeline.review.gate import Answer, Known, answer, check_amount, pending
from pipeline.review.permit import Claims, Grant, issue
from pipeline.stores.access import Caller

PERMITS_KEPT: Final = 4_096


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the platform asks before it pays."""

    submission_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    amount_minor: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$", min_length=3, max_length=3)]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform is told. ``permit`` and ``expires_at`` are null where nothing is permitted."""

    decision_id: str
    outcome: str
    score: int
    risk_level: str
    reason_codes: tuple[str, ...]
    expires_at: datetime | None
    permit: str | None


_decode: Final = msgspec.json.Decoder(Check).decode
_encode: Final = msgspec.json.Encoder().encode


class ScoreChecks:
    """The route. Safe to repeat: the same submission and ruleset give the same answer, and within a
    window of a quarter of an hour the same permit.
    """

    def __init__(self, services: Services, guard: Guard, metrics: Metrics) -> None:
        self._services = services
        self._guard = guard
        self._metrics = metrics
        self._inline = bool(getattr(services.reader, "is_quick", False))
        self._permits: dict[tuple[Any, ...], tuple[str, Claims]] = {}

    async def __call__(self, request: Request) -> Response:
        """Answer one check."""
        caller = self._guard.enter(request.headers.get("authorization"), "checks")
        request.scope["key_id"] = caller.key_id
        _require_json(request)
        try:
            check = _decode(await request.body())
            check.submission_id.encode("utf-8")
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise Problem(422, "request.invalid", str(error)) from error
        try:
            known = await self._read(check.submission_id)
            return self._answer(check, known, caller)
        except BountyguardError as error:
            raise of_error(error) from error

    async def _read(self, submission_id: str) -> Known | None:
        if "\x00" in submission_id:
            return None
        if self._inline:
            return self._services.reader.latest_assessment(submission_id)
        return await to_thread.run_sync(self._services.reader.latest_assessment, submission_id)

    def _answer(self, check: Check, known: Known | None, caller: Caller) -> Response:
        if known is None or not caller.may_see(
            publisher_id=known.publisher_id, worker_id=known.worker_id
        ):
            if caller.tenant is not None:
                raise Problem(404, "submission.unknown", "there is no such submission")
            return self._tell(pending(check.submission_id), None)
        check_amount(known, check.amount_minor, check.currency)
        found = answer(known)
        if not found.pays:
            return self._tell(found, None)
        grant = Grant(
            submission_id=known.submission_id,
            payee=known.worker_id,
            amount_minor=check.amount_minor,
            currency=check.currency,
            decision_id=found.decision_id,
            revision=known.revision or 0,
        )
        return self._tell(found, self._permit(grant))

    def _permit(self, grant: Grant) -> tuple[str, Claims]:
        keys, now = self._services.permits, self._services.clock()
        name = (grant, keys.newest, int(now.timestamp()) // 900)
        made = self._permits.get(name)
        if made is None:
            made = issue(grant, now, keys.sign, lambda: keys.newest)
            if len(self._permits) >= PERMITS_KEPT:
                self._permits.clear()
            self._permits[name] = made
        return made

    def _tell(self, found: Answer, permit: tuple[str, Claims] | None) -> Response:
        self._metrics.answers.labels(found.outcome).inc()
        told = Told(
            decision_id=found.decision_id,
            outcome=found.outcome,
            score=found.score,
            risk_level=found.risk_level,
            reason_codes=found.reason_codes,
            expires_at=permit[1].expires_at if permit else None,
            permit=permit[0] if permit else None,
        )
        headers = {"Cache-Control": "no-store"}
        if found.retry_after_s is not None:
            headers["Retry-After"] = str(found.retry_after_s)
        return Response(_encode(told), 200, headers, media_type="application/json")


def _require_json(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Problem(415, "request.media", "the body is application/json")


OPENAPI: Final[dict[str, Any]] = {
    "operationId": "score_check",
    "summary": "May this be paid?",
    "description": "Safe to repeat. `permit` is accepted once by a settlement, for that submission and "
    "amount, until it expires or a later finding revokes it. Nothing missing is ever a silent yes or "
    "no: `block_and_review` with `pending.analysis` or `degraded.<detector>`, and `Retry-After`.",
    "tags": ["gate"],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["submission_id", "amount_minor", "currency"],
                    "properties": {
                        "submission_id": {"type": "string", "minLength": 1, "maxLength": 128},
                        "amount_minor": {"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX},
                        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                    },
                }
            }
        },
    },
    "responses": {
        "200": {
            "description": "the answer",
            "headers": {"Retry-After": {"schema": {"type": "integer"}}},
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["decision_id", "outcome", "score", "risk_level", "reason_codes",
                                     "expires_at", "permit"],
                        "properties": {
                            "decision_id": {"type": "string"},
                            "outcome": {"enum": ["approve", "review", "block_and_review", "decline"]},
                            "score": {"type": "integer", "minimum": 0, "maximum": 100},
                            "risk_level": {"enum": ["normal", "elevated", "highest"]},
                            "reason_codes": {"type": "array", "items": {"type": "string"}},
                            "expires_at": {"type": ["string", "null"], "format": "date-time"},
                            "permit": {"type": ["string", "null"]},
                        },
                    }
                }
            },
        }
    },
}  # fmt: skip
