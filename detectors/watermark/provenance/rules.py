"""Contradictions between what a file says of itself and what the submission claims.

Each rule names two facts that cannot both be true; a fact that is absent contradicts nothing.
Strength: 0.5 and more where both facts are exact and far apart, 0.2 to 0.5 where an honest slip (a
wrong clock, a map offset, an old habit of cropping) could explain it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from detectors.watermark.provenance.claims import Claim
from detectors.watermark.provenance.exif import Exif
from detectors.watermark.provenance.facts import Facts, Statement
from detectors.watermark.provenance.makers import foreign_note

Code = Literal["provenance.generated", "provenance.edited", "provenance.inconsistent"]

EARTH_M: Final = 6_371_008.8
ZONE_WEST, ZONE_EAST = timedelta(hours=-12), timedelta(hours=14)
SOLAR_SLACK: Final = timedelta(hours=3, minutes=30)
"""How far a country's clock may stand from the sun's, summer time included."""
CLOCK_SLACK: Final = timedelta(hours=1)
STALE_SLACK: Final = timedelta(hours=6)
SITE_SLACK_M: Final = 500.0
GCJ_SLACK_M: Final = 700.0
"""China's maps are shifted by up to this much against WGS 84, and phones there write either."""
CLOCK_UNSET_YEAR: Final = 2010


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """One finding about one file. ``habit`` names what others of the task may share (see room)."""

    code: Code
    rule: str
    strength: float
    facts: dict[str, Any]
    habit: str


def contradictions(facts: Facts, claim: Claim) -> tuple[Contradiction, ...]:
    """List what contradicts; the order is that of the rules."""
    found = [
        *_generated(facts, claim),
        *_edited(facts, claim),
        *_too_early(facts.exif, claim),
        *_too_late(facts.exif, claim),
        *_elsewhere(facts.exif, claim),
        *_clocks(facts.exif),
        *_device(facts.exif),
    ]
    return tuple(found)


def _said(statements: tuple[Statement, ...]) -> list[dict[str, Any]]:
    return [{"where": s.where, "says": s.says, "hard": s.hard} for s in statements]


def _generated(facts: Facts, claim: Claim) -> Iterator[Contradiction]:
    """A generator signed it. Weak where the task leaves open how a picture is made."""
    if not facts.generated or claim.generator is True:
        return
    hard = any(s.hard for s in facts.generated)
    if (claim.record and not claim.design) or claim.generator is False:
        strength = 0.95 if hard else 0.75
    else:
        strength = 0.45 if hard else 0.3
    said = {"metadata": _said(facts.generated), "camera": facts.camera or None}
    yield Contradiction(
        code="provenance.generated", rule="generator", strength=strength,
        facts=said | {"asked_for_record": claim.record}, habit="generated",
    )  # fmt: skip


def _edited(facts: Facts, claim: Claim) -> Iterator[Contradiction]:
    """An editor signed a picture that is handed in as a record of what was there."""
    if not facts.edited:
        return
    altered = facts.manifests.state == "altered"
    if altered:
        strength = 0.85
    elif claim.design:
        return
    elif claim.record:
        strength = 0.65 if facts.camera else 0.5
    else:
        strength = 0.3 if facts.camera else 0.2
    said = {"metadata": _said(facts.edited), "camera": facts.camera or None}
    yield Contradiction(
        code="provenance.edited", rule="altered_after_signing" if altered else "editor",
        strength=strength, facts=said | {"asked_for_record": claim.record}, habit="edited",
    )  # fmt: skip


def taken_between(exif: Exif, claim: Claim) -> tuple[datetime, datetime] | None:
    """Bound the instant of the shot in UTC, allowing every zone the camera may have been set to."""
    if exif.taken_local is None:
        return None
    local = exif.taken_local.replace(tzinfo=UTC)
    if not 1990 <= local.year <= 2200:
        return None
    if exif.offset is not None:
        return local - exif.offset, local - exif.offset
    lon = exif.position.lon if exif.position else claim.site.lon if claim.site else None
    if lon is None:
        return local - ZONE_EAST, local - ZONE_WEST
    solar = timedelta(hours=lon / 15)
    return local - solar - SOLAR_SLACK, local - solar + SOLAR_SLACK


