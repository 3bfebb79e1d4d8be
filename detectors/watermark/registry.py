"""The registry of deliveries: which serial went to whom, and what the picture looked like.

The asset ``watermark.deliveries`` is JSON Lines, one delivery a line. A line holds no personal
data, and the picture only as a thumbnail of 64 grey pixels on its shorter side.
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from detectors.watermark.mark.embed import PSNR_DEFAULT, embed
from detectors.watermark.mark.keys import MarkKey
from detectors.watermark.mark.tile import tile_shift
from detectors.watermark.textmark import mark_text
from pipeline.model.errors import UsageError

THUMBNAIL_SIDE: Final = 64
THUMBNAIL_ASPECT_MAX: Final = 4.0
LINES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One marked picture handed to one recipient.

    ``submission_id`` and ``worker_id`` name the paid work that it is; ``delivered_at`` is when;
    ``shift`` the tile's shift in canonical pixels (rows, columns); ``thumbnail`` grey uint8.
    """

    serial: int
    key_id: str
    submission_id: str
    worker_id: str
    task_id: str
    recipient: str
    delivered_at: datetime
    shift: tuple[int, int]
    thumbnail: npt.NDArray[np.uint8] = field(repr=False, compare=False)


def new_serial() -> int:
    """Draw a serial of 64 random bits; it says nothing of the recipient."""
    return secrets.randbits(64)


def deliver(
    pixels: npt.NDArray[np.uint8],
    key: MarkKey,
    *,
    submission_id: str,
    worker_id: str,
    task_id: str,
    recipient: str,
    delivered_at: datetime,
    serial: int | None = None,
    psnr_db: float = PSNR_DEFAULT,
) -> tuple[npt.NDArray[np.uint8], Delivery]:
    """Mark a picture for one recipient; return the marked copy and the line to record."""
    number = new_serial() if serial is None else serial
    row = Delivery(
        serial=number,
        key_id=key.key_id,
        submission_id=submission_id,
        worker_id=worker_id,
        task_id=task_id,
        recipient=recipient,
        delivered_at=delivered_at,
        shift=tile_shift(key, pixels),
        thumbnail=thumbnail(pixels),
    )
    return embed(pixels, number, key, psnr_db=psnr_db), row


def deliver_text(
    text: str,
    key: MarkKey,
    *,
    submission_id: str,
    worker_id: str,
    task_id: str,
    recipient: str,
    delivered_at: datetime,
    serial: int | None = None,
) -> tuple[str, Delivery]:
    """Mark a text for one recipient; return the marked copy and the line to record."""
    number = new_serial() if serial is None else serial
    row = Delivery(
        serial=number,
        key_id=key.key_id,
        submission_id=submission_id,
        worker_id=worker_id,
        task_id=task_id,
        recipient=recipient,
        delivered_at=delivered_at,
        shift=(0, 0),
        thumbnail=np.zeros((1, 1), np.uint8),
    )
    return mark_text(text, number, key), row


def thumbnail(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Reduce a picture to ``THUMBNAIL_SIDE`` grey pixels on its shorter side."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = THUMBNAIL_SIDE / min(grey.shape)
    longest = int(THUMBNAIL_SIDE * THUMBNAIL_ASPECT_MAX)
    size = (
        min(longest, round(grey.shape[1] * scale)),
        min(longest, round(grey.shape[0] * scale)),
    )
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def to_line(row: Delivery) -> bytes:
    """Write one delivery as a line of the asset, newline included."""
    return (
        msgspec.json.encode(
            {
                "serial": f"{row.serial:016x}",
                "key_id": row.key_id,
                "submission_id": row.submission_id,
                "worker_id": row.worker_id,
                "task_id": row.task_id,
                "recipient": row.recipient,
                "delivered_at": row.delivered_at.isoformat(),
                "shift": list(row.shift),
                "size": list(row.thumbnail.shape),
                "thumbnail": base64.b64encode(row.thumbnail.tobytes()).decode(),
            }
        )
        + b"\n"
    )


LookUp = Callable[[str, int], bytes | None]
"""The line of a delivery by key id and serial, from a store that holds them all."""


class Registry:
    """Deliveries by key and serial: those given, and whatever ``look_up`` knows beyond them."""

    def __init__(self, rows: Iterable[Delivery], look_up: LookUp | None = None) -> None:
        self._rows: dict[tuple[str, int], Delivery] = {(r.key_id, r.serial): r for r in rows}
        self._look_up = look_up

    def beyond(self, look_up: LookUp) -> "Registry":
        """Return a registry that also asks ``look_up`` for what it does not hold."""
        return Registry(self._rows.values(), look_up)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, key_id: str, serial: int) -> Delivery | None:
        """Return the delivery with that serial, or None."""
        found = self._rows.get((key_id, serial))
        if found is None and self._look_up is not None:
            line = self._look_up(key_id, serial)
            found = next(iter(Registry.from_lines(line)), None) if line else None
        return found

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._rows.values())

    def under(self, key_id: str) -> Iterator[Delivery]:
        """Yield the deliveries made under a key, newest first."""
        mine = [row for row in self._rows.values() if row.key_id == key_id]
        yield from sorted(mine, key=lambda r: (r.delivered_at, r.serial), reverse=True)

    @classmethod
    def from_lines(cls, data: bytes) -> "Registry":
        """Read the asset. Raises ``UsageError`` naming the first line that is malformed."""
        rows = []
        for number, line in enumerate(data.splitlines()[:LINES_MAX], start=1):
            if not line.strip():
                continue
            try:
                rows.append(_from_json(msgspec.json.decode(line)))
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                raise UsageError("mark.registry", f"line {number} is not a delivery") from error
        return cls(rows)


def _from_json(row: Mapping[str, Any]) -> Delivery:
    rows, columns = (int(side) for side in row["size"])
    shift = row["shift"]
    try:
        raw = base64.b64decode(row["thumbnail"], validate=True)
    except binascii.Error as error:
        raise ValueError("thumbnail") from error
    when = datetime.fromisoformat(row["delivered_at"])
    if when.tzinfo is None:
        raise ValueError("delivered_at names no zone")
    return Delivery(
        serial=int(row["serial"], 16),
        key_id=str(row["key_id"]),
        submission_id=str(row["submission_id"]),
        worker_id=str(row["worker_id"]),
        task_id=str(row["task_id"]),
        recipient=str(row["recipient"]),
        delivered_at=when,
        shift=(int(shift[0]), int(shift[1])),
        thumbnail=np.frombuffer(raw, np.uint8).reshape(rows, columns),
    )
