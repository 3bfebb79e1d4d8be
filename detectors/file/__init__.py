"""The file room: the same bytes were handed in before (``file.identical``).

Exact by construction: SHA-256 equality, so there is no threshold and no p-value. Files that a task
handed out with its brief are not evidence, and neither is a worker's own earlier version.
"""

from detectors.file.room import FileDetector

detector = FileDetector()

__all__ = ["FileDetector", "detector"]
