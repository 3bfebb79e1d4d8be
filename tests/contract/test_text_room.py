"""The text room keeps the contract of detectors."""

from detectors.checks import check_detector
from detectors.text import detector
from pipeline.decode import open_decoder


def test_text_room_conforms() -> None:
    with open_decoder() as decoder:
        check_detector(detector, decoder)
