"""The compiled loops of the mark: sampling a spectrum at moved lines, and the trellis of the code."""

import heapq

import numpy as np
import numpy.typing as npt
from numba import njit

C64 = npt.NDArray[np.complex64]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@njit(cache=True, nogil=True)
def sample_lines(
    seen: C64,
    wide: int,
    matrices: F64,
    scale: float,
    kx: F32,
    ky: F32,
    known: C64,
    rows: I64,
    columns: I64,
    highest: float,
    grid: C64,
    power: F32,
) -> None:
    """Sample a spectrum where each hypothesis puts each line, and undo the keyed values ``known``.

    ``seen`` is the half of a spectrum with columns from zero up, ``wide`` its columns in all.
    ``matrices`` (n, 2, 2) times ``scale`` take canonical pixels to its pixels. Fills ``grid``
    (n, size, size // 2 + 1) at ``rows`` and ``columns``, and ``power`` (n,) with the energy found.
    Lines at the frequency ``highest`` and above are left out.
    """
    tall = seen.shape[0]
    for i in range(len(matrices)):
        m = matrices[i]
        size = scale * (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0])
        xx, xy = np.float32(m[1, 1] / size), np.float32(-m[1, 0] / size)
        yx, yy = np.float32(-m[0, 1] / size), np.float32(m[0, 0] / size)
        total = np.float32(0.0)
        for j in range(len(kx)):
            fx, fy = xx * kx[j] + xy * ky[j], yx * kx[j] + yy * ky[j]
            if abs(fx) >= highest or abs(fy) >= highest:
                continue
            x, y = int(np.rint(fx * wide)), int(np.rint(fy * tall))
            if x < 0:
                x, y = -x, -y
                value = np.conj(seen[y + tall if y < 0 else y, x]) * known[j]
            else:
                value = seen[y + tall if y < 0 else y, x] * known[j]
            grid[i, rows[j], columns[j]] = value
            total += value.real * value.real + value.imag * value.imag
        power[i] = total


@njit(cache=True, nogil=True)
def whiten_lines(half: C64, reach: int, bound: float, seen: Bools) -> C64:
    """Level the lines of a tile by the mean power of their neighbours, and bound their length.

    ``half`` (side, side // 2 + 1) is the tile's transform, columns from zero up; ``seen`` (side,
    side) says which lines count. Returns all lines (side, side), zero where they do not.
    """
    side = half.shape[0]
    middle = side // 2
    power = np.empty(side, np.float32)
    across = np.empty((side, middle + 1), np.float32)
    for y in range(side):
        for x in range(middle + 1):
            value = half[y, x]
            power[x] = value.real * value.real + value.imag * value.imag
        for x in range(middle + 1, side):
            value = half[side - y if y else 0, side - x]
            power[x] = value.real * value.real + value.imag * value.imag
        if y == 0:
            power[0] = power[1]
        total = np.float32(0.0)
        for x in range(-reach, reach + 1):
            total += power[x + side if x < 0 else x]
        for x in range(middle + 1):
            across[y, x] = total
            old, new = x - reach, x + reach + 1
            total += (
                power[new - side if new >= side else new] - power[old + side if old < 0 else old]
            )
    lines = np.zeros((side, side), np.complex64)
    level = np.zeros(middle + 1, np.float32)
    for y in range(-reach, reach + 1):
        level += across[y % side]
    count = np.float32((2 * reach + 1) ** 2)
    for y in range(side):
        for x in range(middle + 1):
            if seen[y, x] or seen[side - y if y else 0, side - x if x else 0]:
                usual = np.sqrt(max(level[x], np.float32(0.0)) / count) + np.float32(1e-9)
                value = half[y, x]
                loud = np.sqrt(value.real * value.real + value.imag * value.imag) / usual
                value = value / (usual * max(np.float32(1.0), loud / bound))
                if seen[y, x]:
                    lines[y, x] = value
                if 0 < x < middle:
                    lines[side - y if y else 0, side - x] = np.conj(value)
        level += across[(y + reach + 1) % side]
        level -= across[(y - reach) % side]
    return lines


@njit(cache=True, nogil=True)
def add_luma(pixels: U8, change: F32, channels: F32) -> U8:
    """Add a change of luma (rows, columns) to a picture (rows, columns, 3), each channel by its share."""
    out = np.empty_like(pixels)
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            for c in range(3):
                level = np.rint(pixels[y, x, c] + change[y, x] * channels[c])
                out[y, x, c] = min(max(level, np.float32(0.0)), np.float32(255.0))
    return out


@njit(cache=True, nogil=True)
def heed(high: F32, busy: F32, table: F32, steps: int, known: U8) -> None:
    """Weigh ``high`` in place by ``table``, read at ``steps`` entries a level, and by ``known``."""
    last = len(table) - 1
    for y in range(high.shape[0]):
        for x in range(high.shape[1]):
            if known[y, x]:
                high[y, x] *= table[min(int(busy[y, x] * steps), last)]
            else:
                high[y, x] = 0.0


@njit(cache=True, nogil=True)
def likeliest(
    soft: F32, previous: I64, output: F32, bit: U8, never: float, length: int, count: int
) -> U8:
    """Return the ``count`` likeliest messages (count, length) of a zero-tailed code, best first.

    ``soft`` is (steps, outputs); ``previous`` (states, 2) are predecessors, ``output`` (states, 2,
    outputs) what is written on the way, ``bit`` (states,) the bit that leads into a state. Rows that
    no further message fills are left out.
    """
    steps, states = len(soft), len(bit)
    gains = np.empty((steps, states, 2), np.float32)
    metrics = np.full((steps + 1, states), never, np.float32)
    metrics[0, 0] = 0.0
    for step in range(steps):
        for state in range(states):
            top = np.float32(never)
            for way in range(2):
                gain = np.float32(0.0)
                for part in range(soft.shape[1]):
                    gain += output[state, way, part] * soft[step, part]
                gains[step, state, way] = gain
                top = max(top, metrics[step, previous[state, way]] + gain)
            metrics[step + 1, state] = top
    paths = np.zeros((count, steps + 1), np.int64)
    # total metric (negated), tie-break, path that is left, step and state from which to walk on,
    # gain of what is walked
    queue = [(-np.float64(metrics[steps, 0]), 0, 0, steps, 0, 0.0)]
    order, made = 0, 0
    while made < count and len(queue) > 0:
        _, _, source, step, state, walked = heapq.heappop(queue)
        paths[made, step:] = paths[source, step:]
        paths[made, step] = state
        while step > 0:
            step -= 1
            first, second = previous[state, 0], previous[state, 1]
            one = metrics[step, first] + gains[step, state, 0]
            two = metrics[step, second] + gains[step, state, 1]
            best = 1 if two > one else 0
            other = one if best else two
            if other > never / 2:
                order += 1
                entry = (
                    -(np.float64(other) + walked),
                    order,
                    made,
                    step,
                    first if best else second,
                    walked + np.float64(gains[step, state, 1 - best]),
                )
                heapq.heappush(queue, entry)
            walked += np.float64(gains[step, state, best])
            state = second if best else first
            paths[made, step] = state
        made += 1
    out = np.empty((made, length), np.uint8)
    for i in range(made):
        for at in range(length):
            out[i, at] = bit[paths[i, at + 1]]
    return out
