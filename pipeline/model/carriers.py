"""Who carries keys, as numbers, and how much two texts can share: answers of ``Past``."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriers:
    """Texts that carry keys, each key's in order of submission.

    ``keys`` (k,) uint64 are sorted; the rows ``bounds[i]`` to ``bounds[i + 1]`` are those of key i.
    ``places`` (rows,) says where the submission of a row stands in the order of submission among all that
    this answer speaks of, ``contents`` (rows,) which of its texts it is. ``documents`` (p,) uint32 are
    the submissions by place, as ``Past.named`` and ``Past.prints`` take them, ``workers`` (p,) uint64 who
    handed them in, by a number that means nothing else. ``beside`` are the places of those asked about.
    """

    keys: npt.NDArray[np.uint64]
    bounds: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    contents: npt.NDArray[np.int32]
    documents: npt.NDArray[np.uint32]
    workers: npt.NDArray[np.uint64]
    beside: npt.NDArray[np.int64]


MARKS: Final = 8
"""Words of 64 marks in a sketch."""


class Sketches(NamedTuple):
    """Of each set of keys a mark for every key, how many found their mark set already, and its size.

    ``marks`` (n, MARKS) uint64, ``spare`` and ``sizes`` (n,) int32. What two sets share is at most their
    common marks and the smaller ``spare``.
    """

    marks: npt.NDArray[np.uint64]
    spare: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int32]

    @classmethod
    def room(cls, count: int) -> "Sketches":
        """Make sketches of empty sets."""
        return cls(
            np.zeros((count, MARKS), np.uint64),
            np.zeros(count, np.int32),
            np.zeros(count, np.int32),
        )

    def at(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.int32]) -> "Sketches":
        """Return those rows."""
        return Sketches(self.marks[rows], self.spare[rows], self.sizes[rows])
