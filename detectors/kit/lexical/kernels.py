"""Compiled loops of the lexical kit. Imported where they run, because loading numba costs a moment.

Texts lie end to end in flat arrays; ``starts`` (n + 1) says where each begins. A shingle belongs to
the unit at which it begins; one that would run past the end of its text has length 0.
"""

import numpy as np
from numba import njit, types, uint64

from detectors.kit.lexical.shapes import I32, I64, SHINGLE_UNITS, U8, U32, U64, Bools

# mypy: disable-error-code="assignment,return-value,no-any-return,arg-type"
# The compiler's integers are its own: which width a sum has is in the signatures, not the hints.

TRIES_MAX = 64
"""Places of one shingle that are looked at in a text that repeats itself."""

DIGITS_MAX = 8
"""So many digits beside a Latin letter are read as the letters they look like; more are a number."""
SEEN_AS = np.frombuffer(b"oizeas6tbg", np.uint8)
"""The letter that each digit stands for in ``l33t``, no two the same."""

STRETCH = 4096
"""Units that are hashed at a time, so that what is between stays in the cache."""

_POINTS = types.Array(types.uint32, 1, "C", readonly=True)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_FMIX1 = np.uint32(0x85EBCA6B)
_FMIX2 = np.uint32(0xC2B2AE35)


@njit("uint64(uint64)", cache=True, inline="always")
def _mix(x: int) -> int:
    """Spread the bits of a number (SplitMix64's finalizer, a bijection)."""
    x = (x ^ (x >> uint64(30))) * _MIX1
    x = (x ^ (x >> uint64(27))) * _MIX2
    return x ^ (x >> uint64(31))


@njit(types.int64(_POINTS, types.int64[::1], types.uint32[::1], types.uint8[::1], types.uint32[::1],
                  types.uint32[::1], types.int32[::1], types.int64[::1], types.int32[:, ::1]),
      cache=True)  # fmt: skip
def fold(
    points: U32, begins: I64, table: U32, traits: U8, pool: U32,
    units: U32, origins: I32, starts: I64, classes: I32,
) -> int:  # fmt: skip
    """Fold texts of code points; return the units written, or −1 where there is no room for them.

    ``classes`` (n, 6) counts the characters of each class of ``shapes`` that stood where they hide
    something: invisible ones after a letter, look-alikes of another script beside a Latin letter.
    """
    n = 0
    for i in range(len(begins) - 1):
        starts[i] = n
        first, last = begins[i], begins[i + 1]
        before = np.uint32(0)
        for j in range(first, last):
            cp = points[j]
            if cp >= 0x110000:
                cp = np.uint32(0xFFFD)
            told = table[cp]
            kind = traits[cp] >> 2
            if kind != 0:
                counted = True
                if kind <= 2:
                    joins = before >= 0x590 and before < 0xE00
                    counted = before != 0 and not (joins and (cp == 0x200C or cp == 0x200D or
                                                              kind == 2))  # fmt: skip
                elif kind == 4:
                    after = points[j + 1] if j + 1 < last else np.uint32(0)
                    near = before | np.uint32(0x20)
                    next_to = after | np.uint32(0x20)
                    counted = (97 <= near <= 122) or (97 <= next_to <= 122)
                if counted:
                    classes[i, kind] += 1
            if kind == 0 or kind > 2:
                before = cp if told != 0 else np.uint32(0)
            if told == 0:
                continue
            if told >> np.uint32(31):
                at = (told & np.uint32(0x7FFFFFFF)) >> np.uint32(5)
                count = told & np.uint32(31)
                if n + count > len(units):
                    return -1
                for k in range(count):
                    units[n] = pool[at + k]
                    origins[n] = j - first
                    n += 1
            else:
                if n >= len(units):
                    return -1
                units[n] = told
                origins[n] = j - first
                n += 1
    starts[len(begins) - 1] = n
    return n


