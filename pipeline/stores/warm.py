"""Frames of segments that were read lately, kept in memory up to a limit. Segments never change."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

import polars as pl

BYTES_MAX: Final = 64 * 2**20
FRAME_BYTES_MAX: Final = BYTES_MAX // 16
"""A larger frame is read anew each time: it would push out what many look-ups share."""


class WarmFrames:
    """The frames read last, by segment and kind."""

    def __init__(self, bytes_max: int = BYTES_MAX, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._frame_bytes_max = frame_bytes_max
        self._frames: OrderedDict[tuple[str, str], pl.DataFrame] = OrderedDict()
        self._sizes: dict[tuple[str, str], int] = {}
        self._large: set[tuple[str, str]] = set()
        self._lock = Lock()

    @property
    def byte_count(self) -> int:
        """Bytes that are kept."""
        return sum(self._sizes.values())

    def get(self, segment_id: str, kind: str, scan: Callable[[], pl.LazyFrame]) -> pl.LazyFrame:
        """Return the rows of a kind in a segment: from memory, or ``scan`` where it is too large."""
        name = (segment_id, kind)
        with self._lock:
            if name in self._large:
                return scan()
            if name in self._frames:
                self._frames.move_to_end(name)
                return self._frames[name].lazy()
        frame = scan().collect()
        size = int(frame.estimated_size())
        with self._lock:
            if size > self._frame_bytes_max:
                self._large.add(name)
                return frame.lazy()
            self._frames[name], self._sizes[name] = frame, size
            while self.byte_count > self._bytes_max:
                old, _ = self._frames.popitem(last=False)
                del self._sizes[old]
        return frame.lazy()
