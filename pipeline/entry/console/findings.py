"""One finding as a person is shown it: facts, texts letter by letter, pictures, drawings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pipeline.bootstrap import House
from pipeline.entry import letters

RAW_MAX: Final = 20_000
FACTS_MAX: Final = 24
FACT_CHARS_MAX: Final = 200
PLACES: Final = frozenset(
    {
        "content_index", "matched_content_index", "frame", "matched_frame", "where", "source_where",
        "channel", "sha256", "cluster_id",
    }
)  # fmt: skip
"""What the page shows in another way: where it is."""
TABLES_MAX: Final = 12
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?")
_FILE: Final = re.compile(r"file (\d{1,9}): ")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Two pictures to compare: files as (digest, media type, frame), regions as shares."""

    mine: tuple[str, str, int]
    theirs: tuple[str, str, int]
    region: Any = None
    matched_region: Any = None
    transform: Any = None
    inverted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A signal with what a page shows of it. ``drawing``: ``session``, ``group`` or nothing."""

    number: int
    signal: Row
    raw: str
    facts: Sequence[tuple[str, Any]]
    tables: Sequence[Sequence[tuple[str, Any]]] = ()
    aligned: letters.Aligned | None = None
    excerpts: Sequence[tuple[Row, letters.Aligned]] = ()
    pictures: Pictures | None = None
    drawing: str = ""
    cluster: Row = field(default_factory=dict)

    @property
    def code(self) -> str:
        """The reason code."""
        return str(self.signal["reason_code"])


def disguises_of(signals: Sequence[Row]) -> frozenset[str]:
    """Return the look-alike characters that these findings point at."""
    return frozenset().union(*(letters.disguises_of(s["evidence"]) for s in signals))


def signals_of(assessment: Row) -> list[dict[str, Any]]:
    """Read the findings that an evaluation rests on."""
    found: list[dict[str, Any]] = orjson.loads(assessment["signals"])
    for signal in found:
        if isinstance(signal.get("evidence"), str):
            signal["evidence"] = orjson.loads(signal["evidence"])
        signal.setdefault("evidence", {})
        for name in ("matched_submission_id", "matched_worker_id", "p_value"):
            signal.setdefault(name, None)
    return found


def read(
    house: House, submission_id: str, assessment: Row, text_of: Callable[[str, str], str | None]
) -> list[Finding]:
    """Make the findings of an evaluation, the strongest first.

    ``text_of`` reads a file's text by digest and media type; None where it cannot be read.
    """
    signals = signals_of(assessment)
    matched = sorted({s["matched_submission_id"] for s in signals if s["matched_submission_id"]})
    texts = _Texts(house, [submission_id, *matched], text_of)
    disguises = disguises_of(signals)
    told, groups = [], set()
    ranked = sorted(
        enumerate(signals), key=lambda s: (-float(s[1]["strength"]), str(s[1]["reason_code"]), s[0])
    )
    for number, signal in ranked:
        group = str(cluster_of(signal).get("cluster_id", ""))
        told.append(
            Finding(
                number=number,
                signal=signal,
                raw=_raw(signal["evidence"]),
                facts=_facts(signal["evidence"]),
                tables=_tables(signal["evidence"]),
                pictures=pictures_of(house, submission_id, signal),
                drawing=_drawing(signal) if group not in groups else "",
                cluster=cluster_of(signal),
                **_texts(signal, texts, submission_id, disguises),
            )
        )
        groups.add(group or f"-{number}")
    return told


def pictures_of(house: House, submission_id: str, signal: Row) -> Pictures | None:
    """Find the two files that a finding about pictures speaks of; None where there are none."""
    evidence, matched = signal["evidence"], signal.get("matched_submission_id")
    if not matched or not str(signal["reason_code"]).startswith(("image.", "file.")):
        return None
    known = house.known.contents([submission_id, matched]).to_dicts()
    by_place = {(c["submission_id"], c["content_index"]): c for c in known}
    mine = by_place.get((submission_id, evidence.get("content_index")))
    theirs = by_place.get((matched, evidence.get("matched_content_index")))
    if str(signal["reason_code"]) == "file.identical" and mine:
        alike = [
            c for c in known if c["submission_id"] == matched and c["digest"] == mine["digest"]
        ]
        theirs = alike[0] if alike else None
        if not str(mine["media_type"]).startswith("image/"):
            return None
    if mine is None or theirs is None:
        return None
    return Pictures(
        mine=(mine["digest"], mine["media_type"], _whole(evidence.get("frame"))),
        theirs=(theirs["digest"], theirs["media_type"], _whole(evidence.get("matched_frame"))),
        region=evidence.get("region"),
        matched_region=evidence.get("matched_region"),
        transform=evidence.get("transform"),
        inverted=bool(evidence.get("inverted")),
    )


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


class _Texts:
    """The texts that evidence speaks of: what was typed in, and what stands in files."""

    def __init__(
        self, house: House, submission_ids: Sequence[str], text_of: Callable[[str, str], str | None]
    ) -> None:
        rows = house.known.submissions(submission_ids)
        self._typed = dict(rows.select("submission_id", "text").iter_rows())
        self._files = house.known.contents(submission_ids).to_dicts()
        self._text_of = text_of

    def get(self, submission_id: str | None, where: Any) -> str | None:
        """Return the text of a place as evidence names it: ``text``, or ``file 0: its name``."""
        if where == "text":
            return self._typed.get(str(submission_id))
        named = _FILE.match(str(where))
        for file in self._files if named else ():
            here = (file["submission_id"], file["content_index"])
            if named and here == (submission_id, int(named[1])):
                return self._text_of(file["digest"], file["media_type"])
        return None


def _texts(
    signal: Row, texts: _Texts, submission_id: str, disguises: frozenset[str]
) -> dict[str, Any]:
    """Lay the texts side by side; of what is too long or cannot be read, the excerpts."""
    evidence = signal["evidence"]
    spans = [s for s in evidence.get("spans", ()) if isinstance(s, dict)]
    if not spans:
        return {}
    mine = texts.get(submission_id, evidence.get("where"))
    theirs = texts.get(signal["matched_submission_id"], evidence.get("source_where"))
    if mine and theirs and max(len(mine), len(theirs)) <= letters.SHOWN_MAX:
        aligned = letters.align(mine, theirs, spans, disguises)
        if aligned is not None:
            return {"aligned": aligned}
    return {"excerpts": letters.excerpts(spans, disguises)}


def cluster_of(signal: Row) -> Row:
    """Return the group that a finding speaks of, every part that pages show there; empty for none."""
    found = signal["evidence"].get("cluster")
    if not isinstance(found, dict) or "members" not in found:
        return {}
    parts = {
        "cluster_id": "", "member_count": len(found["members"]), "confidence": None,
        "first_seen": "", "last_seen": "", "keys": [], "links": [],
    }  # fmt: skip
    weak = {"a": "", "b": "", "kind": "", "weight": ""} | (found.get("weakest_link") or {})
    return parts | found | {"weakest_link": weak if weak["a"] else None}


def _drawing(signal: Row) -> str:
    family = str(signal["reason_code"]).partition(".")[0]
    if family == "trajectory":
        return "session"
    return "group" if family in ("identity", "collusion") and cluster_of(signal) else ""


def _raw(evidence: Row) -> str:
    told = orjson.dumps(evidence, option=orjson.OPT_INDENT_2).decode()
    return told if len(told) <= RAW_MAX else told[:RAW_MAX] + "\n…"


def _facts(evidence: Row) -> list[tuple[str, Any]]:
    """Return what the evidence says in one word each."""
    plain = [
        (name.replace("_", " "), _fact(value))
        for name, value in evidence.items()
        if isinstance(value, str | int | float | bool) and name not in PLACES
    ]
    return plain[:FACTS_MAX]


def _tables(evidence: Row) -> list[list[tuple[str, Any]]]:
    """Return the parts of the evidence that are lists of facts, as contradictions and characters are."""
    told = []
    for name in ("contradictions", "characters"):
        rows = evidence.get(name)
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                told.append([(k.replace("_", " "), _fact(v)) for k, v in row.items()][:FACTS_MAX])
    return told[:TABLES_MAX]


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value[:16].replace("T", " ")
    if isinstance(value, str | int | float):
        return str(value)[:FACT_CHARS_MAX]
    return orjson.dumps(value).decode()[:FACT_CHARS_MAX]
