"""The kernel's numbers are those of a plain Python reference, and every feature is documented."""

import math
import re
import statistics
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from detectors.checks import Blind, world_of
from detectors.kit import strokes
from detectors.trajectory import sessions, work
from detectors.trajectory.sessions import SESSION_FEATURES
from pipeline.model import frames
from pipeline.ports import Example

LATER = datetime.fromtimestamp(1e9 + 60, UTC)
DOCS = Path(__file__).parents[2] / "docs" / "trajectory.md"


def session(count: int, seed: int) -> strokes.Strokes:
    draw = np.random.default_rng(seed)
    x = np.cumsum(draw.normal(3.0, 4.0, count)).round()
    y = np.cumsum(draw.normal(1.0, 4.0, count)).round()
    t = np.cumsum(draw.choice([8.0, 16.0, 17.0, 400.0], count, p=[0.3, 0.4, 0.27, 0.03]))
    return strokes.of_points(("s",), np.zeros(count, np.int64), t, x, y)


def reference(t: list[float], x: list[float], y: list[float]) -> dict[str, float]:
    """Some of the features in plain Python, straight from their description."""
    n = len(t)
    step = [math.dist((x[i], y[i]), (x[i + 1], y[i + 1])) for i in range(n - 1)]
    dt = [max(t[i + 1] - t[i], 0.25) for i in range(n - 1)]
    path, duration = sum(step), sum(dt)
    smooth = [
        sum(step[max(0, i - 1) : i + 2]) / sum(dt[max(0, i - 1) : i + 2]) for i in range(n - 1)
    ]
    mean = statistics.fmean(smooth)
    interval = statistics.fmean(dt)
    whole = [min(64, int(d + 0.5)) for d in dt]
    shares = [whole.count(w) / len(whole) for w in sorted(set(whole))]
    return {
        "points_log": math.log(n),
        "duration_log": math.log(duration),
        "path_log": math.log(path),
        "straightness": math.dist((x[0], y[0]), (x[-1], y[-1])) / path,
        "speed_log": math.log(path / duration + 1e-6),
        "speed_spread": statistics.pstdev(smooth) / mean,
        "small_steps": sum(s <= 1.5 for s in step) / len(step),
        "step_spread": statistics.pstdev(step) / statistics.fmean(step),
        "interval_spread": statistics.pstdev(dt) / interval,
        "interval_mode": max(shares),
        "interval_entropy": -sum(s * math.log(s) for s in shares),
    }


def test_the_kernel_agrees_with_plain_python() -> None:
    cut = session(3000, 1)
    described, good = strokes.describe(cut)
    column = {name: i for i, name in enumerate(strokes.STROKE_FEATURES)}
    assert good.sum() > 20
    for i in np.flatnonzero(good):
        rows = slice(int(cut.start[i]), int(cut.start[i + 1]))
        told = reference(cut.t[rows].tolist(), cut.x[rows].tolist(), cut.y[rows].tolist())
        for name, value in told.items():
            assert described[i, column[name]] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_one_stroke_alone_gives_the_numbers_it_gives_among_many() -> None:
    cut = session(2000, 2)
    described, _ = strokes.describe(cut)
    for i in range(0, len(cut), 7):
        rows = slice(int(cut.start[i]), int(cut.start[i + 1]))
        alone = strokes.of_points(
            ("s",),
            np.zeros(rows.stop - rows.start, np.int64),
            cut.t[rows],
            cut.x[rows],
            cut.y[rows],
        )
        one, _ = strokes.describe(alone)
        np.testing.assert_array_equal(one[0], described[i])


def test_the_feature_dictionary_names_every_feature_with_its_unit() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", DOCS.read_text(), flags=re.MULTILINE))
    for name, (unit, _) in {**strokes.STROKE_FEATURES, **SESSION_FEATURES}.items():
        assert told.get(name, "").strip() == unit, f"docs/trajectory.md does not tell {name}"


def test_every_feature_of_the_dictionary_is_measured() -> None:
    world = world_of(
        Example(
            title="",
            submissions=({"submission_id": "a", "session_id": "x", "text": "four"},),
            events=tuple(
                {"event_id": str(i), "session_id": "x", "worker_id": "w", "at": at, **more}
                for i, (at, more) in enumerate(
                    [
                        (1e12, {"type": "page.view", "received_at": LATER}),
                        (1e12 + 1, {"type": "focus.loss"}),
                        (1e12 + 5, {"type": "focus.gain"}),
                        (1e12 + 9, {"type": "clipboard.paste", "length": 3}),
                        (1e12 + 4009, {"type": "focus.loss"}),
                    ]
                )
            ),
        ),
        Blind(),
    )
    batch = world.batch()
    seen = sessions.observe(batch.submissions, batch.tasks, batch.events).table
    written = work.writing(batch)
    assert set(SESSION_FEATURES) <= {*seen.columns, *written.columns}
    (row,) = seen.join(written, on="submission_id").to_dicts()
    told = {n: row[n] for n in ("dwell_s", "focus_losses", "skew_ms", "paste_share", "pastes")}
    assert told == {
        "dwell_s": 4.009, "focus_losses": 2, "skew_ms": 60_000.0, "paste_share": 0.75, "pastes": 1,
    }  # fmt: skip
    shares = [0.25, 0.5, 0.25]  # 1 ms, twice 4 ms, 4 s
    assert row["gap_entropy"] == pytest.approx(-sum(s * math.log(s) for s in shares))


def test_touch_is_never_a_stroke() -> None:
    rows = [
        {
            "event_id": str(i), "submission_id": "s", "type": "pointer.move",
            "pointer_type": "touch", "at": 10.0 * i, "x": float(i), "y": 0.0,
        }
        for i in range(50)
    ]  # fmt: skip
    events = pl.DataFrame(rows, schema=dict(frames.EVENTS))
    assert len(strokes.cut(events)) == 0


def test_a_wide_character_is_worth_three_letters() -> None:
    assert work.letters("abc") == 3.0
    assert work.letters("房间 ok") == 9.0
