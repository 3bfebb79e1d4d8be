"""The image detector: fingerprints, nominations, proofs and the findings that hold."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

import polars as pl

from detectors.image import lookalike, nominate, prints, proof, verdict, views
from detectors.image.compare import Comparison
from detectors.image.evidence import Edges, evidence, own_content, region_of
from detectors.image.examples import examples
from detectors.image.hashes import Grey
from detectors.image.known import Known, references
from detectors.image.nominate import Key, Nominee
from detectors.image.prints import Print
from detectors.image.proof import Proof
from detectors.image.verdict import Verdict
from detectors.image.vocabulary import ASSET, Vocabulary, shipped
from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from detectors.kit.order import Order
from pipeline.model.errors import ContentError
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past

SOURCES_MAX: Final = 16
"""Pictures proved against, of those nominated: the best by weight."""
NOMINEES_MAX: Final = 64
"""Earlier pictures that words nominate; and as many of the earliest among the good ones."""
OWN_VOTES_MIN: Final = 20
EARLIEST_MAX: Final = 4
"""Beside these, so many of the earliest that have at least half of the best one's votes."""
RECENT_MAX: Final = 64
"""Pictures just read that are kept, should the same bytes come again."""
WHOLE: Final[Edges] = (0.0, 0.0, 1.0, 1.0)
REGIONS_MAX: Final = 4
"""Regions of one picture, each of another source, that are told."""
ALL_SHARE: Final = 0.9
"""Share of the accused picture from which a source leaves nothing for another."""
APART_MAX: Final = 0.2
PEERS_MAX: Final = 16
"""Submissions of a task, the earliest, that teach what varies among its honest pictures."""


