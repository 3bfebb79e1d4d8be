"""Attribution: of the nominated sources, which one is the picture, or each region of it, made from?

The earliest is asked first: once a source surely explains a region, whoever came later with the same
region cannot be named for it, and is not laid over it at all. So a look is bounded by its nominees, and
where many carry the same picture it costs little more than one proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from detectors.image import lookalike, proof, verdict
from detectors.image.evidence import Edges, agreeing_region, own_content, region_of
from detectors.image.features import Features
from detectors.image.geometry import Alignment
from detectors.image.known import Known
from detectors.image.nominate import Key, Nominee
from detectors.image.peers import Peers
from detectors.image.prints import Part, Print
from detectors.image.proof import Proof
from detectors.image.verdict import Verdict
from detectors.kit.order import Order

WHOLE: Final[Edges] = (0.0, 0.0, 1.0, 1.0)
REGIONS_MAX: Final = 4
"""Regions of one picture, each of another source, that are told."""
ALL_SHARE: Final = 0.9
"""Share of the accused picture from which a source leaves nothing for another."""
APART_MAX: Final = 0.2
INSIDE_MIN: Final = 0.6
"""Share of the box around the agreeing features, inside a region that is surely an earlier source's, from
which a later source is not laid over it."""
PROMISING_INLIERS: Final = 20
PROMISING_SHARE: Final = 0.5
"""Features that agree, and the share of the frame around them, from which later sources wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One part of a source that the features, or hashes, of a part of the accused lie in as in a map."""

    nominee: Nominee
    found: Alignment
    part: int

    @property
    def pair(self) -> tuple[str, int, int]:
        """Say in which mode which parts were aligned."""
        return (self.nominee.mode, self.nominee.accused_part, self.part)


@dataclass(slots=True, kw_only=True)
class Inquiry:
    """One accused file: who is known, what its task handed out, and which regions are surely whose."""

    key: Key
    mine: Print
    known: Known
    handed_out: Sequence[proof.Piece]
    peers: Peers
    order: Order
    waiting: list[tuple[Key, list[Nominee]]] = field(default_factory=list)
    shown: dict[tuple[str, int], Features] = field(default_factory=dict)
    ways: dict[Key, list[Way]] = field(default_factory=dict)
    taken: list[Edges] = field(default_factory=list)
    sure: list[Verdict] = field(default_factory=list)

    def align(self, nominees: Sequence[Nominee]) -> set[Key]:
        """Align the sources, the earliest first; return whose small pictures are needed.

        Where a photograph's features agree with one source all over, later ones wait: most likely none
        of them will be asked.
        """
        by_source: dict[Key, list[Nominee]] = {}
        for nominee in nominees:
            by_source.setdefault(nominee.source, []).append(nominee)
        self.waiting = sorted(by_source.items(), key=lambda of: (self.order[of[0][0]].rank, of[0]))
        while self.waiting:
            if any(map(self._is_promising, self._align_next())):
                break
        return {self.key, *self.ways} if self.ways else set()

    def _align_next(self) -> Sequence[Way]:
        (source, nominees), *self.waiting = self.waiting
        theirs = self.known.print_of(source)
        if theirs is not None:
            for nominee in nominees:
                self._align(nominee, theirs)
        return self.ways.get(source, ())

    def _is_promising(self, way: Way) -> bool:
        part = self.mine.parts[way.nominee.accused_part]
        if part.page or way.found.inliers < PROMISING_INLIERS:
            return False
        left, top, right, bottom = agreeing_region(way.found, part)
        return (right - left) * (bottom - top) >= PROMISING_SHARE

    def _align(self, nominee: Nominee, theirs: Print) -> None:
        part = nominee.source_part
        part = theirs.slot(nominee.slots[1])[0] if part < 0 else part
        if part >= len(theirs.parts) or nominee.accused_part >= len(self.mine.parts):
            return
        known = self.ways.get(nominee.source, [])
        pair = (nominee.mode, nominee.accused_part, part)
        if any(way.found.inliers and pair == way.pair for way in known):
            return  # nominated by hash and by words: the features say the same twice
        mine, as_shown = self.mine.parts[nominee.accused_part], (nominee.mode, nominee.accused_part)
        if as_shown not in self.shown:
            self.shown[as_shown] = proof.shown_in(nominee.mode, mine.features)
        both = (self.mine, theirs)
        found = proof.align(nominee, mine, theirs.parts[part], both, self.shown[as_shown])
        if found is None or 0 < found.inliers < verdict.INLIERS_MIN:
            return  # too few features for any verdict: not worth laying over
        self.ways[nominee.source] = [*known, Way(nominee=nominee, found=found, part=part)]

    def verdicts(self) -> list[Verdict]:
        """Choose the earliest source of the strongest grade, and of a collage one for each cell."""
        doubtful: list[Verdict] = []
        asked = 0
        while True:
            for source in list(self.ways)[asked:]:
                judged = self._judged(self.ways[source])
                asked += 1
                if judged is None:
                    continue
                if judged.strength < verdict.SURE_STRENGTH:
                    doubtful.append(judged)
                elif self._is_last(judged):
                    return self._with_others(doubtful)
            if not self.waiting:
                return self._with_others(doubtful)
            while self.waiting:
                self._align_next()
            self.known.load(set(self.ways))

    def _is_last(self, judged: Verdict) -> bool:
        """Take what a source surely explains; say whether that leaves nothing for a later one."""
        place = self._place(judged)
        if self._is_apart(place):
            self.sure.append(judged)
            self.taken.append(place)
        still = all(part.frame == 0 for part in self.mine.parts)
        whole = still and (place[2] - place[0]) * (place[3] - place[1]) >= ALL_SHARE
        return whole or len(self.sure) == REGIONS_MAX

    def _with_others(self, doubtful: list[Verdict]) -> list[Verdict]:
        """Tell whose the other regions may be: of a collage, each cell has a source of its own."""
        chosen = self.sure or _earliest_of_best(doubtful, self.order)
        if not self.sure:
            self.taken += map(self._place, chosen)
        left = [v for v in doubtful if v.strength > verdict.SCENE_STRENGTH]
        while chosen and len(chosen) < REGIONS_MAX:
            left = [v for v in left if self._is_apart(self._place(v))]
            best = _earliest_of_best(left, self.order)
            if not best:
                break
            chosen = [*chosen, *best]
            self.taken += map(self._place, best)
        return chosen

    def _judged(self, ways: Sequence[Way]) -> Verdict | None:
        """Judge each way to one source; the best is kept."""
        best: Verdict | None = None
        for way in ways:
            if self._is_taken(way.found, self.mine.parts[way.nominee.accused_part]):
                continue
            judged = self._laid(way)
            if judged is not None and (best is None or judged.rank > best.rank):
                best = judged
        return best

    def _is_taken(self, found: Alignment, accused: Part) -> bool:
        """Say whether what agrees lies in a region that is surely of an earlier source."""
        if not (self.taken and found.inliers):
            return False
        box = _by_frame(agreeing_region(found, accused), accused.frame)
        area = max((box[2] - box[0]) * (box[3] - box[1]), 1e-9)
        return any(_common(box, before) >= INSIDE_MIN * area for before in self.taken)

    def _laid(self, way: Way) -> Verdict | None:
        """Lay a source over the accused, take off what was handed out, and judge what is left."""
        nominee, theirs = way.nominee, self.known.print_of(way.nominee.source)
        assert theirs is not None
        ours = self.known.piece(self.key, nominee.accused_part)
        source = self.known.piece(nominee.source, way.part)
        proved = proof.lay(nominee, way.found, ours, source, (self.mine, theirs), way.part)
        if proved is None:
            return None
        if self.handed_out:
            proved = proof.without_given(proved, ours, self.handed_out)
        if proved.accused_page:
            proved = self._with_own(proved)
        taught = None
        if proved.page and proved.agreement >= verdict.PEERS_WORTH_ASKING:
            taught = lookalike.variable(proved, *self.peers.of(self.key, nominee))
        return verdict.judge(proved, taught)

    def _with_own(self, proved: Proof) -> Proof:
        """Tell how much the accused page shows beside what it shares with the source."""
        part = proved.nominee.accused_part
        frame = self.known.piece(self.key, self.mine.frame_part(part)).canvas
        ours = self.known.piece(self.key, part)
        region = region_of(proved, ours.canvas.shape, ours.part.origin)
        frames = [p for p in self.mine.parts if p.frame == ours.part.frame]
        panels = [p.origin for p in frames if p.origin != WHOLE]
        count, share = own_content(frame, region or WHOLE, panels)
        return replace(proved, own_count=count, own_share=share)

    def _is_apart(self, place: Edges) -> bool:
        return all(_overlap(place, before) < APART_MAX for before in self.taken)

    def _place(self, judged: Verdict) -> Edges:
        """Return left, top, right and bottom of what matched in the accused."""
        piece = self.known.piece(self.key, judged.proof.nominee.accused_part)
        region = region_of(judged.proof, piece.canvas.shape, piece.part.origin)
        return _by_frame(region or WHOLE, piece.part.frame)


def _earliest_of_best(found: list[Verdict], order: Order) -> list[Verdict]:
    """Of the strongest grade, name the earliest source that is nearly as alike as the best."""
    if not found:
        return []
    grade = max(v.rank[0] for v in found)
    alike = [v for v in found if v.rank[0] == grade]
    best = max(v.rank[1] for v in alike)
    alike = [v for v in alike if v.rank[1] >= best - 0.1]
    return [min(alike, key=lambda v: _seniority(v, order))]


def _seniority(judged: Verdict, order: Order) -> tuple[object, Key]:
    source = judged.proof.nominee.source
    return (order[source[0]].rank, source)


def _by_frame(box: Edges, frame: int) -> Edges:
    """Lay frames side by side, so that regions of two frames never meet."""
    return (box[0] + 2 * frame, box[1], box[2] + 2 * frame, box[3])


def _common(one: Edges, other: Edges) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)


def _overlap(one: Edges, other: Edges) -> float:
    """Return the share of the smaller region that lies in the other."""
    least = min((e[2] - e[0]) * (e[3] - e[1]) for e in (one, other))
    return _common(one, other) / max(least, 1e-9)
