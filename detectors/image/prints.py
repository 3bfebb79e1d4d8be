"""What is remembered of a picture, and how it is written: hashes, words, features, small picture.

Four kinds, so that a look-up never loads what only proof needs: ``image.dct`` (32-byte codes),
``image.words`` (inverted index), ``image.local`` (features and the boxes of the codes) and
``image.canvas`` (the small grey picture, JPEG). A file of several frames or pages has several parts.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from detectors.image import views
from detectors.image.features import I64, SIDE, Features, features_of, resized
from detectors.image.hashes import Grey
from detectors.image.pages import is_page
from detectors.image.panels import panels_of
from detectors.image.vocabulary import Vocabulary, Words

HASHES: Final = "image.dct"
WORDS: Final = "image.words"
LOCAL: Final = "image.local"
CANVAS: Final = "image.canvas"
UNREAD: Final = "image.unread"
PARTS_MAX: Final = 8
WORDS_MAX: Final = 160
"""Words kept of a part, of its strongest features: 16 bytes each in the index."""
PANEL_SIDE: Final = 256
CANVAS_QUALITY: Final = 72
ANGLE_AT: Final = 13
SIZE_AT: Final = 8
"""From which bit the angle and the size of a feature lie in its geometry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One frame or page, or a panel inside one: features, and its hashed boxes.

    ``origin`` is the panel's box as shares of its frame (0, 0, 1, 1 for a whole frame), boxes are in
    pixels of the small picture.

    ``page`` says that it is a screenshot, receipt or form, where honest pictures share most of their
    pixels (``detectors.image.pages``).
    """

    features: Features
    codes: tuple[bytes, ...]
    boxes: tuple[views.Box, ...]
    page: bool
    frame: int = 0
    origin: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """A file's parts, with their small pictures where these were asked for."""

    parts: tuple[Part, ...]

    @property
    def codes(self) -> tuple[bytes, ...]:
        """All hashes, in the order of their slots."""
        return tuple(code for part in self.parts for code in part.codes)

    def on_page(self, part: int) -> bool:
        """Say whether the part lies in a frame that is a page."""
        frame = self.parts[part].frame
        return any(p.page for p in self.parts if p.frame == frame and p.origin[2:] == (1.0, 1.0))

    def frame_part(self, part: int) -> int:
        """Return the part that is the whole frame in which the given part lies."""
        frame = self.parts[part].frame
        return next(i for i, p in enumerate(self.parts) if p.frame == frame)

    def slot(self, slot: int) -> tuple[int, views.Box]:
        """Say to which part and box the hash in that slot belongs."""
        for index, part in enumerate(self.parts):
            if slot < len(part.codes):
                return index, part.boxes[slot]
            slot -= len(part.codes)
        raise IndexError(f"no hash in slot {slot}")


def read(pictures: Iterable[Grey]) -> tuple[Print, tuple[Grey, ...]]:
    """Make the print of a file's frames, and their small pictures."""
    parts: list[Part] = []
    small: list[Grey] = []
    for frame, grey in enumerate(pictures):
        height, width = grey.shape
        for box in [(0, 0, width, height), *panels_of(grey)][: PARTS_MAX - len(parts)]:
            left, top, right, bottom = box
            part, canvas = _part(
                grey[top:bottom, left:right], SIDE if not left + top else PANEL_SIDE
            )
            origin = (left / width, top / height, right / width, bottom / height)
            parts.append(replace(part, frame=frame, origin=origin))
            small.append(canvas)
        if len(parts) == PARTS_MAX:
            break
    return Print(parts=tuple(parts)), tuple(small)


def _part(grey: Grey, side: int) -> tuple[Part, Grey]:
    found = [view for view in views.views_of(grey) if view.hashable]
    canvas = resized(np.ascontiguousarray(grey), side)
    factor = canvas.shape[1] / grey.shape[1]
    boxes = []
    for view in found:
        left, top, right, bottom = (round(edge * factor) for edge in view.box)
        boxes.append((left, top, right, bottom))
    part = Part(
        features=features_of(canvas),
        codes=tuple(view.code for view in found),
        boxes=tuple(boxes),
        page=is_page(canvas),
    )
    return part, canvas


def pack(made: Print) -> bytes:
    """Write everything of a print but its pictures."""
    out = [struct.pack("<B", len(made.parts))]
    for part in made.parts:
        edges = (round(edge * 65535) for edge in part.origin)
        out.append(struct.pack("<BBB4H", part.page, part.frame, len(part.codes), *edges))
        for code, box in zip(part.codes, part.boxes, strict=True):
            out.append(code + struct.pack("<4H", *box))
        out.append(part.features.pack())
    return b"".join(out)


def unpack(data: bytes) -> Print:
    """Read what ``pack`` wrote."""
    at, parts = 1, []
    for _ in range(data[0]):
        page, frame, count, *edges = struct.unpack_from("<BBB4H", data, at)
        at += 11
        codes, boxes = [], []
        for _ in range(count):
            codes.append(data[at : at + 32])
            boxes.append(struct.unpack_from("<4H", data, at + 32))
            at += 40
        features, at = Features.unpack(data, at)
        parts.append(
            Part(
                features=features,
                codes=tuple(codes),
                boxes=tuple(boxes),
                page=bool(page),
                frame=frame,
                origin=_origin(edges),
            )
        )
    return Print(parts=tuple(parts))


def _origin(edges: list[int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (edge / 65535 for edge in edges)
    return (left, top, right, bottom)


def pack_canvases(small: Iterable[Grey]) -> bytes:
    """Write the small pictures as grey JPEG, each behind its length."""
    out = []
    for canvas in small:
        data = bytes(cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, CANVAS_QUALITY])[1])
        out.append(struct.pack("<I", len(data)) + data)
    return b"".join(out)


def unpack_canvas(data: bytes, part: int) -> Grey:
    """Read one part of what ``pack_canvases`` wrote: our own bytes, not a stranger's."""
    at = 0
    for _ in range(part):
        at += 4 + struct.unpack_from("<I", data, at)[0]
    (size,) = struct.unpack_from("<I", data, at)
    coded = np.frombuffer(data, np.uint8, size, at + 4)
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


def words_of(made: Print, vocabulary: Vocabulary) -> tuple[Words, I64]:
    """Return the words of all parts and the geometry packed beside each.

    A position is part (3 bits), angle (6 bits of a turn), size (5 bits, half octaves) and feature
    number (8 bits), the highest first.
    """
    words, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for index, part in enumerate(made.parts):
        words.append(vocabulary.words(part.features.codes[:WORDS_MAX]))
        places.append(geometry(part.features, index)[:WORDS_MAX])
    return np.concatenate(words), np.concatenate(places)


def geometry(features: Features, part: int) -> I64:
    """Pack the geometry of features into 22 bits."""
    angle = np.round(features.angles * (64 / (2 * np.pi))).astype(np.int64) % 64
    size = np.round(2 * np.log2(features.sizes.clip(1, 2**15))).astype(np.int64).clip(0, 31)
    packed: I64 = (np.int64(part) << 19) | (angle << ANGLE_AT) | (size << SIZE_AT)
    packed |= np.arange(len(features))
    return packed
