"""Votes of one query over runs of postings: which rows to read, and who of their owners lies alike.

Words that are worth most for each row that they make one read are read first, until as many rows are
read as may be: so the look-up's time is bounded however many documents there are, and what a word says
that everybody carries is lost first.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.index.owners import Owners
from pipeline.index.postings import Column, PostingIndex, Run
from pipeline.index.shapes import I32, I64, U32, U64
from pipeline.model import frames

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

ROWS_MAX: Final = 1 << 20
ENTRIES_MAX: Final = 1 << 18
GOOD_SHARE: Final = 0.5
"""Share of the greatest weight from which a document is among the good ones."""
AT_ONCE: Final = 4
"""So many times as many documents are counted at a time as are wanted."""
BOUND_SLACK: Final = 1e-3
"""By how much a bound, summed in single precision, may lie below the weight that it bounds."""


class Asked(NamedTuple):
    """Words of one query, (n,) each: key, how its feature lies (``voting.PART_AT``), mode, worth.

    ``worth`` is above 0: how likely the word is the right one, by any scale. A mode is 0 to 3: words of
    two modes never agree.
    """

    keys: U64
    places: I64
    modes: I64
    worth: F64


class Votes(NamedTuple):
    """Pairs of the query with a document's content, (k,) each, the heaviest first.

    ``votes`` are the features that agree in turn and growth; ``weights`` these times how rare their
    words are, 1 / (1 + log₂ of the rows of the word).
    """

    docs: U32
    contents: I32
    modes: I32
    parts: I32
    other_parts: I32
    votes: I64
    weights: F64


class _Entries(NamedTuple):
    """The asked words that one run has rows of: which, and between which rows of these columns."""

    asked: I64
    begins: I64
    ends: I64
    docs: Column
    contents: Column
    positions: Column


def answered(
    index: PostingIndex, asked: pl.DataFrame, owners: Owners, *, votes_min: int, rows_max: int,
    earlier: bool, most: int | None,
) -> pl.DataFrame:  # fmt: skip
    """Answer ``Past.votes``: an ASKED frame in, a VOTES frame out."""
    parts = [frames.empty(frames.VOTES)]
    for words in asked.partition_by("query", maintain_order=True):
        mine = words.item(0, "submission_id")
        sifted = _sifted(index, _asked(words), votes_min=votes_min, rows_max=rows_max)
        side = _on_side(sifted.docs, mine, owners, earlier=earlier)
        if most is not None:
            side = _foremost(sifted, side, owners.times[sifted.docs[side]], most)
        told = sifted.counted(side)
        rows = {
            "query": np.full(len(told.docs), words.item(0, "query")),
            "submission_id": owners.names(told.docs),
            "content_index": told.contents, "mode": told.modes, "part": told.parts,
            "other_part": told.other_parts, "votes": told.votes, "weight": told.weights,
        }  # fmt: skip
        parts.append(pl.DataFrame(rows, schema=dict(frames.VOTES)))
    return pl.concat(parts)


def _asked(words: pl.DataFrame) -> Asked:
    return Asked(
        words["key"].to_numpy().astype(np.uint64), words["place"].to_numpy().astype(np.int64),
        words["mode"].to_numpy().astype(np.int64), words["worth"].to_numpy().astype(np.float64),
    )  # fmt: skip


def _on_side(docs: U32, mine: str, owners: Owners, *, earlier: bool) -> I64:
    """Find the documents that came before (or after) the one of that name, by time, then name."""
    number = owners.number(mine)
    times, when = owners.times[docs], owners.times[number]
    kept = times < when if earlier else times > when
    for row in np.flatnonzero((times == when) & (docs != number)).tolist():
        kept[row] = (owners.name(int(docs[row])) < mine) == earlier
    return np.flatnonzero(kept)


def _foremost(sifted: "_Sifted", side: I64, times: I64, most: int) -> I64:
    """Find which of the documents ``side`` are the ``most`` heaviest, or as many earliest good ones.

    ``times`` are when they came. In a family of a thousand copies the first may weigh less than the
    copies do among each other. What ties with the last document is kept too. Documents are counted by
    what they might weigh at most, until no other can be among those kept: most never are counted.
    """
    at = np.argsort(-sifted.bounds[side], kind="stable")
    bounds, count = sifted.bounds[side[at]], AT_ONCE * most
    while True:
        heaviest = sifted.heaviest(side[at[:count]])
        weighed = np.sort(heaviest[heaviest > 0])
        least = float(weighed[-most]) if len(weighed) >= most else 0.0
        if count >= len(at) or bounds[count] < least - BOUND_SLACK:
            break
        count *= AT_ONCE
    if not len(weighed):
        return side[:0]
    kept = [at[:count][(heaviest >= least) & (heaviest > 0)]]
    if len(weighed) > most:
        good = GOOD_SHARE * float(weighed[-1])
        likely = np.flatnonzero(sifted.bounds[side] >= good - BOUND_SLACK)
        likely = likely[np.argsort(times[likely], kind="stable")]
        found = start = 0
        last = times[:0]
        while start < len(likely):
            some = likely[start : start + AT_ONCE * most]
            if found >= most and times[some[0]] > last[most - 1]:
                break
            oldest = some[sifted.heaviest(side[some]) >= good]
            last = np.concatenate([last, times[oldest]])
            kept.append(oldest)
            found, start = len(last), start + len(some)
        oldest = np.concatenate(kept[1:])
        kept[1:] = [oldest[times[oldest] <= last[min(most, found) - 1]]]
    return side[np.unique(np.concatenate(kept))]


def votes(index: PostingIndex, asked: Asked, *, votes_min: int, rows_max: int) -> Votes:
    """Count the votes of every pair that has ``votes_min``, from at most ``rows_max`` rows.

    Which pairs are found depends neither on how rows are spread over runs nor on the order of adding, as
    long as no row was added twice. Raises ``ValueError`` for ``rows_max`` beyond ROWS_MAX.
    """
    sifted = _sifted(index, asked, votes_min=votes_min, rows_max=rows_max)
    return sifted.counted(np.arange(len(sifted.docs)))


class _Sifted(NamedTuple):
    """Hits that may be votes, and whose they are: ``docs`` with what each weighs at most.

    ``of`` says, by hit, which of these it is of; hits are written by the entries of ``parts``.
    """

    parts: Sequence[_Entries]
    asked: Asked
    rare: F64
    votes_min: int
    hits: U64
    of: I32
    docs: U32
    bounds: F32

    def counted(self, some: I64) -> Votes:
        """Count the votes of the pairs with those documents, by their places in ``docs``."""
        if len(some) == len(self.docs):
            return _counted(self, self.hits)
        wanted = np.zeros(len(self.docs), np.bool_)
        wanted[some] = True
        return _counted(self, self.hits[wanted[self.of]])

    def heaviest(self, some: I64) -> F64:
        """Return the greatest weight of each of those documents' pairs; 0 where none has the votes."""
        told = self.counted(some)
        named, first = np.unique(told.docs, return_index=True)
        weights = np.zeros(len(some), np.float64)
        docs = self.docs[some]
        at = np.searchsorted(named, docs)
        at[at == len(named)] = 0
        if len(named):
            same = named[at] == docs
            weights[same] = told.weights[first[at[same]]]
        return weights


