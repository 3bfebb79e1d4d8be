"""The rows of a drop, checked one by one at the edge: what the platform hands over becomes ours.

``check_task``, ``check_worker``, ``check_submission`` take one decoded row (a mapping) and give the
values of the record's columns. They raise ``RowError`` with one of these codes::

    row.bad_json       the line is no JSON                     row.wrong_type  a value has another type
    row.missing_field  a required field is absent              row.bad_id      1 to 128 characters, no NUL
    row.bad_time       no RFC 3339 time with an offset         row.bad_text    a NUL inside a text
    row.bad_value      a number outside what it can be         row.too_large   more than fits a row
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
import orjson

from pipeline.model.errors import RowError
from pipeline.model.records import ID_LENGTH_MAX

ROW_BYTES_MAX = 20 * 1024 * 1024
ATTACHMENTS_MAX = 100

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH_MAX)]
Minor = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Site(msgspec.Struct, frozen=True):
    lat: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    lon: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    radius_m: Annotated[float, msgspec.Meta(ge=0)] = 100.0


class _Attachment(msgspec.Struct, frozen=True):
    path: str
    media_type: str | None = None
    name: str | None = None


class _Task(msgspec.Struct, frozen=True):
    task_id: Id
    publisher_id: Id | None = None
    title: str | None = None
    brief: str | None = None
    category: str | None = None
    language: str | None = None
    grade: str | None = None
    bounty_minor: Minor | None = None
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] | None = None
    slots: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    posted_at: str | None = None
    deadline_at: str | None = None
    site: _Site | None = None
    reference_paths: list[str] | None = None


class _Worker(msgspec.Struct, frozen=True):
    worker_id: Id
    registered_at: str | None = None
    phone_verified: bool | None = None
    real_name_verified: bool | None = None
    social_linked: bool | None = None
    payout_account_hash: str | None = None
    skills: list[str] | None = None


class _Submission(msgspec.Struct, frozen=True):
    submission_id: Id
    task_id: Id
    worker_id: Id
    submitted_at: str
    claimed_at: str | None = None
    text: str | None = None
    attachments: Annotated[list[_Attachment], msgspec.Meta(max_length=ATTACHMENTS_MAX)] | None = (
        None
    )
    session_id: Id | None = None
    device_id: Id | None = None
    ip: str | None = None
    supersedes: Id | None = None


Row = TypeVar("Row", _Task, _Worker, _Submission)
_PATH = re.compile(r"`\$\.?([^`]*)`")


def decode_json(line: bytes) -> Any:
    """Decode one JSON document. Raises ``RowError`` (``row.bad_json``, ``row.too_large``)."""
    if len(line) > ROW_BYTES_MAX:
        raise RowError(
            "row.too_large", f"the row has {len(line):,} bytes, at most {ROW_BYTES_MAX:,}"
        )
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RowError("row.bad_json", str(error)) from error


def check_task(given: object, *, lax: bool = False) -> dict[str, Any]:
    """Check one task; ``reference_paths`` stays beside the columns for the blobs to be fetched."""
    row, extra = _convert(given, _Task, lax=lax)
    return _seal(
        {
            "task_id": row.task_id,
            "publisher_id": row.publisher_id,
            "title": row.title,
            "brief": row.brief,
            "category": row.category,
            "language": row.language,
            "grade": row.grade,
            "bounty_minor": row.bounty_minor,
            "currency": row.currency,
            "slots": row.slots,
            "posted_at": _time(row.posted_at, "posted_at"),
            "deadline_at": _time(row.deadline_at, "deadline_at"),
            "site_lat": row.site.lat if row.site else None,
            "site_lon": row.site.lon if row.site else None,
            "site_radius_m": row.site.radius_m if row.site else None,
            "reference_paths": row.reference_paths or [],
            "extra": extra,
        }
    )


def check_worker(given: object, *, lax: bool = False) -> dict[str, Any]:
    """Check one worker."""
    row, extra = _convert(given, _Worker, lax=lax)
    return _seal(
        {
            "worker_id": row.worker_id,
            "registered_at": _time(row.registered_at, "registered_at"),
            "phone_verified": row.phone_verified,
            "real_name_verified": row.real_name_verified,
            "social_linked": row.social_linked,
            "payout_account_hash": row.payout_account_hash,
            "skills": row.skills or [],
            "extra": extra,
        }
    )


def check_submission(given: object, *, lax: bool = False) -> dict[str, Any]:
    """Check one submission; ``attachments`` stays beside the columns for the blobs to be fetched."""
    row, extra = _convert(given, _Submission, lax=lax)
    submitted_at = _time(row.submitted_at, "submitted_at")
    if submitted_at is None:
        raise RowError("row.missing_field", "submitted_at is empty")
    return _seal(
        {
            "submission_id": row.submission_id,
            "task_id": row.task_id,
            "worker_id": row.worker_id,
            "claimed_at": _time(row.claimed_at, "claimed_at"),
            "submitted_at": submitted_at,
            "text": row.text or "",
            "session_id": row.session_id,
            "device_id": row.device_id,
            "ip": row.ip,
            "supersedes": row.supersedes,
            "attachments": [msgspec.to_builtins(a) for a in row.attachments or []],
            "extra": extra,
        }
    )


CHECKS = {"tasks": check_task, "workers": check_worker, "submissions": check_submission}
KEYS = {"tasks": "task_id", "workers": "worker_id", "submissions": "submission_id"}


def _convert(given: object, kind: type[Row], *, lax: bool) -> tuple[Row, dict[str, Any]]:
    if not isinstance(given, Mapping):
        raise RowError("row.wrong_type", f"a row is an object, not {type(given).__name__}")
    fields, required = _fields_of(kind)
    for name in required:
        if given.get(name) is None:
            raise RowError("row.missing_field", f"{name} is absent")
    known = {k: _plain(v) for k, v in given.items() if k in fields}
    extra = {str(k): _plain(v) for k, v in given.items() if k not in fields}
    try:
        row = msgspec.convert(known, kind, strict=not lax)
    except msgspec.ValidationError as error:
        raise _explained(error) from error
    _no_nul(row)
    return row, extra


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Name the fields of a row, and those of them that are required, in their order."""
    fields = msgspec.structs.fields(kind)
    return frozenset(f.name for f in fields), tuple(f.name for f in fields if f.required)


