"""The text detector: fingerprints nominate, alignment proves, the earliest submitter is protected."""

import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors.kit.findings import FindingsBuilder
from detectors.kit.lexical import Picks, align, covered, minhash, read, weights_of, winnow
from detectors.kit.order import Order
from detectors.text import examples as shown
from detectors.text import surface
from detectors.text.bodies import BODY, Body, Reader, bodies, given_texts
from detectors.text.corpus import (
    Corpus,
    Loud,
    evidence_of,
    joined,
    own_weights,
    quiet_picks,
    where,
)
from detectors.text.nominate import (
    BAND,
    CARRIERS_MAX,
    DF_MAX,
    ROWS_MAX,
    WHOLE,
    WINNOW,
    nominate,
)
from detectors.text.prove import GAIN_MIN, explain, gains
from pipeline.model import frames
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past

WHOLE_WEIGHT_MIN: Final = 36
BAND_WEIGHT_MIN: Final = 60
PAIRS_MAX: Final = 4_096
"""Pairs proved at a time: what sources of more take in memory would grow with what is known."""
SIGNED_MAX: Final = 200_000
"""Longer texts have thousands of winnowed fingerprints, and no need of a signature."""


class TextDetector:
    """Reports copied, disguised and empty texts, in submissions and in the files that they carry."""

    spec = DetectorSpec(
        name="text",
        version="3",
        consumes=frozenset({"text", "contents", "tasks"}),
        reason_codes=frozenset(
            {
                "text.near_duplicate",
                "text.contained",
                "text.template_only",
                "text.hidden_characters",
                "text.canary",
            }
        ),
    )

    def __init__(self) -> None:
        self._reader = Reader()

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember winnowed fingerprints, MinHash bands beside the signature, and whole digests."""
        found, _ = bodies(
            batch.submissions, batch.contents, batch.blobs, batch.decoder, self._reader
        )
        if not found:
            return frames.empty(frames.FINGERPRINTS)
        texts = read([b.text for b in found])
        picks = winnow(texts)
        signatures, bands = minhash(texts, units_max=SIGNED_MAX)
        heads = _signature_head()
        rows: list[pl.DataFrame] = []
        bounds = picks.cuts.tolist()
        keys = [picks.keys[a:b] for a, b in itertools.pairwise(bounds)]
        places = [picks.places[a:b] for a, b in itertools.pairwise(bounds)]
        weights = texts.weights
        some = np.flatnonzero(np.diff(picks.cuts) > 0)
        whole = np.flatnonzero(weights >= WHOLE_WEIGHT_MIN)
        signed = np.flatnonzero(
            (weights >= BAND_WEIGHT_MIN) & (np.diff(texts.starts) <= SIGNED_MAX)
        )
        rows.append(self._rows(found, WINNOW, some, [keys[i] for i in some],
                               [places[i] for i in some]))  # fmt: skip
        rows.append(self._rows(found, WHOLE, whole, [texts.digests[i : i + 1] for i in whole]))
        rows.append(self._rows(found, BAND, signed, [bands[i] for i in signed],
                               values=[heads + signatures[i].tobytes() for i in signed]))  # fmt: skip
        return pl.concat(rows)

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name later submissions that share a fingerprint, and later revisions of these."""
        made = self.fingerprint(batch)
        when = batch.submissions.select("submission_id", "worker_id", "submitted_at")
        known = set(batch.ids)
        found: set[str] = set()
        for kind in (WINNOW, WHOLE, BAND):
            mine = (
                made.filter(pl.col("kind") == kind)
                .select("submission_id", pl.col("keys").alias("key"))
                .explode("key", empty_as_null=True)
                .unique()
            )
            if mine.is_empty():
                continue
            found |= _later_carriers(mine, when, past, kind)
        found |= set(_revisions_of(batch, past))
        found |= _near(past, made, known, found - known)
        return frozenset(found - known)

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Judge every text of the batch against all that came before it."""
        built = FindingsBuilder(self.spec)
        found, unread = bodies(
            batch.submissions, batch.contents, batch.blobs, batch.decoder, self._reader
        )
        for file in unread:
            built.abstain(file.submission_id, file.code, file.why)
        if not found:
            return built.build()
        corpus = self._corpus(found, batch, past, batch.submissions)
        copied = self._copies(corpus, batch, past, built)
        self._surfaces(corpus, batch, copied, built)
        return built.build()

    def examples(self) -> Iterable[Example]:
        """Copies, disguises, honest look-alikes."""
        return shown.examples()

    def _rows(
        self, found: Sequence[Body], kind: str, which: npt.NDArray[np.int64],
        keys: Sequence[npt.NDArray[np.uint64]],
        places: Sequence[npt.NDArray[np.int32]] | None = None,
        values: Sequence[bytes] | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        some = [found[i] for i in which.tolist()]
        positions = places or [np.zeros(len(k), np.int32) for k in keys]
        return pl.DataFrame(
            {
                "submission_id": [b.submission_id for b in some],
                "detector": [self.spec.name] * len(some),
                "version": [self.spec.version] * len(some),
                "kind": [kind] * len(some),
                "content_index": [b.content_index for b in some],
                "keys": pl.Series(list(keys), dtype=pl.List(pl.UInt64)),
                "positions": pl.Series(list(positions), dtype=pl.List(pl.Int32)),
                "value": pl.Series(values or [None] * len(some), dtype=pl.Binary),
            },
            schema=dict(frames.FINGERPRINTS),
        )

    def _corpus(
        self, found: list[Body], batch: Batch, past: Past, submissions: pl.DataFrame
    ) -> Corpus:
        """Fold bodies and mark what their tasks handed out."""
        texts = read([b.text for b in found])
        task_of = dict(submissions.select("submission_id", "task_id").iter_rows())
        tasks = past.tasks(sorted(set(task_of.values())))
        given = given_texts(tasks, {}, batch.blobs, batch.decoder, self._reader)
        numbers = {task_id: number for number, task_id in enumerate(given)}
        handed = read([text for some in given.values() for text in some])
        bounds = np.cumsum([0, *(len(some) for some in given.values())])
        groups = [numbers.get(task_of[body.submission_id], -1) for body in found]
        marks = covered(texts, np.array(groups, np.int64), handed, bounds.astype(np.int64))
        return Corpus(bodies=found, texts=texts, given=marks)

    def _copies(
        self, corpus: Corpus, batch: Batch, past: Past, built: FindingsBuilder
    ) -> dict[int, float]:
        """Report copies; return the greatest strength by text."""
        texts, picks = corpus.texts, winnow(corpus.texts)
        quiet, own = quiet_picks(corpus, picks), own_weights(corpus)
        who = pl.DataFrame(
            {"submission_id": [b.submission_id for b in corpus.bodies], "weight": own}
        )
        _, bands = minhash(texts, units_max=SIGNED_MAX)
        digests = np.where(own >= WHOLE_WEIGHT_MIN, texts.digests, np.uint64(0))
        named = nominate(who, picks, quiet, digests, bands, past)
        strengths: dict[int, float] = {}
        for begin, end in _cuts(named.pairs["text"]):
            mine = named.pairs.filter(pl.col("text").is_between(begin, end, closed="left"))
            some = slice(int(picks.cuts[begin]), int(picks.cuts[end]))
            told = self._prove(
                corpus.part(begin, end), mine.with_columns(pl.col("text") - begin),
                picks.part(begin, end), named.stock[some], batch, past, built,
            )  # fmt: skip
            strengths |= {begin + text: strength for text, strength in told.items()}
        return strengths

    def _prove(
        self, corpus: Corpus, candidates: pl.DataFrame, picks: Picks, stock: npt.NDArray[np.bool_],
        batch: Batch, past: Past, built: FindingsBuilder,
    ) -> dict[int, float]:  # fmt: skip
        """Align texts with their candidates and report what is left to explain; strengths by text."""
        sources = self._sources(candidates, batch, past)
        both, first = joined(corpus, sources), len(corpus.bodies)
        pairs = _unlike(candidates, sources, first)
        found = align(
            both.texts,
            [p.text for p in pairs],
            [p.source for p in pairs],
            both.given.astype(np.uint8),
        )
        weights, loud = own_weights(both), Loud.of(both, picks, stock)
        by_text: dict[int, list[int]] = {}
        likely = np.flatnonzero(gains(found) >= GAIN_MIN).tolist()
        order = Order.of(
            past, sorted({both.bodies[i].submission_id for at in likely for i in pairs[at][:2]})
        )
        for at in likely:
            later, earlier = (both.bodies[i].submission_id for i in pairs[at][:2])
            if order.accusable(later, earlier):
                by_text.setdefault(pairs[at].text, []).append(at)
        strengths: dict[int, float] = {}
        for text, some in by_text.items():
            mine = _first_of_equal(some, pairs)
            accused = order[both.bodies[text].submission_id]
            owners = [order[both.bodies[pairs[at].source].submission_id] for at in mine]
            copies = explain(
                [(at, loud.keep(text, found.of(at))) for at in mine],
                float(weights[text]),
                [float(weights[pairs[at].source]) for at in mine],
                [o.worker_id == accused.worker_id for o in owners],
            )
            for copy in copies:
                source = pairs[copy.pair].source
                owner = order[both.bodies[source].submission_id]
                built.signal(
                    accused.submission_id,
                    copy.code,
                    strength=copy.strength,
                    matched_submission_id=owner.submission_id,
                    matched_worker_id=owner.worker_id,
                    evidence=evidence_of(both, text, source, copy)
                    | {"first_submitted_at": owner.submitted_at.isoformat()},
                )
                strengths[text] = max(strengths.get(text, 0.0), copy.strength)
        return strengths

    def _sources(self, pairs: pl.DataFrame, batch: Batch, past: Past) -> Corpus:
        """Fold the texts that were nominated."""
        asked = pairs.select("submission_id", "content_index").unique()
        ids = asked["submission_id"].unique().sort().to_list()
        filed = asked.filter(pl.col("content_index") != BODY)["submission_id"].unique().to_list()
        known = past.submissions(ids, columns=("submission_id", "task_id", "text"))
        theirs, _ = bodies(known, past.contents(filed), past, batch.decoder, self._reader)
        named = set(asked.iter_rows())
        theirs = [b for b in theirs if (b.submission_id, b.content_index) in named]
        return self._corpus(theirs, batch, past, known)

    def _surfaces(
        self, corpus: Corpus, batch: Batch, copied: Mapping[int, float], built: FindingsBuilder
    ) -> None:
        """Report what single texts show by themselves."""
        extras = batch.submissions.select("submission_id", "task_id").join(
            batch.tasks.select("task_id", task_extra="extra"), on="task_id", how="left"
        )
        planted = {
            sid: surface.canaries_of(extra)
            for sid, extra in extras.select("submission_id", "task_extra").iter_rows()
        }
        weights = weights_of(corpus.texts)
        for index, body in enumerate(corpus.bodies):
            here = slice(corpus.texts.starts[index], corpus.texts.starts[index + 1])
            given = corpus.given[here]
            found = (
                surface.hidden_characters(
                    body.text, corpus.texts.classes[index], len(given),
                    copied=copied.get(index, 0.0) >= 0.5,
                ),
                surface.template_only(weights[here], given, body.content_index == BODY),
                surface.canary(corpus.texts, index, planted.get(body.submission_id, []), given),
            )  # fmt: skip
            for one in found:
                if one is not None:
                    evidence = {"where": where(body), **one.evidence}
                    built.signal(
                        body.submission_id, one.code, strength=one.strength, evidence=evidence
                    )


class _Pair(NamedTuple):
    """A text and its candidate among the joined texts, the candidate's digest, and whose it is."""

    text: int
    source: int
    digest: int
    own: bool


