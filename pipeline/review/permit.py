"""Permits: the signed word that lets one payment go. Pure: keys and the time are handed in.

A permit is a JWS in compact form (RFC 7515) signed with Ed25519 (RFC 8037), bound to submission, payee,
amount, currency, decision and expiry. Its times are rounded to a window, so that the same question
gets the same permit; that it is used once is the ledger's business.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from pipeline.model.errors import LedgerError

WINDOW: Final = timedelta(minutes=15)
LIVES: Final = timedelta(minutes=30)
SKEW: Final = timedelta(minutes=5)
TYPE: Final = "bountyguard-permit+jwt"
TOKEN_MAX: Final = 2_048

Sign = Callable[[bytes], tuple[str, bytes]]
"""Sign bytes with the newest key: (key id, 64 bytes of signature)."""
Verify = Callable[[str, bytes, bytes], bool]
"""Tell whether (key id, bytes, signature) fit; False for a key that is not known (any more)."""
KeyId = Callable[[], str]


class Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a permit says. ``iat`` and ``exp`` are seconds since the epoch."""

    jti: str
    sub: str
    payee: str
    amount_minor: int
    currency: str
    decision_id: str
    revision: int
    iat: int
    exp: int

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.exp, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What is to be permitted."""

    submission_id: str
    payee: str
    amount_minor: int
    currency: str
    decision_id: str
    revision: int


_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(Claims, strict=True).decode
_header: Final = msgspec.json.Decoder(dict[str, Any]).decode


def window_of(now: datetime) -> tuple[int, int]:
    """Return (issued, expires) in seconds: a permit asked for now lives 15 to 30 minutes."""
    width = int(WINDOW.total_seconds())
    issued = int(now.timestamp()) // width * width
    return issued, issued + int(LIVES.total_seconds())


def issue(grant: Grant, now: datetime, sign: Sign, key_id: KeyId) -> tuple[str, Claims]:
    """Make the permit: the same grant, window and key give the same bytes."""
    issued, expires = window_of(now)
    named = _encode(
        [grant.decision_id, grant.submission_id, grant.payee, grant.amount_minor, grant.currency,
         issued]
    )  # fmt: skip
    claims = Claims(
        jti=hashlib.sha256(named).hexdigest()[:32],
        sub=grant.submission_id,
        payee=grant.payee,
        amount_minor=grant.amount_minor,
        currency=grant.currency,
        decision_id=grant.decision_id,
        revision=grant.revision,
        iat=issued,
        exp=expires,
    )
    head = _encode({"alg": "EdDSA", "kid": key_id(), "typ": TYPE})
    body = _b64(head) + b"." + _b64(_encode(claims))
    _, signature = sign(body)
    return (body + b"." + _b64(signature)).decode(), claims


def read(token: str, verify: Verify) -> Claims:
    """Read a permit whose signature fits. Raises ``LedgerError('permit.forged')`` for any other.

    Whether it has expired, was used or revoked is ``check_times``' and the ledger's question.
    """
    forged = LedgerError("permit.forged", "the permit is not one of ours, or was changed")
    if len(token) > TOKEN_MAX or token.count(".") != 2:
        raise forged
    head, body, signature = token.split(".")
    try:
        header = _header(_unb64(head))
        claims = _decode(_unb64(body))
        given = _unb64(signature)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise forged from error
    if header.get("alg") != "EdDSA" or header.get("typ") != TYPE or len(given) != 64:
        raise forged
    if not verify(str(header.get("kid")), f"{head}.{body}".encode(), given):
        raise forged
    return claims


def check_times(claims: Claims, now: datetime) -> None:
    """Raise ``LedgerError``: ``permit.expired``, or ``permit.not_yet`` where the clock went back."""
    if now.timestamp() >= claims.exp:
        raise LedgerError("permit.expired", "the permit has expired: ask again")
    if now.timestamp() < claims.iat - SKEW.total_seconds():
        raise LedgerError("permit.not_yet", "the permit is of a time that has not come")


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unb64(text: str) -> bytes:
    raw = text.encode("ascii")
    data = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    if _b64(data) != raw:  # one signature has one spelling
        raise ValueError("not canonical")
    return data
