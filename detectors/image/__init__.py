"""The image room: the same picture, however it was dressed, and never the honest look-alike.

Retrieve cheaply (a perceptual hash in eight orientations), then prove. What a task handed out is
subtracted before anything is compared.
"""

from detectors.image.room import ImageDetector

detector = ImageDetector()

__all__ = ["ImageDetector", "detector"]