@njit("void(u4[::1], i8[::1])", cache=True)
def spell(units: U32, starts: I64) -> None:
    """Read a few digits beside a Latin letter as letters, in place: ``l33t`` is ``leet``.

    Done after folding, so that it does not matter what stood between: ``room 15`` and ``room15`` stay
    one word.
    """
    for i in range(len(starts) - 1):
        first, last = starts[i], starts[i + 1]
        done = first
        for k in range(first, last):
            if np.uint32(units[k] - np.uint32(48)) > 9 or k < done:
                continue
            done = k + 1
            while done < last and 48 <= units[done] <= 57:
                done += 1
            touches = k > first and 97 <= units[k - 1] <= 122
            touches |= done < last and 97 <= units[done] <= 122
            if touches and done - k <= DIGITS_MAX:
                for at in range(k, done):
                    units[at] = SEEN_AS[units[at] - np.uint32(48)]


@njit("void(u8[::1], u1[::1], u8[::1], u8[::1], u1[::1])", cache=True)
def _runs(prefix: U64, reach: U8, powers: U64, hashes: U64, lengths: U8) -> None:
    """Hash the shortest run from each unit that weighs enough; at the end of a text there is none.

    ``prefix`` holds the polynomial hash of all that stands before each unit, ``reach`` the weight
    (modulo 256), both ``SHINGLE_UNITS`` longer than ``hashes``. Loops without a branch: the compiler
    does many units at once.
    """
    for k in range(len(hashes)):
        size = np.uint8(1)
        for step in range(1, SHINGLE_UNITS):
            size += np.uint8(np.uint8(reach[k + step] - reach[k]) < SHINGLE_UNITS)
        lengths[k] = size
    for k in range(len(hashes)):
        size = uint64(lengths[k])
        hashes[k] = prefix[uint64(k) + size] - prefix[k] * powers[size] + size
    for k in range(len(hashes)):
        hashes[k] = _mix(hashes[k])
    k = len(hashes) - 1
    while k >= 0 and np.uint8(reach[k + SHINGLE_UNITS] - reach[k]) < SHINGLE_UNITS:
        hashes[k], lengths[k] = uint64(0), np.uint8(0)
        k -= 1


@njit("void(u4[::1], i8[::1], u1[::1], u8[::1], u1[::1], u8[::1], i8[::1])", cache=True)
def shingle(
    units: U32, starts: I64, traits: U8, hashes: U64, lengths: U8, digests: U64, weights: I64
) -> None:
    """Hash the shortest run of units from each place that weighs enough; digest whole texts.

    Every unit weighs 1, 2 or 3. The hash of a run is the difference of two prefixes of its text's.
    """
    powers = np.empty(SHINGLE_UNITS + 1, np.uint64)
    powers[0] = uint64(1)
    for k in range(1, len(powers)):
        powers[k] = powers[k - 1] * _BASE
    mixed = np.empty(STRETCH + SHINGLE_UNITS, np.uint64)
    prefix = np.zeros(STRETCH + SHINGLE_UNITS + 1, np.uint64)
    reach = np.zeros(len(prefix), np.uint8)
    for i in range(len(starts) - 1):
        first, last = starts[i], starts[i + 1]
        whole, total = uint64(0), 0
        for begin in range(first, last, STRETCH):
            end = min(begin + STRETCH, last)
            here = units[begin : min(end + SHINGLE_UNITS, last)]
            for k in range(len(here)):
                mixed[k] = _mix(uint64(here[k]) + _BASE)
            value, weight = whole, np.uint8(0)
            prefix[0] = value
            for k in range(len(here)):
                value = value * _BASE + mixed[k]
                weight = np.uint8(weight + (traits[here[k]] & 3))
                prefix[k + 1], reach[k + 1] = value, weight
            for k in range(len(here) + 1, end - begin + SHINGLE_UNITS + 1):
                reach[k] = weight
            _runs(prefix, reach, powers, hashes[begin:end], lengths[begin:end])
            whole = prefix[end - begin]
            for k in range(end - begin):
                total += np.int64(np.uint8(reach[k + 1] - reach[k]))
        digests[i] = _mix(whole + uint64(last - first))
        weights[i] = total


