"""Numbers that the folding table, its generator and the compiled loops agree on."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

U8: TypeAlias = npt.NDArray[np.uint8]
U32: TypeAlias = npt.NDArray[np.uint32]
U64: TypeAlias = npt.NDArray[np.uint64]
I32: TypeAlias = npt.NDArray[np.int32]
I64: TypeAlias = npt.NDArray[np.int64]
F64: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

CODE_POINTS: Final = 0x110000
EXPANDS: Final = 1 << 31
"""Flag of a table entry that stands for several code points: offset in the pool, then length."""
LENGTH_BITS: Final = 5

NO_CLASS: Final = 0
INVISIBLE: Final = 1
"""Zero-width, fillers, selectors, tags: nothing is seen of them."""
BIDI: Final = 2
"""Directional controls."""
DISGUISED: Final = 3
"""Radicals, compatibility ideographs, mathematical letters: they look like an ordinary character."""
MIXED: Final = 4
"""Letters of another script that look like a Latin one: suspicious inside a Latin word only."""
FULL_WIDTH: Final = 5
CLASSES: Final = 6

SHINGLE_UNITS: Final = 12
"""A shingle is the shortest run of characters that weighs so much: 12 letters or 4 ideographs."""
SLOTS: Final = 128
BANDS: Final = 32
ROWS: Final = SLOTS // BANDS
