"""What was read lately of segments, kept in memory up to a limit. Segments never change."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt
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


PRINTS_BYTES_MAX: Final = 16 * 2**20
_OBJECT_BYTES: Final = 250
"""What Python takes for a kept text beside its keys."""

Prints = dict[int, npt.NDArray[np.uint64]]
"""The distinct sorted keys of a document's texts, by ``content_index``."""


class KeptPrints:
    """The keys of documents read last: copies of one text meet wherever its phrases are looked at."""

    def __init__(self, bytes_max: int = PRINTS_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._texts: OrderedDict[int, Prints] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def of(
        self, documents: npt.NDArray[np.uint32], contents: npt.NDArray[np.int32],
        read: Callable[[npt.NDArray[np.uint32]], pl.DataFrame],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:  # fmt: skip
        """Return the keys of texts: bounds (n + 1,), keys end to end.

        ``read`` is asked for those not kept: ``doc``, ``content_index``, ``key``, sorted, each once.
        """
        asked = list(dict.fromkeys(documents.tolist()))
        with self._lock:
            texts = {doc: self._texts[doc] for doc in asked if doc in self._texts}
            for doc in texts:
                self._texts.move_to_end(doc)
        absent = [doc for doc in asked if doc not in texts]
        if absent:
            texts |= self._kept({doc: {} for doc in absent}, read(np.array(absent, np.uint32)))
        none = np.empty(0, np.uint64)
        named = zip(documents.tolist(), contents.tolist(), strict=True)
        each = [texts[doc].get(content, none) for doc, content in named]
        bounds = np.zeros(len(each) + 1, np.int64)
        np.cumsum([len(keys) for keys in each], out=bounds[1:])
        return bounds, np.concatenate([none, *each])

    @property
    def byte_count(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def forget(self, documents: npt.NDArray[np.uint32]) -> None:
        """Forget documents that were fingerprinted anew."""
        with self._lock:
            for doc in set(documents.tolist()) & self._texts.keys():
                self._bytes -= _size(self._texts.pop(doc))

    def _kept(self, fresh: dict[int, Prints], rows: pl.DataFrame) -> dict[int, Prints]:
        keys, begin = rows["key"].to_numpy(), 0
        sizes = rows.group_by("doc", "content_index", maintain_order=True).len()
        for doc, content, size in sizes.iter_rows():
            fresh[doc][content] = keys[begin : begin + size].copy()
            begin += size
        with self._lock:
            for doc, texts in fresh.items():
                if doc in self._texts:
                    self._bytes -= _size(self._texts[doc])
                self._bytes += _size(texts)
                self._texts[doc] = texts
            while self._bytes > self._bytes_max:
                _, gone = self._texts.popitem(last=False)
                self._bytes -= _size(gone)
        return fresh


def _size(texts: Prints) -> int:
    return _OBJECT_BYTES + sum(_OBJECT_BYTES + keys.nbytes for keys in texts.values())
