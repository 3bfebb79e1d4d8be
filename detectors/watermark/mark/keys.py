"""Keys of the invisible mark: subkeys by HKDF from a master, with purpose, tenant and epoch.

HKDF-SHA256 (RFC 5869). A leaked subkey gives neither the master nor another purpose's key; a new
epoch gives unrelated carriers, so that what is learned from old deliveries is worth nothing on new.
"""

import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.model.errors import UsageError

MASTER_BYTES_MIN: Final = 16
KEYS_MAX: Final = 16
"""Keys of one ring: each costs a search, and the chance of a false hit grows with their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkKey:
    """One epoch's key. A retired key only detects. The master never shows in ``repr``."""

    key_id: str
    master: bytes = field(repr=False)
    tenant: str = "default"
    epoch: int = 0
    retired: bool = False

    def __post_init__(self) -> None:
        if len(self.master) < MASTER_BYTES_MIN:
            raise UsageError("mark.key", f"key {self.key_id}: {MASTER_BYTES_MIN} bytes at least")

    def retire(self) -> "MarkKey":
        """Return this key as one that only detects."""
        return replace(self, retired=True)

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """Derive the subkey for one purpose."""
        info = b"\x00".join(
            part.encode() for part in ("bountyguard.mark", purpose, self.tenant, str(self.epoch))
        )
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(self.master)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys that deliveries may carry, newest last."""

    keys: tuple[MarkKey, ...] = ()

    def __iter__(self) -> Iterator[MarkKey]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, key_id: str) -> MarkKey:
        found = next((key for key in self.keys if key.key_id == key_id), None)
        if found is None:
            raise UsageError("mark.key", f"the keyring holds no key {key_id!r}")
        return found

    def current(self, tenant: str | None = None) -> MarkKey:
        """Return the newest key (of a tenant) that may still mark.

        Raises ``UsageError`` where there is none.
        """
        live = [k for k in self.keys if not k.retired and tenant in (None, k.tenant)]
        if not live:
            raise UsageError("mark.key", "the keyring holds no key that is not retired")
        return max(live, key=lambda key: (key.epoch, key.key_id))

    def to_json(self) -> bytes:
        """Write the ring as the asset ``watermark.keys``: a secret, masters in hex."""
        rows = [
            {
                "key_id": key.key_id, "master": key.master.hex(), "tenant": key.tenant,
                "epoch": key.epoch, "retired": key.retired,
            }
            for key in self.keys
        ]  # fmt: skip
        return msgspec.json.encode({"keys": rows})

    @classmethod
    def from_json(cls, data: bytes) -> "Keyring":
        """Read the asset. Raises ``UsageError`` (never quoting a key) where it is malformed."""
        try:
            rows: list[Mapping[str, Any]] = msgspec.json.decode(data)["keys"]
            keys = tuple(
                MarkKey(
                    key_id=str(row["key_id"]),
                    master=binascii.unhexlify(row["master"]),
                    tenant=str(row.get("tenant", "default")),
                    epoch=int(row.get("epoch", 0)),
                    retired=bool(row.get("retired", False)),
                )
                for row in rows
            )
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError("mark.keyring", "the keyring is not of the declared form") from error
        if len(keys) > KEYS_MAX or len({key.key_id for key in keys}) != len(keys):
            raise UsageError("mark.keyring", f"at most {KEYS_MAX} keys, each id once")
        return cls(keys=keys)
