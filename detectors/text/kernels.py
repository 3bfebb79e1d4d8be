"""The compiled loops of nominating. Imported where they run, because loading numba costs a moment."""

import numpy as np
from numba import njit

from detectors.kit.lexical.shapes import F64, I32, I64, U64, Bools
from pipeline.index.popcount import popcount

# mypy: disable-error-code="assignment,return-value,no-any-return,arg-type"
# The compiler's integers are its own: which width a sum has is in the signatures, not the hints.


@njit("boolean(u8[::1], i8, i8, i8, i8, f8)", cache=True)
def _alike(keys: U64, a: int, a_end: int, b: int, b_end: int, part: float) -> bool:
    """Say whether two sorted runs share that part of the shorter one; stop as soon as it is known."""
    needed = max(part * min(a_end - a, b_end - b), 1.0)
    shared = 0
    while shared + min(a_end - a, b_end - b) >= needed:
        if shared >= needed:
            return True
        if keys[a] < keys[b]:
            a += 1
        elif keys[b] < keys[a]:
            b += 1
        else:
            shared += 1
            a += 1
            b += 1
    return False


@njit("void(u8[::1], i8, i8, u8[::1], i8[::1], i8, i8)", cache=True)
def _beyond(quiet: U64, low: int, high: int, keys: U64, ends: I64, row: int, count: int) -> None:
    """Take out of the run ``row`` of ``keys``, ``count`` long, what stands in the run of ``quiet``."""
    first = ends[row]
    if low == high:
        ends[row + 1] = first + count
        return
    kept = first
    for i in range(first, first + count):
        at = low + np.searchsorted(quiet[low:high], keys[i])
        if at == high or quiet[at] != keys[i]:
            keys[kept] = keys[i]
            kept += 1
    ends[row + 1] = kept


@njit("i8(u8[:,::1], i4[::1], i8, i8)", cache=True, inline="always")
def _shared_most(marks: U64, spare: I32, a: int, b: int) -> int:
    """Bound from above what two texts share: common marks, and what lies on a mark already set."""
    common = np.int64(0)
    for w in range(marks.shape[1]):
        common += np.int64(popcount(marks[a, w] & marks[b, w]))
    return common + np.int64(min(spare[a], spare[b]))


@njit("i8[::1](i8[::1], i8)", cache=True)
def _longer(kept: I64, size: int) -> I64:
    """Return the array, or a copy with room for so many."""
    if size <= len(kept):
        return kept
    made = np.empty(2 * size, np.int64)
    made[: len(kept)] = kept
    return made


@njit("i8[:,::1](i8[::1], i8[::1], i8[::1], i8[::1], u8[:,::1], i4[::1], i4[::1], f8)", cache=True)
def doubtful(
    groups: I64, muted: I64, nodes: I64, by: I64, marks: U64, spare: I32, sizes: I32, part: float
) -> I64:  # fmt: skip
    """List the pairs of members of each group that sketches do not tell apart: group, member, member.

    ``by`` are the members' workers, ``muted`` how many keys do not count in a group, at most: a text may
    have so many fewer.
    """
    told, total = np.empty(3 * 1024, np.int64), np.int64(0)
    for g in range(len(groups) - 1):
        for i in range(groups[g], groups[g + 1]):
            for j in range(groups[g], i):
                if by[i] == by[j]:
                    continue
                one, two = nodes[i], nodes[j]
                fewer = min(np.int64(sizes[one]), np.int64(sizes[two])) - muted[g]
                if fewer < 1 or _shared_most(marks, spare, one, two) >= part * fewer:
                    told = _longer(told, total + 3)
                    told[total], told[total + 1], told[total + 2] = g, i, j
                    total += 3
    return told[:total].copy().reshape((-1, 3))


@njit("b1[::1](i8[:,::1], i8[::1], i8[::1], u8[::1], i8[::1], u8[::1], f8)", cache=True)
def likeness(
    pairs: I64, lows: I64, highs: I64, prints: U64, starts: I64, quiet: U64, part: float
) -> Bools:  # fmt: skip
    """Say which pairs of texts (group, text, text) share that part of the shorter one's fingerprints.

    Text n has the sorted ``prints[starts[n]:starts[n + 1]]``; ``quiet[lows[g]:highs[g]]`` does not count
    in group g.
    """
    longest = 0
    for n in range(len(starts) - 1):
        longest = max(longest, starts[n + 1] - starts[n])
    own, ends = np.empty(2 * longest, np.uint64), np.zeros(3, np.int64)
    alike = np.zeros(len(pairs), np.bool_)
    for i in range(len(pairs)):
        g = pairs[i, 0]
        for row in range(2):
            begin, end = starts[pairs[i, row + 1]], starts[pairs[i, row + 1] + 1]
            own[ends[row] : ends[row] + end - begin] = prints[begin:end]
            _beyond(quiet, lows[g], highs[g], own, ends, row, end - begin)
        alike[i] = _alike(own, ends[0], ends[1], ends[1], ends[2], part)
    return alike


