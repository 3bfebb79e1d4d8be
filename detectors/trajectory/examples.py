"""Small worlds that show what each finding of the trajectory room means, and what is left alone."""

import math
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.ports import Example

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
SENTENCE = "The room was clean and quiet, and the people at the desk were friendly to us. " * 4


def _ms(at: datetime) -> float:
    return at.timestamp() * 1000.0


def ping(submission: str, at: datetime, lat: float, lon: float, **more: Any) -> Mapping[str, Any]:
    """One position of a phone, ten metres accurate unless told."""
    return {
        "submission_id": submission, "session_id": f"x-{submission}", "worker_id": "w",
        "type": "geo.ping", "at": _ms(at), "received_at": at + timedelta(milliseconds=80),
        "lat": lat, "lon": lon, "accuracy_m": 10.0,
    } | more  # fmt: skip


def sent(submission: str, at: datetime, *, minutes: float = 10.0, **more: Any) -> Mapping[str, Any]:
    """One submission handed in at ``at`` after so many minutes."""
    return {
        "submission_id": submission, "session_id": f"x-{submission}", "submitted_at": at,
        "claimed_at": at - timedelta(minutes=minutes),
    } | more  # fmt: skip


def _places() -> Iterable[Example]:
    site = {"task_id": "site", "site_lat": 30.0, "site_lon": 114.0, "site_radius_m": 300.0}
    later = START + timedelta(minutes=40)
    yield Example(
        title="two cities within forty minutes, whoever of the two arrives first",
        submissions=(
            sent("wuhan", START, worker_id="w", task_id="t1"),
            sent("beijing", later, worker_id="w", task_id="t2"),
        ),
        events=(ping("wuhan", START, 30.58, 114.27), ping("beijing", later, 39.90, 116.40)),
        expected={"beijing": frozenset({"trajectory.impossible_travel"})},
        matched={"beijing": "wuhan"},
    )
    yield Example(
        title="the same two cities with a flight between them, and two people in two cities",
        submissions=(
            sent("a", START, worker_id="w", task_id="t1"),
            sent("b", START + timedelta(hours=4), worker_id="w", task_id="t2"),
            sent("c", START + timedelta(hours=4), worker_id="v", task_id="t2"),
        ),
        events=(
            ping("a", START, 30.58, 114.27),
            ping("b", START + timedelta(hours=4), 39.90, 116.40),
            ping("c", START + timedelta(hours=4), 22.54, 114.05),
        ),
    )
    yield Example(
        title="a vague position proves no travel",
        submissions=(
            sent("a", START, worker_id="w", task_id="t1"),
            sent("b", later, worker_id="w", task_id="t2"),
        ),
        events=(
            ping("a", START, 30.58, 114.27),
            ping("b", later, 39.90, 116.40, accuracy_m=50_000.0),
        ),
    )
    yield Example(
        title="the device says that its position is mocked",
        tasks=(site,),
        submissions=(sent("a", START, task_id="site"),),
        events=(ping("a", START, 30.0, 114.0, mocked=True),),
        expected={"a": frozenset({"trajectory.location_mocked"})},
    )
    yield Example(
        title="kilometres from the site; but a wide fix just outside the fence is no finding",
        tasks=(site,),
        submissions=(
            sent("far", START, task_id="site"),
            sent("drift", later, task_id="site"),
        ),
        events=(
            ping("far", START, 30.1, 114.0),
            ping("drift", later, 30.0045, 114.0, accuracy_m=150.0),
        ),
        expected={"far": frozenset({"trajectory.off_site"})},
    )


def _writing() -> Iterable[Example]:
    def event(submission: str, kind: str, seconds: float, **more: Any) -> Mapping[str, Any]:
        return {
            "submission_id": submission, "session_id": f"x-{submission}", "worker_id": "w",
            "type": kind, "at": _ms(START) + seconds * 1000.0,
        } | more  # fmt: skip

    yield Example(
        title="a page pasted within half a minute; the same after an hour of writing elsewhere",
        submissions=(
            sent("quick", START, minutes=0.5, text=SENTENCE),
            sent("own", START, minutes=60.0, text=SENTENCE),
        ),
        events=(
            event("quick", "clipboard.paste", -5.0, length=len(SENTENCE)),
            event("own", "clipboard.paste", -5.0, length=len(SENTENCE)),
        ),
        expected={"quick": frozenset({"trajectory.pasted"})},
    )
    yield Example(
        title="three hundred letters in four seconds that nobody pasted",
        submissions=(sent("a", START, minutes=4 / 60, text=SENTENCE),),
        events=(event("a", "page.view", -4.0, path="/tasks/t"),),
        expected={"a": frozenset({"trajectory.too_fast"})},
    )


