"""The trajectory detector: gathers what place, work, replay and automation have to say."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

import polars as pl

from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from detectors.trajectory import calibration, examples, place, work
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past


def _norm(past: Past) -> calibration.Calibration | None:
    """Read the calibration; one of another schema counts as none, and the room abstains."""
    try:
        return calibration.load(past.asset(calibration.ASSET))
    except ValueError:
        return None


def _replay() -> ModuleType:
    """Load the compiled kernels only when something is judged: they cost the start-up."""
    return import_module("detectors.trajectory.replay")


def _automation() -> ModuleType:
    return import_module("detectors.trajectory.automation")


class TrajectoryDetector:
    """Reports scripts, replays, haste, pastes and places that cannot be."""

    spec = DetectorSpec(
        name="trajectory",
        version="1",
        consumes=frozenset({"events", "tasks", "text"}),
        reason_codes=frozenset(
            {
                "trajectory.automated",
                "trajectory.replayed",
                "trajectory.pasted",
                "trajectory.too_fast",
                "trajectory.impossible_travel",
                "trajectory.location_mocked",
                "trajectory.off_site",
            }
        ),
        assets=("trajectory.model", calibration.ASSET),
    )

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember where the work was done, and the signatures of its strokes."""
        built = FingerprintBuilder(self.spec)
        place.fingerprint(batch, built)
        _replay().fingerprint(batch, built)
        return built.build()

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name these workers' other places, and sessions that share several strokes."""
        placed = frozenset(place.neighbours(batch, past)["submission_id"]) - frozenset(batch.ids)
        played: frozenset[str] = _replay().touched(batch, past)
        return placed | played

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Judge each submission by its own log, the worker's other places, and earlier sessions."""
        built = FindingsBuilder(self.spec)
        norm = _norm(past)
        place.judge(batch, past, built)
        work.judge(batch, norm, built)
        _replay().judge(batch, past, built)
        _automation().judge(batch, past, norm, built)
        return built.build()

    def examples(self) -> Iterable[Example]:
        """One or two worlds for each reason code, and honest look-alikes."""
        yield from examples.examples()
