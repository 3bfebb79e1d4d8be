"""The folding table, read once in a process, and the versions that it was made from."""

import io
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np

from detectors.kit.lexical.shapes import SLOTS, U8, U32

SEED: Final = 1
"""datasketch's default seed, so that its sketches and ours can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTable:
    """``fold`` (1114112,) uint32: 0 drops the code point, another value is what it folds to.

    With the top bit set the value is a place in ``pool`` and a length. ``traits`` uint8: bits 0–1 the
    weight of a folded code point, from bit 2 on the class of an unfolded one.
    """

    fold: U32
    traits: U8
    pool: U32
    versions: dict[str, str]


@cache
def fold_table() -> FoldTable:
    """Read the table that ships with the package."""
    data = files("detectors.kit.lexical").joinpath("fold_table.npz").read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return FoldTable(
            fold=arrays["fold"],
            traits=arrays["traits"],
            pool=arrays["pool"],
            versions=json.loads(str(arrays["versions"])),
        )


@cache
def permutations() -> tuple[U32, U32]:
    """Draw the parameters of datasketch's ``affine32`` for its seed 1 and 128 slots."""
    draw = np.random.RandomState(SEED)
    a = draw.randint(0, 1 << 31, SLOTS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = draw.randint(0, 1 << 32, SLOTS, dtype=np.uint32)
    return a, b
