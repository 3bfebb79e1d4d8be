"""What the line needs from outside, as Protocols, and the two things that it hands to a detector.

Nothing here does I/O. Stores implement the read side (``Past``, ``Blobs``, ``Decoder``); detectors
implement ``Detector``. All queries are bounded: a ``limit`` is an upper bound on rows, and which rows
survive it is deterministic (earliest submission first) so that a finding never depends on luck.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.model import frames
from pipeline.model.carriers import Carriers, Sketches
from pipeline.model.errors import RowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One decoded frame of a picture: ``pixels`` uint8 (height, width, 3) RGB, upright.

    Where grey was asked for, ``pixels`` is (height, width): the luma of BT.601.
    ``scale`` is decoded pixels per original pixel (1.0 where nothing was reduced), so that a region
    found here can be named in the original's own pixels.
    """

    pixels: npt.NDArray[np.uint8]
    scale: float
    frame_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the bytes are, whatever they were called.

    ``media_type`` is decided from the bytes; ``width``, ``height`` in pixels after orientation and
    ``frame_count`` are None where it is no picture.
    """

    media_type: str
    width: int | None = None
    height: int | None = None
    frame_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Text and pictures inside a file: ``pages`` in reading order, ``pictures`` encoded."""

    pages: tuple[str, ...]
    pictures: tuple[bytes, ...] = ()


class Decoder(Protocol):
    """Looks into bytes from strangers, in a child process with limits on size, time and memory.

    Every method raises ``ContentError`` with a typed code (``blob.unreadable``, ``blob.too_large``,
    ``blob.polyglot``, ``blob.wrong_type``, ``blob.timeout``) and never anything else for bad bytes.
    """

    def probe(self, data: bytes, claim: str | None = None) -> Probe:
        """Decide the media type from the bytes and check that they can be decoded."""
        ...

    def pictures(
        self, data: bytes, *, side_max: int, frames_max: int = 8, grey: bool = False
    ) -> tuple[Picture, ...]:
        """Decode at a reduced scale whose longer side is at most ``side_max`` pixels.

        ``grey`` asks for luma alone, which is quicker: of a JPEG no colour is decoded then.
        """
        ...

    def document(self, data: bytes, media_type: str) -> Document:
        """Extract the text and embedded pictures of txt, md, docx, pdf and html."""
        ...


class Blobs(Protocol):
    """Bytes by their SHA-256 digest in lower-case hex."""

    def get(self, digest: str) -> bytes:
        """Return the bytes. Raises ``ContentError('blob.absent')`` where they are not stored."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """One row as it was delivered: ``line`` from 1 (rows of a Parquet file: from 0).

    ``value`` is what was decoded, or ``error`` why it could not be; ``lax`` rows came as text and may
    have numbers in quotes. ``raw`` is kept in quarantine, so that nothing is lost.
    """

    file: str
    line: int
    raw: str
    value: object = None
    error: RowError | None = None
    lax: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventChunk:
    """Some of the behaviour log: ``frame`` unchecked, ``lines`` Int64 beside its rows."""

    file: str
    frame: pl.DataFrame
    lines: pl.Series
    broken: tuple[RawRow, ...] = ()


class Drop(Protocol):
    """What the platform hands over."""

    def rows(self, table: str) -> Iterable[RawRow]:
        """Read the rows of ``tasks``, ``workers`` or ``submissions``."""
        ...

    def events(self) -> Iterable[EventChunk]:
        """Read the behaviour log."""
        ...

    def blob(self, path: str) -> bytes:
        """Read a file that a row names. Raises ``ContentError``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One row for quarantine."""

    table: str
    file: str
    line: int
    row_id: str | None
    code: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What became of some rows: how many were new, known already, or at odds with a known row."""

    new: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def __add__(self, other: "Admission") -> "Admission":
        return Admission(
            new=self.new + other.new,
            duplicate=self.duplicate + other.duplicate,
            quarantined=self.quarantined + other.quarantined,
        )


class Intake(Protocol):
    """The writing side of the record that ingest needs. Each call is one transaction, idempotent."""

    def keep_blob(self, data: bytes) -> str:
        """Store bytes once and return their digest."""
        ...

    def admit(
        self,
        table: str,
        rows: Sequence[tuple[RawRow, Mapping[str, Any]]],
        refusals: Sequence[Refusal],
    ) -> Admission:
        """Take in checked rows; one that differs from a known row of its id is quarantined."""
        ...

    def admit_events(self, events: pl.DataFrame, refusals: Sequence[Refusal]) -> Admission:
        """Take in an EVENTS frame as segments."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One queued submission, and how often it had been marked when it was drawn."""

    submission_id: str
    generation: int