def _too_early(exif: Exif, claim: Claim) -> Iterator[Contradiction]:
    """The file's clock says that it was made before the task existed.

    Where nothing asks for a fresh shot it is only worth a look, and a photo inside a design is not
    even that: stock pictures are old.
    """
    span = taken_between(exif, claim)
    stock = claim.design and bool(exif.make or exif.model)
    if span is None or claim.posted_at is None or stock or not (claim.record or claim.design):
        return
    lead = claim.posted_at - span[1]
    if lead <= (CLOCK_SLACK if claim.fresh else STALE_SLACK):
        return
    unset = exif.taken_local is not None and exif.taken_local.year < CLOCK_UNSET_YEAR
    days = lead / timedelta(days=1)
    strength = 0.35 if days < 0.5 else 0.7 if days < 3 else 0.85
    if unset or not claim.fresh:
        strength = 0.3
    yield Contradiction(
        code="provenance.inconsistent", rule="shot_before_task", strength=strength,
        facts=_clock_facts(exif) | {
            "shot_at_latest": span[1].isoformat(), "task_posted_at": claim.posted_at.isoformat(),
            "days_before": round(days, 2), "fresh_shot_asked": claim.fresh,
        }, habit="early",
    )  # fmt: skip


def _too_late(exif: Exif, claim: Claim) -> Iterator[Contradiction]:
    """The camera's clock says that it was shot after it was handed in: a clock was changed."""
    span = taken_between(exif, claim)
    if span is None:
        return
    ahead = span[0] - claim.submitted_at
    if ahead <= 2 * CLOCK_SLACK:
        return
    days = ahead / timedelta(days=1)
    yield Contradiction(
        code="provenance.inconsistent", rule="shot_after_submission",
        strength=0.2 if days < 1 else 0.4,
        facts=_clock_facts(exif) | {
            "shot_at_earliest": span[0].isoformat(), "submitted_at": claim.submitted_at.isoformat(),
            "days_after": round(days, 2),
        }, habit="late",
    )  # fmt: skip


def _clock_facts(exif: Exif) -> dict[str, Any]:
    local = exif.taken_local.isoformat() if exif.taken_local else None
    hours = exif.offset / timedelta(hours=1) if exif.offset is not None else None
    return {"camera_clock": local, "camera_zone_hours": hours}


def distance_m(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Great-circle distance in metres between two points in degrees (haversine)."""
    a, b = math.radians(lat_a), math.radians(lat_b)
    half = math.sin((b - a) / 2) ** 2
    half += math.cos(a) * math.cos(b) * math.sin(math.radians(lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_M * math.asin(min(1.0, math.sqrt(half)))


def in_china(lat: float, lon: float) -> bool:
    """Say whether a point lies where maps use the shifted datum GCJ-02 (rough box)."""
    return 17.5 <= lat <= 54.0 and 73.0 <= lon <= 135.5


def _elsewhere(exif: Exif, claim: Claim) -> Iterator[Contradiction]:
    """The camera's position lies outside the site, beyond any doubt of fix or datum."""
    here, site = exif.position, claim.site
    if here is None or site is None:
        return
    away = distance_m(here.lat, here.lon, site.lat, site.lon)
    slack = max(SITE_SLACK_M, 2 * min(here.error_m or 0.0, 5_000.0))
    slack += GCJ_SLACK_M if in_china(site.lat, site.lon) else 0.0
    excess = away - site.radius_m - slack
    if excess <= 0:
        return
    strength = 0.35 if excess < 1_500 else 0.65 if excess < 10_000 else 0.9
    yield Contradiction(
        code="provenance.inconsistent", rule="shot_elsewhere", strength=strength,
        facts={
            "camera_position": [round(here.lat, 6), round(here.lon, 6)],
            "site": [site.lat, site.lon], "radius_m": site.radius_m,
            "distance_m": round(away), "allowed_m": round(site.radius_m + slack),
        }, habit="away",
    )  # fmt: skip


def _clocks(exif: Exif) -> Iterator[Contradiction]:
    """The satellite clock and the camera's clock differ by more than any zone can."""
    if exif.taken_local is None or exif.position is None or exif.position.utc is None:
        return
    local = exif.taken_local.replace(tzinfo=UTC)
    apart = local - exif.position.utc
    if ZONE_WEST - timedelta(days=1) <= apart <= ZONE_EAST + timedelta(days=1):
        return
    weeks = apart / timedelta(weeks=1024)
    rolled = abs(weeks - round(weeks)) < 0.003 and round(weeks) != 0
    unset = exif.taken_local.year < CLOCK_UNSET_YEAR
    yield Contradiction(
        code="provenance.inconsistent", rule="clocks_disagree",
        strength=0.2 if rolled or unset else 0.5,
        facts=_clock_facts(exif) | {
            "satellite_clock": exif.position.utc.isoformat(),
            "days_apart": round(apart / timedelta(days=1), 2),
        }, habit="clocks",
    )  # fmt: skip


def _device(exif: Exif) -> Iterator[Contradiction]:
    """The maker's private block is another maker's than the one named."""
    maker = foreign_note(exif.maker_note, exif.make)
    if maker is None:
        return
    yield Contradiction(
        code="provenance.inconsistent", rule="maker_note", strength=0.5,
        facts={"make": exif.make, "model": exif.model, "maker_note": maker}, habit="device",
    )  # fmt: skip
