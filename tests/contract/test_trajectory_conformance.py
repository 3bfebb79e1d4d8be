"""The trajectory room passes the suite that every room must pass."""

from detectors.checks import Blind, check_detector
from detectors.trajectory import detector


def test_conforms() -> None:
    check_detector(detector, Blind())
