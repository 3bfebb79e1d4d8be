"""API keys, ``bgk_<id>.<secret>``, of which only digests are stored, with scopes, tenant and rate."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from pipeline.model.errors import UsageError
from pipeline.stores.database import Database
from pipeline.stores.ledger import Ledger
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables

SCOPES: Final = (
    "checks", "intake", "settlements", "reports", "appeals", "statements", "deliveries", "console",
)  # fmt: skip
"""``console`` is for people: the key's name is who decides there."""
CACHE: Final = timedelta(seconds=1)
"""A revoked key is refused within this time."""
CACHE_MAX: Final = 10_000
GRACE: Final = timedelta(hours=24)
PREFIX: Final = "bgk_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: what the key may do, for whom, and how often."""

    key_id: str
    name: str
    digest: str
    scopes: frozenset[str]
    tenant: str | None
    per_minute: int
    expires_at: datetime | None
    revoked_at: datetime | None

    def may_see(self, *, publisher_id: str | None = None, worker_id: str | None = None) -> bool:
        """Tell whether something of that publisher and worker is this caller's business."""
        if self.tenant is None:
            return True
        kind, _, name = self.tenant.partition(":")
        return name == (publisher_id if kind == "publisher" else worker_id)


class Access:
    """Makes, rotates, revokes and recognises API keys."""

    def __init__(self, database: Database, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._cache: dict[str, tuple[datetime, Caller | None]] = {}

    def make(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        tenant: str | None = None,
        per_minute: int = 6_000,
        expires_at: datetime | None = None,
    ) -> str:
        """Make a key and return it: the only time that its secret is seen.

        Raises ``UsageError`` for an unknown scope or tenant.
        """
        wanted = sorted(set(scopes))
        unknown = [s for s in wanted if s not in SCOPES]
        if unknown or not wanted:
            raise UsageError("key.scope", f"scopes are {', '.join(SCOPES)}; not {unknown}")
        if tenant is not None and not tenant.startswith(("publisher:", "worker:")):
            raise UsageError("key.tenant", "a tenant is publisher:<id> or worker:<id>")
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        row = {
            "key_id": key_id, "digest": _digest(secret), "name": name, "scopes": " ".join(wanted),
            "tenant": tenant, "per_minute": per_minute, "made_at": self._clock(),
            "expires_at": expires_at, "revoked_at": None,
        }  # fmt: skip

        def change(books: Books) -> None:
            books.add(tables.api_keys, row)
            books.log("operator", "key.made", key_id, {"name": name, "scopes": wanted})

        self._ledger.run(change)
        return f"{PREFIX}{key_id}.{secret}"

    def rotate(self, key_id: str) -> str:
        """Make a key like that one; the old one works for another day."""
        with self._database.read() as connection:
            old = connection.execute(
                sa.select(tables.api_keys).where(tables.api_keys.c.key_id == key_id)
            ).one_or_none()
        if old is None:
            raise UsageError("key.unknown", f"there is no key {key_id!r}")
        made = self.make(
            old.name, old.scopes.split(), tenant=old.tenant, per_minute=old.per_minute,
            expires_at=old.expires_at,
        )  # fmt: skip
        ends = self._clock() + GRACE
        self._end(key_id, "expires_at", min(ends, old.expires_at) if old.expires_at else ends)
        return made

    def revoke(self, key_id: str) -> None:
        """End a key now."""
        self._end(key_id, "revoked_at", self._clock())
        self._cache.pop(key_id, None)

    def _end(self, key_id: str, column: str, at: datetime) -> None:
        def change(books: Books) -> None:
            books.amend(tables.api_keys, "key_id", key_id, {column: at})
            books.log("operator", f"key.{column}", key_id, {"at": at.isoformat()})

        self._ledger.run(change)

    def recognise(self, authorization: str | None) -> Caller | None:
        """Return whose bearer token this is; None for none, a wrong, an expired or a revoked one."""
        if not authorization or authorization[:7].lower() != "bearer ":
            return None
        key_id, dot, secret = authorization[7:].strip().removeprefix(PREFIX).partition(".")
        if not dot or len(key_id) > 32 or len(secret) > 128:
            return None
        caller = self._caller(key_id)
        known = caller.digest if caller else "0" * 64
        fits = hmac.compare_digest(known, _digest(secret))
        return caller if fits and self._lives(caller) else None

    def living(self, key_id: str) -> Caller | None:
        """Return whose key that is, while it is neither expired nor revoked: for signed-in people."""
        caller = self._caller(key_id)
        return caller if self._lives(caller) else None

    def _lives(self, caller: Caller | None) -> bool:
        now = self._clock()
        return caller is not None and all(
            t is None or t > now for t in (caller.expires_at, caller.revoked_at)
        )

    def _caller(self, key_id: str) -> Caller | None:
        now = self._clock()
        cached = self._cache.get(key_id)
        if cached is not None and abs(now - cached[0]) < CACHE:
            return cached[1]
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(tables.api_keys).where(tables.api_keys.c.key_id == key_id)
            ).one_or_none()
        if len(self._cache) >= CACHE_MAX:
            self._cache.clear()
        caller = _caller_of(row) if row else None
        self._cache[key_id] = (now, caller)
        return caller


def _caller_of(row: Any) -> Caller:
    return Caller(
        key_id=row.key_id,
        name=row.name,
        digest=row.digest,
        scopes=frozenset(row.scopes.split()),
        tenant=row.tenant,
        per_minute=row.per_minute,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
