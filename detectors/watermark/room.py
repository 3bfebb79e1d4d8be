"""The watermark detector: asks each channel about each file and reports what they found."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from detectors.kit.subtract import handed_out
from detectors.watermark import ours
from detectors.watermark.examples import mark_examples, provenance_examples
from detectors.watermark.mark import Keyring
from detectors.watermark.overlay import may_be_stamped
from detectors.watermark.provenance.claims import Claim, claim_of
from detectors.watermark.provenance.exif import Exif
from detectors.watermark.provenance.facts import read_facts
from detectors.watermark.provenance.rules import Contradiction, contradictions
from detectors.watermark.registry import Registry
from detectors.watermark.stamps import read_stamp, stamp_contradictions
from detectors.watermark.textmark import TextReading, read_text
from detectors.watermark.view import View
from detectors.watermark.visible import SIDE, Template, find_known, from_json
from pipeline.model.errors import ContentError
from pipeline.ports import (
    DELIVERIES,
    DELIVERY,
    Batch,
    DetectorSpec,
    Example,
    Findings,
    Past,
    Picture,
)

HABIT_KIND: Final = "watermark.habit"
LENIENT: Final = frozenset({"edited", "early", "late", "away", "clocks", "device"})
"""What most submitters of one task do is no finding; that a generator was used stays one."""
POPULATION_MAX: Final = 50
"""Earliest submissions of a task that make its population: later ones change no verdict."""
OTHERS_MIN: Final = 5
SHARE_MAX: Final = 0.5
ANCHORS: Final = "watermark.trust_anchors"
STAMP_SIDE_MAX: Final = 1280
KEYS: Final = "watermark.keys"
TEMPLATES: Final = "watermark.templates"
_DOCUMENTS: Final = frozenset(
    {
        "text/plain", "text/markdown", "text/html", "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }
)  # fmt: skip


def _habit_key(task_id: str, habit: str) -> int:
    digest = hashlib.sha256(f"{habit}\x00{task_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


class WatermarkDetector:
    """Reports marks and contradictions; never accuses on one unsupported fact."""

    spec = DetectorSpec(
        name="watermark",
        version="3",
        consumes=frozenset({"text", "contents", "tasks"}),
        reason_codes=frozenset(
            {
                "provenance.generated",
                "provenance.inconsistent",
                "provenance.edited",
                "watermark.platform_mark",
                "watermark.text_mark",
                "watermark.foreign_mark",
            }
        ),
        assets=(ANCHORS, KEYS, DELIVERIES, TEMPLATES),
    )

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember which habits each file shows, so that a task's custom can be counted."""
        built = FingerprintBuilder(self.spec)
        for row, claim in _files(batch):
            if not _may_speak(row["media_type"]):
                continue
            try:
                facts = read_facts(batch.blobs.get(row["digest"]), row["media_type"])
            except ContentError:
                continue
            found = contradictions(facts, claim)
            habits = sorted({c.habit for c in found} & LENIENT)
            if habits:
                built.add(
                    row["submission_id"],
                    HABIT_KIND,
                    content_index=row["content_index"],
                    keys=[_habit_key(row["task_id"], habit) for habit in habits],
                )
        return built.build()

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name those of the same tasks whose habit an arrival in the population may make custom."""
        tasks = batch.submissions["task_id"].unique().to_list()
        population = past.of_task(tasks, limit=POPULATION_MAX)
        arrived = population.join(
            batch.contents.select("submission_id").unique(), on="submission_id", how="semi"
        )
        keys = [_habit_key(task, h) for task in arrived["task_id"].unique() for h in LENIENT]
        hits = past.postings(HABIT_KIND, pl.Series(keys, dtype=pl.UInt64))
        return frozenset(hits["submission_id"]) - frozenset(batch.ids)

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Judge every file and text of the batch, by each channel that applies."""
        built = FindingsBuilder(self.spec)
        given = handed_out(batch)
        channels = _channels(past)
        who = {row["submission_id"]: row for row in batch.submissions.iter_rows(named=True)}
        for sid, submission in who.items():
            _text_mark(submission["text"], sid, -1, submission, channels, built)
        found: list[tuple[Mapping[str, Any], tuple[Contradiction, ...]]] = []
        for row, claim in _files(batch):
            sid = row["submission_id"]
            if (sid, row["digest"]) in given:
                continue
            try:
                contrary = self._judge(batch, row, claim, who[sid], channels, built)
            except ContentError as error:
                built.abstain(sid, error.code, error.message)
                continue
            if contrary:
                found.append((row, contrary))
        custom = _customs(past, found)
        for row, contrary in found:
            _report(built, row, [c for c in contrary if not custom(row, c)])
        return built.build()

    @staticmethod
    def _judge(
        batch: Batch,
        row: Mapping[str, Any],
        claim: Claim,
        submission: Mapping[str, Any],
        channels: "_Channels",
        built: FindingsBuilder,
    ) -> tuple[Contradiction, ...]:
        """Ask every channel about one file; return what contradicts the claim.

        Raises ``ContentError`` where a channel that applies cannot read the file.
        """
        kind = row["media_type"] or ""
        is_picture = kind.startswith("image/")
        is_marked = channels.registry is not None and (is_picture or kind in _DOCUMENTS)
        if not (_may_speak(kind) or is_marked):
            return ()
        data = batch.blobs.get(row["digest"])
        found: tuple[Contradiction, ...] = ()
        facts = None
        if _may_speak(kind):
            facts = read_facts(data, kind, channels.anchors)
            found = contradictions(facts, claim)
        sides = [STAMP_SIDE_MAX] if claim.fresh else []
        sides += [ours.PICTURE_SIDE_MAX] if is_marked else []
        sides += [2 * SIDE] if channels.templates else []
        view = View(batch.decoder, data, max(sides)) if is_picture and sides else None
        if view is not None and claim.fresh and facts is not None:
            found += _stamped(view.at(STAMP_SIDE_MAX), claim, facts.exif)
        try:
            if view is None and is_marked:
                text = "\n".join(batch.decoder.document(data, kind).pages)
                index = row["content_index"]
                _text_mark(text, row["submission_id"], index, submission, channels, built)
            if view is not None and is_marked:
                _picture_mark(view.at(ours.PICTURE_SIDE_MAX), row, submission, channels, built)
            if view is not None and channels.templates:
                _foreign_mark(view.at(2 * SIDE), row, channels.templates, built)
        except ContentError as error:
            # what the metadata says stands without what the file shows
            built.abstain(row["submission_id"], error.code, error.message)
        return found

    def examples(self) -> Iterable[Example]:
        """Clocks, positions, generators and editors; our marks; and the honest beside each."""
        yield from provenance_examples()
        yield from mark_examples()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channels:
    """What the operator's assets allow to be looked for; ``registry`` is None where there is no key."""

    anchors: str
    keyring: Keyring
    registry: Registry | None
    templates: tuple[Template, ...]