@njit("int64(u8[::1], u1[::1], i8[::1], i8[::1], u8[::1], i4[::1], i8[::1])", cache=True)
def winnow(
    hashes: U64, lengths: U8, starts: I64, windows: I64, keys: U64, places: I32, cuts: I64
) -> int:
    """Keep the least hash of every window (Schleimer, Wilkerson, Aiken, SIGMOD 2003)."""
    n = 0
    for i in range(len(starts) - 1):
        cuts[i] = n
        first, last = starts[i], starts[i + 1]
        while last > first and lengths[last - 1] == 0:
            last -= 1
        if last == first:
            continue
        width = min(windows[i], last - first)
        least = first - 1
        for end in range(first + width, last + 1):
            begin = end - width
            if least < begin:
                least = begin
                for j in range(begin + 1, end):
                    if hashes[j] <= hashes[least]:
                        least = j
            elif hashes[end - 1] < hashes[least]:
                least = end - 1
            else:
                continue
            keys[n] = hashes[least]
            places[n] = least - first
            n += 1
    cuts[len(starts) - 1] = n
    return n


@njit("uint32(uint64)", cache=True, inline="always")
def _premix(h: int) -> int:
    """Mix the upper half of a hash as datasketch does before it permutes (MurmurHash3's finalizer)."""
    x = np.uint32(h >> uint64(32))
    x = np.uint32((x ^ (x >> np.uint32(16))) * _FMIX1)
    x = np.uint32((x ^ (x >> np.uint32(13))) * _FMIX2)
    return np.uint32(x ^ (x >> np.uint32(16)))


@njit("void(u8[::1], u1[::1], i8[::1], u4[::1], u4[::1], u4[:, ::1], u8[:, ::1])", cache=True)
def minhash(
    hashes: U64, lengths: U8, starts: I64, a: U32, b: U32, signatures: U32, bands: U64
) -> None:
    """Sign texts as datasketch's ``affine32`` signs the upper halves of their shingle hashes."""
    slots = len(a)
    rows = slots // bands.shape[1]
    least = np.empty(slots, np.uint32)
    for i in range(len(starts) - 1):
        least[:] = np.uint32(0xFFFFFFFF)
        first, last = starts[i], starts[i + 1]
        while last > first and lengths[last - 1] == 0:
            last -= 1
        for j in range(first, last, 4):  # four at a time: each slot is loaded and stored once
            x = _premix(hashes[j])
            y = _premix(hashes[min(j + 1, last - 1)])
            z = _premix(hashes[min(j + 2, last - 1)])
            w = _premix(hashes[min(j + 3, last - 1)])
            for k in range(slots):
                one = min(np.uint32(a[k] * x + b[k]), np.uint32(a[k] * y + b[k]))
                two = min(np.uint32(a[k] * z + b[k]), np.uint32(a[k] * w + b[k]))
                least[k] = min(least[k], min(one, two))
        for k in range(slots):
            signatures[i, k] = least[k]
        for band in range(bands.shape[1]):
            h = uint64(band + 1)
            for k in range(band * rows, band * rows + rows):
                h = _mix(h * _BASE + uint64(least[k]))
            bands[i, band] = h


@njit("void(u8[::1], u1[::1], i8, i8, u8[::1], i8[::1], i8[::1], i8)", cache=True)
def _stow(
    hashes: U64, seeds: U8, a0: int, a1: int, stowed: U64, heads: I64, seats: I64, bits: int
) -> None:
    """Put the seeds of a text into a table of 2 ** ``bits`` places; ``seats`` says where each stands.

    ``heads`` is −1 where a place is taken and −2 where it is free.
    """
    heads[: 1 << bits] = -2
    mask, shift = np.uint64((1 << bits) - 1), np.uint64(64 - bits)
    for p in range(a0, a1):
        if seeds[p] == 0:
            continue
        at = hashes[p] >> shift
        while heads[at] != -2 and stowed[at] != hashes[p]:
            at = (at + np.uint64(1)) & mask
        stowed[at], heads[at] = hashes[p], -1
        seats[p - a0] = np.int64(at)


