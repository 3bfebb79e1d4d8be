"""``POST /v1/score-checks``: the lean route. msgspec in, one point read, one signature, msgspec out.

It is an ASGI application of its own behind the edge: the framework's routing and dependency layers cost
more than the answer does.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from pipeline.entry.api.edge import Metrics
from pipeline.entry.api.guard import Guard
from pipeline.entry.api.problems import Problem, of_error, response
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
        self._permits: dict[tuple[Any, ...], tuple[str, Claims]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one check."""
        try:
            body, headers = await self._check(scope, receive)
        except BountyguardError as error:
            refused = of_error(error)
        except Problem as problem:
            refused = problem
        else:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        told = response(refused.status, refused.code, refused.told, refused.headers)
        await told(scope, receive, send)

    async def _check(self, scope: Scope, receive: Receive) -> "_Told":
        if scope["method"] != "POST":
            raise Problem(405, "route.method", "a check is asked by POST", {"Allow": "POST"})
        headers = dict(scope["headers"])
        caller = self._guard.enter(headers.get(b"authorization", b"").decode("latin-1"), "checks")
        scope["key_id"] = caller.key_id
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media != b"application/json":
            raise Problem(415, "request.media", "the body is application/json")
        try:
            check = _decode(await _body(receive))
            check.submission_id.encode("utf-8")
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise Problem(422, "request.invalid", str(error)) from error
        return self._answer(check, await self._read(check.submission_id), caller)

    async def _read(self, submission_id: str) -> Known | None:
        if "\x00" in submission_id:
            return None
        return await self._services.reader.read(submission_id)

    def _answer(self, check: Check, known: Known | None, caller: Caller) -> "_Told":
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

    def _tell(self, found: Answer, permit: tuple[str, Claims] | None) -> "_Told":
        self._metrics.answered(found.outcome)
        body = _encode(
            Told(
                decision_id=found.decision_id,
                outcome=found.outcome,
                score=found.score,
                risk_level=found.risk_level,
                reason_codes=found.reason_codes,
                expires_at=permit[1].expires_at if permit else None,
                permit=permit[0] if permit else None,
            )
        )
        headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
        if found.retry_after_s is not None:
            headers.append((b"retry-after", str(found.retry_after_s).encode()))
        return body, headers


_Told = tuple[bytes, list[tuple[bytes, bytes]]]
"""The body of an answer, and its headers."""
_HEADERS: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


async def _body(receive: Receive) -> bytes:
    """Read the whole body; the edge bounds its size and its time. Raises ``Problem`` where it is cut."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "request.cut", "the connection ended within the body")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


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
