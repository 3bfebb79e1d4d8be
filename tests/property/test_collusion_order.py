"""Neither the order of arrival nor the cut into batches changes what the two rooms find."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.checks.conformance import check_order_free, find
from detectors.checks.memory import world_of
from detectors.collusion import detector as collusion
from detectors.identity import detector as identity
from pipeline.ports import Example

AT = datetime(2026, 3, 1, tzinfo=UTC)


def messy_world(seed):
    """A market with a crew, a ring, a family, an office and a self-dealer, straddling two windows."""
    draw = np.random.default_rng(seed)
    rows, tasks = [], []
    for t in range(24):
        tasks.append({"task_id": f"t{t}", "publisher_id": f"p{t % 6}"})
    for _ in range(220):
        w = int(draw.integers(0, 90))
        rows.append(
            {"worker_id": f"w{w}", "task_id": f"t{int(draw.integers(0, 24))}",
             "submitted_at": AT + timedelta(minutes=int(draw.integers(0, 40_000))),
             "device_id": f"d{w if w > 5 else w // 2}", "ip": f"198.18.0.{w % 9}"}
        )  # fmt: skip
    for t in range(4):
        tasks.append({"task_id": f"c{t}", "publisher_id": "crewed"})
        rows += [
            {"worker_id": f"c{w}", "task_id": f"c{t}", "device_id": f"c{w}",
             "submitted_at": AT + timedelta(hours=20 * t + 300, seconds=31 * w)}
            for w in range(6)
        ]  # fmt: skip
    rows += [
        {"worker_id": f"r{w}", "task_id": "t3", "device_id": "ring", "ip": "203.0.113.1",
         "submitted_at": AT + timedelta(hours=50 + w)}
        for w in range(4)
    ]  # fmt: skip
    tasks.append({"task_id": "own", "publisher_id": "w7"})
    rows.append({"worker_id": "w7", "task_id": "own", "submitted_at": AT + timedelta(days=9)})
    for i, row in enumerate(rows):
        row["submission_id"] = f"s{i:04d}"
    return world_of(Example(title="", submissions=tuple(rows), tasks=tuple(tasks)), None)


@pytest.mark.slow
@pytest.mark.parametrize("detector", [identity, collusion], ids=["identity", "collusion"])
def test_replaying_history_in_any_order_gives_the_same_findings(detector):
    world = messy_world(1)
    assert not find(detector, world).signals.is_empty()
    check_order_free(detector, world, tries=2, seed=4)


def test_addresses_and_devices_accuse_nobody_of_collusion():
    """Links through shared addresses collapse precision, so the collusion room does not read them."""
    world = messy_world(2)
    rewired = world.submissions.with_columns(ip=None, device_id=None)
    other = type(world)(
        submissions=rewired.cast(dict(world.submissions.schema)), contents=world.contents,
        tasks=world.tasks, workers=world.workers, events=world.events, blobs=world.blobs,
        decoder=world.decoder, assets=world.assets,
    )  # fmt: skip
    crews = find(collusion, world).signals.drop("evidence")
    assert not crews.is_empty()
    assert crews.equals(find(collusion, other).signals.drop("evidence"))
