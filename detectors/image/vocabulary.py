"""Visual words: which stored features might be this one, answered by an inverted index.

A word joins the nearest of 1,024 centres for each half of a 128-bit code (a product code: Jégou, Douze
& Schmid 2011, PAMI 33), so two small tables make about a million words. The shipped tables were
trained on generated drawings; ``train`` makes others from pictures of one's own. A vocabulary is
known by the digest of its bytes, and words of different vocabularies never meet.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detectors.image import proof_loops as loops
from detectors.image.features import U8, features_of
from detectors.image.hashes import Grey

Words: TypeAlias = npt.NDArray[np.uint64]

CENTRES: Final = 1024
HALF_BITS: Final = 64
FILE: Final = "vocabulary.bin"
ASSET: Final = "image.vocabulary"
"""Under this name a house keeps a vocabulary of its own."""
_MAGIC: Final = b"BGV2"
FEATURES_NEEDED: Final = 20 * CENTRES


class Vocabulary:
    """Two tables (2, 1024) of uint64: a centre is the majority of its features' 64 bits."""

    def __init__(self, centres: npt.NDArray[np.uint64]) -> None:
        if centres.shape != (2, CENTRES):
            raise ValueError(f"a vocabulary is (2, {CENTRES}) centres, not {centres.shape}")
        self._bytes = _MAGIC + centres.astype("<u8").tobytes()
        self._tables = centres
        self.digest: Final = hashlib.sha256(self._bytes).hexdigest()
        # The first 24 bits of every word say whose word it is.
        self._prefix = np.uint64(int(self.digest[:6], 16) << 40)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Vocabulary":
        """Read what ``to_bytes`` wrote. Raises ``ValueError`` for anything else."""
        if not data.startswith(_MAGIC) or len(data) != len(_MAGIC) + 2 * CENTRES * 8:
            raise ValueError("these bytes are no vocabulary")
        flat = np.frombuffer(data, "<u8", offset=len(_MAGIC))
        return cls(flat.astype(np.uint64).reshape(2, CENTRES))

    def to_bytes(self) -> bytes:
        """Write the vocabulary; its SHA-256 is ``digest``."""
        return self._bytes

    def words(self, codes: U8) -> Words:
        """Return the word of each code (n, 16)."""
        return self.nearby(codes, 1)[:, 0]

    def nearby(self, codes: U8, choices: int = 2) -> Words:
        """Return words (n, k) likely for each code: its own first.

        With ``choices`` = 2 the second-nearest centre of either half gives two more (multi-probe: Lv
        et al. 2007, VLDB), since noise moves a code across one border more often than across two.
        """
        if not len(codes):
            return np.empty((0, 1 if choices == 1 else 3), np.uint64)
        halves = np.ascontiguousarray(codes).view("<u8")
        near = np.empty((2, len(codes), choices), np.int64)
        for half in range(2):
            loops.two_centres(
                np.ascontiguousarray(halves[:, half]), self._tables[half], choices, near[half]
            )
        first, second = (part.astype(np.uint64) for part in near)
        pairs = [(0, 0)] if choices == 1 else [(0, 0), (0, 1), (1, 0)]
        ten = np.uint64(10)
        made = [self._prefix | (first[:, i] << ten) | second[:, j] for i, j in pairs]
        return np.stack(made, axis=1)


@cache
def shipped() -> Vocabulary:
    """Load the vocabulary that comes with the room."""
    return Vocabulary.from_bytes(resources.files("detectors.image").joinpath(FILE).read_bytes())


def train(pictures: Iterable[Grey], *, seed: int = 0) -> Vocabulary:
    """Train a vocabulary on grey pictures; the same pictures and seed give the same bytes.

    Some hundreds of pictures suffice. Raises ``ValueError`` where they hold fewer than FEATURES_NEEDED
    features.
    """
    from sklearn.cluster import MiniBatchKMeans  # seconds to import, and only training needs it

    codes = [features_of(grey).codes for grey in pictures]
    features = np.concatenate(codes) if codes else np.empty((0, 16), np.uint8)
    if len(features) < FEATURES_NEEDED:
        raise ValueError(f"{len(features)} features are too few to train on: {FEATURES_NEEDED}")
    signs = np.unpackbits(features, axis=1).astype(np.float32) * 2 - 1
    tables = []
    for half in range(2):
        made = MiniBatchKMeans(
            CENTRES, batch_size=8192, n_init=1, max_iter=12, random_state=seed + half,
            compute_labels=False,
        )  # fmt: skip
        made.fit(signs[:, half * HALF_BITS : (half + 1) * HALF_BITS])
        tables.append(made.cluster_centers_)
    return Vocabulary(_majority(np.stack(tables)))


def _majority(centres: npt.NDArray[np.float32]) -> Words:
    """Round centres (2, 1024, 64) to the bits that most of their features have."""
    packed = np.packbits(centres > 0, axis=2)
    return np.asarray(np.ascontiguousarray(packed).view("<u8")[:, :, 0], np.uint64)
