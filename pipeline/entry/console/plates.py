"""Strangers' pictures for people: drawn anew from the decoder's pixels, never the bytes themselves."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from detectors.image.views import DOCUMENTS, EMBEDDED_MAX, FRAMES_MAX
from pipeline.model.errors import ContentError
from pipeline.ports import Blobs, Decoder

SIDE_MAX: Final = 1_200
MEDIA: Final = "image/jpeg"
QUALITY: Final = 88
KEPT_BYTES_MAX: Final = 48_000_000
WAIT_S: Final = 20.0
AT_ONCE: Final = 2

Pixels = npt.NDArray[np.uint8]


class Plates:
    """Decodes in the pooled child, encodes anew, and keeps the last ones. Safe between threads."""

    def __init__(self, blobs: Blobs, decoder: Decoder) -> None:
        self._blobs = blobs
        self._decoder = decoder
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def picture(self, digest: str, media_type: str, frame: int, *, region: Any = None) -> bytes:
        """Return one frame of a stored file as JPEG, with a region (shares) outlined.

        Raises ``ContentError``: what the decoder says, ``blob.absent``, and ``blob.busy`` where too
        many are asked for at once.
        """
        edges = box(region)

        def make() -> Pixels:
            pixels = self._pixels(digest, media_type, frame)
            return outlined(pixels, edges) if edges else pixels

        return self._once((digest, frame, edges), make)

    def overlay(
        self,
        mine: tuple[str, str, int],
        theirs: tuple[str, str, int],
        transform: Sequence[Sequence[float]],
        *,
        inverted: bool,
    ) -> bytes:
        """Return the earlier picture laid over the accused one's frame, as JPEG.

        Each picture is (digest, media type, frame); ``transform`` maps shares of the earlier frame to
        shares of the accused one (3 × 3). Where the earlier picture does not reach, the accused
        one is shown dimmed.
        """
        matrix = np.asarray(transform, np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ContentError("blob.unreadable", "the evidence holds no transform")
        key = (mine, theirs, matrix.tobytes(), inverted)
        return self._once(
            key, lambda: laid(self._pixels(*mine), self._pixels(*theirs), matrix, inverted)
        )

    def _once(self, key: tuple[Any, ...], make: Callable[[], Pixels]) -> bytes:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if not self._turns.acquire(timeout=WAIT_S):
            raise ContentError("blob.busy", "too many pictures are asked for at once")
        try:
            made = encode(make())
        finally:
            self._turns.release()
        with self._lock:
            self._kept[key] = made
            while sum(map(len, self._kept.values())) > KEPT_BYTES_MAX:
                self._kept.popitem(last=False)
        return made

    def _pixels(self, digest: str, media_type: str, frame: int) -> Pixels:
        data = self._blobs.get(digest)
        shown = self._embedded(data, media_type) if media_type in DOCUMENTS else [data]
        seen = 0
        for one in shown:
            try:
                frames = self._decoder.pictures(
                    one, side_max=SIDE_MAX, frames_max=1 if len(shown) > 1 else FRAMES_MAX
                )
            except ContentError:
                if media_type in DOCUMENTS:
                    continue
                raise
            if frame < seen + len(frames):
                return frames[frame - seen].pixels
            seen += len(frames)
        raise ContentError("blob.absent", f"the file has no frame {frame}")

    def _embedded(self, data: bytes, media_type: str) -> Sequence[bytes]:
        return self._decoder.document(data, media_type).pictures[:EMBEDDED_MAX]


def laid(
    mine: Pixels, theirs: Pixels, transform: npt.NDArray[np.float64], inverted: bool
) -> Pixels:
    """Warp the earlier picture into the accused one's frame."""
    import cv2

    height, width = mine.shape[:2]
    into = np.diag([float(width), float(height), 1.0])
    out_of = np.diag([1.0 / theirs.shape[1], 1.0 / theirs.shape[0], 1.0])
    matrix = into @ transform @ out_of
    source = 255 - theirs if inverted else theirs
    moved = cv2.warpPerspective(source, matrix, (width, height), flags=cv2.INTER_LINEAR)
    full = np.full(theirs.shape[:2], 255, np.uint8)
    covered = cv2.warpPerspective(full, matrix, (width, height))[..., None] > 127
    return np.where(covered, moved, mine // 3 + 80).astype(np.uint8)


def encode(pixels: Pixels) -> bytes:
    """Write pixels as JPEG, with nothing else in it."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()


def outlined(pixels: Pixels, edges: tuple[float, float, float, float]) -> Pixels:
    """Draw the outline of a region, in a colour that stands off from light and dark."""
    import cv2

    height, width = pixels.shape[:2]
    left, top, right, bottom = (
        round(share * (side - 1)) for share, side in zip(edges, (width, height) * 2, strict=True)
    )
    drawn = np.ascontiguousarray(pixels).copy()
    thick = max(2, round(max(width, height) / 250))
    for colour, wide in (((255, 255, 255), 2 * thick + 1), ((208, 24, 72), thick)):
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, wide)
    return drawn


def box(region: Any) -> tuple[float, float, float, float] | None:
    """Read a region of the evidence (left, top, right, bottom as shares); None where it is none."""
    if not (isinstance(region, list) and len(region) == 4):
        return None
    if not all(isinstance(v, int | float) and 0 <= v <= 1 for v in region):
        return None
    left, top, right, bottom = map(float, region)
    return (left, top, right, bottom) if left < right and top < bottom else None