def _cuts(texts: pl.Series) -> list[tuple[int, int]]:
    """Cut the texts of pairs, in their order, where PAIRS_MAX pairs are full."""
    if texts.is_empty():
        return []
    counted = texts.rle().struct.unnest()
    full = (counted["len"].cum_sum() - 1) // PAIRS_MAX
    begins = counted["value"].filter((full != full.shift(1)).fill_null(True)).to_list()
    return list(itertools.pairwise([*begins, int(texts[-1]) + 1]))


def _unlike(pairs: pl.DataFrame, sources: Corpus, first: int) -> list[_Pair]:
    """List the pairs, of equal sources only the earliest: it says all.

    What the accused text's own worker handed in stays, because a revision may not be accused over it.
    """
    digests = sources.texts.digests.tolist()
    place = {(b.submission_id, b.content_index): i for i, b in enumerate(sources.bodies)}
    kept: list[_Pair] = []
    seen: set[tuple[int, int]] = set()
    for text, whose, content, own in pairs.select(
        "text", "submission_id", "content_index", "own"
    ).iter_rows():
        at = place.get((whose, content))
        if at is None or (text, digests[at]) in seen:
            continue
        if not own:
            seen.add((text, digests[at]))
        kept.append(_Pair(text, first + at, digests[at], own))
    return kept


