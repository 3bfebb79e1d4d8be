"""Detect: ask every detector. A detector reports signals or abstains; it never decides or writes."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.model import frames
from pipeline.ports import Batch, Detector, Past


@dataclass(frozen=True, slots=True)
class Found:
    """What some detectors say of a batch: SIGNALS, ABSTENTIONS, and RAN (who has looked at whom)."""

    signals: pl.DataFrame
    abstentions: pl.DataFrame
    ran: pl.DataFrame

    def __add__(self, other: "Found") -> "Found":
        return Found(
            signals=pl.concat([self.signals, other.signals]),
            abstentions=pl.concat([self.abstentions, other.abstentions]),
            ran=pl.concat([self.ran, other.ran]),
        )


def nothing_found() -> Found:
    """No detector has looked yet."""
    return Found(
        signals=frames.empty(frames.SIGNALS),
        abstentions=frames.empty(frames.ABSTENTIONS),
        ran=frames.empty(frames.RAN),
    )


def first_and_second(
    detectors: Sequence[Detector],
) -> tuple[tuple[Detector, ...], tuple[Detector, ...]]:
    """Part the detectors that look at the submissions alone from those that read others' signals."""
    first = tuple(d for d in detectors if not d.spec.after)
    return first, tuple(d for d in detectors if d.spec.after)


def fingerprint(batch: Batch, detectors: Sequence[Detector]) -> pl.DataFrame:
    """Say what to remember of a batch: a FINGERPRINTS frame, grouped by kind."""
    made = [
        frames.check(d.fingerprint(batch), frames.FINGERPRINTS, f"{d.spec.name} fingerprints")
        for d in detectors
    ]
    whole = pl.concat([frames.empty(frames.FINGERPRINTS), *made])
    return whole.sort("kind", "submission_id", "content_index", maintain_order=True)


def touched(batch: Batch, past: Past, detectors: Sequence[Detector]) -> frozenset[str]:
    """Name the known submissions outside the batch whose findings its arrival may change."""
    return frozenset().union(*(d.touched(batch, past) for d in detectors)) - frozenset(batch.ids)


def detect(batch: Batch, past: Past, detectors: Sequence[Detector]) -> Found:
    """Ask those detectors about a batch. What a detector raises is a bug, and is let through."""
    found = nothing_found()
    for detector in detectors:
        spec = detector.spec
        said = detector.detect(batch, past)
        found += Found(
            signals=frames.check(said.signals, frames.SIGNALS, f"{spec.name} signals"),
            abstentions=frames.check(
                said.abstentions, frames.ABSTENTIONS, f"{spec.name} abstentions"
            ),
            ran=batch.submissions.select(
                "submission_id",
                pl.lit(spec.name).alias("detector"),
                pl.lit(spec.version).alias("detector_version"),
            ),
        )
    return found
