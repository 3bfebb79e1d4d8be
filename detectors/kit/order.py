"""First come, first protected: who was earlier, and what is a worker's own revision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import polars as pl

from pipeline.ports import Past

Rank: TypeAlias = tuple[datetime, str]
"""Place in the order of submission: (submitted_at, submission_id)."""
COLUMNS: Final = ("submission_id", "worker_id", "task_id", "submitted_at", "supersedes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """The part of a submission that the order of protection needs."""

    submission_id: str
    worker_id: str
    task_id: str
    submitted_at: datetime
    supersedes: str | None

    @property
    def rank(self) -> Rank:
        """Place in the order of submission."""
        return (self.submitted_at, self.submission_id)


class Order:
    """Answers "may A be accused of copying B?" for a set of known submissions."""

    def __init__(self, submitters: Mapping[str, Submitter]) -> None:
        self._by_id = dict(submitters)

    @classmethod
    def of(cls, past: Past, submission_ids: Sequence[str]) -> "Order":
        """Read the submitters of those submissions, and of the revisions that they name."""
        known: dict[str, Submitter] = {}
        ask = sorted(set(submission_ids))
        while ask:
            for s in submitters(past.submissions(ask, columns=COLUMNS)):
                known[s.submission_id] = s
            named = {s.supersedes for s in known.values() if s.supersedes} - known.keys()
            ask = sorted(named - set(ask))
        return cls(known)

    def __contains__(self, submission_id: str) -> bool:
        return submission_id in self._by_id

    def __getitem__(self, submission_id: str) -> Submitter:
        return self._by_id[submission_id]

    def accusable(self, later_id: str, earlier_id: str) -> bool:
        """Say whether ``later_id`` may be accused over ``earlier_id``.

        Only the later of two alike submissions is; and never over a revision of its own chain (the
        same worker and task, linked by ``supersedes``).
        """
        later, earlier = self._by_id.get(later_id), self._by_id.get(earlier_id)
        if later is None or earlier is None or later.rank <= earlier.rank:
            return False
        same_hand = later.worker_id == earlier.worker_id and later.task_id == earlier.task_id
        return not (same_hand and self._root(later) == self._root(earlier))

    def _root(self, submitter: Submitter) -> str:
        """Walk ``supersedes`` to the first version; a link to another's work is not followed."""
        seen = {submitter.submission_id}
        while submitter.supersedes and submitter.supersedes not in seen:
            parent = self._by_id.get(submitter.supersedes)
            if parent is None:
                return submitter.supersedes
            if (parent.worker_id, parent.task_id) != (submitter.worker_id, submitter.task_id):
                break
            seen.add(parent.submission_id)
            submitter = parent
        return submitter.submission_id


def submitters(submissions: pl.DataFrame) -> list[Submitter]:
    """Read the submitters out of a SUBMISSIONS frame."""
    return [Submitter(**row) for row in submissions.select(COLUMNS).iter_rows(named=True)]
