"""Comparing words whatever was done to hide that they are the same: folding, shingles, alignment."""

from detectors.kit.lexical.alignment import Alignments, align, containment, covered, weights_of
from detectors.kit.lexical.texts import Picks, Texts, minhash, read, winnow

__all__ = [
    "Alignments",
    "Picks",
    "Texts",
    "align",
    "containment",
    "covered",
    "minhash",
    "read",
    "weights_of",
    "winnow",
]
