"""The watermark room: whose picture is it, and what does it say of itself.

Channels, each a module of its own: ``provenance`` (what the metadata says), ``mark`` (our invisible
mark), ``visible`` (other sites' marks), ``stamps`` (times and places written into the picture) and
``textmark`` (our mark in text). ``room`` brings them together.
"""

from detectors.watermark.room import WatermarkDetector

detector = WatermarkDetector()

__all__ = ["WatermarkDetector", "detector"]
