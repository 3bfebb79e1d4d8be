"""Pictures of a session: paths, speed and timeline as one SVG, beside the session it was matched to."""

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
import polars as pl

from detectors.kit import strokes
from detectors.kit.strokes import FloatArray
from pipeline.model import clocks

WIDTH: Final = 460
PATH_HEIGHT: Final = 260
SPEED_HEIGHT: Final = 90
LANE: Final = 16
MARGIN: Final = 24
POINTS_MAX: Final = 4_000
"""More positions of a session are thinned evenly: a picture needs no more."""
MARKS_MAX: Final = 600
STROKES_MAX: Final = 800
"""More strokes are thinned evenly too; the matched ones are always drawn."""

COLOURS: Final = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#975a16")
_LANES: Final = (
    ("pointer", "pointer."), ("wheel", "wheel"), ("keys", "key."), ("paste", "clipboard."),
    ("focus", "focus."), ("page", "page."), ("task", "task."), ("place", "geo."),
)  # fmt: skip


def picture(
    events: pl.DataFrame,
    matched: pl.DataFrame | None = None,
    *,
    title: str = "",
    matched_title: str = "",
    pairs: Sequence[tuple[int, int]] = (),
) -> str:
    """Draw one session, and beside it the matched one, as an SVG document.

    ``events`` and ``matched`` are EVENTS frames of one submission each; ``pairs`` are the strokes that
    the replay evidence names (``stroke``, ``source_stroke``), drawn in one colour on both sides. All
    text is escaped; nothing is fetched and nothing is run when the picture is opened.
    """
    sides = [(events, title, [a for a, _ in pairs])]
    if matched is not None:
        sides.append((matched, matched_title, [b for _, b in pairs]))
    height = PATH_HEIGHT + SPEED_HEIGHT + LANE * len(_LANES) + 4 * MARGIN
    body = [
        _side(frame, name, marked, side * (WIDTH + MARGIN))
        for side, (frame, name, marked) in enumerate(sides)
    ]
    width = len(sides) * (WIDTH + MARGIN) + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" role="img">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(body)}</svg>'
    )


