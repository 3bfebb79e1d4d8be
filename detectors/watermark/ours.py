"""The channel of our own invisible mark: a paid delivery comes back under another account.

Three things must hold before anyone is accused: the mark is there, the picture is the recorded
one, and the submission is another's, or for another task, and later than the delivery.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.watermark.mark import Keyring, MarkKey, Reading, p_present, read, verify
from detectors.watermark.match import Match, match
from detectors.watermark.registry import Delivery, Registry

CANDIDATES_MAX: Final = 2_000
"""Newest deliveries of a key that are verified where no serial could be read."""
PRESENT_MAX: Final = 1e-6
VERIFY_MAX: Final = 1e-6
PICTURE_SIDE_MAX: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkFinding:
    """A delivery that came back. ``source`` is the earliest recipient's paid work."""

    source: Delivery
    strength: float
    p_value: float
    evidence: dict[str, Any]


@lru_cache(maxsize=4)
def load(keys: bytes, deliveries: bytes) -> tuple[Keyring, Registry]:
    """Read both assets, once as long as they stay the same."""
    return Keyring.from_json(keys), Registry.from_lines(deliveries)


def find_mark(
    pixels: npt.NDArray[np.uint8],
    keyring: Keyring,
    registry: Registry,
    submission: Mapping[str, Any],
) -> MarkFinding | None:
    """Look for our mark in one picture (uint8 RGB) of one submission."""
    for reading in read(pixels, keyring):
        key = keyring[reading.key_id]
        if reading.serial is not None:
            found = _decoded(pixels, reading, registry, submission, len(keyring))
        else:
            found = _verified(pixels, reading, key, registry, submission)
        if found is not None:
            return found
    return None


def accusable(delivery: Delivery, submission: Mapping[str, Any]) -> bool:
    """Another account's, or another task's, and handed in after the delivery."""
    when: datetime = submission["submitted_at"]
    same = (submission["worker_id"], submission["task_id"]) == (
        delivery.worker_id,
        delivery.task_id,
    )
    own = submission["submission_id"] == delivery.submission_id
    return not own and not same and when > delivery.delivered_at


def _decoded(
    pixels: npt.NDArray[np.uint8],
    reading: Reading,
    registry: Registry,
    submission: Mapping[str, Any],
    keys: int,
) -> MarkFinding | None:
    assert reading.serial is not None
    delivery = registry.find(reading.key_id, reading.serial)
    if delivery is None or not accusable(delivery, submission):
        return None
    same = match(pixels, reading, delivery)
    if not same.holds:
        return None
    return MarkFinding(
        source=delivery,
        strength=0.99,
        p_value=min(1.0, reading.p_decode * keys),
        evidence=_evidence(reading, same, [delivery], "decoded"),
    )


def _verified(
    pixels: npt.NDArray[np.uint8],
    reading: Reading,
    key: MarkKey,
    registry: Registry,
    submission: Mapping[str, Any],
) -> MarkFinding | None:
    """No serial could be read: is the mark there, and whose recorded picture and signs are these?

    Averaged copies of several recipients keep the sync lines and a part of each one's signs.
    """
    if p_present(reading, key) > PRESENT_MAX:
        return None
    candidates = [
        d
        for d, _ in zip(registry.under(key.key_id), range(CANDIDATES_MAX), strict=False)
        if accusable(d, submission)
    ]
    looks = [(d, match(pixels, reading, d)) for d in candidates]
    alike = [(d, m) for d, m in looks if m.holds]
    if not alike:
        return None
    scored = sorted(
        ((verify(reading, key, d.serial, trials=len(candidates)), d, m) for d, m in alike),
        key=lambda row: (row[0], row[1].delivered_at, row[1].serial),
    )
    sure = [row for row in scored if row[0] <= VERIFY_MAX]
    if sure:
        p, source, same = sure[0]
        how = "verified" if len(sure) == 1 else "several recipients"
        named = [d for _, d, _ in sure]
        return MarkFinding(
            source=min(named, key=lambda d: (d.delivered_at, d.serial)),
            strength=0.9 if len(sure) == 1 else 0.8,
            p_value=p,
            evidence=_evidence(reading, same, named, how),
        )
    if len(alike) < 2:
        return None
    _, source, same = min(scored, key=lambda row: (row[1].delivered_at, row[1].serial))
    return MarkFinding(
        source=source,
        strength=0.6,
        p_value=p_present(reading, key),
        evidence=_evidence(reading, same, [], "several recipients, none named"),
    )


def _evidence(reading: Reading, same: Match, named: Sequence[Delivery], how: str) -> dict[str, Any]:
    return {
        "channel": "mark",
        "how": how,
        "key_id": reading.key_id,
        "geometry": reading.stage,
        "homography": np.round(reading.homography, 9).tolist(),
        "laid_at": list(same.corner),
        "sync_deviations": round(reading.sync, 2),
        "p_decode": reading.p_decode if reading.serial is not None else None,
        "picture_agreement": same.agreement,
        "share_of_delivery_seen": same.seen,
        "located_at": list(same.box),
        "deliveries": [
            {
                "serial": f"{d.serial:016x}",
                "submission_id": d.submission_id,
                "worker_id": d.worker_id,
                "recipient": d.recipient,
                "delivered_at": d.delivered_at.isoformat(),
            }
            for d in named[:16]
        ],
    }