@njit("int64(u8[::1], u1[::1], i8, i8, u8[::1], i8[::1], i8[:, ::1], i8[:, ::1], i8)", cache=True)
def _meet(
    hashes: U64, seeds: U8, b0: int, b1: int, stowed: U64, heads: I64, ends: I64, met: I64, bits: int
) -> int:  # fmt: skip
    """Hang the seeds of a text at the places of equal ones, in order, at most ``TRIES_MAX`` at each.

    ``met`` takes the unit and the next of its chain, ``ends`` the last of each place's chain and how many
    it has; returns how many were hung.
    """
    mask, shift = np.uint64((1 << bits) - 1), np.uint64(64 - bits)
    count = np.int64(0)
    for q in range(b0, b1):
        at = hashes[q] >> shift
        while heads[at] != -2 and stowed[at] != hashes[q]:
            at = (at + np.uint64(1)) & mask
        if heads[at] == -2 or seeds[q] == 0:
            continue
        if heads[at] == -1:
            heads[at], ends[at, 1] = count, 0
        elif ends[at, 1] == TRIES_MAX:
            continue
        else:
            met[ends[at, 0], 1] = count
        met[count, 0], met[count, 1] = q, -1
        ends[at, 0] = count
        ends[at, 1] += 1
        count += 1
    return count


@njit("int64(u1[::1], i8[:, ::1], i8, i8, i8)", cache=True, inline="always")
def _seat(lengths: U8, met: I64, at: int, p: int, after: int) -> int:
    """Find where shingle ``p`` stands in the right text: the first place from ``after`` on, or any."""
    best = np.int64(-1)
    while at >= 0:
        place = met[at, 0]
        if lengths[place] == lengths[p]:
            if place >= after:
                return place
            if best < 0:
                best = place
        at = met[at, 1]
    return best


@njit("int64(u4[::1], u1[::1], i8, i8, i8, i8, i8, i8)", cache=True, inline="always")
def _reach(
    units: U32, traits: U8, i: int, shift: int, step: int, low: int, high: int, drop: int
) -> int:
    """Extend a match from unit ``i`` in one direction until its score falls ``drop`` behind its best.

    The left text is walked within [low, high) and compared with what stands ``shift`` further. Returns
    the last unit on the way whose score was best, or ``i - step``.
    """
    score, top, keep = np.int64(0), np.int64(0), i - step
    while low <= i < high and score > top - drop:
        light = np.int64(traits[units[i]] & 3)
        score += light if units[i] == units[i + shift] else -light
        if score > top:
            top, keep = score, i
        i += step
    return keep


@njit("int64(u4[::1], u1[::1], u1[::1], i8, i8, i8)", cache=True, inline="always")
def _equal(units: U32, traits: U8, hushed: U8, left: int, right: int, shift: int) -> int:
    """Weigh the units in [left, right) that stand ``shift`` further too and count on both sides."""
    equal = np.int64(0)
    for k in range(left, right):
        if hushed[k] | hushed[k + shift] == 0 and units[k] == units[k + shift]:
            equal += np.int64(traits[units[k]] & 3)
    return equal


@njit("void(u4[::1], u1[::1], u8[::1], u1[::1], u1[::1], i8[::1], u1[::1], i8[::1], i8[::1], "
      "i8, i8, i4[:, :, ::1], i4[::1], i8[:, ::1])", cache=True)  # fmt: skip