@njit("i8[::1](i8[::1], i8[::1], i8[:,::1], i8)", cache=True)
def speakers(groups: I64, by: I64, alike: I64, most: int) -> I64:
    """Count, in each group, those that are left when one worker's and like texts are one.

    ``alike`` lists pairs of like members by group. Likeness is carried on: a voice is a component.
    """
    counted = np.zeros(len(groups) - 1, np.int64)
    voice, at = np.empty(most, np.int64), np.int64(0)
    for g in range(len(counted)):
        first, size = groups[g], groups[g + 1] - groups[g]
        for i in range(size):
            voice[i] = i
            for j in range(i):
                if by[first + i] == by[first + j]:
                    voice[i] = voice[j]
                    break
            counted[g] += voice[i] == i
        while at < len(alike) and alike[at, 0] == g:
            was, now = voice[alike[at, 1] - first], voice[alike[at, 2] - first]
            counted[g] -= was != now
            for k in range(size):
                if voice[k] == was:
                    voice[k] = now
            at += 1
    return counted


@njit("i8(i8[::1], i8[::1], i8, i8, i8[::1], i8[::1], i8, b1[::1], i4[::1], i8[::1])", cache=True)
def _hits(
    begins: I64, ends: I64, first: int, last: int, nodes: I64, places: I64, own: int, stock: Bools,
    hits: I32, touched: I64,
) -> int:  # fmt: skip
    """Count the keys that a text shares with each earlier one, stock phrases left out.

    ``touched`` takes the nodes that share any; returns how many. Rows of a key are in order of
    submission, so whoever stands at or behind ``own`` ends them.
    """
    count = np.int64(0)
    for slot in range(first, last):
        if len(stock) and stock[slot]:
            continue
        for row in range(begins[slot], ends[slot]):
            node = nodes[row]
            if places[node] >= own:
                break
            if hits[node] == 0:
                touched[count] = node
                count += 1
            hits[node] += np.int32(1)
    return count


@njit("UniTuple(i8, 2)(i8[::1], i8[::1], u8[::1], i8, i8, i8, b1[::1], u8[::1])", cache=True)
def _carrying(
    nodes: I64, places: I64, workers: U64, own: int, begin: int, end: int, light: Bools, seen: U64
) -> tuple[int, int]:  # fmt: skip
    """Count who carries a key in light texts before ``own``: other workers, and own submissions.

    Of the workers no more than ``seen`` has room for are counted.
    """
    others, mine, before = np.int64(0), np.int64(0), np.int64(-1)
    for row in range(begin, end):
        place = places[nodes[row]]
        if place >= own:
            break
        if not light[nodes[row]]:
            continue
        if workers[place] == workers[own]:
            mine += place != before
            before = place
        elif others < len(seen):
            known = False
            for i in range(others):
                known |= seen[i] == workers[place]
            if not known:
                seen[others] = workers[place]
                others += 1
    return others, mine


@njit("i8(i8[::1], i8[::1], u8[::1], i8, i8, i8, b1[::1], i8, i8, i8[::1])", cache=True)
def _listed(
    nodes: I64, places: I64, workers: U64, own: int, begin: int, end: int, light: Bools, most: int,
    total: int, members: I64,
) -> int:  # fmt: skip
    """List the first light texts of others with a key, behind ``total`` members; return how many."""
    size = np.int64(0)
    for row in range(begin, end):
        place = places[nodes[row]]
        if place >= own or size == most:
            break
        if light[nodes[row]] and workers[place] != workers[own]:
            members[total + size] = nodes[row]
            size += 1
    return size


@njit("Tuple((i8[::1], i8[::1], i8[::1], i8[::1], b1[::1]))(i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], "
      "u8[::1], i8[::1], f8[::1], f8, f8, i8, i8, i8)", cache=True)  # fmt: skip
