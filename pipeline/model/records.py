"""What the platform hands over, checked: tasks, workers, submissions, events, and their files.

Frozen and slotted. Times are timezone-aware UTC datetimes, money is an integer in minor units,
ids are the platform's own strings (1 to 128 characters) and are never parsed.
"""

from dataclasses import dataclass
from typing import Literal

ID_LENGTH_MAX = 128

EventType = Literal[
    "pointer.move", "pointer.down", "pointer.up", "wheel", "key.down", "clipboard.paste",
    "clipboard.copy", "focus.gain", "focus.loss", "page.view", "task.claim", "task.submit",
    "geo.ping",
]  # fmt: skip
EVENT_TYPES: frozenset[str] = frozenset(EventType.__args__)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An amount in minor units (分, cents) beside an ISO 4217 currency."""

    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where on-site work is done: WGS 84 degrees, radius in metres."""

    lat: float
    lon: float
    radius_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that a submission names. ``media_type`` is a claim; the bytes decide."""

    path: str
    media_type: str | None = None
    name: str | None = None
