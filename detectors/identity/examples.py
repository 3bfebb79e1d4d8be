"""Worlds that this room must find, or must not: rings by device, payout and hand, and honest sharers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import numpy as np
import polars as pl

from detectors.identity import hand
from detectors.kit import strokes
from pipeline.ports import Example

STEP_MS: Final = 12.0


def examples() -> Iterator[Example]:
    """Yield them; the first three are rings."""
    at = datetime(2026, 3, 1, 9, tzinfo=UTC)

    def row(sid: str, worker: str, task: str, minutes: int, **more: Any) -> dict[str, Any]:
        when = at + timedelta(minutes=minutes)
        own = {"submission_id": sid, "worker_id": worker, "task_id": task}
        return own | {"submitted_at": when, "ip": "198.18.0.1"} | more

    yield Example(
        title="three accounts take three places of one task on one telephone",
        submissions=tuple(row(f"s{i}", f"w{i}", "t", 40 * i, device_id="phone") for i in range(3)),
        expected={s: frozenset({"identity.shared_device"}) for s in ("s1", "s2")},
        matched={"s1": "s0", "s2": "s0"},
    )
    yield Example(
        title="two accounts on two devices are paid to one account for the same task",
        workers=tuple({"worker_id": w, "payout_account_hash": "one"} for w in ("w0", "w1")),
        submissions=(row("s0", "w0", "t", 0), row("s1", "w1", "t", 500)),
        expected={"s1": frozenset({"identity.shared_payout"})},
        matched={"s1": "s0"},
    )
    yield Example(
        title="a family shares a tablet and each does tasks of their own",
        submissions=tuple(
            row(f"s{w}{i}", f"w{w}", f"t{w}{i}", 900 * i + 300 * w, device_id="tablet")
            for w in range(3)
            for i in range(4)
        ),
    )
    yield Example(
        title="the computers of an internet cafe are used by all its guests",
        submissions=tuple(
            row(f"s{w}-{i}", f"w{w}", f"t{w % 5}-{i}", 100 * w + 37 * i, device_id=f"pc{i}")
            for w in range(10)
            for i in range(3)
        ),
    )
    yield Example(
        title="an office behind one address, every worker with an own device",
        submissions=tuple(row(f"s{w}", f"w{w}", "t", 11 * w) for w in range(6)),
    )
    yield _hands(at)


def _hands(at: datetime) -> Example:
    """Two payout accounts, two accounts each: one hand behind the first two, two behind the others."""
    whose = {"a0": 7, "a1": 7, "b0": 11, "b1": 23}
    pairs = [(w, f"{w}-{k}") for w in whose for k in range(2)]
    return Example(
        title="of two pairs that are paid together, one pair moves the pointer as one person does",
        workers=tuple({"worker_id": w, "payout_account_hash": w[0]} for w in whose),
        submissions=tuple(
            {"submission_id": sid, "worker_id": w, "task_id": sid, "session_id": f"x-{sid}",
             "submitted_at": at + timedelta(hours=5 * i)}
            for i, (w, sid) in enumerate(pairs)
        ),
        events=tuple(
            {"event_id": f"{sid}-{n}", "session_id": f"x-{sid}", "worker_id": w,
             "submission_id": sid, "type": "pointer.move", "pointer_type": "mouse",
             "at": t, "x": x, "y": y}
            for i, (w, sid) in enumerate(pairs)
            for n, (t, x, y) in enumerate(movement(whose[w], i).tolist())
        ),
        assets=people(),
        expected={
            **{s: frozenset({"identity.shared_payout"}) for s in ("b1-0", "b1-1")},
            **{
                s: frozenset({"identity.shared_payout", "identity.same_hand"})
                for s in ("a1-0", "a1-1")
            },
        },
    )  # fmt: skip


def movement(person: int, session: int, count: int = 14) -> Any:
    """Made-up strokes of a person, each with an own pace, bend, tremor and peak: rows of ms, x, y."""
    own = np.random.default_rng([20_260_301, person])
    pace, bend, tremor, peak = own.normal(0.0, (0.5, 0.15, 0.5, 0.5))
    draw = np.random.default_rng([20_260_302, person, session])
    rows, clock = [], 1.7e12 + 1e6 * session
    for _ in range(count):
        length = np.exp(draw.normal(5.8, 0.4))
        n = max(12, int(length * np.exp(pace + draw.normal(0.0, 0.1)) / 14.0))
        u = np.linspace(0.0, 1.0, n) ** np.exp(0.6 * peak)
        along = u * u * (3.0 - 2.0 * u)
        aside = (bend + draw.normal(0.0, 0.03)) * np.sin(np.pi * along)
        shake = draw.normal(0.0, np.exp(tremor - 0.5), (2, n))
        angle = draw.uniform(0.0, 2.0 * np.pi)
        x = 600.0 + length * (along * np.cos(angle) - aside * np.sin(angle)) + shake[0]
        y = 400.0 + length * (along * np.sin(angle) + aside * np.cos(angle)) + shake[1]
        rows.append(np.stack([clock + STEP_MS * np.arange(n), x, y], axis=1))
        clock += STEP_MS * n + 900.0
    return np.concatenate(rows)


@cache
def people(count: int = 160) -> dict[str, bytes]:
    """Fit the room's model on made-up people, of whom none is in an example."""
    names = [(1_000 + p, s) for p in range(count) for s in range(4)]
    points = [movement(p, s) for p, s in names]
    ids = tuple(f"{p}-{s}" for p, s in names)
    owners = np.repeat(np.arange(len(ids)), [len(x) for x in points])
    t, x, y = np.concatenate(points).T
    told = hand.moments_of(strokes.of_points(ids, owners, t, x, y))
    rows = [(sid, m.astype("<f4").tobytes()) for sid, m in told.items()]
    fingerprints = pl.DataFrame(rows, schema=["submission_id", "value"], orient="row")
    submissions = pl.DataFrame({"submission_id": ids, "worker_id": [str(p) for p, _ in names]})
    return hand.fit(submissions, fingerprints)
