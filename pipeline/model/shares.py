"""A share of something counted, with the interval that says how much it is worth."""

import math
from dataclasses import dataclass
from typing import Final

Z95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """``hits`` of ``of``, with the 95 % score interval of Wilson (1927)."""

    hits: int
    of: int

    @property
    def share(self) -> float | None:
        """The share itself; None where nothing was counted."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end; all of [0, 1] where nothing was counted."""
        if not self.of:
            return 0.0, 1.0
        z, n, p = Z95, self.of, self.hits / self.of
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)
