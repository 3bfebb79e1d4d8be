"""The declared shape of every frame that crosses a stage's door, and the check at that door."""

from collections.abc import Mapping
from typing import Final, TypeAlias

import polars as pl

Schema: TypeAlias = Mapping[str, pl.DataType]

UTC: Final = pl.Datetime("us", "UTC")
_S: Final = pl.String()
_I: Final = pl.Int64()
_F: Final = pl.Float64()
_B: Final = pl.Boolean()

TASKS: Final[Schema] = {
    "task_id": _S,
    "publisher_id": _S,
    "title": _S,
    "brief": _S,
    "category": _S,
    "language": _S,
    "grade": _S,
    "bounty_minor": _I,
    "currency": _S,
    "slots": _I,
    "posted_at": UTC,
    "deadline_at": UTC,
    "site_lat": _F,
    "site_lon": _F,
    "site_radius_m": _F,
    "reference_digests": pl.List(pl.String()),
    "extra": _S,
}
"""One row a task. ``reference_digests`` are the blobs of ``reference_paths``; ``extra`` is the JSON
object of columns that the contract does not name."""

WORKERS: Final[Schema] = {
    "worker_id": _S,
    "registered_at": UTC,
    "phone_verified": _B,
    "real_name_verified": _B,
    "social_linked": _B,
    "payout_account_hash": _S,
    "skills": pl.List(pl.String()),
    "extra": _S,
}

SUBMISSIONS: Final[Schema] = {
    "submission_id": _S,
    "task_id": _S,
    "worker_id": _S,
    "claimed_at": UTC,
    "submitted_at": UTC,
    "text": _S,
    "session_id": _S,
    "device_id": _S,
    "ip": _S,
    "supersedes": _S,
    "extra": _S,
}
"""One row a submission. ``text`` is never null (may be empty); ``submitted_at`` is never null."""

CONTENTS: Final[Schema] = {
    "submission_id": _S,
    "content_index": pl.Int32(),
    "digest": _S,
    "media_type": _S,
    "media_claim": _S,
    "name": _S,
    "path": _S,
    "byte_count": _I,
    "width": pl.Int32(),
    "height": pl.Int32(),
    "frame_count": pl.Int32(),
}
"""One row an attachment, in the order that the submission names them. ``digest`` is the SHA-256 of
the bytes in lower-case hex, ``media_type`` what the bytes are, ``width``/``height`` pixels after
orientation (null where it is no picture)."""

EVENTS: Final[Schema] = {
    "event_id": _S,
    "session_id": _S,
    "worker_id": _S,
    "submission_id": _S,
    "type": _S,
    "at": _F,
    "received_at": UTC,
    "x": _F,
    "y": _F,
    "pointer_type": _S,
    "key_class": _S,
    "length": _I,
    "path": _S,
    "lat": _F,
    "lon": _F,
    "accuracy_m": _F,
    "mocked": _B,
    "device_id": _S,
    "ip": _S,
    "user_agent": _S,
}
"""One row an event. ``at`` is the client's clock in milliseconds since the epoch, ``x``/``y`` CSS
pixels. A submission's events are those of its ``session_id`` and those that name it."""

FINGERPRINTS: Final[Schema] = {
    "submission_id": _S,
    "detector": _S,
    "version": _S,
    "kind": _S,
    "content_index": pl.Int32(),
    "keys": pl.List(pl.UInt64()),
    "positions": pl.List(pl.Int32()),
    "value": pl.Binary(),
}
"""What to remember of a submission: one row for each (submission, kind, content).

``kind`` is ``room.what`` (``text.winnow``, ``image.dct``); ``content_index`` −1 is the text body,
0… the attachments. ``keys`` are looked up exactly (``Past.postings``), ``positions`` runs beside
them (0 where there is no place), ``value`` holds what proof or Hamming search needs: for kinds
searched by ``Past.nearest`` it is a whole number of 32-byte codes."""

SIGNALS: Final[Schema] = {
    "submission_id": _S,
    "detector": _S,
    "detector_version": _S,
    "reason_code": _S,
    "strength": _F,
    "p_value": _F,
    "matched_submission_id": _S,
    "matched_worker_id": _S,
    "evidence": _S,
}
"""One finding a row. ``strength`` in [0, 1]; ``evidence`` is a JSON object in canonical form."""

ABSTENTIONS: Final[Schema] = {
    "submission_id": _S,
    "detector": _S,
    "detector_version": _S,
    "code": _S,
    "why": _S,
}
"""A detector that applied and could not look. Not applicable is not abstaining: no row at all."""

RAN: Final[Schema] = {"submission_id": _S, "detector": _S, "detector_version": _S}
"""Which detectors have looked at a submission, and in which version."""

POSTINGS: Final[Schema] = {
    "key": pl.UInt64(),
    "submission_id": _S,
    "content_index": pl.Int32(),
    "position": pl.Int32(),
}

NEIGHBOURS: Final[Schema] = {
    "query": pl.Int32(),
    "submission_id": _S,
    "content_index": pl.Int32(),
    "slot": pl.Int32(),
    "distance": pl.Int32(),
}
"""``query`` indexes the codes asked for, ``slot`` the 32-byte code inside the stored ``value``."""

ASKED: Final[Schema] = {
    "query": pl.Int32(),
    "submission_id": _S,
    "key": pl.UInt64(),
    "place": pl.Int32(),
    "mode": pl.Int8(),
    "worth": pl.Float32(),
}
"""Words that a picture's features may have: ``place`` packs part, angle, size and number of the
feature (``pipeline.index.voting``), ``mode`` (0 to 3) says how the picture was dressed first, ``worth``
how likely the word is the right one."""

VOTES: Final[Schema] = {
    "query": pl.Int32(),
    "submission_id": _S,
    "content_index": pl.Int32(),
    "mode": pl.Int8(),
    "part": pl.Int32(),
    "other_part": pl.Int32(),
    "votes": pl.Int64(),
    "weight": pl.Float64(),
}
"""``part`` is the asking picture's, ``other_part`` the known one's; ``weight`` is votes times rarity."""

ASSESSMENTS: Final[Schema] = {
    "submission_id": _S,
    "score": _I,
    "risk_level": _S,
    "outcome": _S,
    "reason_codes": pl.List(pl.String()),
    "signals": _S,
    "abstentions": _S,
    "arithmetic": _S,
    "ruleset_digest": _S,
    "detector_versions": _S,
    "input_digest": _S,
    "evaluated_at": UTC,
    "evaluation_status": _S,
}
"""One evaluation of one submission. ``signals``, ``abstentions``, ``arithmetic`` (the rules that
fired and their points) and ``detector_versions`` are canonical JSON."""


def empty(schema: Schema) -> pl.DataFrame:
    """Make a frame of that shape with no rows."""
    return pl.DataFrame(schema=dict(schema))


def check(frame: pl.DataFrame, schema: Schema, door: str) -> pl.DataFrame:
    """Return ``frame`` if it has exactly that shape.

    Raises ``TypeError`` naming the door and every column that differs: a wrong frame is a bug, not
    an input error.
    """
    if frame.schema == dict(schema):
        return frame
    wrong = [
        f"{name}: {frame.schema.get(name, 'absent')} is not {dtype}"
        for name, dtype in schema.items()
        if frame.schema.get(name) != dtype
    ]
    wrong += [f"{name}: not declared" for name in frame.columns if name not in schema]
    wrong = wrong or ["columns stand in another order"]
    raise TypeError(f"{door}: {'; '.join(wrong)}")


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Cast and order to ``schema``; columns that are absent become null, others are dropped."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )
