"""Who may do what, how often, and once: keys, scopes, rates, idempotency keys."""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from pipeline.entry.api.problems import Problem, of_error
from pipeline.entry.api.services import Services
from pipeline.model.errors import BountyguardError
from pipeline.stores.access import Caller
from pipeline.stores.ledger_books import Books
from pipeline.stores.ledger_once import Change, answered, once

T = TypeVar("T")
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
UNUSED_BUCKETS_MAX: Final = 10_000
KEY_USE_EVERY_S: Final = 3_600.0


class Guard:
    """Recognises callers and holds them to their scopes and rates."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._buckets: dict[str, tuple[float, float]] = {}
        self._noted: dict[str, float] = {}
        self._running: set[tuple[str, str]] = set()

    def enter(self, authorization: str | None, scope: str) -> Caller:
        """Return who asks. Raises ``Problem``: 401, 403 (no such scope), 429."""
        caller = self._services.access.recognise(authorization)
        if caller is None:
            raise Problem(
                401, "key.unknown", "a valid API key is needed as bearer token",
                {"WWW-Authenticate": 'Bearer realm="bountyguard"'},
            )  # fmt: skip
        if scope not in caller.scopes:
            raise Problem(403, "key.scope", f"the key lacks the scope {scope!r}")
        self._spend(caller)
        return caller

    def _spend(self, caller: Caller) -> None:
        """Take one token from the caller's bucket, which holds ten seconds' worth."""
        now = time.monotonic()
        per_second = caller.per_minute / 60.0
        full = max(1.0, per_second * 10.0)
        if len(self._buckets) > UNUSED_BUCKETS_MAX:
            self._buckets.clear()
        tokens, since = self._buckets.get(caller.key_id, (full, now))
        tokens = min(full, tokens + (now - since) * per_second)
        if tokens < 1.0:
            self._buckets[caller.key_id] = (tokens, now)
            wait = max(1, int((1.0 - tokens) / per_second + 0.999)) if per_second else 60
            raise Problem(
                429, "rate.exceeded", f"at most {caller.per_minute} requests a minute",
                {"Retry-After": str(wait)},
            )  # fmt: skip
        self._buckets[caller.key_id] = (tokens - 1.0, now)
        if now - self._noted.get(caller.key_id, -KEY_USE_EVERY_S) >= KEY_USE_EVERY_S:
            self._noted[caller.key_id] = now
            self.note(caller.key_id, "key.used", caller.key_id, {})

    def note(
        self, actor: str, action: str, subject: str, detail: Mapping[str, Any]
    ) -> "Future[None]":
        """Write into the audit chain."""
        return self._services.writer.submit(lambda books: books.log(actor, action, subject, detail))

    async def once(self, request: Request, caller: Caller, body: bytes, change: Change) -> Response:
        """Make a change once for its ``Idempotency-Key``; a repetition gets the first answer.

        Raises ``Problem``: 400 (missing or no key), 409 (still in progress), 422 (the key was used
        with another request).
        """
        key = self.key_of(request)
        digest = request_digest(request, body)
        mark = (caller.key_id, key)
        if mark in self._running:
            raise Problem(
                409, "idempotency.in_progress", "a request with this key is under way",
                {"Retry-After": "1"},
            )  # fmt: skip
        self._running.add(mark)
        try:
            status, text = await self.write(lambda books: once(books, mark, digest, change))
        finally:
            self._running.discard(mark)
        return Response(text, status, media_type="application/json")

    def key_of(self, request: Request) -> str:
        """Return the request's ``Idempotency-Key``."""
        key = request.headers.get("idempotency-key")
        if key is None:
            raise Problem(400, "idempotency.missing", "the header Idempotency-Key is needed")
        if not KEY.fullmatch(key):
            raise Problem(
                400, "idempotency.bad_key", "a key is 1 to 255 printable ASCII characters"
            )
        return key

    async def write(self, change: Callable[[Books], T]) -> T:
        """Make a change through the batching writer. Raises ``Problem``.

        The change is carried through even if the caller goes away: the answer then waits for them
        under their idempotency key.
        """
        try:
            future = self._services.writer.submit(change)
            return await asyncio.shield(asyncio.wrap_future(future))
        except BountyguardError as error:
            raise of_error(error) from error

    async def known_answer(self, request: Request, caller: Caller, body: bytes) -> Response | None:
        """Return the answer that this key got before; None for a new key."""
        mark, digest = (caller.key_id, self.key_of(request)), request_digest(request, body)

        def look(books: Books) -> tuple[int, str] | None:
            return answered(books, mark, digest)

        found = await self.write(look)
        return Response(found[1], found[0], media_type="application/json") if found else None


def request_digest(request: Request, body: bytes) -> str:
    """Say in a digest what was asked: method, path and body."""
    told = [request.method, request.url.path, hashlib.sha256(body).hexdigest()]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()
