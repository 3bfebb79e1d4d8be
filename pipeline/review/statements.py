"""Statements of reasons: what a worker is told of a hold or a refusal, in Chinese and in English.

Each says the measure, its scope and length, the facts, the rule's clause and version, whether a machine
or a person decided, what would change it, and how and until when to appeal (after article 17 of the
Digital Services Act and article 24 of the Chinese personal information protection law). ``lint``
refuses a statement that lacks any of it or could be about anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipeline.model.reasons import REASONS, RULE_REASONS

LANGUAGES: Final = ("zh", "en")
FACTS_MAX: Final = 8
FIELDS: Final = (
    "decision_id", "language", "submission_id", "measure", "scope", "duration", "amount_minor",
    "currency", "facts", "rules", "ruleset_digest", "automated_detection", "automated_decision",
    "decided_by", "what_changes_it", "appeal", "appeal_until", "made_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What a statement rests on. ``signals`` are rows of the evaluation; ``rules`` maps a rule's id
    to what it tells the worker, by language.
    """

    decision_id: str
    case_id: str
    kind: str
    submission_id: str
    worker_id: str
    revision: int
    amount_minor: int
    currency: str
    reason_codes: Sequence[str]
    signals: Sequence[Mapping[str, Any]]
    rules: Mapping[str, Mapping[str, str]]
    ruleset_digest: str
    decided_by: str | None
    at: datetime
    due_at: datetime
    appeal_until: datetime


_TEXT: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "hold": "the payout is held until a person has decided",
        "decline": "the payout is refused",
        "late": "the work was paid; a later finding is being looked into",
        "look": "the work was paid; a person looks at it afterwards",
        "scope": "this submission ({submission}) only; other work is not touched",
        "until": "until a decision, at the latest {due}",
        "lasting": "lasting, unless it is overturned on appeal",
        "change": "Show what speaks against the facts above: your own draft, the original file with its "
        "history, or how you came by it. If submission {submission} is found to be your own work, the "
        "payout, your credit and your standing are restored in full.",
        "appeal": "Appeal case {case}: answer with what speaks for you. Another person than the one who "
        "decided will read it first, and answers within 7 days.",
        "machine": "a machine, by the rules named here",
        "like_plain": "it agrees with an earlier submission",
        "strength": "strength {strength:.2f} of 1",
        "reported": "other users have reported this submission",
    },
    "zh": {
        "hold": "款项暂缓支付，等待人工裁定",
        "decline": "款项不予支付",
        "late": "款项已付，现就后来的发现进行核查",
        "look": "款项已付，事后由人工复核",
        "scope": "仅限本次提交（{submission}），不影响其他任务",
        "until": "至作出裁定为止，最迟 {due}",
        "lasting": "长期有效，除非申诉后被撤销",
        "change": "请提供与上述事实相反的材料：自己的草稿、带有历史记录的原始文件，或材料来源说明。"
        "若认定提交 {submission} 为本人作品，款项、信用与等级将全部恢复。",
        "appeal": "可就案件 {case} 提出申诉并附上说明。申诉由原裁定人之外的人员先行阅读，7 日内答复。",
        "machine": "系统依据下列规则自动作出",
        "like_plain": "与此前的另一次提交一致",
        "reported": "其他用户举报了本次提交",
        "strength": "强度 {strength:.2f}（满分 1）",
    },
}


def statement(grounds: Grounds, language: str) -> dict[str, Any]:
    """Write the statement in that language (``zh`` or ``en``); it always passes ``lint``."""
    text = _TEXT[language]
    open_ended = grounds.kind in ("hold", "late", "look")
    return {
        "decision_id": grounds.decision_id,
        "case_id": grounds.case_id,
        "language": language,
        "submission_id": grounds.submission_id,
        "revision": grounds.revision,
        "measure": text[grounds.kind],
        "scope": text["scope"].format(submission=grounds.submission_id),
        "duration": text["until"].format(due=f"{grounds.due_at:%Y-%m-%d %H:%M} UTC")
        if open_ended
        else text["lasting"],
        "amount_minor": grounds.amount_minor,
        "currency": grounds.currency,
        "facts": _facts(grounds, language),
        "rules": [{"rule": rule, "clause": told[language]} for rule, told in grounds.rules.items()],
        "ruleset_digest": grounds.ruleset_digest,
        "automated_detection": True,
        "automated_decision": grounds.decided_by is None,
        "decided_by": grounds.decided_by or text["machine"],
        "what_changes_it": text["change"].format(submission=grounds.submission_id),
        "appeal": text["appeal"].format(case=grounds.case_id),
        "appeal_until": grounds.appeal_until.isoformat(),
        "made_at": grounds.at.isoformat(),
    }


def _facts(grounds: Grounds, language: str) -> list[dict[str, Any]]:
    """Return the findings, strongest first, without what would expose others or the detectors."""
    text = _TEXT[language]
    ranked = sorted(grounds.signals, key=lambda s: (-float(s["strength"]), str(s["reason_code"])))
    facts = []
    told = set()
    for signal in ranked:
        code = str(signal["reason_code"])
        if code in told:
            continue
        told.add(code)
        details = [text["strength"].format(strength=float(signal["strength"]))]
        if signal.get("matched_submission_id"):
            details.append(text["like_plain"])
        facts.append({"reason_code": code, "says": says(code, language), "details": details})
    facts += [
        {"reason_code": code, "says": says(code, language), "details": []}
        for code in grounds.reason_codes
        if code not in told
    ]
    if not facts:
        facts = [{"reason_code": "report", "says": text["reported"], "details": []}]
    return facts[:FACTS_MAX]


def says(code: str, language: str) -> str:
    """Say a reason code in one sentence."""
    reason = REASONS.get(code) or RULE_REASONS.get(code)
    if reason is not None:
        return reason.says_zh if language == "zh" else reason.says
    what, _, which = code.partition(".")
    plain = {
        ("pending", "en"): "the analysis is not finished yet",
        ("pending", "zh"): "分析尚未完成",
        ("degraded", "en"): f"the check {which!r} could not run",
        ("degraded", "zh"): f"检测项 {which} 未能运行",
        ("abstained", "en"): f"the check {which!r} could not look at the file",
        ("abstained", "zh"): f"检测项 {which} 无法读取文件",
    }
    return plain.get((what, language), code)


def lint(made: Mapping[str, Any]) -> list[str]:
    """Return what a statement lacks; empty where it says everything about this one decision."""
    faults = [f"{name} is absent" for name in FIELDS if made.get(name) in (None, "", [])
              and name not in ("amount_minor", "rules", "automated_decision")]  # fmt: skip
    if "amount_minor" not in made or "automated_decision" not in made:
        faults.append("amount_minor or automated_decision is absent")
    named = str(made.get("submission_id"))
    for name in ("scope", "what_changes_it"):
        if named not in str(made.get(name)):
            faults.append(f"{name} does not name the submission")
    if str(made.get("case_id")) not in str(made.get("appeal")):
        faults.append("appeal does not name the case")
    for fact in made.get("facts") or ():
        if not fact.get("says") or fact["says"] == fact.get("reason_code"):
            faults.append(f"{fact.get('reason_code')} is not explained")
    for rule in made.get("rules") or ():
        if not rule.get("clause"):
            faults.append(f"rule {rule.get('rule')} has no clause")
    return faults
