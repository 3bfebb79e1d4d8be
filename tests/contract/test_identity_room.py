"""The identity room keeps the contract of a detector."""

from detectors.checks import check_detector
from detectors.identity import detector
from pipeline.model.errors import ContentError
from pipeline.ports import Document, Picture, Probe


class Blind:
    """A decoder that can read nothing: this room never looks into files."""

    def probe(self, data: bytes, claim: str | None = None) -> Probe:
        raise ContentError("blob.unreadable", "not here")

    def pictures(self, data: bytes, *, side_max: int, frames_max: int = 8) -> tuple[Picture, ...]:
        raise ContentError("blob.unreadable", "not here")

    def document(self, data: bytes, media_type: str) -> Document:
        raise ContentError("blob.unreadable", "not here")


def test_the_room_keeps_the_contract():
    check_detector(detector, Blind())
