"""The image detector: fingerprints, nominations, proofs and the findings that hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import polars as pl

from detectors.image import nominate, prints, views
from detectors.image.attribution import Inquiry
from detectors.image.evidence import evidence
from detectors.image.examples import examples
from detectors.image.hashes import Grey
from detectors.image.known import Known, references
from detectors.image.nominate import Key, Nominee
from detectors.image.peers import PEERS_MAX, Peers
from detectors.image.prints import Print
from detectors.image.proof import Piece
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
"""Beside these, so many of the earliest that have at least half of the best one's weight."""
FAMILY_VOTES_MIN: Final = 8
FEW_VOTES: Final = 4
FEW_VOTES_SOURCES_MAX: Final = 10
"""Pictures with so few votes that are proved against, at most. Of 410 attacked pictures among 10,000 that
share words by chance, no source was so weak and yet between the tenth and the sixteenth."""
AT_ONCE: Final = 64
"""Accused pictures whose sources are read, and kept, at a time."""
RECENT_MAX: Final = 64
"""Pictures just read that are kept, should the same bytes come again."""


class ImageDetector:
    """Reports pictures that an earlier submission already carried, whole or in part."""

    def __init__(self, vocabulary: Vocabulary | None = None) -> None:
        self._vocabulary = vocabulary or shipped()
        self._recent: dict[str, tuple[Print, tuple[Grey, ...]]] = {}
        self.spec = DetectorSpec(
            name="image",
            version=f"5+{self._vocabulary.digest[:8]}",
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
        mine = Known(past).prints(batch.ids)
        nominated = self._nominated(mine, past, earlier=True, most=NOMINEES_MAX)
        named = {n.source[0] for nominees in nominated.values() for n in nominees}
        order = Order.of(past, [*sorted(named), *batch.ids])
        given = references(batch)
        best = {
            key: nominees for key in sorted(mine)
            if (nominees := _best(_accusable(key[0], nominated[key], order), order))
        }  # fmt: skip
        keys = list(best)
        for start in range(0, len(keys), AT_ONCE):
            some = {key: best[key] for key in keys[start : start + AT_ONCE]}
            known = Known(past)
            for key, chosen in _judged(some, known, Peers(known, past, order), given, order):
                source = order[chosen.proof.nominee.source[0]]
                built.signal(
                    key[0], chosen.reason_code, strength=chosen.strength,
                    matched_submission_id=source.submission_id,
                    matched_worker_id=source.worker_id,
                    evidence=evidence(key, chosen, source, known),
                )  # fmt: skip
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


def _judged(
    nominated: Mapping[Key, list[Nominee]],
    known: Known,
    peers: Peers,
    given: Mapping[str, tuple[Piece, ...]],
    order: Order,
) -> Iterator[tuple[Key, Verdict]]:
    """Align all, then read the small pictures of those pairs that may be proved, and judge them."""
    known.prints(sorted({sid for key, of in nominated.items() for sid, _ in (key, *_keys(of))}))
    inquiries = []
    wanted: set[Key] = set()
    for key, nominees in nominated.items():
        mine = known.print_of(key)
        assert mine is not None
        inquiry = Inquiry(
            key=key, mine=mine, known=known, handed_out=given.get(key[0], ()), peers=peers,
            order=order,
        )  # fmt: skip
        wanted |= inquiry.align(nominees)
        inquiries.append(inquiry)
    known.load(wanted)
    for inquiry in inquiries:
        for chosen in inquiry.verdicts():
            yield inquiry.key, chosen


def _keys(nominees: Iterable[Nominee]) -> list[Key]:
    return [nominee.source for nominee in nominees]


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

    In a long family of re-uploads the first may have fewer votes than its copies have of each other. A
    few votes are mostly chance: so many of the best are enough, and they make no family.
    """
    weights: dict[Key, float] = {}
    votes: dict[Key, int] = {}
    for nominee in nominees:
        weights[nominee.source] = max(weights.get(nominee.source, 0.0), nominee.weight)
        votes[nominee.source] = max(votes.get(nominee.source, 0), nominee.votes)
    ranked = sorted(weights, key=lambda source: (-weights[source], source))
    sources = set(ranked[:FEW_VOTES_SOURCES_MAX])
    sources |= {s for s in ranked[:SOURCES_MAX] if votes[s] > FEW_VOTES}
    if max(votes.values(), default=0) >= FAMILY_VOTES_MIN:
        good = [source for source in ranked if 2 * weights[source] >= weights[ranked[0]]]
        sources |= set(sorted(good, key=lambda s: (order[s[0]].rank, s))[:EARLIEST_MAX])
    return [n for n in nominees if n.source in sources]


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
