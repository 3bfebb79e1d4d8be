"""A bounded reader of the TIFF structure inside EXIF: only the tags that can contradict something.

After EXIF 2.32 (CIPA DC-008). Offsets outside the block, unknown types and loops between
directories end the reading; what was read until then is kept. It never raises.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

Value: TypeAlias = str | bytes | tuple[float, ...]

ENTRIES_MAX: Final = 512
VALUE_MAX: Final = 1 << 16
_SIZES: Final[Mapping[int, int]] = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 129: 1,
}  # fmt: skip
_FORMATS: Final[Mapping[int, str]] = {
    1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the camera says it stood. ``utc`` is the receiver's own clock, ``error_m`` its doubt."""

    lat: float
    lon: float
    error_m: float | None = None
    utc: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exif:
    """What the EXIF block says. ``taken_local`` is the camera's wall clock as written, naive by
    the standard; ``offset`` the zone that it names (None where it names none)."""

    make: str = ""
    model: str = ""
    software: str = ""
    host: str = ""
    artist: str = ""
    description: str = ""
    comment: str = ""
    orientation: int = 1
    taken_local: datetime | None = None
    changed_local: datetime | None = None
    offset: timedelta | None = None
    position: Position | None = None
    width: int | None = None
    height: int | None = None
    thumbnail: bytes | None = None
    maker_note: bytes = b""
    lens: str = ""
    serial: str = ""
    exposed: bool = False
    tags: int = 0
    other: Mapping[int, str] = field(default_factory=dict)


def read_exif(tiff: bytes) -> Exif:
    """Read the block; an empty ``Exif`` where nothing can be read."""
    if len(tiff) < 8 or tiff[:4] not in (b"II*\x00", b"MM\x00*"):
        return Exif()
    end = "<" if tiff[:1] == b"I" else ">"
    root, following = _directory(tiff, _long(tiff, 4, end), end)
    thumb, _ = _directory(tiff, following, end)
    detail, _ = _directory(tiff, _pointer(root, 0x8769), end)
    gps, _ = _directory(tiff, _pointer(root, 0x8825), end)
    changed = _when(_text(root, 0x0132))
    return Exif(
        make=_text(root, 0x010F),
        model=_text(root, 0x0110),
        software=_text(root, 0x0131),
        host=_text(root, 0x013C),
        artist=_text(root, 0x013B),
        description=_text(root, 0x010E),
        comment=_comment(detail.get(0x9286)),
        orientation=int(_number(root, 0x0112) or 1),
        taken_local=_when(_text(detail, 0x9003)) or _when(_text(detail, 0x9004)),
        changed_local=changed,
        offset=_offset(_text(detail, 0x9011) or _text(detail, 0x9012)),
        position=_position(gps),
        width=_whole(detail, 0xA002),
        height=_whole(detail, 0xA003),
        thumbnail=_thumbnail(tiff, thumb),
        maker_note=_bytes(detail, 0x927C)[:64],
        lens=_text(detail, 0xA434),
        serial=_text(detail, 0xA431),
        exposed=any(tag in detail for tag in (0x829A, 0x829D, 0x920A)),
        tags=len(root) + len(detail) + len(gps),
        other={tag: _text(root, tag) for tag in (0x8298, 0x9C9B, 0x9C9C) if tag in root},
    )


def _long(data: bytes, at: int, end: str) -> int:
    return int(struct.unpack_from(end + "I", data, at)[0]) if 0 <= at <= len(data) - 4 else 0


def _directory(data: bytes, at: int, end: str) -> tuple[dict[int, Value], int]:
    """Read one directory: its values, and where the next one starts (0: nowhere)."""
    values: dict[int, Value] = {}
    if not 8 <= at <= len(data) - 2:
        return values, 0
    count = min(struct.unpack_from(end + "H", data, at)[0], ENTRIES_MAX)
    for i in range(count):
        entry = at + 2 + 12 * i
        if entry + 12 > len(data):
            return values, 0
        tag, kind, length = struct.unpack_from(end + "HHI", data, entry)
        size = _SIZES.get(kind, 0) * length
        if size == 0 or size > VALUE_MAX:
            continue
        place = entry + 8 if size <= 4 else _long(data, entry + 8, end)
        if place + size > len(data):
            continue
        values.setdefault(tag, _value(data[place : place + size], kind, length, end))
    return values, _long(data, at + 2 + 12 * count, end)


