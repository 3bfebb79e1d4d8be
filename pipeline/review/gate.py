"""The answer to "may this be paid?": from the newest evaluation and what people decided. Pure.

Nothing missing is ever a yes, and nothing missing is ever a no: it is ``block_and_review`` with the
reason why. What a person decided goes before what a machine found, until it finds something new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.model.decisions import PAYS, Outcome
from pipeline.model.errors import LedgerError
from pipeline.model.money import AMOUNT_MAX, decision_id
from pipeline.model.reasons import PENDING_ANALYSIS

BONUS_SHARE_MAX: Final = 0.5
"""A permit may be for at most this much beyond the task's bounty."""
RETRY_AFTER_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the stores know of a submission: ``revision`` None where it was never evaluated."""

    submission_id: str
    worker_id: str
    task_id: str
    publisher_id: str | None = None
    bounty_minor: int | None = None
    currency: str | None = None
    revision: int | None = None
    score: int = 0
    risk_level: str = "normal"
    outcome: str | None = None
    reason_codes: Sequence[str] = ()
    ruleset_digest: str = ""
    case_kind: str | None = None
    case_state: str | None = None
    decided_codes: Sequence[str] = ()
    revoked_revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the platform is told; ``pays`` says whether a permit goes with it."""

    decision_id: str
    outcome: Outcome
    score: int
    risk_level: str
    reason_codes: tuple[str, ...]
    retry_after_s: int | None = None

    @property
    def pays(self) -> bool:
        """Whether the payment may go."""
        return self.outcome in PAYS


def pending(submission_id: str) -> Answer:
    """Answer for a submission that was never evaluated."""
    return Answer(
        decision_id=decision_id(submission_id, 0, ""),
        outcome="block_and_review",
        score=0,
        risk_level="normal",
        reason_codes=(PENDING_ANALYSIS,),
        retry_after_s=RETRY_AFTER_S,
    )


def answer(known: Known) -> Answer:
    """Say whether the payment may go."""
    if known.revision is None or known.outcome is None:
        return pending(known.submission_id)
    codes = tuple(known.reason_codes)
    waits = any(c.startswith(("pending.", "degraded.")) for c in codes)
    return Answer(
        decision_id=decision_id(known.submission_id, known.revision, known.ruleset_digest),
        outcome=_outcome(known),
        score=known.score,
        risk_level=known.risk_level,
        reason_codes=codes,
        retry_after_s=RETRY_AFTER_S if waits and known.outcome not in PAYS else None,
    )


def _outcome(known: Known) -> Outcome:
    found: Outcome = known.outcome  # type: ignore[assignment]
    state = known.case_state
    judged = set(known.reason_codes) <= set(known.decided_codes)
    if state in ("confirmed", "appealed", "lapsed") and known.case_kind != "late":
        return "decline"
    if state == "confirmed":
        return "decline"
    if state == "overturned" and (found in PAYS or judged):
        return "review" if found == "review" else "approve"
    if state == "open" and known.case_kind != "look" and found in PAYS:
        return "block_and_review"  # settling withdraws the case first, or a person decides it
    revoked = known.revoked_revision is not None and known.revoked_revision >= (known.revision or 0)
    if revoked and state != "overturned" and found in PAYS:
        return "block_and_review"
    return found


def check_amount(known: Known, amount_minor: int, currency: str) -> None:
    """Refuse to speak of an amount that the task does not offer.

    Raises ``LedgerError``: ``amount.invalid``, ``amount.currency``, ``amount.exceeds_bounty``.
    """
    if not 0 < amount_minor <= AMOUNT_MAX:
        raise LedgerError(
            "amount.invalid", f"an amount lies between 1 and {AMOUNT_MAX} minor units"
        )
    if known.currency is not None and currency != known.currency:
        raise LedgerError("amount.currency", f"the task pays in {known.currency}")
    if known.bounty_minor is not None and amount_minor > known.bounty_minor * (1 + BONUS_SHARE_MAX):
        raise LedgerError(
            "amount.exceeds_bounty", f"the task pays {known.bounty_minor}, and at most half more"
        )