def _side(events: pl.DataFrame, name: str, marked: Sequence[int], left: int) -> str:
    usable = clocks.usable(events)
    cut = strokes.cut(usable)
    first = float(usable["at"].min() or 0.0) if usable.height else 0.0  # type: ignore[arg-type]
    last = float(usable["at"].max() or 0.0) if usable.height else 0.0  # type: ignore[arg-type]
    span = max(last - first, 1.0)
    top = 2 * MARGIN
    parts = [
        f'<g transform="translate({left + MARGIN},0)"><text y="{MARGIN}" font-weight="bold">'
        f"{escape(name)}</text>",
        _paths(cut, marked, top),
        _speed(cut, marked, first, span, top + PATH_HEIGHT + MARGIN // 2),
        _timeline(usable, first, span, top + PATH_HEIGHT + SPEED_HEIGHT + MARGIN),
        "</g>",
    ]
    return "".join(parts)


def _numbered(cut: strokes.Strokes) -> list[int]:
    """Stroke numbers as the replay evidence counts them: strokes that have a signature."""
    from detectors.trajectory import signature

    _, good = signature.sign(cut)
    numbers = np.cumsum(good) - 1
    return [int(n) if g else -1 for n, g in zip(numbers, good, strict=True)]


def _drawn(numbers: Sequence[int], marked: Sequence[int]) -> list[int]:
    step = max(1, len(numbers) // STROKES_MAX)
    kept = set(marked)
    return [i for i, n in enumerate(numbers) if i % step == 0 or (n >= 0 and n in kept)]


def _thin(cut: strokes.Strokes, a: int, b: int) -> slice:
    return slice(a, b, max(1, len(cut.t) // POINTS_MAX))


def _line(x: FloatArray, y: FloatArray) -> str:
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in zip(x, y, strict=True))


def _paths(cut: strokes.Strokes, marked: Sequence[int], top: int) -> str:
    frame = f'<rect y="{top}" width="{WIDTH}" height="{PATH_HEIGHT}" fill="none" stroke="#cbd5e0"/>'
    if not len(cut.t):
        return frame + f'<text x="8" y="{top + 18}" fill="#718096">no pointer movement</text>'
    wide = max(float(cut.x.max() - cut.x.min()), 1.0)
    high = max(float(cut.y.max() - cut.y.min()), 1.0)
    scale = min((WIDTH - 16) / wide, (PATH_HEIGHT - 16) / high)
    parts = [frame]
    numbers = _numbered(cut)
    for i in _drawn(numbers, marked):
        rows = _thin(cut, int(cut.start[i]), int(cut.start[i + 1]))
        x = 8 + (cut.x[rows] - cut.x.min()) * scale
        y = top + 8 + (cut.y[rows] - cut.y.min()) * scale
        colour, width = _ink(numbers[i], marked)
        parts.append(
            f'<polyline points="{_line(x, y)}" fill="none" stroke="{colour}" '
            f'stroke-width="{width}" stroke-linejoin="round"/>'
        )
        parts.append(f'<circle cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="2" fill="{colour}"/>')
    return "".join(parts)


def _ink(number: int, marked: Sequence[int]) -> tuple[str, float]:
    if number >= 0 and number in marked:
        return COLOURS[list(marked).index(number) % len(COLOURS)], 1.8
    return ("#a0aec0" if marked else COLOURS[0]), 1.0


def _speed(cut: strokes.Strokes, marked: Sequence[int], first: float, span: float, top: int) -> str:
    parts = [
        f'<rect y="{top}" width="{WIDTH}" height="{SPEED_HEIGHT}" fill="none" stroke="#cbd5e0"/>'
        f'<text x="4" y="{top + 12}" fill="#718096">speed, px/ms</text>'
    ]
    if len(cut.t) < 2:
        return "".join(parts)
    step = np.hypot(np.diff(cut.x), np.diff(cut.y)) / np.maximum(np.diff(cut.t), 0.25)
    inside = np.ones(len(step), np.bool_)
    inside[cut.start[1:-1] - 1] = False
    most = max(float(np.quantile(step[inside], 0.99)) if inside.any() else 1.0, 1e-6)
    numbers = _numbered(cut)
    for i in _drawn(numbers, marked):
        a, b = int(cut.start[i]), int(cut.start[i + 1]) - 1
        if b <= a:
            continue
        rows = _thin(cut, a, b)
        x = (cut.t[rows] - first) / span * WIDTH
        y = top + SPEED_HEIGHT - np.minimum(step[rows] / most, 1.0) * (SPEED_HEIGHT - 4)
        colour, _ = _ink(numbers[i], marked)
        parts.append(
            f'<polyline points="{_line(x, y)}" fill="none" stroke="{colour}" stroke-width="1"/>'
        )
    return "".join(parts)


def _timeline(events: pl.DataFrame, first: float, span: float, top: int) -> str:
    parts = []
    for lane, (name, prefix) in enumerate(_LANES):
        y = top + lane * LANE
        at = events.filter(pl.col("type").str.starts_with(prefix))["at"].sort().to_numpy()
        at = at[:: max(1, len(at) // MARKS_MAX)]
        ticks = "".join(
            f"M{(t - first) / span * WIDTH:.1f} {y + 2}v{LANE - 4}" for t in at.tolist()
        )
        parts.append(
            f'<text x="{WIDTH + 2}" y="{y + 12}" font-size="8" fill="#718096">{name}</text>'
        )
        parts.append(f'<path d="{ticks}" stroke="#4a5568" stroke-width="0.8"/>' if ticks else "")
    foot = top + len(_LANES) * LANE + 12
    parts.append(f'<text y="{foot}" fill="#718096">0 s</text>')
    parts.append(
        f'<text x="{WIDTH}" y="{foot}" text-anchor="end" fill="#718096">{span / 1000.0:.1f} s</text>'
    )
    return "".join(parts)
