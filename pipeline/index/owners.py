"""Who the documents of an index are: names, times and workers by number, a few dozen bytes each.

Names lie end to end as UTF-8, whose order is that of the code points, and are found again through a table
of numbers: no Python object stands for a document.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.index.shapes import I64, U8, U32, U64

_ROOM: Final = 1_024
_Kind = TypeVar("_Kind", bound=np.generic)


class Owners:
    """Names, times (any unit) and workers (any number that tells them apart) of documents 0 to n − 1."""

    def __init__(self) -> None:
        self._count = 0
        self._letters: U8 = np.zeros(16 * _ROOM, np.uint8)
        self._spots: I64 = np.zeros(_ROOM + 1, np.int64)
        self._times: I64 = np.zeros(_ROOM, np.int64)
        self._workers: U64 = np.zeros(_ROOM, np.uint64)
        self._table: U32 = np.zeros(4 * _ROOM, np.uint32)

    @classmethod
    def of(cls, names: Sequence[str], times: I64, workers: U64 | None = None) -> "Owners":
        """Number the names from 0 on."""
        made = cls()
        made.extend(names, times, np.zeros(len(names), np.uint64) if workers is None else workers)
        return made

    def __len__(self) -> int:
        return self._count

    @property
    def times(self) -> I64:
        """When each document came, (n,)."""
        return self._times[: self._count]

    @property
    def workers(self) -> U64:
        """Who handed each document in, (n,)."""
        return self._workers[: self._count]

    @property
    def letters(self) -> U8:
        """All names end to end."""
        return self._letters

    @property
    def spots(self) -> I64:
        """Where each name begins, (n + 1,)."""
        return self._spots[: self._count + 1]

    def extend(self, names: Sequence[str], times: I64, workers: U64) -> None:
        """Add documents under the numbers that follow."""
        from pipeline.index import carrying

        if not len(names):
            return
        letters, ends = _packed(names)
        first, count = int(self._spots[self._count]), self._count + len(names)
        self._letters = _roomy(self._letters, first + len(letters))
        self._spots = _roomy(self._spots, count + 1)
        self._times, self._workers = _roomy(self._times, count), _roomy(self._workers, count)
        self._letters[first : first + len(letters)] = letters
        self._spots[self._count + 1 : count + 1] = first + ends[1:]
        self._times[self._count : count] = times
        self._workers[self._count : count] = workers
        before, self._count = self._count, count
        if 2 * count > len(self._table):
            self._table, before = np.zeros(4 * count, np.uint32), 0
        carrying.enter(self._letters, self._spots, before, count, self._table)

    def name(self, number: int) -> str:
        """Return the name of a document."""
        return self._letters[self._spots[number] : self._spots[number + 1]].tobytes().decode()

    def names(self, numbers: U32 | I64) -> list[str]:
        """Return the names of documents."""
        spots, whole = self._spots, self._letters
        begins, ends = spots[numbers].tolist(), spots[np.asarray(numbers, np.int64) + 1].tolist()
        return [whole[a:b].tobytes().decode() for a, b in zip(begins, ends, strict=True)]

    def number(self, name: str) -> int:
        """Return the number of a name. Raises ``KeyError`` where it is none of these."""
        return int(self.numbers([name])[0])

    def numbers(self, names: Sequence[str]) -> U32:
        """Return the numbers of names. Raises ``KeyError`` where one is none of these."""
        from pipeline.index import carrying

        letters, spots = _packed(names)
        found = np.empty(len(names), np.int64)
        carrying.leave(letters, spots, self._letters, self._spots, self._table, found)
        if (found < 0).any():
            raise KeyError(names[int(np.flatnonzero(found < 0)[0])])
        return found.astype(np.uint32)

    def in_order(self, numbers: U32) -> U32:
        """Sort distinct documents by time, then name."""
        times = self._times[numbers]
        order = np.argsort(times, kind="stable")
        numbers, times = numbers[order], times[order]
        same = np.zeros(len(numbers), np.bool_)
        same[1:] = times[1:] == times[:-1]
        same[:-1] |= same[1:]
        tied = np.flatnonzero(same)
        if len(tied):
            named = self.names(numbers[tied])
            instants = times[tied].tolist()
            ranked = sorted(range(len(tied)), key=lambda i: (instants[i], named[i]))
            numbers[tied] = numbers[tied[ranked]]
        return numbers


def _packed(names: Sequence[str]) -> tuple[U8, I64]:
    written = [name.encode() for name in names]
    ends = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(w) for w in written], out=ends[1:])
    return np.frombuffer(b"".join(written), np.uint8), ends


def _roomy(kept: npt.NDArray[_Kind], size: int) -> npt.NDArray[_Kind]:
    """Return the array, or a copy with room for ``size`` and half as much again."""
    if size <= len(kept):
        return kept
    made = np.zeros(size + size // 2, kept.dtype)
    made[: len(kept)] = kept
    return made