class Work(Protocol):
    """The queue of submissions to be judged, and where judgements are written. Depths: 0 fingerprint,
    1 look, 2 look with the others' findings at hand, score and decide.
    """

    def waiting(self, depth: int) -> int:
        """Count what is queued at that depth."""
        ...

    def next(self, depth: int, limit: int) -> list[Ticket]:
        """Return the oldest arrivals queued at that depth."""
        ...

    def queue(self, submission_ids: Iterable[str], *, depth: int) -> None:
        """Queue submissions to be judged anew."""
        ...

    def write_fingerprints(self, made: pl.DataFrame) -> Any:
        """Write fingerprints where they can be found, not yet counting; return what names them."""
        ...

    def keep_fingerprints(
        self, tickets: Sequence[Ticket], written: Any, versions: Mapping[str, str]
    ) -> None:
        """Remember fingerprints that were written; the tickets stay where they are."""
        ...

    def move_on(
        self, tickets: Sequence[Ticket], touched: Iterable[str] | None, *, depth: int
    ) -> bool:
        """Move tickets to ``depth`` and queue whom they touched, in one step; True where it was done.

        ``None`` stands for everybody known, and is refused unless all wait at that depth or before.
        """
        ...

    def keep_findings(
        self,
        tickets: Sequence[Ticket],
        signals: pl.DataFrame,
        abstentions: pl.DataFrame,
        ran: pl.DataFrame,
        detectors: Sequence[str],
    ) -> None:
        """Replace what those detectors say of these submissions; the tickets stay where they are."""
        ...

    def keep_assessments(
        self,
        tickets: Sequence[Ticket],
        signals: pl.DataFrame,
        abstentions: pl.DataFrame,
        ran: pl.DataFrame,
        detectors: Sequence[str],
        assessments: pl.DataFrame,
        *,
        now: datetime,
    ) -> int:
        """Replace findings, add the assessments that say something new, tick the tickets off."""
        ...

    def findings(
        self, submission_ids: Sequence[str]
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Return the kept SIGNALS, ABSTENTIONS and RAN frames of those submissions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The submissions to look at, columnar, with what belongs to them.

    ``tasks`` and ``workers`` hold the rows that ``submissions`` name and that are known; ``events``
    the behaviour log of these submissions, ``contents`` their files; ``signals`` what the detectors
    named in ``DetectorSpec.after`` have found about this batch. Rows are ordered by
    (submitted_at, submission_id).
    """

    submissions: pl.DataFrame
    contents: pl.DataFrame
    tasks: pl.DataFrame
    workers: pl.DataFrame
    events: pl.DataFrame
    blobs: Blobs
    decoder: Decoder
    signals: pl.DataFrame = field(default_factory=lambda: frames.empty(frames.SIGNALS))

    @property
    def ids(self) -> list[str]:
        """Submission ids in order of submission."""
        return self.submissions["submission_id"].to_list()

    def __len__(self) -> int:
        return self.submissions.height


class Past(Protocol):
    """Everything known, read-only: **the batch itself is included**, later arrivals too.

    A detector must therefore look only at submissions earlier than the one it judges (by
    ``submitted_at``, then id) wherever it names a first submitter: see ``detectors.kit.order``.
    """

    def postings(
        self,
        kind: str,
        keys: pl.Series,
        *,
        df_max: int | None = None,
        earliest: int | None = None,
        limit: int = 100_000,
    ) -> pl.DataFrame:
        """Find who else has these keys: a POSTINGS frame, by key, then in order of submission.

        ``keys`` is UInt64; keys that more than ``df_max`` submissions carry are left out, and of the
        submissions that carry a key the ``earliest`` so many, by (``submitted_at``, id), are told.
        """
        ...

    def votes(
        self, kind: str, asked: pl.DataFrame, *, votes_min: int, rows_max: int, earlier: bool,
        most: int | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """Count the words that a query and known pictures share and that lie alike: a VOTES frame.

        ``asked`` is an ASKED frame; the rows of a query stand together and name one known submission.
        Told are pairs with ``votes_min`` votes, the heaviest first, with submissions that came before
        it (``earlier``) or after it by (``submitted_at``, id); with ``most``, of the so many heaviest
        ones and of as many of the earliest that have half of the greatest weight. At most ``rows_max``
        postings are read for a query, those of the words first that are worth most for each.
        """
        ...

    def carriers(
        self, kind: str, keys: pl.Series, beside: Sequence[str], *, df_max: int | None = None,
        earliest: int,
    ) -> Carriers:  # fmt: skip
        """Find the ``earliest`` texts that carry each key, by number: most are never named.

        Keys that more than ``df_max`` submissions carry are left out. The submissions ``beside`` are
        placed in the order of submission too.
        """
        ...

    def named(self, documents: npt.NDArray[np.uint32]) -> pl.DataFrame:
        """Return ``submission_id`` and ``submitted_at`` of documents, in the order asked."""
        ...

    def prints(
        self, kind: str, documents: npt.NDArray[np.uint32], contents: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return the distinct sorted keys of texts: bounds (n + 1,), keys end to end."""
        ...

    def sketches(self, kind: str, documents: npt.NDArray[np.uint32]) -> Sketches:
        """Return bounds on what these documents' typed-in texts share, far cheaper than ``prints``."""
        ...

    def frequencies(self, kind: str, keys: pl.Series) -> pl.DataFrame:
        """Count the submissions that carry each key: columns ``key`` UInt64, ``df`` Int64."""
        ...

    def nearest(
        self, kind: str, codes: Sequence[bytes], *, distance_max: int, limit: int = 10_000
    ) -> pl.DataFrame:
        """Find stored 256-bit codes within a Hamming distance: a NEIGHBOURS frame."""
        ...

    def fingerprints(self, kind: str, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the stored rows of that kind for those submissions: a FINGERPRINTS frame."""
        ...

    def submissions(
        self, submission_ids: Sequence[str], *, columns: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Return those submissions, in order of submission: a SUBMISSIONS frame.

        ``columns`` are those wanted, all without it: who leaves the texts out reads a fraction.
        """
        ...

    def contents(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the files of those submissions: a CONTENTS frame."""
        ...

    def events(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the behaviour log of those submissions: an EVENTS frame."""
        ...

    def tasks(self, task_ids: Sequence[str]) -> pl.DataFrame:
        """Return those tasks: a TASKS frame."""
        ...

    def workers(self, worker_ids: Sequence[str]) -> pl.DataFrame:
        """Return those workers: a WORKERS frame."""
        ...

    def of_task(self, task_ids: Sequence[str], *, limit: int = 10_000) -> pl.DataFrame:
        """Return the submissions to those tasks, earliest first, at most ``limit`` a task."""
        ...

    def of_worker(
        self,
        worker_ids: Sequence[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 10_000,
        columns: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Return the submissions by those workers in [since, until), at most ``limit`` a worker.

        ``columns`` are those wanted, all without it.
        """
        ...

    def window(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1_000_000,
    ) -> pl.DataFrame:
        """Return what was handed in with ``submitted_at`` in [since, until).

        SUBMISSIONS without ``text`` and ``extra``, beside ``publisher_id``, ``category``,
        ``bounty_minor``, ``currency`` of the task and ``payout_account_hash`` of the worker.
        """
        ...

    def signals(
        self,
        submission_ids: Sequence[str] | None = None,
        *,
        codes: Sequence[str] = (),
        limit: int = 1_000_000,
    ) -> pl.DataFrame:
        """Return stored signals of those submissions (None: all) and codes (empty: all)."""
        ...

    def asset(self, name: str) -> bytes | None:
        """Return a trained model, calibration, template or registry by name; None where none is."""
        ...

    def blob(self, digest: str) -> bytes:
        """Return the bytes of a file. Raises ``ContentError('blob.absent')``."""
        ...


class Known(Past, Protocol):
    """The past, from which batches can be cut."""

    def batch(self, submission_ids: Sequence[str], signals: pl.DataFrame | None = None) -> Batch:
        """Cut the batch of those submissions, in order of submission."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one detector says of one batch: a SIGNALS and an ABSTENTIONS frame."""

    signals: pl.DataFrame
    abstentions: pl.DataFrame


DELIVERIES: Final = "watermark.deliveries"
"""Asset: the newest deliveries that carry our mark, JSON Lines, newest first."""
DELIVERY: Final = "watermark.delivery:"
"""Asset: one delivery, by key id and serial: ``watermark.delivery:<key id>:<16 hex digits>``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Inputs with the findings that they must give: documentation and test at once.

    ``submissions`` are rows with the contract's names (``attachments`` as pairs of name and bytes
    under ``files``); missing ids and times are filled in by the suite. ``expected`` maps a
    submission id to the reason codes that it must get, exactly; ``abstains`` names the submissions
    for which this detector must abstain.
    """

    title: str
    submissions: tuple[Mapping[str, Any], ...]
    tasks: tuple[Mapping[str, Any], ...] = ()
    workers: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    assets: Mapping[str, bytes] = field(default_factory=dict)
    expected: Mapping[str, frozenset[str]] = field(default_factory=dict)
    matched: Mapping[str, str] = field(default_factory=dict)
    abstains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSpec:
    """Who a detector is: its room's name, its version, what it consumes and what it may say.

    ``consumes`` names frames of ``Batch`` (``text``, ``contents``, ``events``, ``workers``,
    ``tasks``, ``signals``); ``after`` the detectors whose signals it reads; ``assets`` the names it
    may ask ``Past.asset`` for. Change ``version`` whenever the same input may give another finding.
    """

    name: str
    version: str
    consumes: frozenset[str]
    reason_codes: frozenset[str]
    after: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()


class Detector(Protocol):
    """A room: remembers fingerprints and reports signals. It never decides and never writes."""

    @property
    def spec(self) -> DetectorSpec:
        """Name, version, what it consumes, its reason codes."""
        ...

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Say what to remember of these submissions: a FINGERPRINTS frame."""
        ...

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name known submissions outside the batch whose findings its arrival may change.

        The pipeline judges them again, so that the order of delivery changes no finding. Naming too
        many costs time; naming too few is a bug.
        """
        ...

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Judge every submission of the batch against everything known."""
        ...

    def examples(self) -> Iterable[Example]:
        """Inputs with the findings that they must give."""
        ...