def _channels(past: Past) -> _Channels:
    keyring, registry = Keyring(), None
    keys, deliveries = past.asset(KEYS), past.asset(DELIVERIES)
    if keys and deliveries:
        keyring, newest = ours.load(keys, deliveries)
        registry = newest.beyond(
            lambda key_id, serial: past.asset(f"{DELIVERY}{key_id}:{serial:016x}")
        )
    templates = past.asset(TEMPLATES)
    return _Channels(
        anchors=(past.asset(ANCHORS) or b"").decode("ascii", "ignore"),
        keyring=keyring,
        registry=registry,
        templates=from_json(templates) if templates else (),
    )


def _stamped(picture: Picture, claim: Claim, exif: Exif) -> tuple[Contradiction, ...]:
    """Ask the stamp in a photo that had to be fresh."""
    if not may_be_stamped(picture.pixels):
        return ()
    return stamp_contradictions(read_stamp(picture.pixels), claim, exif)


def _files(batch: Batch) -> Iterator[tuple[Mapping[str, Any], Claim]]:
    """Yield every file with what it claims."""
    tasks = {row["task_id"]: row for row in batch.tasks.iter_rows(named=True)}
    who = {
        row["submission_id"]: row
        for row in batch.submissions.drop("text", "extra").iter_rows(named=True)
    }
    claims: dict[str, Claim] = {}
    for row in batch.contents.iter_rows(named=True):
        sid = row["submission_id"]
        submission = who[sid]
        if sid not in claims:
            claims[sid] = claim_of(submission, tasks.get(submission["task_id"]))
        mine = {"task_id": submission["task_id"], "worker_id": submission["worker_id"]}
        yield {**row, **mine}, claims[sid]


def _may_speak(media_type: str | None) -> bool:
    kinds = ("image/", "video/", "audio/")
    return media_type is not None and (
        media_type.startswith(kinds) or media_type == "application/pdf"
    )


