"""What the API works with: stores, keys, the clock, and its limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pipeline.stores.access import Access
from pipeline.stores.database import Database
from pipeline.stores.gate import AssessmentReader
from pipeline.stores.keys import KeyRing
from pipeline.stores.ledger import Ledger
from pipeline.stores.ledger_writer import Writer


class Intake(Protocol):
    """Takes in what a drop would hold: ``kind`` is ``submissions`` or ``events``, ``data`` JSON Lines.

    Returns one receipt a row: ``id``, ``status`` (``new``, ``duplicate``, ``quarantined``), ``code``
    and ``reason`` where it was quarantined. Delivering the same rows again changes nothing.
    """

    def __call__(self, kind: str, data: bytes) -> Sequence[Mapping[str, Any]]:
        """Take the rows in."""
        ...


class Marker(Protocol):
    """Makes and records marked copies of what was handed in, and keeps them.

    Raises ``UsageError`` or ``ContentError`` where there is nothing that can carry a mark.
    """

    def __call__(
        self, submission_id: str, content_index: int | None, recipient: str
    ) -> Mapping[str, str]:
        """Return ``key_id``, ``serial``, ``media_type`` and the ``digest`` of the kept copy."""
        ...

    def kept(self, digest: str) -> bytes:
        """Return a copy that was made before."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of requests. Bodies in bytes, times in seconds; ``under_way_max`` requests at once."""

    body_max: int = 1 << 20
    intake_body_max: int = 20 << 20
    body_within_s: float = 10.0
    under_way_max: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that the routes need. ``ready`` returns what is stale or missing; empty is ready."""

    database: Database
    ledger: Ledger
    writer: Writer
    access: Access
    permits: KeyRing
    reader: AssessmentReader
    clock: Callable[[], datetime]
    intake: Intake | None = None
    marker: Marker | None = None
    ready: Callable[[], Sequence[str]] = tuple
    limits: Limits = field(default_factory=Limits)
