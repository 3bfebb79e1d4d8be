"""Training, calibration and the files that hold them: safe, repeatable, silent where they must be."""

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from detectors.checks import Blind, World, world_of
from detectors.checks.conformance import find
from detectors.trajectory import calibration, detector, examples, model, training, withdraw
from detectors.trajectory.calibration import Calibration
from pipeline.ports import Example

WORKERS = 120


@cache
def platform() -> World:
    """A platform of seeded hands and two scripts among them."""
    submissions, events = [], []
    for i in range(WORKERS):
        sid, at = f"s{i:03}", examples.START + timedelta(minutes=i)
        submissions.append(examples.sent(sid, at, worker_id=f"w{i}"))
        events += examples.moves(sid, at, seed=100 + i)
    for i in range(2):
        sid, at = f"bot{i}", examples.START + timedelta(hours=5 + i)
        submissions.append(examples.sent(sid, at, worker_id=f"wb{i}"))
        events += examples.ruled(sid, at)
    return world_of(
        Example(title="", submissions=tuple(submissions), events=tuple(events)), Blind()
    )


@cache
def assets() -> Mapping[str, bytes]:
    world = platform()
    return small_self_train(world.submissions, world.tasks, world.batch().events)


def small_self_train(*rows: pl.DataFrame) -> Mapping[str, bytes]:
    """Self-training with fewer bots: the same steps in a tenth of the time."""
    with patch.multiple(training, GENERATED=120, HELD_OUT=30):
        return training.self_train(*rows)


def test_self_training_is_a_pure_function_of_what_is_there() -> None:
    world = platform()
    again = small_self_train(
        world.submissions.reverse(), world.tasks, world.batch().events.reverse()
    )
    assert dict(again) == dict(assets())


def test_a_trained_platform_judges_without_abstaining_and_without_accusing_hands() -> None:
    findings = find(detector, replace(platform(), assets=assets()))
    accused = findings.signals.filter(pl.col("strength") >= 0.5)
    assert set(accused["submission_id"]) == {"bot0", "bot1"}
    assert findings.abstentions.is_empty()


def test_a_model_without_this_platform_s_calibration_abstains() -> None:
    elsewhere = {model.ASSET: assets()[model.ASSET]}
    findings = find(detector, replace(platform(), assets=elsewhere))
    assert set(findings.abstentions["code"]) == {"calibration.absent"}
    assert set(findings.signals["submission_id"]) == {"bot0", "bot1"}


def test_a_calibration_of_another_model_abstains() -> None:
    norm = calibration.load(assets()[calibration.ASSET])
    assert norm is not None
    other = replace(norm, model_digest="another")
    mixed = {**assets(), calibration.ASSET: calibration.dump(other)}
    findings = find(detector, replace(platform(), assets=mixed))
    assert set(findings.abstentions["code"]) == {"calibration.absent"}


def newcomers(workers: int, scripts: int) -> World:
    """Other people, of whom the last few are scripts."""
    submissions, events = [], []
    for i in range(workers):
        sid, at = f"n{i:03}", examples.START + timedelta(days=9, minutes=i)
        submissions.append(examples.sent(sid, at, worker_id=f"n{i}"))
        seed = 9_000 + i
        script = i >= workers - scripts
        events += examples.ruled(sid, at) if script else examples.moves(sid, at, seed=seed)
    return world_of(
        Example(title="", submissions=tuple(submissions), events=tuple(events)), Blind()
    )


def held(world: World) -> bytes | None:
    return withdraw(assets(), world.submissions, world.tasks, world.batch().events)


def test_a_calibration_stands_while_a_tenth_are_scripts() -> None:
    assert held(newcomers(60, 6)) is None
    assert held(newcomers(20, 20)) is None, "fewer than 30 workers tell nothing"


def test_a_calibration_of_other_people_is_withdrawn_and_the_room_abstains() -> None:
    world = newcomers(60, 40)
    left = held(world)
    norm = calibration.load(left)
    assert left is not None
    assert norm is not None
    assert "40 of 60 workers" in norm.shifted["mouse"]
    assert norm.nulls == {}
    elsewhere = {**assets(), calibration.ASSET: left}
    findings = find(detector, replace(world, assets=elsewhere))
    assert set(findings.abstentions["code"]) == {"calibration.shifted"}
    kinds = findings.signals["evidence"].str.json_path_match("$.kinds[*]")
    assert "moved_like_a_script" not in set(kinds)
    assert withdraw(elsewhere, world.submissions, world.tasks, world.batch().events) is None