def moves(
    submission: str, at: datetime, *, seed: int, scale: float = 1.0, shake: float = 0.0
) -> list[Mapping[str, Any]]:
    """Six hand-like strokes of a seeded hand; the same seed is the same hand's same minute."""
    hand, noise = random.Random(seed), random.Random(f"{submission}/{seed}")
    rows: list[Mapping[str, Any]] = []
    clock = _ms(at) - 60_000.0
    for stroke in range(6):
        x, y = hand.uniform(200, 900), hand.uniform(200, 600)
        heading, bend = hand.uniform(0, 6.28), hand.uniform(-0.12, 0.12)
        count, peak = hand.randint(24, 44), hand.uniform(6.0, 16.0)
        for step in range(count):
            clock += hand.choice([15.0, 16.0, 17.0, 17.0, 18.0])
            heading += bend + hand.gauss(0.0, 0.10)
            bend += hand.gauss(0.0, 0.02)
            stride = peak * math.sin(math.pi * (step + 0.5) / count) + hand.uniform(0.0, 1.0)
            x, y = x + stride * math.cos(heading), y + stride * math.sin(heading)
            rows.append(
                {
                    "event_id": f"{submission}-{stroke}-{step}", "submission_id": submission,
                    "session_id": f"x-{submission}", "worker_id": f"w-{submission}",
                    "type": "pointer.move", "pointer_type": "mouse", "at": clock,
                    "x": round(x * scale + noise.gauss(0.0, shake)),
                    "y": round(y * scale + noise.gauss(0.0, shake)),
                }
            )  # fmt: skip
        clock += hand.uniform(600.0, 2500.0)
    return rows


def _replays() -> Iterable[Example]:
    later = START + timedelta(hours=5)
    yield Example(
        title="a session played back, moved, scaled and shaken; and another hand's own work",
        submissions=(
            sent("own", START), sent("played", later), sent("other", later + timedelta(hours=1)),
        ),
        events=(
            *moves("own", START, seed=1),
            *moves("played", later, seed=1, scale=1.05, shake=0.6),
            *moves("other", later + timedelta(hours=1), seed=2),
        ),
        expected={"played": frozenset({"trajectory.replayed"})},
        matched={"played": "own"},
        abstains=frozenset({"own", "played", "other"}),
    )  # fmt: skip


def ruled(submission: str, at: datetime) -> list[Mapping[str, Any]]:
    """Three strokes along a ruler at one speed, as a script of three lines makes them."""
    rows: list[Mapping[str, Any]] = []
    for stroke in range(3):
        start = _ms(at) - 30_000.0 + 3_000.0 * stroke
        for step in range(30):
            rows.append(
                {
                    "event_id": f"{submission}-{stroke}-{step}", "submission_id": submission,
                    "session_id": f"x-{submission}", "worker_id": f"w-{submission}",
                    "type": "pointer.move", "pointer_type": "mouse", "at": start + 10.0 * step,
                    "x": float(200 + 12 * step), "y": float(300 + (5 - 4 * stroke) * step),
                }
            )  # fmt: skip
    return rows


def typed(submission: str, at: datetime, gaps: list[float]) -> list[Mapping[str, Any]]:
    """Characters typed with these gaps, in milliseconds."""
    clock = _ms(at) - 60_000.0
    rows: list[Mapping[str, Any]] = []
    for number, gap in enumerate(gaps):
        clock += gap
        rows.append(
            {
                "event_id": f"{submission}-key-{number}", "submission_id": submission,
                "session_id": f"x-{submission}", "worker_id": f"w-{submission}",
                "type": "key.down", "key_class": "character", "at": clock,
            }
        )  # fmt: skip
    return rows


def _scripts() -> Iterable[Example]:
    hand = random.Random(3)
    yield Example(
        title="strokes along a ruler at one speed; a hand's own; and nothing but a keyboard",
        submissions=(
            sent("ruled", START), sent("hand", START, worker_id="v"),
            sent("keyboard", START, worker_id="k"),
        ),
        events=(
            *ruled("ruled", START), *moves("hand", START, seed=4),
            *typed("keyboard", START, [hand.lognormvariate(4.8, 0.5) for _ in range(40)]),
        ),
        expected={"ruled": frozenset({"trajectory.automated"})},
        abstains=frozenset({"hand"}),
    )  # fmt: skip
    yield Example(
        title="typing like a metronome; a key held down does so too and is left alone",
        submissions=(
            sent("metronome", START, text="twenty-five letters typed"),
            sent("held", START, text="-" * 30),
        ),
        events=(
            *typed("metronome", START, [48.0 + (i * 7) % 5 for i in range(25)]),
            *typed("held", START, [33.0] * 30),
        ),
        expected={"metronome": frozenset({"trajectory.automated"})},
    )
    touch = [
        {
            "event_id": f"t{i}", "submission_id": "phone", "session_id": "x-phone",
            "worker_id": "w-phone", "type": kind, "pointer_type": "touch",
            "at": _ms(START) - 9_000.0 + 700.0 * i, "x": 90.0 * i, "y": 400.0,
        }
        for i, kind in enumerate(["pointer.down", "pointer.up"] * 5)
    ]  # fmt: skip
    yield Example(
        title="a phone: a few touches and no movement are no sign of anything",
        submissions=(sent("phone", START),),
        events=tuple(touch),
    )


def examples() -> Iterable[Example]:
    """All of them."""
    yield from _places()
    yield from _writing()
    yield from _replays()
    yield from _scripts()
