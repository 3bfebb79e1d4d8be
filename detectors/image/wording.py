"""What two doubtful pages say: their lines, read and compared where the pixels leave doubt.

Reading a page takes a second or two, so it is done for the person who looks at a finding and never for
every submission; and since two people may rightly write the same, it says nothing about strength.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.image.verdict import SURE_STRENGTH
from detectors.kit import lexical
from detectors.kit.ocr import read_lines

LINES_TOLD: Final = 12
CONFIDENCE_MIN: Final = 0.7
"""Confidence below which a line is as likely misread as different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Lines of two pages, top to bottom: in ``both``, on the later page only, on the earlier only."""

    both: tuple[str, ...]
    only_later: tuple[str, ...]
    only_earlier: tuple[str, ...]

    def told(self) -> dict[str, str]:
        """Write the figures and the first differing lines, as a reader is shown them."""
        shown = {"lines that agree": str(len(self.both))}
        for name, lines in (("later", self.only_later), ("earlier", self.only_earlier)):
            more = f" … and {len(lines) - LINES_TOLD} more" if len(lines) > LINES_TOLD else ""
            shown[f"lines of the {name} page only"] = f"{len(lines)}: " + (
                " | ".join(lines[:LINES_TOLD]) + more if lines else "none"
            )
        return shown


def in_doubt(evidence: Mapping[str, Any], strength: float) -> bool:
    """Say whether a finding is about pages whose pixels leave doubt."""
    return evidence.get("kind") == "page" and strength < SURE_STRENGTH


def compared(later: npt.NDArray[np.uint8], earlier: npt.NDArray[np.uint8]) -> Wording | None:
    """Read and compare two pages (height, width, 3) RGB; None where one holds no line.

    Lines are equal if they fold alike: case, width and look-alike letters do not count, spaces that
    were not seen do not either.
    """
    ours, theirs = (
        [line.text for line in read_lines(page, confidence_min=CONFIDENCE_MIN)]
        for page in (later, earlier)
    )
    if not ours or not theirs:
        return None
    mine, its = _folded(ours), _folded(theirs)
    left, kept = Counter(its), []
    for fold in mine:
        kept.append(left[fold] > 0)
        left[fold] -= kept[-1]
    unused = +left
    missing = []
    for line, fold in zip(theirs, its, strict=True):
        if unused[fold] > 0:
            missing.append(line)
            unused[fold] -= 1
    return Wording(
        both=tuple(line for line, same in zip(ours, kept, strict=True) if same),
        only_later=tuple(line for line, same in zip(ours, kept, strict=True) if not same),
        only_earlier=tuple(missing),
    )


def _folded(lines: Sequence[str]) -> list[str]:
    read = lexical.read(lines)
    return ["".join(read.folded(i).split()) for i in range(len(lines))]
