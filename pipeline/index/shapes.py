"""Shapes shared by Hamming search and its compiled loops; imports nothing that is slow to import."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

U8: TypeAlias = npt.NDArray[np.uint8]
U32: TypeAlias = npt.NDArray[np.uint32]
U64: TypeAlias = npt.NDArray[np.uint64]
I32: TypeAlias = npt.NDArray[np.int32]
I64: TypeAlias = npt.NDArray[np.int64]

CODE_BYTES: Final = 32
WORDS: Final = 4
CHUNK_COUNT: Final = 16
CHUNK_VALUES: Final = 65536
