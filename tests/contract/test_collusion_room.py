"""The collusion room keeps the contract of a detector."""

from detectors.checks import Blind, check_detector
from detectors.collusion import detector


def test_the_room_keeps_the_contract():
    check_detector(detector, Blind())
