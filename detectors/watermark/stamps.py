"""Stamps of time, place and position written into a photo (水印相机), read and held to the claim.

What a stamp says is a claim like any other; only its contradiction with the task is a finding.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.kit.ocr import Line, read_lines
from detectors.watermark.provenance.claims import Claim
from detectors.watermark.provenance.exif import Exif, Position
from detectors.watermark.provenance.rules import (
    GCJ_SLACK_M,
    SITE_SLACK_M,
    Contradiction,
    distance_m,
    in_china,
    taken_between,
)

SMALL_SIDE: Final = 640
READ_SIDE: Final = 1280
DAY: Final = timedelta(days=1)

_DATE: Final = re.compile(
    r"(?<!\d)(20\d\d)\s*[-./年:]\s*(?:(1[0-2]|0?[1-9])\s*[-./月:]\s*(3[01]|[12]\d|0?[1-9])(?:\s*日)?"
    # the second dot is easily lost: four digits, before an hour or nothing more
    r"|(1[0-2]|0[1-9])(3[01]|[12]\d|0[1-9])(?=\s*\d\d[:：]|\D|$))"
)
_DATE_WEST: Final = re.compile(
    r"(?<!\d)(3[01]|[12]\d|0?[1-9])[-./](3[01]|[12]\d|0?[1-9])[-./](20\d\d)"
)
_DATE_WORDS: Final = re.compile(
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?\s*(\d{1,2})\s*,?\s*(20\d\d)|"
    r"(?<!\d)(\d{1,2})\s*(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?,?\s*(20\d\d)",
    re.IGNORECASE,
)
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_TIME: Final = re.compile(
    r"(上午|下午|晚上|AM|PM)?\s*(?<![\d.])([01]?\d|2[0-3])\s*[:：]\s*([0-5]\d)(?:\s*[:：]\s*([0-5]\d))?"
    r"\s*(AM|PM)?(?!\d)",
    re.IGNORECASE,
)
_NUMBER: Final = (
    r"(\d{1,3}(?:\.\d{2,})|\d{1,3}\s*[°º]\s*\d{1,2}\s*['′]\s*\d{1,2}(?:\.\d+)?\s*[\"″]?)"
)
_AFTER_LABEL: Final = r"(?:\s*[:：.]\s*|\s+|-)?"
"""What stands between a label and its number. A dash glued to the label is a colon that was read badly:
a sign stands behind a space or a colon."""
_LAT: Final = re.compile(
    rf"(?:北纬|南纬|纬度|lat(?:itude)?|(?<![a-z])[NS]){_AFTER_LABEL}(-?){_NUMBER}", re.IGNORECASE
)
_LON: Final = re.compile(
    rf"(?:东经|西经|经度|lon(?:g|gitude)?|lng|(?<![a-z])[EW]){_AFTER_LABEL}(-?){_NUMBER}",
    re.IGNORECASE,
)
_LAT_BEFORE: Final = re.compile(rf"(-?){_NUMBER}\s*[°º]?\s*([NS])(?![a-z])", re.IGNORECASE)
_LON_BEFORE: Final = re.compile(rf"(-?){_NUMBER}\s*[°º]?\s*([EW])(?![a-z])", re.IGNORECASE)
_NUMBERED: Final = re.compile(_NUMBER)
_PLACE: Final = re.compile(
    r"[\u4e00-\u9fff]{2,8}(?:省|市|自治区|区|县|镇|乡|村|路|街|大道|巷|号)|"
    r"\b\d{0,5} ?[A-Z][\w. ]{1,40}?(?:Road|Rd|Street|St|Avenue|Ave|Lane|Ln|Square|"
    r"District|City|County|Blvd|Drive)\b",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a photo's stamp says; ``local`` is a naive wall clock, midnight where only a day is
    given (``has_time`` False). ``boxes`` are where it stands, in pixels of the picture given."""

    local: datetime | None = None
    has_time: bool = False
    position: Position | None = None
    place: str = ""
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def speaks(self) -> bool:
        """Whether it says a day or a position."""
        return self.local is not None or self.position is not None


