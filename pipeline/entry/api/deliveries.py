"""``POST /v1/deliveries``: a marked copy of paid work, for whoever it is handed over to."""

from typing import Annotated, Any, Final

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from pipeline.entry.api.guard import Guard
from pipeline.entry.api.problems import Problem
from pipeline.entry.api.routes import Body, Id, IdempotencyKey
from pipeline.entry.api.services import Services
from pipeline.model.errors import ContentError, UsageError
from pipeline.stores.ledger_books import Books

HEADER: Final = "Bountyguard-Delivery"
"""Key id and serial of the copy, as they stand in the registry."""
COPY: Final[dict[int | str, dict[str, Any]]] = {
    201: {
        "description": "the marked copy",
        "headers": {HEADER: {"schema": {"type": "string"}}},
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg", "text/plain")
        },
    }
}


class DeliveryIn(Body):
    """Which part of which submission goes to whom: a file by its index, or without one the text."""

    submission_id: Id
    content_index: Annotated[int | None, Field(ge=0, le=10_000)] = None
    recipient: Id


def router(services: Services, guard: Guard) -> APIRouter:
    """Make the route that hands over."""
    made = APIRouter()

    @made.post(
        "/v1/deliveries", status_code=201, tags=["marks"], response_class=Response, responses=COPY
    )
    async def deliver(request: Request, body: DeliveryIn, key: IdempotencyKey = None) -> Response:
        """Mark a picture or text for one recipient, record the delivery and return the copy."""
        caller = guard.enter(request.headers.get("authorization"), "deliveries")
        request.scope["key_id"] = caller.key_id
        marker = services.marker
        if marker is None:
            raise Problem(503, "marks.absent", "nothing is marked here", {"Retry-After": "60"})
        paid = await to_thread.run_sync(services.reader.latest_assessment, body.submission_id)
        if paid is None or not caller.may_see(
            publisher_id=paid.publisher_id, worker_id=paid.worker_id
        ):
            raise Problem(404, "submission.unknown", "there is no such submission")
        asked = await request.body()
        answer = await guard.known_answer(request, caller, asked)
        if answer is None:
            try:
                copy = await to_thread.run_sync(
                    marker, body.submission_id, body.content_index, body.recipient
                )
            except (UsageError, ContentError) as error:
                raise Problem(422, error.code, error.message) from error

            def change(books: Books) -> tuple[int, dict[str, Any]]:
                told = {"recipient": body.recipient, "key_id": copy["key_id"]}
                books.log(caller.key_id, "delivery.marked", body.submission_id, told)
                return 201, dict(copy)

            answer = await guard.once(request, caller, asked, change)
        copy = orjson.loads(bytes(answer.body))
        try:
            data = await to_thread.run_sync(marker.kept, copy["digest"])
        except ContentError as error:
            raise Problem(404, "delivery.erased", "the copy is no longer kept") from error
        named = {HEADER: f"{copy['key_id']}:{copy['serial']}"}
        return Response(data, 201, named, media_type=copy["media_type"])

    return made