class ImageDetector:
    """Reports pictures that an earlier submission already carried, whole or in part."""

    def __init__(self, vocabulary: Vocabulary | None = None) -> None:
        self._vocabulary = vocabulary or shipped()
        self._recent: dict[str, tuple[Print, tuple[Grey, ...]]] = {}
        self.spec = DetectorSpec(
            name="image",
            version=f"4+{self._vocabulary.digest[:8]}",
            consumes=frozenset({"contents", "tasks"}),
            reason_codes=frozenset(
                {"image.near_duplicate", "image.region_reused", "image.same_scene"}
            ),
        )

    def fitted(self, asset: Callable[[str], bytes | None]) -> "ImageDetector":
        """Return the detector with the vocabulary that was trained here, where one was."""
        made = asset(ASSET)
        return self if made is None else _with_vocabulary(made)

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember hashes, words, features and a small picture, or why there are none."""
        built = FingerprintBuilder(self.spec)
        for row in _pictured(batch.contents).iter_rows(named=True):
            sid, at = row["submission_id"], row["content_index"]
            try:
                made, small = self._read(row["digest"], row["media_type"], batch)
            except ContentError as error:
                said = f"{error.code}: {error.message}".encode()
                built.add(sid, prints.UNREAD, content_index=at, value=said)
                continue
            if made.codes:
                codes = b"".join(made.codes)
                built.add(sid, prints.HASHES, content_index=at, value=codes)
            words, places = prints.words_of(made, self._vocabulary)
            if len(words):
                built.add(
                    sid, prints.WORDS, content_index=at, keys=words.tolist(),
                    positions=places.tolist(),
                )  # fmt: skip
            if made.parts:
                built.add(sid, prints.LOCAL, content_index=at, value=prints.pack(made))
                canvases = prints.pack_canvases(small)
                built.add(sid, prints.CANVAS, content_index=at, value=canvases)
        return built.build()

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name who carries a picture like one of these, and whose template these help to learn."""
        mine = Known(past).prints(batch.ids)
        touched = self._later(mine, past)
        pictured = {key[0] for key in mine}
        taught = _teaching(batch, past, pictured)
        if taught:
            touched |= taught
            known = Known(past).prints(sorted(taught))
            pages = {key: made for key, made in known.items() if any(p.page for p in made.parts)}
            touched |= self._later(pages, past)
        return frozenset(touched) - frozenset(batch.ids)

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Report, for each picture, the earliest submission that it was proved to be made from."""
        built = FindingsBuilder(self.spec)
        known = Known(past)
        mine = known.prints(batch.ids)
        nominated = self._nominated(mine, past, earlier=True, most=NOMINEES_MAX)
        named = {n.source[0] for nominees in nominated.values() for n in nominees}
        order = Order.of(past, [*sorted(named), *batch.ids])
        given = references(batch)
        peers = _Peers(known, past, order)
        for key in sorted(mine):
            nominees = _accusable(key[0], nominated[key], order)
            if not nominees:
                continue
            handed_out = given.get(key[0], ())
            found = _verdicts(key, _best(nominees, order), known, list(handed_out), peers, order)
            for chosen in _by_region(found, key, known, order):
                source = order[chosen.proof.nominee.source[0]]
                built.signal(
                    key[0],
                    chosen.reason_code,
                    strength=chosen.strength,
                    matched_submission_id=source.submission_id,
                    matched_worker_id=source.worker_id,
                    evidence=evidence(key, chosen, source, known),
                )
        for row in past.fingerprints(prints.UNREAD, batch.ids).iter_rows(named=True):
            code, _, why = row["value"].decode().partition(": ")
            built.abstain(row["submission_id"], code, why)
        return built.build()

    def examples(self) -> Iterable[Example]:
        """Inputs with the findings that they must give."""
        return examples()

    def _read(self, digest: str, media_type: str, batch: Batch) -> tuple[Print, tuple[Grey, ...]]:
        """Read a picture, or remember it: one picture often comes many times in a row."""
        if digest not in self._recent:
            frames = views.frames_of(batch.blobs.get(digest), media_type, batch.decoder)
            while len(self._recent) >= RECENT_MAX:
                self._recent.pop(next(iter(self._recent)))
            self._recent[digest] = prints.read(views.to_grey(frame) for frame in frames)
        return self._recent[digest]

    def _nominated(
        self, mine: Mapping[Key, Print], past: Past, *, earlier: bool, most: int | None
    ) -> dict[Key, list[Nominee]]:
        found = nominate.merged(
            [
                nominate.by_hash(mine, past),
                nominate.by_words(mine, past, self._vocabulary, earlier=earlier, most=most),
            ]
        )
        return {key: found.get(key, []) for key in mine}

    def _later(self, mine: Mapping[Key, Print], past: Past) -> set[str]:
        """Name those later submissions that carry a picture like one of these.

        What an earlier one is said to be made from does not hang on what came after it.
        """
        near = self._nominated(mine, past, earlier=False, most=None)
        pairs = {(key[0], n.source[0]) for key, nominees in near.items() for n in nominees}
        order = Order.of(past, sorted({sid for pair in pairs for sid in pair}))
        return {other for own, other in pairs if order[other].rank > order[own].rank}


@lru_cache(maxsize=4)
def _with_vocabulary(data: bytes) -> ImageDetector:
    return ImageDetector(Vocabulary.from_bytes(data))


def _pictured(contents: pl.DataFrame) -> pl.DataFrame:
    wanted = [t for t in contents["media_type"].unique().to_list() if views.is_picture(t)]
    return contents.filter(pl.col("media_type").is_in(wanted))


def _accusable(accused: str, nominees: list[Nominee], order: Order) -> list[Nominee]:
    """Keep sources that the accused may have copied: earlier, and earlier than its own version.

    Where the accused revises a picture of its own that is as alike, whoever came between copied it.
    """
    me = order[accused]
    kept = [n for n in nominees if order.accusable(accused, n.source[0])]
    own = [
        order[n.source[0]].rank
        for n in nominees
        if n.source[0] in order
        and (n.distance <= 31 or n.votes >= OWN_VOTES_MIN)
        and order[n.source[0]].rank < me.rank
        and (order[n.source[0]].worker_id, order[n.source[0]].task_id) == (me.worker_id, me.task_id)
        and not order.accusable(accused, n.source[0])
    ]
    if not own:
        return kept
    return [n for n in kept if order[n.source[0]].rank < min(own)]


def _best(nominees: list[Nominee], order: Order) -> list[Nominee]:
    """Keep the nominations of the best sources, and of the earliest among the good ones.

    In a long family of re-uploads the first may have fewer votes than its copies have of each other.
    """
    weights: dict[Key, float] = {}
    for nominee in nominees:
        weights[nominee.source] = max(weights.get(nominee.source, 0.0), nominee.weight)
    ranked = sorted(weights, key=lambda source: (-weights[source], source))
    good = [source for source in ranked if 2 * weights[source] >= weights[ranked[0]]]
    earliest = sorted(good, key=lambda source: (order[source[0]].rank, source))[:EARLIEST_MAX]
    sources = {*ranked[:SOURCES_MAX], *earliest}
    return [n for n in nominees if n.source in sources]


def _verdicts(
    key: Key,
    nominees: list[Nominee],
    known: Known,
    handed_out: list[proof.Piece],
    peers: "_Peers",
    order: Order,
) -> list[Verdict]:
    """Prove the nominees of each source, the earliest source first, and keep the best of each.

    Once a source surely explains the whole picture, no later one can be named: the rest is not asked.
    """
    found: list[Verdict] = []
    known.load({n.source for n in nominees})
    by_source: dict[Key, list[Nominee]] = {}
    for nominee in nominees:
        by_source.setdefault(nominee.source, []).append(nominee)
    for source in sorted(by_source, key=lambda s: (order[s[0]].rank, s)):
        judged = _verdict(key, by_source[source], known, handed_out, peers)
        if judged is not None:
            found.append(judged)
            if _explains_all(judged, key, known):
                break
    return found


def _explains_all(judged: Verdict, key: Key, known: Known) -> bool:
    left, top, right, bottom = _place(judged, key, known)
    mine = known.print_of(key)
    still = mine is not None and all(part.frame == 0 for part in mine.parts)
    sure = judged.strength >= verdict.SURE_STRENGTH
    return still and sure and (right - left) * (bottom - top) >= ALL_SHARE


def _verdict(
    key: Key,
    nominees: list[Nominee],
    known: Known,
    handed_out: list[proof.Piece],
    peers: "_Peers",
) -> Verdict | None:
    """Prove each way to one source and judge it; the best is kept."""
    best: Verdict | None = None
    aligned: set[tuple[str, int, int]] = set()
    mine, theirs = known.print_of(key), known.print_of(nominees[0].source)
    if theirs is None or mine is None:
        return None
    for nominee in nominees:
        part = theirs.slot(nominee.slots[1])[0] if nominee.source_part < 0 else nominee.source_part
        if part >= len(theirs.parts) or nominee.accused_part >= len(mine.parts):
            continue
        pair = (nominee.mode, nominee.accused_part, part)
        if pair in aligned:
            continue  # nominated by hash and by words: the features say the same twice
        ours = known.piece(key, nominee.accused_part)
        source = known.piece(nominee.source, part)
        proved = proof.prove(nominee, ours, source, (mine, theirs), part)
        if proved is None:
            continue
        if proved.alignment.inliers:
            aligned.add(pair)
        if handed_out:
            proved = proof.without_given(proved, ours, handed_out)
        if proved.accused_page:
            proved = _with_own(proved, key, mine, known)
        taught = None
        if proved.page and proved.agreement >= verdict.PEERS_WORTH_ASKING:
            taught = lookalike.variable(proved, *peers.of(key, nominee))
        judged = verdict.judge(proved, taught)
        if judged is not None and (best is None or judged.rank > best.rank):
            best = judged
    return best


def _with_own(proved: Proof, key: Key, mine: Print, known: Known) -> Proof:
    """Tell how much the accused page shows beside what it shares with the source."""
    part = proved.nominee.accused_part
    frame = known.piece(key, mine.frame_part(part)).canvas
    ours = known.piece(key, part)
    region = region_of(proved, ours.canvas.shape, ours.part.origin)
    panels = [p.origin for p in mine.parts if p.frame == ours.part.frame and p.origin != WHOLE]
    count, share = own_content(frame, region or WHOLE, panels)
    return replace(proved, own_count=count, own_share=share)


def _chosen(found: list[Verdict], order: Order) -> Verdict | None:
    """Of the strongest grade, name the earliest source: the first submitter is protected."""
    if not found:
        return None
    grade = max(v.rank[0] for v in found)
    alike = [v for v in found if v.rank[0] == grade]
    if grade < 2:
        best = max(v.rank[1] for v in alike)
        alike = [v for v in alike if v.rank[1] >= best - 0.1]
    return min(alike, key=lambda v: _seniority(v, order))


def _by_region(found: list[Verdict], key: Key, known: Known, order: Order) -> list[Verdict]:
    """Choose one source; of a collage, one for each region that is surely somebody's."""
    first = _chosen(found, order)
    if first is None:
        return []
    chosen = [first]
    taken = [_place(first, key, known)]
    if first.strength >= verdict.SURE_STRENGTH:
        for other in sorted(found, key=lambda v: _seniority(v, order)):
            place = _place(other, key, known)
            apart = all(_overlap(place, before) < APART_MAX for before in taken)
            if other.strength >= verdict.SURE_STRENGTH and apart and len(chosen) < REGIONS_MAX:
                chosen.append(other)
                taken.append(place)
    return chosen


