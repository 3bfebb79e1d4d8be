# ruff: noqa: INP001
"""The hands of the demo market: what a session's log holds, for people, scripts and replays."""

import math
import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

Way = Literal["mouse", "touch", "pasted", "drafted", "script"]
Row = dict[str, Any]


def session(
    draw: random.Random,
    *,
    way: Way,
    claimed_at: datetime,
    submitted_at: datetime,
    text: str = "",
    fixes: Sequence[tuple[float, float, float]] = (),
    replay: Sequence[Row] = (),
) -> list[Row]:
    """Log one session from claim to hand-in.

    ``fixes`` are (latitude, longitude, accuracy in metres); ``replay`` are pointer rows of another
    session to be played back as they were.
    """
    start, end = claimed_at.timestamp() * 1000, submitted_at.timestamp() * 1000
    rows: list[Row] = [
        {"type": "page.view", "at": start - 900, "path": "/task"},
        {"type": "task.claim", "at": start},
        {"type": "focus.gain", "at": start + 150},
    ]
    at = start + draw.uniform(1500, 4000)
    if replay:
        shift = at - replay[0]["at"]
        rows += [{**row, "at": row["at"] + shift} for row in replay]
    elif way == "script":
        rows += list(_scripted(at))
    elif way == "touch":
        rows += list(_taps(draw, at, end))
    else:
        rows += list(_by_hand(draw, at, min(end - 1500, at + 16_000)))
    if text and way != "script":
        rows += list(_writing(draw, way, text, start + 5000, end - 1200))
    for i, (lat, lon, accuracy) in enumerate(fixes):
        share = (i + 1) / (len(fixes) + 1)
        rows.append({"type": "geo.ping", "at": start + (end - start) * share, "lat": lat,
                     "lon": lon, "accuracy_m": accuracy, "mocked": False})  # fmt: skip
    rows.append({"type": "task.submit", "at": end})
    rows = [{**row, "at": round(row["at"], 1)} for row in rows]
    return sorted(rows, key=lambda row: row["at"])


def pointer_rows(rows: Sequence[Row]) -> list[Row]:
    """The part of a session that a replay copies."""
    return [row for row in rows if row["type"].startswith("pointer.")]


def _writing(draw: random.Random, way: Way, text: str, start: float, end: float) -> Iterator[Row]:
    if way == "pasted":
        yield {"type": "clipboard.paste", "at": end - 2500, "length": len(text)}
        return
    if way == "drafted":  # written elsewhere for a while, brought over, then worked on
        yield {"type": "focus.loss", "at": start + 1000}
        yield {"type": "focus.gain", "at": end - 240_000}
        yield {"type": "clipboard.paste", "at": end - 235_000, "length": len(text) - 25}
        start, text = end - 230_000, text[:90]
    gap, at = min(420.0, 0.8 * (end - start) / max(1, len(text))), start
    for place, letter in enumerate(text):
        at += gap * draw.lognormvariate(-0.15, 0.5) * (2.2 if letter in " ,.。," else 1.0)
        if at >= end:
            return
        kind = "editing" if draw.random() < 0.04 else "character"
        yield {"type": "key.down", "at": at, "key_class": kind}
        if place % 60 == 59:
            at += draw.uniform(300, 2500) if at + 6000 < end else 0.0


def _taps(draw: random.Random, at: float, end: float) -> Iterator[Row]:
    for _ in range(draw.randint(4, 8)):
        at += draw.uniform(900, 5000)
        if at + 200 >= end:
            return
        x, y = draw.uniform(20, 340), draw.uniform(60, 700)
        hold = draw.uniform(60, 140)
        yield _pointer("pointer.down", at, x, y, "touch")
        if draw.random() < 0.5:
            yield _pointer("pointer.move", at + hold / 2, x + draw.gauss(0, 1), y, "touch")
        yield _pointer(
            "pointer.up", at + hold, x + draw.gauss(0, 1.5), y + draw.gauss(0, 2), "touch"
        )


def _by_hand(draw: random.Random, at: float, end: float) -> Iterator[Row]:
    """Reaches with a bell-shaped speed, a bend, tremor, a correction and rests of uneven length."""
    x, y = draw.uniform(100, 900), draw.uniform(100, 600)
    while at < end:
        goal = (draw.uniform(60, 1200), draw.uniform(60, 760))
        miss = draw.uniform(0.88, 1.07)
        first = (x + (goal[0] - x) * miss, y + (goal[1] - y) * miss + draw.gauss(0, 6))
        for target, slow in ((first, 1.0), (goal, 1.6)):
            reach = math.dist((x, y), target)
            if reach < 3:
                continue
            length = slow * (140 + 110 * math.log2(1 + reach / 20)) * draw.lognormvariate(0, 0.2)
            bend = draw.gauss(0, 0.07) * reach
            skew = draw.uniform(0.8, 1.35)
            spent, here = 0.0, (x, y)
            while spent < length and at < end:
                step = 8.0 if draw.random() < 0.7 else draw.choice((7.0, 9.0, 16.0, 17.0, 24.0))
                spent, at = spent + step, at + step
                s = min(1.0, spent / length) ** skew
                bell = 10 * s**3 - 15 * s**4 + 6 * s**5
                side = math.sin(math.pi * bell) * bend / max(reach, 1.0)
                px = x + (target[0] - x) * bell - (target[1] - y) * side + draw.gauss(0, 0.7)
                py = y + (target[1] - y) * bell + (target[0] - x) * side + draw.gauss(0, 0.7)
                if (round(px), round(py)) != (round(here[0]), round(here[1])):
                    here = (px, py)
                    yield _pointer("pointer.move", at, round(px), round(py), "mouse")
            x, y = here
            at += draw.uniform(20, 120)
        if draw.random() < 0.6:
            yield _pointer("pointer.down", at, round(x), round(y), "mouse")
            at += draw.uniform(55, 130)
            yield _pointer("pointer.up", at, round(x), round(y), "mouse")
        at += draw.lognormvariate(6.8, 0.9)


def _scripted(at: float) -> Iterator[Row]:
    """Straight lines at one speed, one step every ten milliseconds, a click at the very spot."""
    x, y = 100.0, 100.0
    for goal in ((640, 220), (640, 480), (300, 480), (820, 610), (820, 700)):
        steps = 40
        for i in range(1, steps + 1):
            share = i / steps
            yield _pointer("pointer.move", at, x + (goal[0] - x) * share,
                           y + (goal[1] - y) * share, "mouse")  # fmt: skip
            at += 10
        x, y = goal
        yield _pointer("pointer.down", at, x, y, "mouse")
        at += 10
        yield _pointer("pointer.up", at, x, y, "mouse")
        at += 500


def _pointer(kind: str, at: float, x: float, y: float, pointer_type: str) -> Row:
    return {
        "type": kind,
        "at": at,
        "x": round(x, 1),
        "y": round(y, 1),
        "pointer_type": pointer_type,
    }
