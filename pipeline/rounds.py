"""Rounds: drive ``assess`` over everything that waits, partition by partition.

Three passes, each of them idempotent: remember the arrivals and whom they touch, let the detectors look
at them, then let those look that read the others' findings, score and decide. ``Hands`` do the heavy,
read-only part of a partition, in this process or elsewhere; what they bring back is written down here,
by one writer, in the order of the partitions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, Final, Protocol

import polars as pl

from pipeline.assess import Bench, assess, with_signals
from pipeline.ports import Detector, Known, Ticket, Work
from pipeline.stages.detect import Found, detect, fingerprint, first_and_second, touched

ROUND: Final = 8_192
"""Tickets drawn at a time. What is read once a round (windows, histories) is shared by that many."""
PART: Final = 2_048
"""Submissions of a part. One that is fingerprinted, with its files decoded, has a quarter of it."""

LOOKED_S: Final = 20.0
"""Seconds of looking after which it is written down who was looked at: a kill repeats no more."""

Part = Sequence[Ticket]
Decided = tuple[Found, pl.DataFrame]
Progress = Callable[[str, int], None]
"""Told the pass (``remember``, ``look``, ``decide``) and how many submissions it just did."""


class Hands(Protocol):
    """Do the part of the work that only reads. Each yields one result a part, in their order."""

    def fingerprint(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Any]]:
        """Write fingerprints; give what names them (``Work.write_fingerprints``)."""
        ...

    def reach(self, part: Part) -> frozenset[str]:
        """Name whom this arrival touches, by the detectors that look first."""
        ...

    def look(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Found]]:
        """Ask the detectors that look first."""
        ...

    def decide(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Decided]]:
        """Ask those that read others' findings, score and decide."""
        ...


class OwnHands:
    """Does it here: implements ``Hands``."""

    def __init__(self, work: Work, known: Known, bench: Bench) -> None:
        self._work = work
        self._known = known
        self._bench = bench
        self._first, self._second = first_and_second(bench.detectors)

    def fingerprint(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Any]]:
        """Write fingerprints; give what names them."""
        for part in parts:
            made = fingerprint(self._known.batch(ids_of(part)), self._bench.detectors)
            yield part, self._work.write_fingerprints(made)

    def reach(self, part: Part) -> frozenset[str]:
        """Name whom this arrival touches."""
        return touched(self._known.batch(ids_of(part)), self._known, self._first)

    def look(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Found]]:
        """Ask the detectors that look first."""
        for part in parts:
            yield part, detect(self._known.batch(ids_of(part)), self._known, self._first)

    def decide(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Decided]]:
        """Ask those that read others' findings, score and decide."""
        names = names_of(self._first)
        for part in parts:
            kept = _of(Found(*self._work.findings(ids_of(part))), names)
            batch = self._known.batch(ids_of(part))
            found, assessments = assess(batch, self._known, self._bench, kept)
            yield part, (_of(found, names_of(self._second)), assessments)


def work_off(
    work: Work,
    known: Known,
    bench: Bench,
    *,
    now: datetime,
    hands: Hands | None = None,
    part: int = PART,
    progress: Progress = lambda step, done: None,
    between: Callable[[], None] = lambda: None,
) -> int:
    """Judge everything that waits; return how many assessments were added.

    ``part`` is how many submissions hands are given at a time. ``between`` runs once everything is
    remembered and before anybody looks: the place where a platform's own calibrations are made from
    what is known.
    """
    doing = hands or OwnHands(work, known, bench)
    _remember(work, bench, doing, max(1, part // 4), progress)
    between()
    _look(work, known, bench, doing, part, progress)
    return _decide(work, bench, doing, part, now, progress)


def _remember(work: Work, bench: Bench, hands: Hands, size: int, progress: Progress) -> None:
    while tickets := work.next(0, ROUND):
        for part, written in hands.fingerprint(cut(tickets, size)):
            work.keep_fingerprints(part, written, bench.versions)
            progress("remember", len(part))
        if not work.move_on(tickets, None, depth=1):
            work.move_on(tickets, hands.reach(tickets), depth=1)
        progress("reach", 0)


def _look(
    work: Work, known: Known, bench: Bench, hands: Hands, size: int, progress: Progress
) -> None:
    first, second = first_and_second(bench.detectors)
    while tickets := work.next(1, ROUND):
        looked: list[Part] = []
        begun = monotonic()
        for part, found in hands.look(cut(tickets, size)):
            work.keep_findings(part, found.signals, found.abstentions, found.ran, names_of(first))
            looked.append(part)
            if monotonic() - begun > LOOKED_S:
                _pass_on(work, known, looked, first, second)
                looked, begun = [], monotonic()
            progress("look", len(part))
        _pass_on(work, known, looked, first, second)
        progress("look", 0)


def _pass_on(
    work: Work,
    known: Known,
    looked: Sequence[Part],
    first: Sequence[Detector],
    second: Sequence[Detector],
) -> None:
    """Move on what was looked at, and queue whom it touched: nobody new while everybody waits."""
    whole = [ticket for part in looked for ticket in part]
    if not whole or (second and work.move_on(whole, None, depth=2)):
        return
    names = names_of(first)
    for part in looked:
        reached: frozenset[str] = frozenset()
        if second:
            kept = _of(Found(*work.findings(ids_of(part))), names)
            batch = with_signals(known.batch(ids_of(part)), kept.signals)
            reached = touched(batch, known, second)
        work.move_on(part, reached, depth=2)


def _decide(
    work: Work, bench: Bench, hands: Hands, size: int, now: datetime, progress: Progress
) -> int:
    names = names_of(first_and_second(bench.detectors)[1])
    added = 0
    while tickets := work.next(2, ROUND):
        for part, (found, assessments) in hands.decide(cut(tickets, size)):
            added += work.keep_assessments(
                part, found.signals, found.abstentions, found.ran, names, assessments, now=now
            )
            progress("decide", len(part))
    return added


def cut(tickets: Part, size: int) -> list[Part]:
    """Cut tickets into parts of at most ``size``."""
    return [tickets[start : start + size] for start in range(0, len(tickets), size)]


def ids_of(part: Part) -> list[str]:
    """Return the submission ids of a part."""
    return [t.submission_id for t in part]


def names_of(detectors: Sequence[Detector]) -> list[str]:
    """Return the names of detectors."""
    return [d.spec.name for d in detectors]


def _of(found: Found, names: Sequence[str]) -> Found:
    mine = pl.col("detector").is_in(list(names))
    return Found(
        signals=found.signals.filter(mine),
        abstentions=found.abstentions.filter(mine),
        ran=found.ran.filter(mine),
    )