def align(
    units: U32, traits: U8, hashes: U64, lengths: U8, seeds: U8, starts: I64, hushed: U8,
    lefts: I64, rights: I64, drop: int, discount: int,
    blocks: I32, counts: I32, sums: I64,
) -> None:  # fmt: skip
    """Align pairs of texts: exact shingles seed, X-drop extension bridges single edits.

    ``seeds`` marks where an alignment may begin. ``hushed`` marks units that count for nothing on
    either side. A block scores the weight of equal, unhushed units less ``discount``; ``blocks``
    (pairs, room, 5) takes (left begin, left end, right begin, right end, equal weight) relative to the
    texts, ``counts`` how many there were, ``sums`` (pairs, 2) score and equal weight of all blocks.
    Pairs of one left text that stand together share its table of seeds.
    """
    room = blocks.shape[1]
    most, bits_most, right_most = np.int64(1), np.int64(4), np.int64(1)
    for pair in range(len(lefts)):
        most = max(most, starts[lefts[pair] + 1] - starts[lefts[pair]])
        right_most = max(right_most, starts[rights[pair] + 1] - starts[rights[pair]])
    while np.int64(1) << bits_most < 2 * most:
        bits_most += 1
    table = np.int64(1) << bits_most
    stowed, heads = np.empty(table, np.uint64), np.empty(table, np.int64)
    ends = np.empty((table, 2), np.int64)
    seats, met = np.empty(most, np.int64), np.empty((right_most, 2), np.int64)
    bits = np.int64(4)
    for pair in range(len(lefts)):
        a0, a1 = starts[lefts[pair]], starts[lefts[pair] + 1]
        b0, b1 = starts[rights[pair]], starts[rights[pair] + 1]
        if pair == 0 or lefts[pair] != lefts[pair - 1]:
            bits = np.int64(4)
            while np.int64(1) << bits < 2 * (a1 - a0):
                bits += 1
            _stow(hashes, seeds, a0, a1, stowed, heads, seats, bits)
        hung = _meet(hashes, seeds, b0, b1, stowed, heads, ends, met, bits)
        done, p, last = a0, a0, b0
        while hung > 0 and p < a1 and lengths[p] != 0:
            place = np.int64(-1)
            if seeds[p] != 0 and heads[seats[p - a0]] >= 0:
                size = np.int64(lengths[p])
                if 2 * _equal(units, traits, hushed, p, p + size, 0) >= SHINGLE_UNITS:
                    place = _seat(lengths, met, heads[seats[p - a0]], p, last)
            if place < 0:
                p += 1
                continue
            size, shift = np.int64(lengths[p]), place - p
            low, high = max(done, b0 - shift), min(a1, b1 - shift)
            left = _reach(units, traits, p - 1, shift, -1, low, high, drop)
            right = _reach(units, traits, p + size, shift, 1, low, high, drop) + 1
            equal = _equal(units, traits, hushed, left, right, shift)
            if equal > discount:
                sums[pair, 0] += equal - discount
                sums[pair, 1] += equal
                if counts[pair] < room:
                    block = blocks[pair, counts[pair]]
                    block[0], block[1] = left - a0, right - a0
                    block[2], block[3] = left + shift - b0, right + shift - b0
                    block[4] = equal
                counts[pair] += 1
            done, p, last = right, max(right, p + 1), right + shift
        for n in range(hung):  # free the table for the next right text
            at = hashes[met[n, 0]] >> np.uint64(64 - bits)
            while stowed[at] != hashes[met[n, 0]]:
                at = (at + np.uint64(1)) & np.uint64((1 << bits) - 1)
            heads[at] = -1


@njit(
    "void(u8[::1], u1[::1], i8[::1], i8[::1], i8[::1], u8[::1], u1[::1], i8[::1], b1[::1])",
    cache=True,
)
def cover(
    hashes: U64, lengths: U8, starts: I64, order: I64, groups: I64, handed: U64, sizes: U8, bounds: I64,
    marks: Bools,
) -> None:  # fmt: skip
    """Mark the units that lie in a shingle of their text's group.

    Texts are taken in ``order``, where those of one group stand together; the shingles of group ``g`` are
    ``handed[bounds[g]:bounds[g + 1]]``, those of size 0 none.
    """
    most = np.int64(1)
    for g in range(len(bounds) - 1):
        most = max(most, bounds[g + 1] - bounds[g])
    bits_most = np.int64(4)
    while np.int64(1) << bits_most < 2 * most:
        bits_most += 1
    stowed = np.empty(np.int64(1) << bits_most, np.uint64)
    heads, seats = np.empty(np.int64(1) << bits_most, np.int64), np.empty(most, np.int64)
    bits, last = np.int64(4), np.int64(-1)
    for text in order:
        group = groups[text]
        if group < 0 or bounds[group] == bounds[group + 1]:
            continue
        if group != last:
            bits, last = np.int64(4), group
            while np.int64(1) << bits < 2 * (bounds[group + 1] - bounds[group]):
                bits += 1
            _stow(handed, sizes, bounds[group], bounds[group + 1], stowed, heads, seats, bits)
        mask, shift = np.uint64((1 << bits) - 1), np.uint64(64 - bits)
        done = starts[text]
        for p in range(starts[text], starts[text + 1]):
            if lengths[p] == 0:
                continue
            at = hashes[p] >> shift
            while heads[at] != -2 and stowed[at] != hashes[p]:
                at = (at + np.uint64(1)) & mask
            if heads[at] != -2:
                end = p + np.int64(lengths[p])
                marks[max(done, p) : end] = True
                done = max(done, end)