def _first_of_equal(some: Sequence[int], pairs: Sequence[_Pair]) -> list[int]:
    """Keep of the pairs of one text the first of each digest."""
    return list({pairs[at].digest: at for at in reversed(some)}.values())[::-1]


def _later_carriers(mine: pl.DataFrame, when: pl.DataFrame, past: Past, kind: str) -> set[str]:
    """Name those who handed in later than a batch member whose key they carry.

    A key that the batch carries over ``DF_MAX`` stops nominating, so all of its carriers are named.
    Where equal texts stand before a member, so many that nobody looks beyond them, it changes nothing.
    """
    if kind == WHOLE:
        first = past.postings(kind, mine["key"].unique(), earliest=CARRIERS_MAX, limit=ROWS_MAX)
        mine = mine.join(first, on=["key", "submission_id"], how="semi")
        if mine.is_empty():
            return set()
    keys = mine["key"].unique()
    fresh = mine.group_by("key").agg(pl.col("submission_id").n_unique().alias("fresh"))
    limits = past.frequencies(kind, keys).join(fresh, on="key")
    over = pl.col("df") > DF_MAX
    crossing = limits.filter(over & (pl.col("df") - pl.col("fresh") <= DF_MAX))["key"]
    usable = keys if kind == WHOLE else limits.filter(~over)["key"]
    found = past.postings(kind, usable, limit=ROWS_MAX)
    first = (
        mine.join(when, on="submission_id")
        .group_by("key")
        .agg(pl.col("submitted_at").min().alias("first_at"))
    )
    theirs = past.submissions(found["submission_id"].unique().to_list())
    later = (
        found.join(first, on="key")
        .join(theirs.select("submission_id", "submitted_at"), on="submission_id")
        .filter(pl.col("submitted_at") >= pl.col("first_at"))
    )
    named = set(later["submission_id"])
    if len(crossing):
        named |= set(past.postings(kind, crossing, limit=ROWS_MAX)["submission_id"])
    return named


