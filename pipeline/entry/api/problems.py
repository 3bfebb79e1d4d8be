"""Errors as problem details (RFC 9457): one shape, a stable code, and nothing of what was sent."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import fastapi
import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pipeline.model.errors import BountyguardError, LedgerError, StoreError

MEDIA: Final = "application/problem+json"

STATUS_OF: Final[Mapping[str, int]] = {
    "permit.forged": 422, "permit.expired": 409, "permit.not_yet": 409, "permit.used": 409,
    "permit.revoked": 409, "permit.amount": 422, "permit.currency": 422, "permit.submission": 422,
    "settlement.already_paid": 409, "settlement.no_slot": 409, "settlement.unknown": 404,
    "settlement.finished": 409, "amount.invalid": 422, "amount.currency": 422,
    "amount.exceeds_bounty": 422, "case.unknown": 404, "appeal.not_yours": 404,
    "appeal.too_late": 409, "appeal.nothing": 409, "appeal.empty": 422, "report.empty": 422,
    "report.too_many": 429, "idempotency.reused": 422, "idempotency.in_progress": 409,
    "idempotency.missing": 400, "idempotency.bad_key": 400,
}  # fmt: skip

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable, for programs"},
        "detail": {"type": "string", "description": "for people"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}


class Problem(fastapi.HTTPException):
    """A refusal with its status, its stable code and a sentence for people.

    It is the framework's own kind of refusal, so that the framework hides none of them behind a 400.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.status = status
        self.code = code
        self.told = detail


def response(
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """Make the response of a problem."""
    body = {
        "type": f"urn:bountyguard:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **(more or {}),
    }
    return Response(orjson.dumps(body), status, dict(headers or {}), media_type=MEDIA)


def of_error(error: BountyguardError) -> Problem:
    """Turn an expected error into the problem that a caller is told."""
    if isinstance(error, StoreError):
        return Problem(503, error.code, "try again later", {"Retry-After": "5"})
    status = STATUS_OF.get(error.code, 422 if isinstance(error, LedgerError) else 400)
    headers = {"Retry-After": "60"} if status == 429 else None
    return Problem(status, error.code, error.message, headers)


async def on_problem(request: Request, problem: Exception) -> Response:
    """Answer with a problem."""
    if isinstance(problem, BountyguardError):
        problem = of_error(problem)
    if not isinstance(problem, Problem):
        raise problem
    return response(problem.status, problem.code, problem.told, problem.headers)


async def on_http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses in the same shape."""
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "route.unknown", 405: "route.method"}.get(error.status_code, "request.bad")
    headers = dict(error.headers or {})
    return response(error.status_code, code, str(error.detail), headers)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Answer a body that does not fit: where and why, and never what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = error.errors()
    told = [{"at": [str(p) for p in f["loc"]], "why": f["msg"]} for f in faults][:20]
    return response(422, "request.invalid", "the request does not fit", more={"errors": told})


async def on_bug(request: Request, error: Exception) -> Response:
    """Answer a bug: a stable code, and nothing of the inside."""
    return response(500, "server.error", "something went wrong here; it has been logged")
