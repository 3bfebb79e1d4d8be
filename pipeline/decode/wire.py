"""What parent and child say to each other: a JSON head and raw bodies, never a pickle.

The child handles hostile bytes and may have been taken over, so the parent runs nothing that comes
from it: lengths are bounded before a byte is read, and heads are plain JSON.

A message is ``head length (u32) · body length (u64) · head · body``, little-endian.
"""

import json
import struct
from typing import Any, Final

PREFIX: Final = struct.Struct("<IQ")
HEAD_BYTES_MAX: Final = 4_000_000


def pack(head: dict[str, Any], body_bytes: int) -> bytes:
    """Prefix and head of a message whose body has that many bytes."""
    encoded = json.dumps(head, separators=(",", ":")).encode("ascii")
    return PREFIX.pack(len(encoded), body_bytes) + encoded


def unpack_head(encoded: bytes) -> dict[str, Any]:
    """Parse a head. Raises ``ValueError`` where it is no JSON object."""
    head = json.loads(encoded)
    if not isinstance(head, dict):
        raise ValueError("the head is not an object")
    return head
