"""The image room keeps the contract of every room."""

from detectors.checks import check_detector
from detectors.image import detector
from pipeline.decode.inline import InlineDecoder


def test_image_room_conforms() -> None:
    check_detector(detector, InlineDecoder())
