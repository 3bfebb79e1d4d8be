"""Outcomes, risk levels and evaluation statuses: the closed lists of the public contract."""

from typing import Final, Literal

Outcome = Literal["approve", "review", "block_and_review", "decline"]
RiskLevel = Literal["normal", "elevated", "highest"]
EvaluationStatus = Literal["new", "duplicate", "superseding"]

OUTCOMES: Final[tuple[Outcome, ...]] = ("approve", "review", "block_and_review", "decline")
"""From mildest to hardest: the position in this tuple is the precedence."""

PAYS: Final[frozenset[str]] = frozenset({"approve", "review"})
HOLDS: Final[frozenset[str]] = frozenset({"block_and_review", "decline"})
