"""The trajectory room passes the suite that every room must pass."""

from detectors.checks import check_detector
from detectors.trajectory import detector
from pipeline.model.errors import ContentError
from pipeline.ports import Document, Picture, Probe


class NoDecoder:
    """Looks into nothing: this room reads no files."""

    def probe(self, data: bytes, claim: str | None = None) -> Probe:
        raise ContentError("blob.unreadable", "not read here")

    def pictures(self, data: bytes, *, side_max: int, frames_max: int = 8) -> tuple[Picture, ...]:
        raise ContentError("blob.unreadable", "not read here")

    def document(self, data: bytes, media_type: str) -> Document:
        raise ContentError("blob.unreadable", "not read here")


def test_conforms() -> None:
    check_detector(detector, NoDecoder())
