"""Automation: what no hand does, and what looks like a script rather than like this platform's people.

Physics first: strokes along a ruler at one speed, typing like a metronome, clicks that jump without
moving. Then the model, which only speaks where the platform's own workers have calibrated it.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from scipy.special import bdtrc

from detectors.kit.findings import FindingsBuilder
from detectors.kit.strokes import STROKE_FEATURES, FloatArray
from detectors.trajectory import calibration, model
from detectors.trajectory.calibration import Calibration
from detectors.trajectory.model import Model, Scores
from detectors.trajectory.sessions import Sessions, observe
from pipeline.ports import Batch, Past

RULER_PX: Final = 0.7
RULER_SPREAD: Final = 0.15
EVEN_SPREAD: Final = 0.1
RULER_PATH_PX: Final = 100.0
RULER_P: Final = 1e-4
"""A hand's stroke of 100 px or more that stays within rounding of a line at one speed (spread under
15 %), or on any path at a spread under 10 %: none of 30,858 of people, so at most 1 in 10,000 (95 %)."""
RULER_SURE: Final = 1e-3
P_LEAST: Final = 1e-12
"""However many strokes agree: the bound on one of them is not known more exactly than that."""
METRONOME_SPREAD: Final = 0.1
METRONOME_KEYS: Final = 15
METRONOME_FEW: Final = 8
METRONOME_FEW_SPREAD: Final = 0.075
METRONOME_P: Final = 2.3e-3
"""Gaps between at least 15 keys that differ by under a tenth: none of 1,319 sessions of people, the
least 0.24. Holding a key down does this too: see ``_held``."""
TELEPORT_WORKERS_MIN: Final = 100
TELEPORT_SHARE_MAX: Final = 0.02
ALPHA: Final = 0.01
SCORE_MIN: Final = 0.5
"""Rare among people is not enough: it must also look more like a script than like a hand (log-odds)."""
SURE_WORKERS_MIN: Final = 300
"""With fewer workers of a pointer type, the model is never sure by itself: odd hardware that one
worker in a hundred owns may be missing among them (rule of three: 300 unseen bound it by 1 %)."""
VIEW_SURE: Final = 2.3
"""Mean log-odds (ten to one) that shape and time must each reach, without the other, to be sure."""
SHARE_MODEL: Final = 0.8
"""Four fifths of α go to the boosted model, one fifth to strangeness (weighted Bonferroni)."""

_COLUMN: Final = {name: i for i, name in enumerate(STROKE_FEATURES)}


@dataclass(slots=True, kw_only=True)
class Case:
    """What speaks for a script in one submission."""

    sure: list[str] = field(default_factory=list)
    weak: list[str] = field(default_factory=list)
    p_values: list[float] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    strength: float = 0.0

    def add(self, name: str, told: dict[str, Any], *, p: float | None, strength: float) -> None:
        """Add one kind of evidence; 0.5 and more is sure by itself."""
        (self.sure if strength >= 0.5 else self.weak).append(name)
        self.evidence[name] = told
        self.strength = max(self.strength, strength)
        if p is not None:
            self.p_values.append(p)

    def verdict(self) -> tuple[float, float | None]:
        """Strength and p-value of all together. Two weak kinds of independent evidence are sure."""
        kinds = len(self.sure) + len(self.weak)
        strength = self.strength
        if kinds >= 2:
            strength = max(strength, 0.7 if not self.sure else min(0.97, strength + 0.05 * kinds))
        p = min(1.0, len(self.p_values) * min(self.p_values)) if self.p_values else None
        return strength, p


def judge(batch: Batch, past: Past, norm: Calibration | None, built: FindingsBuilder) -> None:
    """Report sessions that a script made; abstain where a pointer moved and nothing is calibrated."""
    sessions = observe(batch.submissions, batch.tasks, batch.events)
    refused = ""
    trained: Model | None = None
    try:
        trained = model.load(past.asset(model.ASSET))
    except ValueError as error:
        refused = str(error)
    texts = dict(batch.submissions.select("submission_id", "text").iter_rows())
    cases = [Case() for _ in range(sessions.table.height)]
    _ruler(sessions, cases)
    silent = _modelled(sessions, trained, norm, cases)
    if refused:
        silent = {i: ("model.refused", refused) for i in silent}
    for i, row in enumerate(sessions.table.iter_rows(named=True)):
        _metronome(row, texts[row["submission_id"]], cases[i])
        _teleports(row, norm, cases[i])
        case = cases[i]
        if case.evidence:
            strength, p = case.verdict()
            kinds = [*case.sure, *case.weak]
            built.signal(
                row["submission_id"], "trajectory.automated", strength=strength, p_value=p,
                evidence={"kinds": sorted(kinds), "strokes": row["strokes"], **case.evidence},
            )  # fmt: skip
        elif i in silent:
            built.abstain(row["submission_id"], *silent[i])


def _ruler(sessions: Sessions, cases: list[Case]) -> None:
    f = sessions.features
    if not len(f):
        return
    long = f[:, _COLUMN["path_log"]] >= math.log(RULER_PATH_PX)
    spread = f[:, _COLUMN["speed_spread"]]
    line = f[:, _COLUMN["line_residual_log"]] < math.log(RULER_PX + 0.1)
    hit = long & ((line & (spread < RULER_SPREAD)) | (spread < EVEN_SPREAD))
    hits = np.bincount(sessions.owner[hit], minlength=len(cases))
    strokes = np.bincount(sessions.owner, minlength=len(cases))
    for i in np.flatnonzero(hits):
        k, n = int(hits[i]), int(strokes[i])
        p = max(float(bdtrc(k - 1, n, RULER_P)), P_LEAST)
        if p > ALPHA:
            continue  # so many strokes that a hand may have done so
        numbers = [int(s) for s in np.flatnonzero(hit & (sessions.owner == i))[:5]]
        told = {
            "strokes": k, "of": n,
            "line_residual_px": [
                round(float(math.exp(f[s, _COLUMN["line_residual_log"]]) - 0.1), 2) for s in numbers
            ],
            "speed_spread": [round(float(spread[s]), 3) for s in numbers],
        }  # fmt: skip
        sure = k >= 2 and p <= RULER_SURE
        cases[i].add("one_speed_along_a_path", told, p=p, strength=0.85 if sure else 0.35)


def _held(text: str) -> int:
    """Longest run of one character: a key held down repeats like a metronome, and is no script."""
    longest, run, last = 0, 0, ""
    for character in text:
        run = run + 1 if character == last else 1
        last = character
        longest = max(longest, run)
    return longest


def _metronome(row: dict[str, Any], text: str, case: Case) -> None:
    keys, spread = row["keys"], row["key_spread"]
    if keys < METRONOME_FEW or spread is None or not spread < METRONOME_SPREAD:
        return
    enough = keys >= METRONOME_KEYS
    if not enough and spread >= METRONOME_FEW_SPREAD:
        return
    if _held(text) > keys // 3:
        return
    told = {
        "gaps": keys, "spread": round(float(spread), 4),
        "median_ms": round(float(row["key_median_ms"]), 1),
    }  # fmt: skip
    p = METRONOME_P if enough else None
    case.add("typed_like_a_metronome", told, p=p, strength=0.7 if enough else 0.4)


def _teleports(row: dict[str, Any], norm: Calibration | None, case: Case) -> None:
    """Clicks in several places by a pointer that never moves: no device does, page scripts do."""
    if row["points"] > 0 or row["click_places"] < 3:
        return
    cells = {} if norm is None else norm.clicks
    workers, still = cells.get(row["client"], cells.get("*", (0, 0)))
    if workers < TELEPORT_WORKERS_MIN:
        workers, still = cells.get("*", (0, 0))
    known = workers >= TELEPORT_WORKERS_MIN
    unheard = known and still <= TELEPORT_SHARE_MAX * workers
    told = {
        "clicks": row["clicks"], "places": row["click_places"],
        "workers_seen": workers, "of_them_never_moving": still,
    }  # fmt: skip
    if known and not unheard:
        return
    p = (1.0 + still) / (workers + 1.0) if known else None
    case.add("clicked_without_moving", told, p=p, strength=0.75 if unheard else 0.4)


def _modelled(
    sessions: Sessions, trained: Model | None, norm: Calibration | None, cases: list[Case]
) -> dict[int, tuple[str, str]]:
    """Add what the model says; return who cannot be judged, with code and reason."""
    judged = np.flatnonzero(sessions.judged)
    if trained is None:
        why = "no model of this platform's pointer movements has been trained"
        return {int(i): ("model.absent", why) for i in judged}
    if norm is None or norm.model_digest != trained.digest:
        why = "the model has not been calibrated on this platform's workers"
        return {int(i): ("calibration.absent", why) for i in judged}
    scores = trained.score(sessions)
    silent = {}
    keys = sessions.table.select("pointer", "category", "client").rows()
    for i in judged.tolist():
        cell = norm.cell(*keys[i])
        if cell is None and keys[i][0] in norm.shifted:
            silent[i] = ("calibration.shifted", norm.shifted[keys[i][0]])
            continue
        if cell is None:
            silent[i] = (
                "calibration.too_few",
                f"fewer than {calibration.WORKERS_MIN} workers have calibrated {keys[i][0]}",
            )
            continue
        _weigh(scores, i, cell, trained, norm, cases[i])
    return silent


def p_values(scores: Scores, i: int, cell: str, norm: Calibration) -> tuple[float, float]:
    """Conformal p-values of one submission in a calibrated cell: by the trees, by strangeness."""
    return (
        calibration.p_value(norm.nulls[f"model|{cell}"], float(scores.all[i])),
        calibration.p_value(norm.nulls[f"strange|{cell}"], float(scores.strange[i])),
    )


def noticed(scores: Scores, i: int, cell: str, trained: Model, norm: Calibration) -> bool:
    """Whether one submission is worth a look: so few people move so, or none and bots do."""
    score = float(scores.all[i])
    p_model, p_strange = p_values(scores, i, cell, norm)
    p = min(p_model / SHARE_MODEL, p_strange / (1.0 - SHARE_MODEL))
    rare = p <= ALPHA and (score >= SCORE_MIN or p_strange <= (1.0 - SHARE_MODEL) * ALPHA)
    return rare or (score > float(norm.nulls[f"model|{cell}"][-1]) and score >= trained.bot_low)


def _weigh(
    scores: Scores, i: int, cell: str, trained: Model, norm: Calibration, case: Case
) -> None:
    """Weigh one submission. Sure: beyond all calibration workers, and a script by both views."""
    score, strange = float(scores.all[i]), float(scores.strange[i])
    null = norm.nulls[f"model|{cell}"]
    p_model, p_strange = p_values(scores, i, cell, norm)
    p = min(1.0, p_model / SHARE_MODEL, p_strange / (1.0 - SHARE_MODEL))
    beyond = score > float(null[-1])
    view = min(float(scores.shape[i]), float(scores.time[i]))
    known = len(norm.nulls.get(f"model|{cell.partition('|')[0]}", null))
    sure = beyond and view >= VIEW_SURE and known >= SURE_WORKERS_MIN
    if not (sure or noticed(scores, i, cell, trained, norm)):
        return
    told = {
        "by_shape": round(float(scores.shape[i]), 3), "by_time": round(float(scores.time[i]), 3),
        "score": round(score, 3), "bot_low": round(trained.bot_low, 3),
        "greatest_of_people": round(float(null[-1]), 3), "strangeness": round(strange, 4),
        "p_model": round(p_model, 5), "p_strange": round(p_strange, 5),
        "cell": cell, "calibration_workers": len(null), "model": trained.digest,
    }  # fmt: skip
    case.add("moved_like_a_script", told, p=p, strength=_strength(score, view, trained, null, sure))


def _strength(score: float, view: float, trained: Model, null: FloatArray, sure: bool) -> float:
    if sure:
        return 0.6 + 0.3 * min(1.0, (view - VIEW_SURE) / (model.LOGIT_MAX - 1.5 - VIEW_SURE))
    over = (score - 0.5 * float(null[-1])) / max(trained.bot_low, 1.0)
    return 0.3 + 0.15 * float(np.clip(over, 0.0, 1.0))
