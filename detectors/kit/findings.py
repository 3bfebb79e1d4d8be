"""Building the frames that a detector returns, row by row, with canonical evidence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl

from pipeline.model import frames
from pipeline.model.reasons import REASONS
from pipeline.ports import DetectorSpec, Findings


def canonical_json(value: object) -> str:
    """Write JSON with sorted keys, so that equal evidence is equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()


class FindingsBuilder:
    """Collects signals and abstentions of one detector and makes the frames once."""

    def __init__(self, spec: DetectorSpec) -> None:
        self._spec = spec
        self._signals: list[dict[str, Any]] = []
        self._abstentions: list[dict[str, Any]] = []

    def signal(
        self,
        submission_id: str,
        reason_code: str,
        *,
        strength: float,
        evidence: Mapping[str, Any],
        p_value: float | None = None,
        matched_submission_id: str | None = None,
        matched_worker_id: str | None = None,
    ) -> None:
        """Report one finding. ``strength`` and ``p_value`` are in [0, 1]; evidence is JSON-able."""
        if reason_code not in self._spec.reason_codes or reason_code not in REASONS:
            raise ValueError(f"{self._spec.name} does not declare the reason code {reason_code!r}")
        if not 0.0 <= strength <= 1.0 or not (p_value is None or 0.0 <= p_value <= 1.0):
            raise ValueError(f"{reason_code}: strength {strength} or p {p_value} outside [0, 1]")
        self._signals.append(
            {
                "submission_id": submission_id,
                "reason_code": reason_code,
                "strength": float(strength),
                "p_value": None if p_value is None else float(p_value),
                "matched_submission_id": matched_submission_id,
                "matched_worker_id": matched_worker_id,
                "evidence": canonical_json(evidence),
            }
        )

    def abstain(self, submission_id: str, code: str, why: str) -> None:
        """Say that this detector applied to the submission and could not look, and why."""
        self._abstentions.append({"submission_id": submission_id, "code": code, "why": why})

    def build(self) -> Findings:
        """Make the frames, in an order that does not depend on how they were collected."""
        return Findings(
            signals=self._frame(self._signals, frames.SIGNALS),
            abstentions=self._frame(self._abstentions, frames.ABSTENTIONS),
        )

    def _frame(self, rows: Sequence[Mapping[str, Any]], schema: frames.Schema) -> pl.DataFrame:
        who = {"detector": self._spec.name, "detector_version": self._spec.version}
        frame = pl.DataFrame([{**who, **row} for row in rows], schema=dict(schema))
        return frame.unique().sort(frame.columns, nulls_last=True)


class FingerprintBuilder:
    """Collects fingerprint rows of one detector and makes the FINGERPRINTS frame once."""

    def __init__(self, spec: DetectorSpec) -> None:
        self._spec = spec
        self._rows: list[dict[str, Any]] = []

    def add(
        self,
        submission_id: str,
        kind: str,
        *,
        content_index: int = -1,
        keys: Iterable[int] = (),
        positions: Iterable[int] | None = None,
        value: bytes | None = None,
    ) -> None:
        """Remember one fingerprint; ``positions`` default to zeros beside ``keys``."""
        key_list = np.asarray(list(keys), dtype=np.uint64)
        places = (
            np.zeros(len(key_list), np.int32)
            if positions is None
            else np.asarray(list(positions), dtype=np.int32)
        )
        if len(places) != len(key_list):
            raise ValueError(f"{kind}: {len(key_list)} keys beside {len(places)} positions")
        self._rows.append(
            {
                "submission_id": submission_id,
                "detector": self._spec.name,
                "version": self._spec.version,
                "kind": kind,
                "content_index": content_index,
                "keys": key_list.tolist(),
                "positions": places.tolist(),
                "value": value,
            }
        )

    def build(self) -> pl.DataFrame:
        """Make the FINGERPRINTS frame."""
        return pl.DataFrame(self._rows, schema=dict(frames.FINGERPRINTS))
