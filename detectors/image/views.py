"""Which pictures a file holds, and which parts of a picture are pictures of their own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np

from detectors.image.hashes import QUALITY_MIN, Grey, code_of, quality, shrink
from pipeline.model.errors import ContentError
from pipeline.ports import Decoder, Picture

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the frame; right and bottom are outside."""

SIDE_MAX: Final = 512
FRAMES_MAX: Final = 4
EMBEDDED_MAX: Final = 8
FLAT_SPREAD: Final = 6.0
"""Grey levels of standard deviation within which a row or column counts as border."""
TRIM_SHARE_MIN: Final = 0.02
SIDE_MIN: Final = 24
DOCUMENTS: Final = frozenset(
    {
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A frame, or a part of it, to be compared as a picture: its box, pixels and hash."""

    box: Box
    grey: Grey
    code: bytes
    quality: int

    @property
    def hashable(self) -> bool:
        """Say whether the hash means anything."""
        return self.quality >= QUALITY_MIN


def is_picture(media_type: str | None) -> bool:
    """Say whether that media type is one whose pictures are looked at."""
    return bool(media_type) and (str(media_type).startswith("image/") or media_type in DOCUMENTS)


def frames_of(
    data: bytes, media_type: str, decoder: Decoder, *, side_max: int = SIDE_MAX, grey: bool = True
) -> Iterator[Picture]:
    """Decode the frames of a picture, or the pictures embedded in a document; as luma, or as RGB.

    Raises ``ContentError`` where the file itself cannot be looked at; an embedded picture that
    cannot is passed over, since the document's reader showed it no better.
    """
    if media_type not in DOCUMENTS:
        yield from decoder.pictures(data, side_max=side_max, frames_max=FRAMES_MAX, grey=grey)
        return
    for embedded in decoder.document(data, media_type).pictures[:EMBEDDED_MAX]:
        try:
            yield from decoder.pictures(embedded, side_max=side_max, frames_max=1, grey=grey)
        except ContentError:
            continue


def greys(files: Iterable[bytes], decoder: Decoder) -> Iterator[Grey]:
    """Decode the first frame of every file that is a picture and can be read."""
    for data in files:
        try:
            yield from map(
                to_grey, decoder.pictures(data, side_max=SIDE_MAX, frames_max=1, grey=True)
            )
        except ContentError:
            continue


def to_grey(picture: Picture) -> Grey:
    """Return the luma (BT.601) of a frame, which a decoder was asked for or which is made of RGB."""
    if picture.pixels.ndim == 2:
        return picture.pixels
    return np.asarray(cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def view_of(grey: Grey, box: Box) -> View:
    """Hash one part of a grey frame."""
    left, top, right, bottom = box
    part = grey[top:bottom, left:right]
    small = shrink(part)
    return View(box=box, grey=part, code=code_of(small), quality=quality(small))


def trimmed(grey: Grey) -> Box:
    """Find the box without flat borders and letterboxes."""
    height, width = grey.shape
    rows = grey.std(axis=1) > FLAT_SPREAD
    if not rows.any():
        return (0, 0, width, height)
    top = int(rows.argmax())
    bottom = height - int(rows[::-1].argmax())
    columns = grey[top:bottom].std(axis=0) > FLAT_SPREAD
    if not columns.any():
        return (0, 0, width, height)
    left = int(columns.argmax())
    right = width - int(columns[::-1].argmax())
    inner = grey[top:bottom, left:right]
    rows = inner.std(axis=1) > FLAT_SPREAD
    if rows.any():
        top, bottom = top + int(rows.argmax()), bottom - int(rows[::-1].argmax())
    return (left, top, right, bottom)


def views_of(grey: Grey) -> list[View]:
    """Return the whole frame, and the frame without its borders where there are any."""
    height, width = grey.shape
    if min(height, width) < SIDE_MIN:
        return []
    found = [view_of(grey, (0, 0, width, height))]
    box = trimmed(grey)
    left, top, right, bottom = box
    area = (right - left) * (bottom - top)
    if area < (1 - TRIM_SHARE_MIN) * width * height and min(right - left, bottom - top) >= SIDE_MIN:
        found.append(view_of(grey, box))
    return found