def _sifted(index: PostingIndex, asked: Asked, *, votes_min: int, rows_max: int) -> _Sifted:
    if not 0 <= rows_max <= ROWS_MAX:
        raise ValueError(f"rows_max {rows_max} is not 0 to {ROWS_MAX}")
    runs, removed = index.snapshot()
    keys, which = np.unique(asked.keys, return_inverse=True)
    found = [_plain(run, keys, removed) for run in runs]
    counts = np.zeros(len(keys), np.int64)
    for part in found:
        counts += part.ends - part.begins
    carried = counts[which]
    chosen = _worth_reading(carried, asked.worth, rows_max)
    parts = [_entries(part, which, chosen) for part in found]
    while sum(len(part.asked) for part in parts) > ENTRIES_MAX:
        chosen = chosen[: len(chosen) // 2]
        parts = [_entries(part, which, chosen) for part in found]
    parts = [part for part in parts if len(part.asked)]
    return _likely(parts, asked, 1 / (1 + np.log2(np.maximum(carried, 1))), votes_min)


def _plain(run: Run, keys: U64, removed: U32) -> _Entries:
    """Find the rows of each key; of a run in memory or with narrow columns, copy them."""
    begins, ends = run.bounds_of(keys)
    every = np.arange(len(keys))
    wide = run.docs.dtype == np.uint32 and run.positions.dtype == np.int32
    wide &= len(run.docs) == len(run.positions) == len(run)
    if wide and not (run.name and len(removed)):
        return _Entries(every, begins, ends, run.docs, run.contents, run.positions)
    of, rows = run.rows_of(keys)
    docs = np.ascontiguousarray(run.column("docs", rows), np.uint32)
    if run.name and len(removed):
        kept = ~np.isin(docs, removed)
        of, rows, docs = of[kept], rows[kept], docs[kept]
    contents, positions = (
        np.ascontiguousarray(run.column(c, rows), np.int32) for c in ("contents", "positions")
    )
    bounds = np.searchsorted(of, np.arange(len(keys) + 1)).astype(np.int64)
    return _Entries(every, bounds[:-1], bounds[1:], docs, contents, positions)


def _worth_reading(carried: I64, worth: F64, rows_max: int) -> I64:
    """Choose asked words, those of most worth a row first, until ``rows_max`` rows are read."""
    order = np.argsort(carried / worth, kind="stable")
    order = order[carried[order] > 0]
    return order[: np.searchsorted(np.cumsum(carried[order]), rows_max, side="right")]


def _entries(part: _Entries, which: I64, chosen: I64) -> _Entries:
    begins, ends = part.begins[which[chosen]], part.ends[which[chosen]]
    some = ends > begins
    return part._replace(asked=chosen[some], begins=begins[some], ends=ends[some])


def _likely(parts: Sequence[_Entries], asked: Asked, rare: F64, votes_min: int) -> _Sifted:
    """Find the hits that may be votes, and what each document that has some may weigh at most."""
    from pipeline.index import voting

    if not parts:
        none = np.empty(0, np.int32)
        empty = none.astype(np.uint32), none.astype(np.float32)
        return _Sifted(parts, asked, rare, votes_min, none.astype(np.uint64), none, *empty)
    low = min(int(part.docs[part.begins].min()) for part in parts)
    high = max(int(part.docs[part.ends - 1].max()) for part in parts)
    read = sum(int((part.ends - part.begins).sum()) for part in parts)
    # The more hits a document has by chance, the more counters keep them apart.
    bits = int(np.ceil(np.log2(16 * read / (high - low + 1))).clip(*voting.CELL_BITS))
    low, high = low >> voting.TABLE_BITS - bits, high >> voting.TABLE_BITS - bits
    sizes = np.zeros(high - low + 1, np.int64)
    for part in parts:
        voting.spread(part.docs, part.begins, part.ends, low, voting.TABLE_BITS - bits, sizes)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    at, hits, entry = bounds[:-1].copy(), np.empty(bounds[-1], np.uint64), 0
    for part in parts:
        places, modes = asked.places[part.asked], asked.modes[part.asked]
        voting.deal(
            part.docs, part.positions, part.begins, part.ends, places, modes, entry, low, bits, at,
            hits,
        )  # fmt: skip
        entry += len(part.asked)
    ends = np.empty(len(sizes), np.int64)
    kept = hits[: voting.sieve(hits, bounds, votes_min, bits, ends)]
    docs, of = np.empty(len(kept), np.uint32), np.empty(len(kept), np.int32)
    weigh = np.empty(len(kept), np.float32)
    worth = np.concatenate([rare[part.asked] for part in parts])
    count = voting.bound(kept, ends, worth, low, bits, docs, weigh, of)
    return _Sifted(parts, asked, rare, votes_min, kept, of, docs[:count], weigh[:count])


def _counted(sifted: _Sifted, hits: U64) -> Votes:
    from pipeline.index import voting

    if not len(hits):
        none = np.empty(0, np.int32)
        return Votes(
            none.astype(np.uint32), none, none, none, none, none.astype(np.int64),
            none.astype(np.float64),
        )  # fmt: skip
    mine, docs, contents, others = _resolved(sifted.parts, hits)
    places, modes = sifted.asked.places[mine], sifted.asked.modes[mine]
    files = (contents.astype(np.int64) + 1).astype(np.uint64)  # −1 is the submission itself
    pairs = docs.astype(np.uint64) << np.uint64(32) | files << np.uint64(8)
    pairs |= ((others >> voting.PART_AT & 7) << 5 | (places >> voting.PART_AT) << 2 | modes).astype(
        np.uint64
    )
    order = np.argsort(pairs)
    first, told = np.empty((2, len(pairs)), np.int64)
    weights = np.empty(len(pairs), np.float64)
    count = voting.count(
        pairs, order, places, others, sifted.rare[mine], sifted.votes_min, first, told, weights
    )
    first, told, weights = first[:count], told[:count], np.round(weights[:count], 6)
    ranked = np.lexsort((pairs[first], -weights))
    first = first[ranked]
    return Votes(
        docs[first], contents[first], modes[first].astype(np.int32),
        (places[first] >> voting.PART_AT).astype(np.int32),
        (others[first] >> voting.PART_AT & 7).astype(np.int32), told[ranked], weights[ranked],
    )  # fmt: skip


def _resolved(parts: Sequence[_Entries], hits: U64) -> tuple[I64, U32, I32, I64]:
    """Return what hits say: asked word, document, content, position."""
    entries, offsets = (hits >> np.uint64(46)).astype(np.int64), hits >> np.uint64(26)
    offsets = (offsets & np.uint64(ROWS_MAX - 1)).astype(np.int64)
    told: list[tuple[I64, U32, I32, I64]] = []
    entry = 0
    for part in parts:
        here = (entries >= entry) & (entries < entry + len(part.asked))
        named = entries[here] - entry
        rows = part.begins[named] + offsets[here]
        same = len(part.contents) == 1
        contents = part.contents[np.zeros(len(rows), np.int64) if same else rows]
        told.append(
            (part.asked[named], part.docs[rows], contents.astype(np.int32),
             part.positions[rows].astype(np.int64))
        )  # fmt: skip
        entry += len(part.asked)
    asked_of, owners, files, lies = (np.concatenate([part[i] for part in told]) for i in range(4))
    return asked_of, owners, files, lies