def read_stamp(pixels: npt.NDArray[np.uint8]) -> Stamp:
    """Read the stamp of a photo (uint8 RGB); an empty one where nothing of the kind is read."""
    scale = min(1.0, READ_SIDE / max(pixels.shape[:2]))
    small = pixels
    if scale < 1:
        small = np.asarray(
            cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    elif max(pixels.shape[:2]) < SMALL_SIDE:
        scale = 2.0
        small = np.asarray(
            cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8
        )
    return parse(read_lines(small), scale)


def parse(lines: tuple[Line, ...], scale: float = 1.0) -> Stamp:
    """Find date, time, position and place in lines of text (``scale``: their pixels a pixel)."""
    day = time = position = None
    place, boxes, used = "", [], []
    texts = [line.text for line in lines]
    for line in lines:
        text = line.text
        found_day, found_time = _day(text), _clock(text)
        named = _PLACE.search(text)
        day, time = day or found_day, time or (found_time if found_time else None)
        place = place or (text if named else "")
        if found_day or found_time or named or _NUMBERED.search(text):
            x0, y0, x1, y1 = (round(v / scale) for v in line.box)
            boxes.append((x0, y0, x1, y1))
            used.append(text[:120])
    position = _position(_mend_numbers(" ".join(texts)))
    local = None
    if day is not None:
        hour, minute, second = time or (0, 0, 0)
        local = datetime(*day, hour, minute, second)  # noqa: DTZ001 - a stamp names no zone
    return Stamp(
        local=local,
        has_time=time is not None,
        position=position,
        place=place[:120],
        boxes=tuple(boxes[:12]),
        lines=tuple(used[:12]),
    )


def _day(text: str) -> tuple[int, int, int] | None:
    # words first: a year behind a month's name and an hour behind that look like a date, too
    words = _DATE_WORDS.search(_mend(text))
    if words:
        month = _MONTHS.index((words[1] or words[5])[:3].casefold()) + 1
        return _valid(int(words[3] or words[6]), month, int(words[2] or words[4]))
    found = _DATE.search(text)
    if found:
        return _valid(int(found[1]), int(found[2] or found[4]), int(found[3] or found[5]))
    west = _DATE_WEST.search(text)
    if west:
        first, second, year = int(west[1]), int(west[2]), int(west[3])
        if first != second and first <= 12 and second <= 12:
            return None
        return _valid(year, second, first) if first > 12 else _valid(year, first, second)
    return None


def _mend(text: str) -> str:
    """Undo what readers confuse in the names of months."""
    return re.sub(r"[0Oo]ct", "Oct", re.sub(r"(?<![A-Za-z])[JI]u[1I](?![a-z])", "Jul", text))


def _mend_numbers(text: str) -> str:
    """Undo what readers confuse in positions: an o read as nought and the reverse, a dot as colon."""
    text = re.sub(r"(?<![A-Za-z])L[0Oo]n", "Lon", text)
    text = re.sub(r"(?<=\d)[Oo](?=[\dNSEW])", "0", text)
    return re.sub(r"(?<![\d:])(\d{1,3}):(\d{4,6})(?!\d)", r"\1.\2", text)


def _valid(year: int, month: int, day: int) -> tuple[int, int, int] | None:
    try:
        datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
    return year, month, day


def _clock(text: str) -> tuple[int, int, int] | None:
    rest = _DATE.sub(" ", _DATE_WORDS.sub(" ", _mend(text)))
    dated = rest != _mend(text)
    found = _TIME.search(re.sub(r"(?<=\s)[.\-]\s*(?=\d{1,2}\s*[:：])", "", rest))
    if not found and dated:
        # nothing but an hour and minutes is left behind a date, their colon read as a dot
        alone = re.fullmatch(r"\s*(\d{1,2})[.\-](\d\d)\s*", rest)
        found = _TIME.search(f"{alone[1]}:{alone[2]}") if alone else None
    if not found:
        return None
    hour, half = int(found[2]), (found[1] or found[5] or "").casefold()
    if half in ("下午", "晚上", "pm") and hour < 12:
        hour += 12
    elif half in ("上午", "am") and hour == 12:
        hour = 0
    return hour, int(found[3]), int(found[4] or 0)


def _position(text: str) -> Position | None:
    """Read a position whose letters stand before both numbers, or after both."""
    for lat_form, lon_form in ((_LAT, _LON), (_LAT_BEFORE, _LON_BEFORE)):
        lat, lon = lat_form.search(text), lon_form.search(text)
        if lat is None or lon is None or lat.span(2) == lon.span(2):
            continue
        south = "南纬" in lat[0] or "S" in lat[0]
        west = "西经" in lon[0] or "W" in lon[0]
        y, x = _degrees(lat[2]), _degrees(lon[2])
        y = -y if south or lat[1] == "-" else y
        x = -x if west or lon[1] == "-" else x
        if abs(y) <= 90 and abs(x) <= 180:
            return Position(lat=y, lon=x)
    return None


def _degrees(text: str) -> float:
    parts = [float(p) for p in re.findall(r"\d+(?:\.\d+)?", text)]
    return float(sum(part / 60.0**i for i, part in enumerate(parts[:3])))


def stamp_contradictions(stamp: Stamp, claim: Claim, exif: Exif) -> tuple[Contradiction, ...]:
    """Hold a stamp to the task's window, its site and the file's own clock."""
    found: list[Contradiction] = []
    said: dict[str, Any] = {"stamp": list(stamp.lines), "boxes": [list(b) for b in stamp.boxes]}
    if stamp.local is not None:
        found += _times(stamp, claim, exif, said)
    if stamp.position is not None and claim.site is not None:
        found += _places(stamp.position, claim, said)
    return tuple(found)


def _times(stamp: Stamp, claim: Claim, exif: Exif, said: dict[str, Any]) -> list[Contradiction]:
    assert stamp.local is not None
    at = Exif(taken_local=stamp.local, position=stamp.position)
    span = taken_between(at, claim)
    if span is None:
        return []
    first, last = span if stamp.has_time else (span[0], span[1] + DAY)
    said = said | {"stamp_clock": stamp.local.isoformat()}
    found = []
    if claim.fresh and claim.posted_at is not None and claim.posted_at - last > DAY / 4:
        days = (claim.posted_at - last) / DAY
        facts = said | {
            "task_posted_at": claim.posted_at.isoformat(),
            "days_before": round(days, 2),
        }
        found.append(_contrary("stamp_before_task", 0.35 if days < 3 else 0.6, facts, "early"))
    if first - claim.submitted_at > DAY / 4:
        days = (first - claim.submitted_at) / DAY
        facts = said | {
            "submitted_at": claim.submitted_at.isoformat(),
            "days_after": round(days, 2),
        }
        found.append(_contrary("stamp_after_submission", 0.4, facts, "late"))
    if exif.taken_local is not None and abs(exif.taken_local - stamp.local) > 1.2 * DAY:
        facts = said | {"camera_clock": exif.taken_local.isoformat()}
        found.append(_contrary("stamp_against_camera", 0.45, facts, "clocks"))
    return found


def _places(here: Position, claim: Claim, said: dict[str, Any]) -> list[Contradiction]:
    site = claim.site
    assert site is not None
    away = distance_m(here.lat, here.lon, site.lat, site.lon)
    slack = SITE_SLACK_M + (GCJ_SLACK_M if in_china(site.lat, site.lon) else 0.0)
    excess = away - site.radius_m - slack
    if excess <= 0:
        return []
    facts = said | {
        "stamp_position": [round(here.lat, 6), round(here.lon, 6)],
        "site": [site.lat, site.lon], "radius_m": site.radius_m, "distance_m": round(away),
    }  # fmt: skip
    return [_contrary("stamp_elsewhere", 0.35 if excess < 10_000 else 0.55, facts, "away")]


def _contrary(rule: str, strength: float, facts: dict[str, Any], habit: str) -> Contradiction:
    return Contradiction(
        code="provenance.inconsistent", rule=rule, strength=strength, facts=facts, habit=habit
    )