def _value(raw: bytes, kind: int, length: int, end: str) -> Value:
    if kind in (2, 129):
        return _decode(raw)
    if kind == 7:
        return raw
    if kind in (5, 10):
        parts = struct.unpack(f"{end}{2 * length}{'I' if kind == 5 else 'i'}", raw)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return tuple(n / d if d else float("nan") for n, d in pairs)
    return tuple(float(v) for v in struct.unpack(f"{end}{length}{_FORMATS[kind]}", raw))


def _decode(raw: bytes) -> str:
    raw = raw.partition(b"\x00")[0]
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def _text(values: Mapping[int, Value], tag: int) -> str:
    value = values.get(tag, "")
    if isinstance(value, bytes):
        value = _decode(value)
    return value[:4096] if isinstance(value, str) else ""


def _bytes(values: Mapping[int, Value], tag: int) -> bytes:
    value = values.get(tag, b"")
    return value if isinstance(value, bytes) else b""


def _number(values: Mapping[int, Value], tag: int) -> float | None:
    value = values.get(tag)
    if not isinstance(value, tuple) or not value or not abs(value[0]) < 1e12:
        return None
    return float(value[0])


def _whole(values: Mapping[int, Value], tag: int) -> int | None:
    number = _number(values, tag)
    return int(number) if number is not None and number > 0 else None


def _pointer(values: Mapping[int, Value], tag: int) -> int:
    return _whole(values, tag) or 0


def _comment(value: Value | None) -> str:
    """Read UserComment: eight bytes name its encoding."""
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else ""
    head, body = value[:8], value[8:]
    if head == b"UNICODE\x00":
        big = sum(body[0:256:2]) < sum(body[1:256:2])
        return body.decode("utf-16-be" if big else "utf-16-le", "replace").replace("\x00", "")
    if head in (b"ASCII\x00\x00\x00", bytes(8)):
        return _decode(body)
    return _decode(value)


def _when(text: str) -> datetime | None:
    """Read ``YYYY:MM:DD HH:MM:SS`` as the naive wall clock it is; blank and zero dates are None."""
    cleaned = text.strip()[:19].replace("-", ":").replace("T", " ").replace("/", ":")
    try:
        return datetime.strptime(cleaned, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - EXIF is naive
    except ValueError:
        return None


def _offset(text: str) -> timedelta | None:
    cleaned = text.strip()
    if cleaned == "Z":
        return timedelta(0)
    sign = {"+": 1, "-": -1}.get(cleaned[:1])
    hours, _, minutes = cleaned[1:].partition(":")
    if sign is None or not (hours.isdigit() and minutes.isdigit()):
        return None
    if len(hours) > 2 or len(minutes) > 2 or int(hours) > 14 or int(minutes) > 59:
        return None
    return sign * timedelta(hours=int(hours), minutes=int(minutes))


def _degrees(values: Mapping[int, Value], tag: int, reference: str, negative: str) -> float | None:
    parts = values.get(tag)
    if not isinstance(parts, tuple) or not 1 <= len(parts) <= 3:
        return None
    degrees = float(sum(part / 60.0**i for i, part in enumerate(parts)))
    return -degrees if reference.upper().startswith(negative) else degrees


def _position(gps: Mapping[int, Value]) -> Position | None:
    """Read the position; (0, 0) and what lies off the globe are no position."""
    lat = _degrees(gps, 2, _text(gps, 1), "S")
    lon = _degrees(gps, 4, _text(gps, 3), "W")
    if lat is None or lon is None or not (abs(lat) <= 90 and abs(lon) <= 180):
        return None
    if abs(lat) < 1e-6 and abs(lon) < 1e-6:
        return None
    error = _number(gps, 31)
    return Position(
        lat=lat,
        lon=lon,
        error_m=error if error is not None and error >= 0 else None,
        utc=_gps_clock(gps),
    )


def _gps_clock(gps: Mapping[int, Value]) -> datetime | None:
    day, time = _text(gps, 29), gps.get(7)
    if not isinstance(time, tuple) or len(time) != 3:
        return None
    hour, minute, second = time
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 61):
        return None
    midnight = _when(f"{day[:10]} 00:00:00")
    if midnight is None or midnight.year < 1990:
        return None
    clock = timedelta(hours=hour, minutes=minute, seconds=second)
    return midnight.replace(tzinfo=UTC) + clock


def _thumbnail(data: bytes, values: Mapping[int, Value]) -> bytes | None:
    start, size = _pointer(values, 0x0201), _pointer(values, 0x0202)
    if not start or not 64 <= size <= VALUE_MAX or start + size > len(data):
        return None
    found = data[start : start + size]
    return found if found.startswith(b"\xff\xd8") else None
