"""A decoder that can read nothing, for rooms that never look into files."""

from pipeline.model.errors import ContentError
from pipeline.ports import Document, Picture, Probe


class Blind:
    """Refuses every file as unreadable. Implements ``pipeline.ports.Decoder``."""

    def probe(self, data: bytes, claim: str | None = None) -> Probe:
        """Raise ``ContentError('blob.unreadable')``."""
        raise ContentError("blob.unreadable", "nothing is read here")

    def pictures(self, data: bytes, *, side_max: int, frames_max: int = 8) -> tuple[Picture, ...]:
        """Raise ``ContentError('blob.unreadable')``."""
        raise ContentError("blob.unreadable", "nothing is read here")

    def document(self, data: bytes, media_type: str) -> Document:
        """Raise ``ContentError('blob.unreadable')``."""
        raise ContentError("blob.unreadable", "nothing is read here")
