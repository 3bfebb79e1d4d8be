"""Signing keys on disk: Ed25519, rotated, the newest signs, the retired still verify for a while.

One file a key, readable by its owner alone, written whole or not at all. Its name sorts by age. Several
processes share a ring: each sees by the folder's time of change that another one has rotated.
"""

import base64
import hashlib
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pipeline.model.errors import StoreError

VERIFIES_FOR: Final = timedelta(days=2)
"""How long a key verifies after a newer one has taken over: longer than any permit lives."""


class KeyRing:
    """The keys of one purpose in one folder; made with a first key where there is none."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._folder = folder
        self._private: dict[str, Ed25519PrivateKey] = {}
        self._made: list[tuple[datetime, str]] = []
        self._seen = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.reload()
        if not self._made:
            self.rotate(now)

    def reload(self) -> None:
        """Read the keys anew."""
        self._seen = self._folder.stat().st_mtime_ns
        private: dict[str, Ed25519PrivateKey] = {}
        made = []
        for path in sorted(self._folder.glob("*.json")):
            kept = orjson.loads(path.read_bytes())
            seed = base64.b64decode(kept["seed"])
            private[kept["kid"]] = Ed25519PrivateKey.from_private_bytes(seed)
            made.append((datetime.fromisoformat(kept["made_at"]), str(kept["kid"])))
        self._private, self._made = private, sorted(made)

    def rotate_if_older(self, age: timedelta, now: datetime) -> str | None:
        """Rotate where the key that signs is that old; return the new one's id."""
        self._refresh()
        return self.rotate(now) if self._made[-1][0] + age <= now else None

    def _refresh(self) -> None:
        if self._folder.stat().st_mtime_ns != self._seen:
            self.reload()

    def rotate(self, now: datetime) -> str:
        """Make a new key, which signs from now on; return its id."""
        self._refresh()
        if self._made:
            now = max(
                now, self._made[-1][0] + timedelta(microseconds=1)
            )  # the newest, by any clock
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        kid = hashlib.sha256(public).hexdigest()[:16]
        seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        kept = {"kid": kid, "made_at": now.isoformat(), "seed": base64.b64encode(seed).decode()}
        target = self._folder / f"{int(now.timestamp() * 1e6):020d}-{kid}.json"
        temporary = target.with_suffix(".tmp")
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as file:
            file.write(orjson.dumps(kept))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
        self.reload()
        return kid

    @property
    def newest(self) -> str:
        """The id of the key that signs."""
        self._refresh()
        if not self._made:
            raise StoreError("keys.none", f"there is no signing key in {self._folder}")
        return self._made[-1][1]

    def sign(self, data: bytes) -> tuple[str, bytes]:
        """Sign with the newest key: (key id, 64 bytes)."""
        newest = self.newest
        return newest, self._private[newest].sign(data)

    def sign_hex(self, data: bytes) -> tuple[str, str]:
        """Sign with the newest key: (key id, hex)."""
        kid, signature = self.sign(data)
        return kid, signature.hex()

    def verify(
        self, kid: str, data: bytes, signature: bytes, *, now: datetime | None = None
    ) -> bool:
        """Tell whether a signature fits; with ``now``, only by keys that are not long retired."""
        self._refresh()
        if kid not in self._private or (now is not None and kid not in self.living(now)):
            return False
        try:
            self._private[kid].public_key().verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def verify_hex(self, kid: str, data: bytes, signature: str) -> bool:
        """Tell whether a signature in hex fits, by whichever key of the ring, retired ones too."""
        try:
            return self.verify(kid, data, bytes.fromhex(signature))
        except ValueError:
            return False

    def living(self, now: datetime) -> list[str]:
        """Return the keys that still verify: the newest, and those that it replaced not long ago."""
        ids = [kid for _, kid in self._made]
        ends = [made for made, _ in self._made[1:]]
        return [kid for kid, end in zip(ids, ends, strict=False) if end + VERIFIES_FOR > now] + ids[
            -1:
        ]

    def jwks(self, now: datetime) -> dict[str, Any]:
        """Return the public keys as a JSON Web Key Set (RFC 7517, RFC 8037)."""
        self._refresh()
        keys = []
        for kid in self.living(now):
            public = self._private[kid].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
            keys.append(
                {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x}
            )
        return {"keys": keys}
