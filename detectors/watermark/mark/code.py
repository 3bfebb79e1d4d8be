"""From a delivery's serial to coded signs and back: sealing, convolutional code, soft decoding.

The serial is sealed before it is coded (a synthetic IV after RFC 5297: the MAC is the nonce of its
own encryption), so neighbouring serials share no code bits and a wrong one cannot score well. The
code is the rate-1/3, constraint-length-9 convolutional code 557, 663, 711 (octal; Proakis, table
8.2-2, free distance 18), zero-tailed, decoded by the Viterbi algorithm on soft values.
"""

import hashlib
import hmac
from functools import cache, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.watermark.mark.kernels import likeliest
from detectors.watermark.mark.keys import MarkKey

SERIAL_BITS: Final = 64
MAC_BITS: Final = 32
MESSAGE_BITS: Final = SERIAL_BITS + MAC_BITS
_LENGTH: Final = 9
_POLYNOMIALS: Final = (0o557, 0o663, 0o711)
_NEVER: Final = -1e9
_STATES: Final = 1 << (_LENGTH - 1)
CODED_BITS: Final = (MESSAGE_BITS + _LENGTH - 1) * len(_POLYNOMIALS)

Soft = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint8]


def seal(key: MarkKey, serial: int) -> Bits:
    """Return the message bits of a serial: MAC, then the serial encrypted under it."""
    if not 0 <= serial < 1 << SERIAL_BITS:
        raise ValueError("a serial has 64 bits")
    mac = _mac(key, serial)
    message = mac + (serial ^ _stream(key, mac)).to_bytes(8, "big")
    return np.unpackbits(np.frombuffer(message, np.uint8))


def unseal(key: MarkKey, message: Bits) -> int | None:
    """Return the serial, or None where the MAC does not hold (chance 2**-32 on noise)."""
    raw = np.packbits(message).tobytes()
    mac, sealed = raw[: MAC_BITS // 8], int.from_bytes(raw[MAC_BITS // 8 :], "big")
    serial = sealed ^ _stream(key, mac)
    return serial if hmac.compare_digest(mac, _mac(key, serial)) else None


@lru_cache(maxsize=64)
def _subkey(key: MarkKey, purpose: str) -> bytes:
    return key.derive(purpose)


def _mac(key: MarkKey, serial: int) -> bytes:
    made = hmac.digest(_subkey(key, "mac"), serial.to_bytes(8, "big"), hashlib.sha256)
    return made[: MAC_BITS // 8]


def _stream(key: MarkKey, mac: bytes) -> int:
    made = hmac.digest(_subkey(key, "cipher"), mac, hashlib.sha256)
    return int.from_bytes(made[:8], "big")


@cache
def _trellis() -> tuple[npt.NDArray[np.int64], Soft, Bits]:
    """Per state: its two predecessors, the outputs (±1) on the way, and the bit that led here."""
    previous = np.zeros((_STATES, 2), np.int64)
    output = np.zeros((_STATES, 2, len(_POLYNOMIALS)), np.float32)
    bit = np.zeros(_STATES, np.uint8)
    for state in range(_STATES):
        bit[state] = state >> (_LENGTH - 2)
        for branch in (0, 1):
            before = ((state << 1) & (_STATES - 1)) | branch
            register = (int(bit[state]) << (_LENGTH - 1)) | before
            previous[state, branch] = before
            output[state, branch] = [
                1 - 2 * ((register & taps).bit_count() & 1) for taps in _POLYNOMIALS
            ]
    return previous, output, bit


def encode(message: Bits) -> npt.NDArray[np.float32]:
    """Code message bits as ``CODED_BITS`` signs, +1 for a zero and −1 for a one."""
    state, signs = 0, []
    for one in [*message.tolist(), *[0] * (_LENGTH - 1)]:
        register = (one << (_LENGTH - 1)) | state
        signs += [1.0 - 2.0 * ((register & taps).bit_count() & 1) for taps in _POLYNOMIALS]
        state = register >> 1
    return np.array(signs, np.float32)


def decode(soft: Soft) -> Bits:
    """Find the message whose code correlates best with ``soft`` (``CODED_BITS`` values)."""
    return np.asarray(decode_list(soft, 1)[0], np.uint8)


def decode_list(soft: Soft, count: int) -> Bits:
    """Find the ``count`` messages whose codes correlate best with ``soft``: rows, best first.

    A Viterbi pass forwards, then a best-first search backwards whose estimate, the forward metric,
    is exact (tree-trellis algorithm, Soong and Huang 1991): each further message costs one walk
    through the trellis. A MAC tells which of them was written.
    """
    previous, output, bit = _trellis()
    steps = np.ascontiguousarray(soft, np.float32).reshape(-1, len(_POLYNOMIALS))
    found = likeliest(steps, previous, output, bit, _NEVER, MESSAGE_BITS, count)
    return np.asarray(found, np.uint8)
