"""From a delivery's serial to coded signs and back: sealing, convolutional code, soft decoding.

The serial is sealed before it is coded (a synthetic IV after RFC 5297: the MAC is the nonce of its
own encryption), so neighbouring serials share no code bits and a wrong one cannot score well. The
code is the rate-1/3, constraint-length-9 convolutional code 557, 663, 711 (octal; Proakis, table
8.2-2, free distance 18), zero-tailed, decoded by the Viterbi algorithm on soft values.
"""

import hashlib
import heapq
import hmac
import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

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


def _mac(key: MarkKey, serial: int) -> bytes:
    made = hmac.new(key.derive("mac"), serial.to_bytes(8, "big"), hashlib.sha256).digest()
    return made[: MAC_BITS // 8]


def _stream(key: MarkKey, mac: bytes) -> int:
    made = hmac.new(key.derive("cipher"), mac, hashlib.sha256).digest()
    return int.from_bytes(made[:8], "big")


@cache
def _trellis() -> tuple[npt.NDArray[np.intp], Soft, Bits]:
    """Per state: its two predecessors, the outputs (±1) on the way, and the bit that led here."""
    previous = np.zeros((_STATES, 2), np.intp)
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
    return next(decode_list(soft, 1))


def decode_list(soft: Soft, count: int) -> Iterator[Bits]:
    """Yield the ``count`` messages whose codes correlate best with ``soft``, best first.

    A Viterbi pass forwards, then a best-first search backwards whose estimate, the forward metric,
    is exact (tree-trellis algorithm, Soong and Huang 1991): each further message costs one walk
    through the trellis. A MAC tells which of them was written.
    """
    previous, _, bit = _trellis()
    gains, metrics = _forward(soft)
    order = itertools.count()
    # total metric (negated), tie-break, step and state from which to walk on, gain of what is
    # walked, and its bits, last first
    queue: list[tuple[float, int, int, int, float, tuple[Any, ...]]] = [
        (-float(metrics[-1, 0]), next(order), len(gains), 0, 0.0, ())
    ]
    for _ in range(count):
        if not queue:
            return
        _, _, step, state, walked, bits = heapq.heappop(queue)
        while step > 0:
            step -= 1
            bits = (int(bit[state]), bits)
            told = [float(gains[step, state, way]) for way in (0, 1)]
            total = [float(metrics[step, previous[state, way]]) + told[way] for way in (0, 1)]
            best = int(total[1] > total[0])
            if total[1 - best] > _NEVER / 2:
                other = int(previous[state, 1 - best])
                row = (-(total[1 - best] + walked), next(order), step, other,
                       walked + told[1 - best], bits)  # fmt: skip
                heapq.heappush(queue, row)
            walked += told[best]
            state = int(previous[state, best])
        yield _unwound(bits)


def _unwound(bits: tuple[Any, ...]) -> Bits:
    """Lay out linked bits, first one outermost, as a message."""
    message = np.zeros(MESSAGE_BITS, np.uint8)
    for at in range(MESSAGE_BITS):
        message[at], bits = bits
    return message


def _forward(soft: Soft) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Gains of every branch (steps, states, 2), and the best metric before every step."""
    previous, output, _ = _trellis()
    steps = soft.reshape(-1, len(_POLYNOMIALS)).astype(np.float32)
    gains = output.reshape(-1, len(_POLYNOMIALS)) @ steps.T
    gains = np.ascontiguousarray(gains.T).reshape(len(steps), _STATES, 2)
    metrics = np.full((len(steps) + 1, _STATES), _NEVER, np.float32)
    metrics[0, 0] = 0.0
    for step, gain in enumerate(gains):
        (metrics[step][previous] + gain).max(axis=1, out=metrics[step + 1])
    return gains, metrics
