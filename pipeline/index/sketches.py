"""Sketches of documents' keys by number, in a file that is mapped: bounds on what two texts share.

72 bytes a document. The one process that keeps a kind's index maps the file shared; any other maps it
privately and keeps what is newer in memory.
"""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.index.shapes import I64, U32, U64
from pipeline.model.carriers import MARKS, Sketches

_ROW: Final = np.dtype([("marks", np.uint64, (MARKS,)), ("spare", np.int32), ("size", np.int32)])
_ROOM: Final = 4_096


def sketched(bounds: I64, keys: U64) -> Sketches:
    """Sketch sets of distinct keys that lie end to end."""
    from pipeline.index import carrying

    made = Sketches.room(len(bounds) - 1)
    carrying.mark(keys, bounds, made.marks, made.spare)
    made.sizes[:] = np.diff(bounds)
    return made


class SketchTable:
    """Sketches by number of document; one that was never put has size 0."""

    def __init__(self, path: Path | None = None, *, keeps: bool = False) -> None:
        self._path = path if keeps else None
        self._rows: npt.NDArray[Any] = np.zeros(0, _ROW)
        if path is not None and path.exists() and path.stat().st_size >= _ROW.itemsize:
            self._rows = np.memmap(
                path, _ROW, "r+" if keeps else "c", shape=(path.stat().st_size // _ROW.itemsize,)
            )

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, docs: U32, made: Sketches) -> None:
        """Set the sketches of documents."""
        if not len(docs):
            return
        needed = int(docs.max()) + 1
        if needed > len(self._rows):
            self._grow(max(needed + needed // 4, _ROOM))
        self._rows["marks"][docs] = made.marks
        self._rows["spare"][docs] = made.spare
        self._rows["size"][docs] = made.sizes

    def of(self, docs: U32) -> Sketches:
        """Return the sketches of documents."""
        known = np.flatnonzero(docs < len(self._rows))
        found, rows = Sketches.room(len(docs)), self._rows[docs[known]]
        found.marks[known], found.spare[known] = rows["marks"], rows["spare"]
        found.sizes[known] = rows["size"]
        return found

    def flush(self) -> None:
        """Make what was put durable, where this process keeps the file."""
        if isinstance(self._rows, np.memmap) and self._path is not None:
            self._rows.flush()

    def _grow(self, size: int) -> None:
        if self._path is None:
            rows = np.zeros(size, _ROW)
            rows[: len(self._rows)] = self._rows
            self._rows = rows
            return
        self.flush()
        with self._path.open("ab") as file:
            os.truncate(file.fileno(), size * _ROW.itemsize)
        self._rows = np.memmap(self._path, _ROW, "r+", shape=(size,))
