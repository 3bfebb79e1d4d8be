"""The conformance suite that every room must pass, and the in-memory world that it runs in.

``check_detector(detector, decoder)`` is all that a room's author calls; ``world_of`` builds the
``Batch`` and ``Past`` of an ``Example`` for tests of one's own, ``Blind`` reads no file at all.
"""

from detectors.checks.blind import Blind
from detectors.checks.conformance import check_detector
from detectors.checks.memory import MemoryPast, World, world_of

__all__ = ["Blind", "MemoryPast", "World", "check_detector", "world_of"]