def _revisions_of(batch: Batch, past: Past) -> list[str]:
    """Name revisions of the batch's submissions: whose chain they end may have changed."""
    workers = batch.submissions["worker_id"].unique().to_list()
    theirs = past.of_worker(workers).drop_nulls("supersedes")
    links = theirs.filter(
        pl.col("supersedes").is_in(batch.ids)
        | pl.col("task_id").is_in(batch.submissions["task_id"].unique().to_list())
    )
    return links["submission_id"].to_list()


def _signature_head() -> bytes:
    """The head of datasketch's serialized ``affine32`` LeanMinHash, seed 1, 128 values."""
    return struct.pack("<qiB", 1, -128, 1)


def _near(past: Past, made: pl.DataFrame, known: set[str], later: set[str]) -> set[str]:
    """Name who shares a fingerprint with the batch or those later, and all work of theirs.

    What counts as a stock phrase, and which version of a work stands for it, may change for texts
    that the batch itself, whose fingerprints were just ``made``, does not resemble.
    """
    carriers = known | later
    for kind in (WINNOW, WHOLE, BAND):
        prints = [made.filter(pl.col("kind") == kind)["keys"]]
        if later:
            prints.append(past.fingerprints(kind, sorted(later))["keys"])
        keys = pl.concat(prints).explode(empty_as_null=True)
        found = past.postings(kind, keys.drop_nulls().unique(), df_max=DF_MAX, limit=ROWS_MAX)
        carriers |= set(found["submission_id"])
    workers = past.submissions(sorted(carriers))["worker_id"].unique().to_list()
    return carriers | set(past.of_worker(workers)["submission_id"])
