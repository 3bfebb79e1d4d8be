"""Who is at the console: sign-in by a person's key, sessions kept here, tokens of forms, rates."""

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.stores.access import Access, Caller

COOKIE: Final = "bountyguard_console"
DOOR_COOKIE: Final = "bountyguard_door"
SCOPE: Final = "console"
IDLE_S: Final = 30 * 60.0
WHOLE_S: Final = 8 * 3600.0
SESSIONS_MAX: Final = 2_000
TRIES_PER_MINUTE: Final = 10
ALL_TRIES_PER_MINUTE: Final = 300
PLACES_MAX: Final = 10_000
_WITHIN: Final = re.compile(r"/console(?:/[A-Za-z0-9_.~%/?&=+:-]*)?")


@dataclass(slots=True, kw_only=True)
class Session:
    """One person's stay. ``csrf`` stands in every form; ``language`` null follows the browser."""

    person: str
    key_id: str
    csrf: str
    began_s: float
    seen_s: float
    language: str | None = None


class Sessions:
    """Sessions by the digest of their cookie, in this process: a restart signs everybody out."""

    def __init__(self, access: Access, ticks: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._ticks = ticks
        self._lock = threading.Lock()
        self._kept: dict[str, Session] = {}

    def sign_in(self, key: str) -> tuple[str, Session] | None:
        """Open a session for a key of a person; None where it is none that may come in.

        A key that is bound to one publisher or worker may not: the console shows everybody's.
        """
        caller = self._access.recognise(f"Bearer {key.strip()}")
        if caller is None or not _may_enter(caller):
            return None
        token, now = secrets.token_urlsafe(32), self._ticks()
        session = Session(
            person=caller.name.strip(), key_id=caller.key_id, csrf=secrets.token_urlsafe(32),
            began_s=now, seen_s=now,
        )  # fmt: skip
        with self._lock:
            self._sweep(now)
            self._kept[_digest(token)] = session
        return token, session

    def find(self, token: str | None) -> Session | None:
        """Return the session of a cookie while it and its key live; looking prolongs it."""
        if not token or len(token) > 128:
            return None
        name, now = _digest(token), self._ticks()
        with self._lock:
            session = self._kept.get(name)
            if session is None:
                return None
            if now - session.seen_s > IDLE_S or now - session.began_s > WHOLE_S:
                del self._kept[name]
                return None
            session.seen_s = now
        caller = self._access.living(session.key_id)
        if caller is None or not _may_enter(caller):
            self.end(token)
            return None
        return session

    def end(self, token: str | None) -> None:
        """End a session for good."""
        with self._lock:
            self._kept.pop(_digest(token or ""), None)

    def _sweep(self, now: float) -> None:
        for name in [n for n, s in self._kept.items() if now - s.seen_s > IDLE_S]:
            del self._kept[name]
        while len(self._kept) >= SESSIONS_MAX:
            del self._kept[min(self._kept, key=lambda n: self._kept[n].seen_s)]


class Tries:
    """Holds sign-in to so many tries a minute from one address, and from all together."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def spend(self, address: str) -> bool:
        """Take one try; False where there is none left."""
        with self._lock:
            if len(self._buckets) > PLACES_MAX:
                self._buckets.clear()
            here = self._take(address, TRIES_PER_MINUTE)
            return here and self._take("", ALL_TRIES_PER_MINUTE)

    def _take(self, name: str, per_minute: int) -> bool:
        now = self._ticks()
        left, since = self._buckets.get(name, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * per_minute / 60.0)
        self._buckets[name] = (left - 1.0 if left >= 1.0 else left, now)
        return left >= 1.0


def same(one: str | None, other: str | None) -> bool:
    """Compare two tokens in constant time; nothing equals nothing is False."""
    return bool(one and other) and hmac.compare_digest(
        str(one).encode("utf-8", "surrogatepass"), str(other).encode("utf-8", "surrogatepass")
    )


def within(path: str | None) -> str:
    """Return where to go after signing in: a page of this console, whatever was asked for."""
    if path and len(path) <= 500 and _WITHIN.fullmatch(path) and "//" not in path:
        return path
    return "/console/"


def _may_enter(caller: Caller) -> bool:
    name = caller.name.strip()
    is_person = bool(name) and not name.startswith("system:")
    return SCOPE in caller.scopes and caller.tenant is None and is_person


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
