"""Known pictures, read from the fingerprints as they are needed, each once; and what tasks handed out."""

from collections.abc import Collection, Mapping, Sequence

from detectors.image import prints, views
from detectors.image.hashes import Grey
from detectors.image.nominate import Key
from detectors.image.prints import Print
from detectors.image.proof import Piece
from detectors.kit.subtract import handed_out
from pipeline.model.errors import ContentError
from pipeline.ports import Batch, Past


class Known:
    """Prints and small pictures of known submissions."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._prints: dict[Key, Print] = {}
        self._of: dict[str, list[Key]] = {}
        self._packed: dict[Key, bytes] = {}
        self._canvases: dict[tuple[Key, int], Grey] = {}
        self._asked: set[str] = set()
        self._pictured: set[str] = set()

    def prints(self, submission_ids: Sequence[str]) -> dict[Key, Print]:
        """Return the prints of those submissions, by submission and content."""
        fresh = sorted(set(submission_ids) - self._asked)
        if fresh:
            for row in self._past.fingerprints(prints.LOCAL, fresh).iter_rows(named=True):
                key = (row["submission_id"], row["content_index"])
                self._prints[key] = prints.unpack(row["value"])
                self._of.setdefault(key[0], []).append(key)
            self._asked |= set(fresh)
        wanted = sorted(set(submission_ids))
        return {key: self._prints[key] for sid in wanted for key in sorted(self._of.get(sid, ()))}

    def load(self, keys: Collection[Key]) -> None:
        """Read prints and small pictures of those files in two queries."""
        ids = sorted({key[0] for key in keys})
        self.prints(ids)
        fresh = [sid for sid in ids if sid not in self._pictured]
        if fresh:
            for row in self._past.fingerprints(prints.CANVAS, fresh).iter_rows(named=True):
                key = (row["submission_id"], row["content_index"])
                self._packed[key] = row["value"]
            self._pictured |= set(fresh)

    def print_of(self, key: Key) -> Print | None:
        """Return one print; None where the file is not known."""
        if key[0] not in self._asked:
            self.prints([key[0]])
        return self._prints.get(key)

    def piece(self, key: Key, part: int) -> Piece:
        """Return one part with its small picture."""
        if key not in self._packed:
            self.load([key])
        if (key, part) not in self._canvases:
            self._canvases[key, part] = prints.unpack_canvas(self._packed[key], part)
        return Piece(part=self._prints[key].parts[part], canvas=self._canvases[key, part])


def references(batch: Batch) -> Mapping[str, tuple[Piece, ...]]:
    """Read the pictures that each submission's task handed out."""
    found: dict[str, tuple[Piece, ...]] = {}
    made: dict[str, tuple[Piece, ...]] = {}
    for submission_id, digest in sorted(handed_out(batch)):
        if digest not in made:
            made[digest] = _reference(digest, batch)
        found[submission_id] = (*found.get(submission_id, ()), *made[digest])
    return found


def _reference(digest: str, batch: Batch) -> tuple[Piece, ...]:
    try:
        data = batch.blobs.get(digest)
        media_type = batch.decoder.probe(data).media_type
    except ContentError:
        return ()
    return _read_reference(data, media_type, batch) if views.is_picture(media_type) else ()


def _read_reference(data: bytes, media_type: str, batch: Batch) -> tuple[Piece, ...]:
    try:
        frames = views.frames_of(data, media_type, batch.decoder)
        made, small = prints.read(views.to_grey(frame) for frame in frames)
    except ContentError:
        return ()
    return tuple(Piece(part=p, canvas=c) for p, c in zip(made.parts, small, strict=True))
