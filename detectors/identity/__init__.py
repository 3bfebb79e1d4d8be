"""The identity room: one person behind several accounts (``identity.shared_device``, ``.shared_payout``,
``.same_hand``).

A shared thing nominates; how its accounts behave decides. Households, offices, public machines and
colliding device ids are modelled, and an address is never more than corroboration.
"""

from detectors.identity.hand import KIND as HAND
from detectors.identity.hand import fit as fit_hands
from detectors.identity.room import IdentityDetector

detector = IdentityDetector()

__all__ = ["HAND", "IdentityDetector", "detector", "fit_hands"]