def _plain(value: object) -> object:
    """Times that a Parquet or CSV reader already understood go back to the contract's own form."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.isoformat()
    return value


def _explained(error: msgspec.ValidationError) -> RowError:
    message = str(error)
    found = _PATH.search(message)
    field = found.group(1) if found else ""
    told = f"{field}: {message.split(' - at ')[0]}" if field else message
    if field.split("[")[0].endswith("_id") or field in ("supersedes",):
        return RowError("row.bad_id" if "length" in message else "row.wrong_type", told)
    if "missing required field" in message:
        return RowError("row.missing_field", told)
    if any(sign in message for sign in (">=", "<=", "matching", "length")):
        return RowError("row.bad_value", told)
    return RowError("row.wrong_type", told)


def _no_nul(row: msgspec.Struct) -> None:
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, str) and "\x00" in value:
            code = "row.bad_id" if name.endswith("_id") else "row.bad_text"
            raise RowError(code, f"{name}: a NUL character at {value.index(chr(0))}")


def _time(value: str | None, field: str) -> datetime | None:
    """Read an RFC 3339 time. Raises ``RowError('row.bad_time')``; an offset is required."""
    if value is None or value == "":
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError as error:
        raise RowError("row.bad_time", f"{field}: {value[:64]!r} is no RFC 3339 time") from error
    if read.tzinfo is None:
        raise RowError("row.bad_time", f"{field}: {value[:64]!r} has no offset from UTC")
    if not 1970 <= read.year < 9000:
        raise RowError("row.bad_time", f"{field}: the year {read.year} cannot be")
    return read.astimezone(UTC)


def _seal(row: dict[str, Any]) -> dict[str, Any]:
    """Add the digest by which a second delivery is told from a changed row."""
    try:
        canonical = orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
        extra = orjson.dumps(row["extra"], option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONEncodeError, TypeError) as error:
        raise RowError("row.wrong_type", f"a value cannot be kept: {error}") from error
    if "\\u0000" in extra:
        raise RowError("row.bad_text", "a NUL character in a column of its own")
    return row | {"extra": extra, "row_digest": hashlib.sha256(canonical).hexdigest()}
