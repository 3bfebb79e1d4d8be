"""Texts as the eye reads them: folded units, shingles, winnowed fingerprints, MinHash signatures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.kit.lexical.markup import rendered
from detectors.kit.lexical.shapes import (
    BANDS,
    BIDI,
    CLASSES,
    I32,
    I64,
    SLOTS,
    U8,
    U32,
    U64,
)
from detectors.kit.lexical.table import fold_table, permutations

WINDOW: Final = 16
WINDOW_SHORT: Final = 4
SHORT_PLACES: Final = 128
MEDIUM_PLACES: Final = 384
PICKS_MAX: Final = 4096
"""A very long text is winnowed in wider windows, so that it gives about so many fingerprints."""
OVERRIDE: Final = 0x202E
TURN_ENDS: Final = np.array(
    [0x0A, 0x0D, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], np.uint32
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Some texts, folded and shingled, end to end.

    ``units`` (u,) uint32 are folded code points in the order in which they are read, ``origins`` (u,)
    int32 the offset of the character that each came from in its own text (they fall where an override
    turned the text), ``starts`` (n + 1,) int64 where each text begins. ``hashes``,
    ``lengths`` (u,) describe the shingle that begins at each unit (length 0: none). ``digests`` (n,)
    identify whole folded texts, ``weights`` (n,) what they weigh, ``classes`` (n, 6) count characters
    of the classes in ``shapes`` that were used to hide something.
    """

    units: U32
    origins: I32
    starts: I64
    hashes: U64
    lengths: U8
    digests: U64
    weights: I64
    classes: I32

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, begin: int, end: int) -> "Texts":
        """Return the texts ``begin`` to ``end``; nothing but where they begin is copied."""
        units, texts = slice(int(self.starts[begin]), int(self.starts[end])), slice(begin, end)
        return Texts(
            units=self.units[units], origins=self.origins[units],
            starts=self.starts[begin : end + 1] - self.starts[begin], hashes=self.hashes[units],
            lengths=self.lengths[units], digests=self.digests[texts], weights=self.weights[texts],
            classes=self.classes[texts],
        )  # fmt: skip

    def folded(self, index: int) -> str:
        """Return one folded text."""
        mine = self.units[self.starts[index] : self.starts[index + 1]]
        return mine.tobytes().decode("utf-32-le")

    def shingles_of(self, index: int) -> U64:
        """Return the distinct shingle hashes of one text, sorted."""
        here = slice(self.starts[index], self.starts[index + 1])
        return np.unique(self.hashes[here][self.lengths[here] > 0])

    def sources(self, index: int, begin: int, end: int) -> tuple[int, int]:
        """Map a half-open range of units back to a half-open range of the text as it was written."""
        first = int(self.starts[index])
        places = self.origins[first + begin : first + end]
        return int(places.min()), int(places.max()) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """Winnowed fingerprints: ``keys`` uint64, ``places`` int32 (unit), ``cuts`` (n + 1,) int64."""

    keys: U64
    places: I32
    cuts: I64

    def part(self, begin: int, end: int) -> "Picks":
        """Return the fingerprints of the texts ``begin`` to ``end``."""
        some = slice(int(self.cuts[begin]), int(self.cuts[end]))
        return Picks(
            keys=self.keys[some], places=self.places[some],
            cuts=self.cuts[begin : end + 1] - self.cuts[begin],
        )  # fmt: skip

    @property
    def owners(self) -> I64:
        """Return the index of the text beside each key."""
        return np.repeat(np.arange(len(self.cuts) - 1), np.diff(self.cuts))


