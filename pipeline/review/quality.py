"""Detection quality against labels: recall by scheme, false holds by confounder, attribution.

Pure: frames and truth rows in, a report out. Intervals are Wilson score intervals at 95 % (Wilson
1927). Rows whose truth is ``ambiguous`` count nowhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.model.decisions import HOLDS
from pipeline.model.shares import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeRow:
    """One kind of fraud: found by the right family, held, and rightly attributed."""

    scheme: str
    found: Share
    held: Share
    attributed: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class HonestRow:
    """One confounder: how many honest submissions were held, reviewed, declined."""

    confounder: str
    held: Share
    reviewed: Share
    declined: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The report: a row a scheme, a row a confounder, totals, and what was missed or wronged."""

    schemes: tuple[SchemeRow, ...]
    honest: tuple[HonestRow, ...]
    missed: tuple[str, ...]
    wrongly_held: tuple[str, ...]
    unassessed: int

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--format json``."""

        def share(s: Share) -> dict[str, Any]:
            return {"hits": s.hits, "of": s.of, "share": s.share, "interval95": s.interval}

        return {
            "schemes": [
                {"scheme": r.scheme, "found": share(r.found), "held": share(r.held),
                 "attributed": share(r.attributed)}
                for r in self.schemes
            ],
            "honest": [
                {"confounder": r.confounder, "held": share(r.held), "reviewed": share(r.reviewed),
                 "declined": share(r.declined)}
                for r in self.honest
            ],
            "missed": list(self.missed),
            "wrongly_held": list(self.wrongly_held),
            "unassessed": self.unassessed,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    truth: Mapping[str, Any]
    found: bool
    held: bool
    attributable: bool
    attributed: bool


def measure(
    assessments: pl.DataFrame, signals: pl.DataFrame, truth: Iterable[Mapping[str, Any]]
) -> Quality:
    """Compare the standing assessments and signals with the truth."""
    rows = [t for t in truth if not t.get("ambiguous")]
    outcomes = dict(assessments.select("submission_id", "outcome").iter_rows())
    said: dict[str, list[tuple[str, str | None]]] = {}
    columns = ("submission_id", "reason_code", "matched_submission_id")
    for sid, code, matched in signals.select(columns).iter_rows():
        said.setdefault(sid, []).append((code, matched))
    group = {t["submission_id"]: t.get("alike_group") for t in rows}
    fraud = [
        _judge(t, outcomes, said, group)
        for t in rows
        if t["label"] == "fraud" and t["submission_id"] in outcomes
    ]
    honest = [t for t in rows if t["label"] == "honest" and t["submission_id"] in outcomes]
    return Quality(
        schemes=_schemes(fraud),
        honest=_honest(honest, outcomes),
        missed=tuple(v.truth["submission_id"] for v in fraud if not v.found),
        wrongly_held=tuple(
            t["submission_id"] for t in honest if outcomes[t["submission_id"]] in HOLDS
        ),
        unassessed=sum(t["submission_id"] not in outcomes for t in rows),
    )


def _judge(
    t: Mapping[str, Any],
    outcomes: Mapping[str, str],
    said: Mapping[str, Sequence[tuple[str, str | None]]],
    group: Mapping[str, Any],
) -> _Verdict:
    sid = t["submission_id"]
    families = set(t.get("families") or {k.partition(".")[0] for k in t["kinds"]})
    right = [(c, m) for c, m in said.get(sid, ()) if c.partition(".")[0] in families]
    sources = {t.get("source_submission_id"), *(t.get("source_submission_ids") or ())} - {None}
    alike = t.get("alike_group")
    hits = any(
        m is not None and (m in sources or (alike is not None and group.get(m) == alike))
        for _, m in right
    )
    return _Verdict(
        truth=t,
        found=bool(right),
        held=outcomes[sid] in HOLDS,
        attributable=bool(sources) and bool(right),
        attributed=hits and bool(sources),
    )


def _schemes(verdicts: Sequence[_Verdict]) -> tuple[SchemeRow, ...]:
    by_scheme: dict[str, list[_Verdict]] = {}
    for verdict in verdicts:
        t = verdict.truth
        by_scheme.setdefault(t.get("scheme") or ",".join(sorted(t["kinds"])), []).append(verdict)
    by_scheme = dict(sorted(by_scheme.items())) | {"all": list(verdicts)}
    return tuple(
        SchemeRow(
            scheme=scheme,
            found=Share(hits=sum(v.found for v in some), of=len(some)),
            held=Share(hits=sum(v.held for v in some), of=len(some)),
            attributed=Share(
                hits=sum(v.attributed for v in some), of=sum(v.attributable for v in some)
            ),
        )
        for scheme, some in by_scheme.items()
    )


def _honest(
    rows: Sequence[Mapping[str, Any]], outcomes: Mapping[str, str]
) -> tuple[HonestRow, ...]:
    by_confounder: dict[str, list[str]] = {}
    for t in rows:
        outcome = outcomes[t["submission_id"]]
        by_confounder.setdefault(t.get("confounder") or "(none)", []).append(outcome)
    by_confounder = dict(sorted(by_confounder.items())) | {
        "all": [outcomes[t["submission_id"]] for t in rows]
    }
    return tuple(
        HonestRow(
            confounder=name,
            held=Share(hits=sum(o in HOLDS for o in some), of=len(some)),
            reviewed=Share(hits=some.count("review"), of=len(some)),
            declined=Share(hits=some.count("decline"), of=len(some)),
        )
        for name, some in by_confounder.items()
    )