class _Customs:
    """Answers whether most others of the task share a habit."""

    def __init__(self, past: Past, tasks: Sequence[str]) -> None:
        known = past.of_task(sorted(set(tasks)), limit=POPULATION_MAX)
        ids = known["submission_id"].to_list()
        pictured = set(past.contents(ids)["submission_id"]) if ids else set()
        keys = past.fingerprints(HABIT_KIND, ids).select("submission_id", "keys")
        self._habits: dict[str, set[int]] = {}
        for sid, mine in keys.iter_rows():
            self._habits.setdefault(sid, set()).update(mine)
        self._by_task: dict[str, list[tuple[str, str]]] = {}
        for sid, task, worker in known.select("submission_id", "task_id", "worker_id").iter_rows():
            if sid in pictured:
                self._by_task.setdefault(task, []).append((sid, worker))

    def __call__(self, row: Mapping[str, Any], found: Contradiction) -> bool:
        """Say whether the contradiction is what most other workers' files show."""
        if found.habit not in LENIENT or found.rule == "altered_after_signing":
            return False
        key = _habit_key(row["task_id"], found.habit)
        others: dict[str, bool] = {}
        for sid, worker in self._by_task.get(row["task_id"], []):
            if worker != row["worker_id"]:
                has = key in self._habits.get(sid, ())
                others[worker] = others.get(worker, False) or has
        return len(others) >= OTHERS_MIN and sum(others.values()) > SHARE_MAX * len(others)


def _customs(
    past: Past, found: Sequence[tuple[Mapping[str, Any], tuple[Contradiction, ...]]]
) -> _Customs:
    return _Customs(past, [row["task_id"] for row, _ in found])


def _report(built: FindingsBuilder, row: Mapping[str, Any], found: Sequence[Contradiction]) -> None:
    """One signal for each reason code of a file, with every contradiction as evidence."""
    for code in sorted({c.code for c in found}):
        mine = [c for c in found if c.code == code]
        strongest = max(c.strength for c in mine)
        built.signal(
            row["submission_id"],
            code,
            strength=min(0.95, strongest + 0.05 * (len(mine) - 1)),
            evidence={
                "channel": "provenance",
                "content_index": row["content_index"],
                "name": row["name"] or row["path"],
                "sha256": row["digest"],
                "contradictions": [
                    {"rule": c.rule, "strength": c.strength, **c.facts} for c in mine
                ],
            },
        )


def _foreign_mark(
    picture: Picture, row: Mapping[str, Any], templates: Sequence[Template], built: FindingsBuilder
) -> None:
    """Look for known visible marks of others in one picture."""
    seen = find_known(picture.pixels, templates)
    if seen is None:
        return
    built.signal(
        row["submission_id"],
        "watermark.foreign_mark",
        strength=seen.strength,
        evidence={
            "channel": "visible",
            "content_index": row["content_index"],
            "sha256": row["digest"],
            "mark": seen.name,
            "erased": seen.ghost,
            "correlation": seen.score,
            "deviations": seen.deviations,
            "located_at": [round(v / picture.scale) for v in seen.box],
        },
    )


def _picture_mark(
    picture: Picture,
    row: Mapping[str, Any],
    submission: Mapping[str, Any],
    channels: _Channels,
    built: FindingsBuilder,
) -> None:
    if channels.registry is None:
        return
    found = ours.find_mark(picture.pixels, channels.keyring, channels.registry, submission)
    if found is None:
        return
    evidence = dict(found.evidence)
    evidence["located_at"] = [round(v / picture.scale) for v in evidence["located_at"]]
    full = np.diag([1 / picture.scale, 1 / picture.scale, 1.0]) @ np.array(evidence["homography"])
    evidence["homography"] = np.round(full, 9).tolist()
    built.signal(
        row["submission_id"],
        "watermark.platform_mark",
        strength=found.strength,
        p_value=found.p_value,
        matched_submission_id=found.source.submission_id,
        matched_worker_id=found.source.worker_id,
        evidence=evidence
        | {
            "content_index": row["content_index"],
            "sha256": row["digest"],
        },
    )


def _text_mark(
    text: str,
    submission_id: str,
    content_index: int,
    submission: Mapping[str, Any],
    channels: _Channels,
    built: FindingsBuilder,
) -> None:
    if channels.registry is None:
        return
    reading: TextReading | None = read_text(text, channels.keyring.keys)
    if reading is None:
        return
    delivery = channels.registry.find(reading.key_id, reading.serial)
    if delivery is None or not ours.accusable(delivery, submission):
        return
    built.signal(
        submission_id,
        "watermark.text_mark",
        strength=0.97,
        p_value=reading.p_decode,
        matched_submission_id=delivery.submission_id,
        matched_worker_id=delivery.worker_id,
        evidence={
            "channel": "textmark",
            "content_index": content_index,
            "key_id": reading.key_id,
            "serial": f"{reading.serial:016x}",
            "recipient": delivery.recipient,
            "delivered_at": delivery.delivered_at.isoformat(),
            "slots": reading.slots,
            "slots_agreeing": reading.agreeing,
            "excerpt": reading.excerpt,
        },
    )
