"""What must hold of every detector: its examples, no order, no batch size, no writes, no guesses."""

import itertools
import random

import polars as pl

from detectors.checks.memory import MemoryPast, World, canonical, world_of
from pipeline.model import frames
from pipeline.model.reasons import REASONS
from pipeline.ports import Decoder, Detector, Example, Findings

UNREADABLE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4
"""Noise behind a JPEG header: a picture that cannot be looked at."""


def check_detector(detector: Detector, decoder: Decoder) -> None:
    """Run the whole suite over one room. Raises ``AssertionError`` that says what does not hold."""
    examples = list(detector.examples())
    assert examples, f"{detector.spec.name}: a room ships examples"
    _check_spec(detector)
    said: set[str] = set()
    for example in examples:
        said |= _check_example(detector, example, decoder)
        check_order_free(detector, world_of(example, decoder))
    unshown = detector.spec.reason_codes - said
    assert not unshown, f"{detector.spec.name}: no example gives {sorted(unshown)}"
    _check_unreadable(detector, decoder)


def _check_spec(detector: Detector) -> None:
    spec = detector.spec
    assert spec.version, f"{spec.name}: a detector has a version"
    unknown = spec.reason_codes - REASONS.keys()
    assert not unknown, f"{spec.name}: declares unknown reason codes {sorted(unknown)}"


def find(detector: Detector, world: World, ids: list[str] | None = None) -> Findings:
    """Fingerprint the whole world, then judge those submissions (all: None)."""
    past = MemoryPast.of(world, [detector])
    findings = detector.detect(world.batch(ids), past)
    frames.check(findings.signals, frames.SIGNALS, f"{detector.spec.name} signals")
    frames.check(findings.abstentions, frames.ABSTENTIONS, f"{detector.spec.name} abstentions")
    return findings


def _check_example(detector: Detector, example: Example, decoder: Decoder) -> set[str]:
    where = f"{detector.spec.name}: {example.title}"
    findings = find(detector, world_of(example, decoder))
    got: dict[str, set[str]] = {}
    for sid, code in findings.signals.select("submission_id", "reason_code").iter_rows():
        got.setdefault(sid, set()).add(code)
    wanted = {sid: set(codes) for sid, codes in example.expected.items() if codes}
    assert got == wanted, f"{where}: found {got}, expected {wanted}"
    for sid, source in example.matched.items():
        named = findings.signals.filter(pl.col("submission_id") == sid)["matched_submission_id"]
        assert source in named.to_list(), f"{where}: {sid} names {named.to_list()}, not {source}"
    silent = set(findings.abstentions["submission_id"])
    assert silent == set(example.abstains), f"{where}: abstained for {silent}"
    return set().union(*got.values()) if got else set()


def check_order_free(detector: Detector, world: World, *, tries: int = 3, seed: int = 0) -> None:
    """One by one, in any order and in any batches: the findings are those of the whole.

    Arrival is played out as the pipeline does it: fingerprint the arrivals and the revisions that name
    one of them, judge these and whom they touch, keep the newest verdict on each.
    """
    whole = find(detector, world)
    ids = world.submissions["submission_id"].to_list()
    draw = random.Random(seed)
    for _ in range(tries):
        arrival = draw.sample(ids, len(ids))
        cuts = sorted(draw.sample(range(1, len(ids)), min(2, max(len(ids) - 1, 0))))
        bounds = [0, *cuts, len(ids)]
        batches = [arrival[a:b] for a, b in itertools.pairwise(bounds)]
        signals, abstentions = _play(detector, world, batches)
        name = detector.spec.name
        assert canonical(signals) == canonical(whole.signals), f"{name}: order {batches} matters"
        assert canonical(abstentions) == canonical(whole.abstentions), f"{name}: order matters"


def _play(
    detector: Detector, world: World, batches: list[list[str]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    signals = frames.empty(frames.SIGNALS)
    abstentions = frames.empty(frames.ABSTENTIONS)
    known: list[str] = []
    for arrived in batches:
        known += arrived
        here = world_cut(world, known)
        past = MemoryPast.of(here, [detector])
        revisions = here.submissions.filter(pl.col("supersedes").is_in(arrived))["submission_id"]
        changed = sorted({*arrived, *revisions})
        touched = detector.touched(here.batch(changed), past)
        judged = [*changed, *sorted(touched & set(known) - set(changed))]
        findings = detector.detect(here.batch(judged), past)
        others = ~pl.col("submission_id").is_in(judged)
        signals = pl.concat([signals.filter(others), findings.signals])
        abstentions = pl.concat([abstentions.filter(others), findings.abstentions])
    return signals, abstentions


def world_cut(world: World, ids: list[str]) -> World:
    """The same world with only those submissions known."""
    keep = pl.col("submission_id").is_in(ids)
    return World(
        submissions=world.submissions.filter(keep),
        contents=world.contents.filter(keep),
        tasks=world.tasks,
        workers=world.workers,
        events=world.events,
        blobs=world.blobs,
        decoder=world.decoder,
        assets=world.assets,
    )


def _check_unreadable(detector: Detector, decoder: Decoder) -> None:
    if "contents" not in detector.spec.consumes:
        return
    one = Example(title="", submissions=({"files": (("noise.jpg", UNREADABLE),)},))
    findings = find(detector, world_of(one, decoder))
    assert findings.signals.is_empty(), f"{detector.spec.name}: an unreadable file is no finding"