def _seniority(judged: Verdict, order: Order) -> tuple[object, Key]:
    source = judged.proof.nominee.source
    return (order[source[0]].rank, source)


def _place(judged: Verdict, key: Key, known: Known) -> Edges:
    """Return frame, left, top, right and bottom of what matched in the accused."""
    piece = known.piece(key, judged.proof.nominee.accused_part)
    region = region_of(judged.proof, piece.canvas.shape, piece.part.origin)
    left, top, right, bottom = region or WHOLE
    # Frames lie side by side, so that regions of two frames never meet.
    return (left + 2 * piece.part.frame, top, right + 2 * piece.part.frame, bottom)


def _overlap(one: Edges, other: Edges) -> float:
    """Return the share of the smaller region that lies in the other."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    least = min((e[2] - e[0]) * (e[3] - e[1]) for e in (one, other))
    return max(0.0, wide) * max(0.0, high) / max(least, 1e-9)


class _Peers:
    """Other submitters' pictures of the same tasks, laid over the accused, each pair once."""

    def __init__(self, known: Known, past: Past, order: Order) -> None:
        self._known, self._past, self._order = known, past, order
        self._of_task: dict[str, list[tuple[str, str]]] = {}
        self._laid: dict[tuple[Key, int, Key, int], object] = {}

    def of(self, key: Key, nominee: Nominee) -> tuple[list[Comparison], int]:
        """Lay peers of the accused's task and of the source's over it; and count who was asked."""
        accused, source = self._order[key[0]], self._order[nominee.source[0]]
        ours = {accused.worker_id, source.worker_id}
        ids = sorted(
            {
                sid
                for task in (accused.task_id, source.task_id)
                for sid, worker in self._members(task)
                if worker not in ours and sid not in (key[0], nominee.source[0])
            }
        )
        found = []
        made = self._known.prints(ids)
        self._known.load(set(made))
        for peer, print_ in made.items():
            for part in range(len(print_.parts)):
                laid = self._lay(key, nominee.accused_part, peer, part)
                if laid is not None:
                    found.append(laid)
                    break
        return found, len({peer[0] for peer in made})

    def _members(self, task: str) -> list[tuple[str, str]]:
        if task not in self._of_task:
            members = self._past.of_task([task], limit=PEERS_MAX)
            self._of_task[task] = list(members.select("submission_id", "worker_id").iter_rows())
        return self._of_task[task]

    def _lay(self, key: Key, part: int, peer: Key, peer_part: int) -> Comparison | None:
        name = (key, part, peer, peer_part)
        if name not in self._laid:
            ours, theirs = self._known.piece(key, part), self._known.piece(peer, peer_part)
            self._laid[name] = lookalike.lay_peer(ours, theirs)
        laid = self._laid[name]
        return laid if isinstance(laid, Comparison) else None


def _teaching(batch: Batch, past: Past, pictured: set[str]) -> set[str]:
    """Name the members of those tasks among whose first submissions the batch has a picture."""
    if not pictured:
        return set()
    arrived = batch.submissions.filter(pl.col("submission_id").is_in(sorted(pictured)))
    tasks = sorted(set(arrived["task_id"]))
    first = past.of_task(tasks, limit=PEERS_MAX)
    taught = first.filter(pl.col("submission_id").is_in(sorted(pictured)))["task_id"].unique()
    if taught.is_empty():
        return set()
    return set(past.of_task(sorted(taught), limit=10_000)["submission_id"])
