"""The text room: copies, disguises and empty answers, in submissions and in the files they carry."""

from detectors.text.room import TextDetector

detector = TextDetector()

__all__ = ["TextDetector", "detector"]
