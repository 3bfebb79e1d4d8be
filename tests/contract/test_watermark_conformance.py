"""The watermark room holds to what every room must hold to."""

from detectors.checks import check_detector
from detectors.watermark import detector
from pipeline.decode import open_decoder


def test_the_room_conforms() -> None:
    with open_decoder() as decoder:
        check_detector(detector, decoder)