def read(texts: Sequence[str]) -> Texts:
    """Fold and shingle texts. Any string will do; lone surrogates and unassigned points fold away."""
    from detectors.kit.lexical import kernels

    table = fold_table()
    whole = "".join(texts)
    written: dict[int, I64] = {}
    if "&" in whole or "<" in whole:
        texts, written = _rendered(texts)
        whole = "".join(texts)
    points = np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), np.uint32)
    begins = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(t) for t in texts], out=begins[1:])
    shown = _as_shown(points, begins) if chr(OVERRIDE) in whole else None
    points = points if shown is None else points[shown]
    starts = np.zeros(len(texts) + 1, np.int64)
    room = len(points) + len(points) // 8 + 64
    while True:
        units, origins = np.empty(room, np.uint32), np.empty(room, np.int32)
        classes = np.zeros((len(texts), CLASSES), np.int32)
        count = kernels.fold(
            points, begins, table.fold, table.traits, table.pool, units, origins, starts, classes
        )
        if count >= 0:
            break
        room *= 4
    units, origins = units[:count], origins[:count]
    kernels.spell(units, starts)
    if shown is not None:
        first = np.repeat(begins[:-1], np.diff(starts))
        origins = (shown[first + origins] - first).astype(np.int32)
        moved = (shown != np.arange(len(shown))).astype(np.int32)
        sums = np.concatenate([np.zeros(1, np.int32), np.cumsum(moved, dtype=np.int32)])
        classes[:, BIDI] += np.diff(sums[begins])
    for index, places in written.items():
        mine = slice(starts[index], starts[index + 1])
        origins[mine] = places[origins[mine]]
    hashes, lengths = np.empty(count, np.uint64), np.empty(count, np.uint8)
    digests, weights = np.empty(len(texts), np.uint64), np.empty(len(texts), np.int64)
    kernels.shingle(units, starts, table.traits, hashes, lengths, digests, weights)
    return Texts(
        units=units, origins=origins, starts=starts, hashes=hashes, lengths=lengths,
        digests=digests, weights=weights, classes=classes,
    )  # fmt: skip


def _rendered(texts: Sequence[str]) -> tuple[Sequence[str], dict[int, I64]]:
    """Put what a page shows in the place of markup; say where the characters of such texts came from."""
    told = {n: made for n, text in enumerate(texts) if (made := rendered(text)) is not None}
    shown = [told[n][0] if n in told else text for n, text in enumerate(texts)]
    return shown, {n: places for n, (_, places) in told.items()}


def _as_shown(points: U32, begins: I64) -> I64:
    """Return the places of all characters in the order in which a reader sees them.

    What stands behind a right-to-left override, up to the next directional control or the end of the
    line, is shown backwards, whatever script it is in.
    """
    shown = np.arange(len(points))
    turns = np.flatnonzero(points == OVERRIDE) + 1
    ends = np.union1d(np.flatnonzero(np.isin(points, TURN_ENDS)), begins[1:])
    sizes = ends[np.searchsorted(ends, turns)] - turns
    at = np.arange(sizes.sum()) + np.repeat(turns - np.cumsum(sizes) + sizes, sizes)
    shown[at] = np.repeat(2 * turns + sizes - 1, sizes) - at
    return shown


def winnow(texts: Texts) -> Picks:
    """Select fingerprints: any common passage of a window and a shingle shares one.

    Windows are powers of two, wider for longer texts; the least hash of a wide window is the least of
    some narrow window inside it, so a passage of a long text is found in a short one too.
    """
    from detectors.kit.lexical import kernels

    places = np.diff(texts.starts)
    windows = np.where(places <= SHORT_PLACES, WINDOW_SHORT, WINDOW)
    windows = np.where((places > SHORT_PLACES) & (places <= MEDIUM_PLACES), WINDOW // 2, windows)
    windows = np.maximum(windows, -(-2 * places // PICKS_MAX)).astype(np.int64)
    keys, spots = np.empty(len(texts.units), np.uint64), np.empty(len(texts.units), np.int32)
    cuts = np.zeros(len(texts) + 1, np.int64)
    count = kernels.winnow(texts.hashes, texts.lengths, texts.starts, windows, keys, spots, cuts)
    return Picks(keys=keys[:count].copy(), places=spots[:count].copy(), cuts=cuts)


def minhash(texts: Texts, *, units_max: int = 2**62) -> tuple[U32, U64]:
    """Sign texts: signatures (n, 128) uint32 and band keys (n, 32) uint64.

    Texts of more than ``units_max`` units get the signature of an empty text and band keys of 0.

    A row is bit for bit what ``datasketch.MinHash(scheme="affine32", seed=1)`` makes of the upper
    halves of the shingle hashes: ``LeanMinHash(seed=1, hashvalues=row, scheme="affine32")``.
    """
    from detectors.kit.lexical import kernels

    a, b = permutations()
    signatures = np.empty((len(texts), SLOTS), np.uint32)
    bands = np.empty((len(texts), BANDS), np.uint64)
    lengths = texts.lengths
    long = np.flatnonzero(np.diff(texts.starts) > units_max)
    if len(long):
        lengths = lengths.copy()
        for index in long.tolist():
            lengths[texts.starts[index] : texts.starts[index + 1]] = 0
    kernels.minhash(texts.hashes, lengths, texts.starts, a, b, signatures, bands)
    bands[long] = 0
    return signatures, bands
