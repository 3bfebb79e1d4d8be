"""The texts of submissions: what was typed in, and what stands in the files that came with it."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

import polars as pl

from pipeline.model.errors import ContentError
from pipeline.ports import Blobs, Decoder, Past

READABLE: Final = frozenset(
    {
        "text/plain",
        "text/markdown",
        "text/x-markdown",
        "text/html",
        "application/xhtml+xml",
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    }
)
BODY: Final = -1
KEPT_CHARS_MAX: Final = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One text of a submission. ``content_index`` is −1 for what was typed in.

    ``page_starts`` are the offsets in ``text`` at which the pages of a file begin.
    """

    submission_id: str
    content_index: int
    text: str
    name: str | None = None
    page_starts: tuple[int, ...] = (0,)

    def page_of(self, offset: int) -> int | None:
        """Name the page, from 1, of an offset; None in what was typed in."""
        if self.content_index == BODY:
            return None
        return sum(start <= offset for start in self.page_starts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A file whose text could not be read, and why."""

    submission_id: str
    code: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pages:
    text: str
    starts: tuple[int, ...]


class Reader:
    """Reads files through a decoder, each digest once while it is remembered. Thread safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Pages | ContentError] = OrderedDict()
        self._chars = 0
        self._lock = Lock()

    def pages(self, digest: str, media_type: str, blobs: Blobs | Past, decoder: Decoder) -> _Pages:
        """Return the text of a file. Raises ``ContentError``."""
        with self._lock:
            found = self._known.get(digest)
        if found is None:
            found = self._read(digest, media_type, blobs, decoder)
            self._keep(digest, found)
        if isinstance(found, ContentError):
            raise ContentError(found.code, found.message)
        return found

    def _read(
        self, digest: str, media_type: str, blobs: Blobs | Past, decoder: Decoder
    ) -> _Pages | ContentError:
        try:
            data = blobs.get(digest) if hasattr(blobs, "get") else blobs.blob(digest)
            document = decoder.document(data, media_type)
        except ContentError as error:
            return error
        starts, at = [], 0
        for page in document.pages:
            starts.append(at)
            at += len(page) + 1
        return _Pages(text="\n".join(document.pages), starts=tuple(starts) or (0,))

    def _keep(self, digest: str, found: _Pages | ContentError) -> None:
        if isinstance(found, ContentError) and found.code in ("blob.timeout", "blob.absent"):
            return
        with self._lock:
            if digest in self._known:
                return
            self._known[digest] = found
            self._chars += len(found.text) if isinstance(found, _Pages) else 0
            while self._chars > KEPT_CHARS_MAX and len(self._known) > 1:
                _, gone = self._known.popitem(last=False)
                self._chars -= len(gone.text) if isinstance(gone, _Pages) else 0


def bodies(
    submissions: pl.DataFrame,
    contents: pl.DataFrame,
    blobs: Blobs | Past,
    decoder: Decoder,
    reader: Reader,
) -> tuple[list[Body], list[Unread]]:
    """Gather the texts of submissions, empty ones left out, and the files that could not be read."""
    found: list[Body] = [
        Body(submission_id=sid, content_index=BODY, text=text)
        for sid, text in submissions.select("submission_id", "text").iter_rows()
        if text
    ]
    unread: list[Unread] = []
    rows = contents.filter(pl.col("media_type").is_in(sorted(READABLE))).select(
        "submission_id", "content_index", "digest", "media_type", "name", "path"
    )
    for sid, index, digest, media_type, name, path in rows.iter_rows():
        try:
            pages = reader.pages(digest, media_type, blobs, decoder)
        except ContentError as error:
            unread.append(Unread(submission_id=sid, code=error.code, why=error.message))
            continue
        if pages.text.strip():
            found.append(
                Body(
                    submission_id=sid,
                    content_index=index,
                    text=pages.text,
                    name=name or path,
                    page_starts=pages.starts,
                )
            )
    return found, unread


def given_texts(
    tasks: pl.DataFrame,
    media_types: Mapping[str, str],
    blobs: Blobs | Past,
    decoder: Decoder,
    reader: Reader,
) -> dict[str, list[str]]:
    """Gather what each task handed out: title, brief, and the text of its reference files.

    ``media_types`` names the type of reference digests; the bytes decide where it does not.
    """
    found: dict[str, list[str]] = {}
    columns = ["task_id", "title", "brief", "reference_digests"]
    for task_id, title, brief, digests in tasks.select(columns).iter_rows():
        texts = [t for t in (brief, title) if t]
        texts += _references(digests or (), media_types, blobs, decoder, reader)
        found[task_id] = texts
    return found


def _references(
    digests: Iterable[str],
    media_types: Mapping[str, str],
    blobs: Blobs | Past,
    decoder: Decoder,
    reader: Reader,
) -> list[str]:
    texts = []
    for digest in digests:
        try:
            data = blobs.get(digest) if hasattr(blobs, "get") else blobs.blob(digest)
            media_type = media_types.get(digest) or decoder.probe(data).media_type
            if media_type in READABLE:
                texts.append(reader.pages(digest, media_type, blobs, decoder).text)
        except ContentError:
            continue  # a picture, or a file that nobody can read: nothing to subtract
    return texts
