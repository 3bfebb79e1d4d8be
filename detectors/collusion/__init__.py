"""The collusion room: workers and publishers that act as one (``collusion.dense_block``, ``.lockstep``,
``.self_dealing``).

What no single submission shows: who meets whom, and when, against what their activity alone explains.
"""

from detectors.collusion.room import CollusionDetector

detector = CollusionDetector()

__all__ = ["CollusionDetector", "detector"]
