"""The outbox's courier: webhooks by the Standard Webhooks convention, signed, retried, listed if failed.

A message is written in the transaction of what it tells, so it is never lost and never early. It is
delivered at least once: receivers drop a ``webhook-id`` that they have seen.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import sqlalchemy as sa
from standardwebhooks import Webhook

from pipeline.model.errors import UsageError
from pipeline.stores.database import Database
from pipeline.stores.ledger import Ledger
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables

WAITS: Final = tuple(
    timedelta(seconds=s) for s in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Between attempts, after the convention's example: some 75 hours in all."""
SECRET_BYTES: Final = 32

Post = Callable[[str, Mapping[str, str], bytes], int]
"""Send a body to an address: returns the HTTP status. Raises ``OSError`` where nobody answers."""


class Courier:
    """Carries messages from the outbox to the endpoints."""

    def __init__(
        self, database: Database, ledger: Ledger, clock: Callable[[], datetime], post: Post
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._post = post

    def add_endpoint(self, url: str) -> tuple[str, str]:
        """Send all further messages to that address too: returns (endpoint id, secret).

        Raises ``UsageError`` for anything but https, or http to this very machine.
        """
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise UsageError("webhook.url", "an endpoint is an https address")
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        name = "we_" + secrets.token_hex(8)

        def change(books: Books) -> None:
            newest = books.connection.execute(
                sa.select(sa.func.coalesce(sa.func.max(tables.outbox.c.sequence), 0))
            ).scalar_one()
            books.add(
                tables.endpoints,
                {"endpoint_id": name, "url": url, "secrets": orjson.dumps([secret]).decode(),
                 "since_sequence": newest, "made_at": books.now, "ended_at": None},
            )  # fmt: skip
            books.log("operator", "webhook.added", name, {})

        self._ledger.run(change)
        return name, secret

    def deliver_due(self, limit: int = 100) -> dict[str, int]:
        """Send what is due, oldest first; return how many were ``delivered``, ``retry``, ``failed``."""
        counts = {"delivered": 0, "retry": 0, "failed": 0}
        for due in self._due(limit):
            error = self._send(due)
            attempts = (due["attempts"] or 0) + 1
            state = (
                "delivered" if error is None else "retry" if attempts <= len(WAITS) else "failed"
            )
            now = self._clock()
            row = {
                "state": state, "attempts": attempts, "last_error": error,
                "next_at": now + WAITS[attempts - 1] if state == "retry" else None,
                "delivered_at": now if state == "delivered" else None,
            }  # fmt: skip
            self._note(due, row)
            counts[state] += 1
        return counts

    def failed(self) -> list[dict[str, Any]]:
        """Return what could not be delivered and is not tried again by itself."""
        query = sa.select(tables.deliveries).where(tables.deliveries.c.state == "failed")
        with self._database.read() as connection:
            return [dict(r) for r in connection.execute(query.order_by("message_id")).mappings()]

    def replay(self, message_id: str, endpoint_id: str) -> None:
        """Try a message again from the first attempt on."""
        self._note(
            {"message_id": message_id, "endpoint_id": endpoint_id},
            {"state": "retry", "attempts": 0, "last_error": None, "next_at": self._clock(),
             "delivered_at": None},
        )  # fmt: skip

    def _due(self, limit: int) -> list[dict[str, Any]]:
        o, e, d = tables.outbox, tables.endpoints, tables.deliveries
        query = (
            sa.select(
                o.c.message_id, o.c.payload, e.c.endpoint_id, e.c.url, e.c.secrets, d.c.attempts
            )
            .join_from(o, e, o.c.sequence > e.c.since_sequence)
            .join(
                d,
                sa.and_(d.c.message_id == o.c.message_id, d.c.endpoint_id == e.c.endpoint_id),
                isouter=True,
            )
            .where(
                e.c.ended_at.is_(None),
                sa.or_(
                    d.c.message_id.is_(None),
                    sa.and_(d.c.state == "retry", d.c.next_at <= self._clock()),
                ),
            )
            .order_by(o.c.sequence, e.c.endpoint_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _send(self, due: Mapping[str, Any]) -> str | None:
        body = str(due["payload"]).encode()
        stamp = str(int(self._clock().timestamp()))
        headers = {
            "content-type": "application/json",
            "webhook-id": due["message_id"],
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(
                signature(secret, due["message_id"], stamp, body)
                for secret in orjson.loads(due["secrets"])
            ),
        }
        try:
            status = self._post(due["url"], headers, body)
        except OSError as error:
            return type(error).__name__
        return None if 200 <= status < 300 else f"HTTP {status}"

    def _note(self, due: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        key = {"message_id": due["message_id"], "endpoint_id": due["endpoint_id"]}
        table = tables.deliveries
        with self._database.write() as connection:
            if not self._database.insert_new(connection, table, [key | dict(row)]):
                connection.execute(
                    sa.update(table)
                    .where(
                        table.c.message_id == key["message_id"],
                        table.c.endpoint_id == key["endpoint_id"],
                    )
                    .values(**row)
                )


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Sign as Standard Webhooks asks: HMAC-SHA256 over ``id.timestamp.body``, version 1."""
    at = datetime.fromtimestamp(int(timestamp), tz=UTC)
    return str(Webhook(secret).sign(message_id, at, body.decode()))