def common(
    cuts: I64, begins: I64, ends: I64, nodes: I64, places: I64, workers: U64, owns: I64, weights: F64,
    light_share: float, light_weight: float, workers_min: int, own_min: int, most: int,
) -> tuple[I64, I64, I64, I64, Bools]:  # fmt: skip
    """Find the keys of texts that enough people carry in texts unlike the accused one.

    Returns of those keys the slots, how many voices make each a stock phrase, how many members each has
    (the first ``most`` such carriers) and the members end to end; and, by slot, which keys are stock
    already because the worker's own texts carry them.
    """
    stock = np.zeros(len(begins), np.bool_)
    hits, touched = np.zeros(len(places), np.int32), np.empty(len(places), np.int64)
    light, nothing = np.zeros(len(places), np.bool_), stock[:0]
    told, members = np.empty(3 * 1024, np.int64), np.empty(8192, np.int64)
    seen, found, total = np.empty(workers_min, np.uint64), np.int64(0), np.int64(0)
    for text in range(len(cuts) - 1):
        first, last, own = cuts[text], cuts[text + 1], owns[text]
        count = _hits(begins, ends, first, last, nodes, places, own, nothing, hits, touched)
        for i in range(count):
            node = touched[i]
            part = hits[node] / (last - first)
            light[node] = part <= light_share and part * weights[text] <= light_weight
            hits[node] = 0
        for slot in range(first, last):
            begin, end = begins[slot], ends[slot]
            others, mine = _carrying(nodes, places, workers, own, begin, end, light, seen)
            needed = workers_min - min(mine, 1)
            if mine >= own_min:
                stock[slot] = True
            elif others >= needed:
                told, members = _longer(told, 3 * found + 3), _longer(members, total + most)
                size = _listed(nodes, places, workers, own, begin, end, light, most, total, members)
                told[3 * found], told[3 * found + 1], told[3 * found + 2] = slot, needed, size
                found += 1
                total += size
    rows = told[: 3 * found]
    return rows[::3].copy(), rows[1::3].copy(), rows[2::3].copy(), members[:total].copy(), stock


@njit("Tuple((i8[::1], i8[::1]))(i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], b1[::1], i8, i8, "
      "f8, i8)", cache=True)  # fmt: skip
def choose(
    cuts: I64, begins: I64, ends: I64, nodes: I64, places: I64, owns: I64, stock: Bools, hits_min: int,
    best_max: int, part: float, early_max: int,
) -> tuple[I64, I64]:  # fmt: skip
    """Choose the candidates of each text: those of most hits, and the earliest of the good ones.

    Of those with ``hits_min`` the ``best_max`` with most, the earlier of equals first, and the
    ``early_max`` earliest of those with ``part`` of the most. Returns texts and nodes.
    """
    hits, touched = np.zeros(len(places), np.int32), np.empty(len(places), np.int64)
    best, early = np.empty(best_max + 1, np.int64), np.empty(early_max + 1, np.int64)
    told, chosen, total = np.empty(1024, np.int64), np.empty(1024, np.int64), np.int64(0)
    for text in range(len(cuts) - 1):
        first, last = cuts[text], cuts[text + 1]
        count = _hits(begins, ends, first, last, nodes, places, owns[text], stock, hits, touched)
        top = np.int64(0)
        for i in range(count):
            top = max(top, np.int64(hits[touched[i]]))
        bests, earlies = np.int64(0), np.int64(0)
        for i in range(count):
            node = touched[i]
            if hits[node] < hits_min:
                continue
            at = bests
            while at > 0 and (hits[best[at - 1]], -best[at - 1]) < (hits[node], -node):
                best[at] = best[at - 1]
                at -= 1
            if at < best_max:
                best[at] = node
                bests = min(bests + 1, best_max)
            if hits[node] >= part * top:
                at = earlies
                while at > 0 and early[at - 1] > node:
                    early[at] = early[at - 1]
                    at -= 1
                if at < early_max:
                    early[at] = node
                    earlies = min(earlies + 1, early_max)
        told, chosen = (
            _longer(told, total + bests + earlies),
            _longer(chosen, total + bests + earlies),
        )
        for i in range(bests + earlies):
            node, again = best[i] if i < bests else early[i - bests], False
            for k in range(bests if i >= bests else 0):
                again |= best[k] == node
            if not again:
                told[total], chosen[total] = text, node
                total += 1
        for i in range(count):
            hits[touched[i]] = 0
    return told[:total].copy(), chosen[:total].copy()


@njit("b1[::1](i8[::1], u8[::1], i8[::1], u8[::1], i8)", cache=True)
def among(texts: I64, keys: U64, listed: I64, listed_keys: U64, count: int) -> Bools:
    """Say which pairs of text and key are listed; the list is sorted by text and key."""
    cuts = np.searchsorted(listed, np.arange(count + 1))
    marked = np.zeros(len(texts), np.bool_)
    for i in range(len(texts)):
        low, high = cuts[texts[i]], cuts[texts[i] + 1]
        at = low + np.searchsorted(listed_keys[low:high], keys[i])
        marked[i] = at < high and listed_keys[at] == keys[i]
    return marked