def test_clicks_without_moves_are_held_against_nobody_where_nobody_s_moves_are_logged() -> None:
    norm = calibration.load(assets()[calibration.ASSET])
    assert norm is not None
    clicking = replace(norm, clicks={"*": (400, 1), "Linux": (300, 0), "Windows": (100, 1)})
    rows, events = [], []
    for i in range(40):
        sid, at = f"c{i}", examples.START + timedelta(minutes=i)
        rows.append(examples.sent(sid, at, worker_id=f"c{i}"))
        events += [
            {
                "event_id": f"{sid}-{k}", "session_id": rows[-1]["session_id"], "worker_id": f"c{i}",
                "submission_id": sid, "type": "pointer.down", "pointer_type": "mouse",
                "at": at.timestamp() * 1000 + 900.0 * k, "x": 100.0 * k, "y": 5.0,
                "user_agent": "X11; Linux",
            }
            for k in range(4)
        ]  # fmt: skip
    world = world_of(Example(title="", submissions=tuple(rows), events=tuple(events)), Blind())
    left = withdraw(
        {**assets(), calibration.ASSET: calibration.dump(clicking)},
        world.submissions, world.tasks, world.batch().events,
    )  # fmt: skip
    kept = calibration.load(left)
    assert kept is not None
    assert kept.clicks == {"Windows": (100, 1)}
    assert kept.nulls.keys() == norm.nulls.keys()


def test_a_model_trained_on_labels_is_kept_when_people_are_calibrated_anew() -> None:
    world = platform()
    rows = (world.submissions, world.tasks, world.batch().events)
    with np.load(io.BytesIO(assets()[model.ASSET])) as stored:
        arrays = dict(stored)
    header = arrays["header"].tobytes().replace(b'"labelled":false', b'"labelled":true')
    written = io.BytesIO()
    np.savez(written, **{**arrays, "header": np.frombuffer(header, np.uint8)})
    anew = training.refit(written.getvalue(), *rows)
    assert set(anew) == {calibration.ASSET}
    norm = calibration.load(anew[calibration.ASSET])
    assert norm is not None
    assert norm.model_digest == model.digest(written.getvalue())
    with patch.object(training, "self_train", return_value={"fitted": b"anew"}):
        for other in (assets()[model.ASSET], None, b"no model"):
            assert training.refit(other, *rows) == {"fitted": b"anew"}


def test_too_few_workers_calibrate_nothing() -> None:
    world = platform()
    few = world.submissions.head(60)
    events = world.batch(few["submission_id"].to_list()).events
    made = calibration.load(training.calibrate(assets()[model.ASSET], few, world.tasks, events))
    assert made is not None
    assert made.nulls == {}


def test_a_model_of_other_features_is_refused() -> None:
    data = assets()[model.ASSET]
    with np.load(io.BytesIO(data)) as stored:
        arrays = dict(stored)
    header = arrays["header"].tobytes().replace(model.schema_digest().encode(), b"0" * 32)
    arrays["header"] = np.frombuffer(header, np.uint8)
    written = io.BytesIO()
    np.savez(written, **arrays)
    with pytest.raises(ValueError, match="train again"):
        model.load(written.getvalue())


def test_a_model_whose_trees_point_outside_is_refused() -> None:
    with np.load(io.BytesIO(assets()[model.ASSET])) as stored:
        arrays = dict(stored)
    arrays["boosted0.left"] = arrays["boosted0.left"] + 10**6
    written = io.BytesIO()
    np.savez(written, **arrays)
    with pytest.raises(ValueError, match="out of its table"):
        model.load(written.getvalue())


def test_a_refused_model_abstains_and_physics_still_speaks() -> None:
    broken = {**assets(), model.ASSET: b"PK no model at all"}
    findings = find(detector, replace(platform(), assets=broken))
    assert set(findings.abstentions["code"]) == {"model.refused"}
    assert set(findings.signals["submission_id"]) == {"bot0", "bot1"}


def test_a_pickle_is_never_opened() -> None:
    written = io.BytesIO()
    np.savez(written, header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        model.load(written.getvalue())


def test_calibration_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="recalibrate"):
        calibration.load(b'{"schema": "trajectory.calibration/0"}')
    kept = calibration.load(calibration.dump(Calibration(clicks={"*": (7, 1)})))
    assert kept is not None
    assert kept.clicks == {"*": (7, 1)}


def test_conformal_p_values_count_the_one_judged() -> None:
    null = np.arange(99.0)
    assert calibration.p_value(null, 1000.0) == 1 / 100
    assert calibration.p_value(null, -1.0) == 1.0
    assert calibration.p_value(null, 98.0) == 2 / 100


def test_a_hasty_minority_hardly_moves_the_bar() -> None:
    draw = np.random.default_rng(0)
    honest = np.exp(draw.normal(np.log(90.0), 0.5, 300))
    both = np.concatenate([honest[:-20], draw.uniform(1.0, 4.0, 20)])

    def bar(seconds: np.ndarray) -> float:
        rows = [
            {
                "submission_id": f"s{i}", "worker_id": f"w{i}", "task_id": "t", "text": "",
                "submitted_at": examples.START,
                "claimed_at": examples.START - timedelta(seconds=float(s)),
            }
            for i, s in enumerate(seconds)
        ]  # fmt: skip
        world = world_of(Example(title="", submissions=tuple(rows)), Blind())
        return calibration.haste_cells(world.submissions, world.tasks)["c"].bar_s

    assert 5.0 < bar(honest) < 20.0
    assert bar(both) > 0.6 * bar(honest)
