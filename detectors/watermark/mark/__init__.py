"""Our own invisible mark: a keyed, sealed serial in the picture, read blind.

``embed`` writes a serial, ``read`` finds serials, ``verify`` and ``p_present`` state chances.
"""

from detectors.watermark.mark.detect import Reading, p_present, read, verify
from detectors.watermark.mark.embed import embed
from detectors.watermark.mark.keys import Keyring, MarkKey

__all__ = ["Keyring", "MarkKey", "Reading", "embed", "p_present", "read", "verify"]
