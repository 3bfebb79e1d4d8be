"""Every word of the console, in English and in Chinese, and how money and times are written."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pipeline.review import statements

LANGUAGES: Final = ("en", "zh")
_NO_MINOR: Final = frozenset({"JPY", "KRW", "VND", "CLP", "ISK", "UGX", "XAF", "XOF", "PYG", "RWF"})
_THREE: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    # doors
    "console": ("Console", "审核台"),
    "sign_in": ("Sign in", "登录"),
    "sign_in.key": ("Your key", "您的密钥"),
    "sign_in.how": (
        "A key of the scope “console”, made for you by name. What you decide and look at here is "
        "recorded under that name.",
        "请使用以您的姓名签发、权限为 console 的密钥。您在此的裁定与查阅均以该姓名记录。",
    ),
    "sign_in.refused": ("This key does not open the console.", "该密钥无法登录审核台。"),
    "sign_in.too_often": ("Too many tries. Wait a minute.", "尝试次数过多，请一分钟后再试。"),
    "sign_out": ("Sign out", "退出"),
    "other_language": ("中文", "English"),
    "skip": ("Skip to content", "跳到正文"),
    "signed_in_as": ("Signed in as", "当前用户"),
    # navigation
    "queue": ("Cases", "案件"),
    "rules": ("Rules", "规则"),
    "quarantine": ("Quarantine", "隔离区"),
    "tab.open": ("Open", "待裁定"),
    "tab.appealed": ("Appealed", "申诉中"),
    "tab.mine": ("Decided by me", "我裁定的"),
    # queue
    "case": ("Case", "案件"),
    "kind": ("Kind", "类型"),
    "kind.any": ("any kind", "全部类型"),
    "kind.hold": ("Held", "暂缓支付"),
    "kind.look": ("Paid, look", "已付待复核"),
    "kind.late": ("Found late", "付后发现"),
    "kind.decline": ("Refused", "不予支付"),
    "state.open": ("open", "待裁定"),
    "state.confirmed": ("confirmed", "已确认"),
    "state.overturned": ("overturned", "已撤销"),
    "state.withdrawn": ("withdrawn", "已撤回"),
    "state.lapsed": ("lapsed", "已失效"),
    "state.appealed": ("appealed", "申诉中"),
    "at_stake": ("At stake", "涉及金额"),
    "due": ("Due", "期限"),
    "reasons": ("Reasons", "理由"),
    "score": ("Score", "分数"),
    "about": ("About", "对象"),
    "reason.any": ("any reason", "全部理由"),
    "find": ("Case, submission, worker or group", "案件、提交、执行者或团伙编号"),
    "filter": ("Filter", "筛选"),
    "clear": ("Clear", "清除"),
    "sort": ("Order", "排序"),
    "sort.due": ("due first", "期限优先"),
    "sort.money": ("most money first", "金额优先"),
    "sort.score": ("highest score first", "分数优先"),
    "payouts": ("{n} payouts of {w} workers", "{w} 名执行者的 {n} 笔款项"),
    "nothing_waits": ("Nothing waits here.", "此处没有待办。"),
    "next": ("Next", "下一页"),
    "previous": ("Previous", "上一页"),
    "page_n": ("Page {n}", "第 {n} 页"),
    "overdue": ("overdue", "已逾期"),
    "in_time": ("in {t}", "剩余 {t}"),
    "ago": ("{t} ago", "{t}前"),
    "days": ("{n} d", "{n} 天"),
    "hours": ("{n} h", "{n} 小时"),
    "minutes": ("{n} min", "{n} 分钟"),
    "done": ("{case}: {verdict}. It left the queue.", "{case}：{verdict}，已移出队列。"),
    "somebody_else": ("needs another person than you", "须由您以外的人裁定"),
    # case
    "submission": ("Submission", "提交"),
    "task": ("Task", "任务"),
    "worker": ("Worker", "执行者"),
    "publisher": ("Publisher", "发布者"),
    "group": ("Group", "团伙"),
    "handed_in": ("Handed in", "提交内容"),
    "handed_in_at": ("Handed in at", "提交时间"),
    "no_text": ("No text was handed in.", "未提交文本。"),
    "brief": ("What the task asked for", "任务要求"),
    "files": ("Files", "文件"),
    "findings": ("Findings", "发现"),
    "no_findings": ("No detector found anything.", "检测项均无发现。"),
    "strength": ("strength", "强度"),
    "earlier": ("Earlier submission", "此前的提交"),
    "this": ("This submission", "本次提交"),
    "evidence_raw": ("All of the evidence", "完整证据"),
    "legend.same": ("the same letters", "相同字符"),
    "legend.masked": ("the same behind a disguise", "伪装后相同"),
    "legend.other": ("differs", "不同"),
    "legend.hidden": ("invisible character", "不可见字符"),
    "legend.alike": ("look-alike letter", "形近字符"),
    "text_cut": ("Only the beginning is shown.", "仅显示开头部分。"),
    "side_by_side": ("Side by side", "并排"),
    "blink": ("Blink", "闪烁对比"),
    "laid_over": ("Earlier, laid over", "旧图叠加"),
    "difference": ("Difference", "差异"),
    "session": ("Session drawing", "操作轨迹图"),
    "graph": ("Group drawn as a graph", "团伙关系图"),
    "weakest_link": ("Weakest link", "最弱关联"),
    "arithmetic": ("Arithmetic", "计分"),
    "rule": ("Rule", "规则"),
    "family": ("Family", "类别"),
    "points": ("Points", "分值"),
    "sum_of": ("Sum of {family}", "{family} 合计"),
    "of_at_most": ("of at most {n}", "上限 {n}"),
    "thresholds": ("review from {r}, hold from {h}", "{r} 分起复核，{h} 分起暂缓"),
    "no_rules": ("No rule fired.", "没有规则命中。"),
    "abstentions": ("Could not look", "未能检测"),
    "detector": ("Detector", "检测项"),
    "why": ("Why", "原因"),
    "evaluations": ("Evaluations", "评估记录"),
    "outcome": ("Outcome", "结论"),
    "outcome.approve": ("approve", "通过"),
    "outcome.review": ("review", "付后复核"),
    "outcome.block_and_review": ("block and review", "暂缓并复核"),
    "outcome.decline": ("decline", "拒绝"),
    "rulebook": ("Rulebook", "规则集"),
    "at": ("At", "时间"),
    "stands": ("stands", "现行"),
    "older": (
        "This is an earlier evaluation, not the one that stands.",
        "这是较早的评估，并非现行评估。",
    ),
    "statement": ("Statement of reasons, as the worker reads it", "执行者看到的理由说明"),
    "statement.none": ("No statement was written.", "未生成理由说明。"),
    "statement.until": ("Can be appealed until {t}", "申诉截止 {t}"),
    "appeals": ("Appeals", "申诉"),
    "reports": ("Reports", "举报"),
    "decisions": ("Decisions", "裁定"),
    "trail": ("Audit trail of this case", "案件审计记录"),
    "members": ("Payouts of this case", "本案款项"),
    "payout": ("Payout", "款项"),
    "payout.held": ("held", "暂缓"),
    "payout.waiting": ("waiting", "等待分析"),
    "payout.posted": ("paid", "已付"),
    "payout.voided": ("not paid", "未付"),
    # deciding
    "decide": ("Decide", "裁定"),
    "verdict.confirm": ("Confirm", "确认作弊"),
    "verdict.refuse": ("Refuse", "拒付"),
    "verdict.overturn": ("Overturn", "撤销"),
    "verdict.confirm.says": ("it was fraud", "确属作弊"),
    "verdict.refuse.says": ("not fraud, and not paid either", "非作弊，但不支付"),
    "verdict.overturn.says": ("it stands as good work, and pays", "认定为正常工作并支付"),
    "would_do": ("would do", "将产生"),
    "would.nothing": ("no money and no credit moves", "资金与信用均不变动"),
    "would.refused": ("is not possible now", "当前不可行"),
    "would.many": (
        "This case is about {n} payouts; all of them move together.",
        "本案涉及 {n} 笔款项，将一并变动。",
    ),
    "would.money": ("{amount}: {source} → {target}", "{amount}：{source} → {target}"),
    "would.credit": (
        "credit of {worker}: {kind} ({points})",
        "{worker} 的信用：{kind}（{points}）",
    ),
    "reason": ("Reason, for the record and the worker", "理由（存档并告知执行者）"),
    "case.decided": ("Somebody has decided this case meanwhile.", "该案已由他人裁定。"),
    "case.moved": (
        "The case has changed since you opened it. Read it again before you decide.",
        "案件在您打开后已有变化，请重新阅读后再裁定。",
    ),
    "case.same_person": (
        "You decided this before. An appeal is decided by another person.",
        "您此前裁定过本案，申诉须由他人裁定。",
    ),
    "case.no_reason": ("A decision needs a reason.", "裁定须写明理由。"),
    "case.verdict": ("Choose a verdict.", "请选择裁定结果。"),
    "decided_already": ("This case is {state}.", "本案{state}。"),
    "snooze": ("Snooze a rule", "静默规则"),
    "snooze.says": (
        "Its hits are told and add no points, for this subject and for so long, from the next "
        "evaluation on.",
        "自下次评估起，在期限内对该对象仅提示、不计分。",
    ),
    "snooze.for": ("for", "对象"),
    "snooze.days": ("{n} days", "{n} 天"),
    "snoozed": (
        "{rule} is silent for {subject} {value} until {t}, by {owner}",
        "{rule} 对 {subject} {value} 静默至 {t}（{owner}）",
    ),
    # worker
    "worker.standing": ("Standing", "信用等级"),
    "worker.level": ("Level", "状态"),
    "worker.grade": ("Grade", "等级"),
    "worker.registered": ("Registered", "注册时间"),
    "worker.identity": ("Identity", "身份验证"),
    "identity.phone": ("phone", "手机"),
    "identity.real_name": ("real name", "实名"),
    "identity.social": ("social account", "社交账号"),
    "identity.none": ("unverified", "未验证"),
    "worker.credit": ("Credit history", "信用记录"),
    "worker.counts_now": ("Counts now", "当前计入"),
    "worker.cases": ("Cases", "案件"),
    "worker.work": ("Handed in", "提交记录"),
    "no_rows": ("None.", "无。"),
    "entry": ("Entry", "条目"),
    "note": ("Note", "备注"),
    "level.open": ("open", "正常"),
    "level.c_only": ("C tasks only", "仅限 C 级任务"),
    "level.suspended": ("suspended", "暂停接单"),
    "credit.accepted": ("accepted", "验收通过"),
    "credit.accepted_late": ("accepted late", "逾期通过"),
    "credit.quality_bonus": ("found clean by a person", "人工复核无误"),
    "credit.abandoned": ("abandoned", "中途放弃"),
    "credit.rejected": ("rejected", "未通过"),
    "credit.confirmed_fraud": ("confirmed fraud", "确认作弊"),
    "credit.reversal": ("taken back", "冲回"),
    # group
    "group.members": ("Members", "成员"),
    "group.keys": ("Shared", "共用"),
    "group.links": ("Links", "关联"),
    "group.confidence": ("confidence", "置信度"),
    "group.decide": ("Decide all {n} waiting cases of this group", "一并裁定该团伙的 {n} 个案件"),
    "first_seen": ("first seen", "首次出现"),
    "last_seen": ("last seen", "最近出现"),
    # rules
    "rules.status": ("Status", "状态"),
    "rules.hits": ("Hits in a week", "一周命中"),
    "rules.overturned": ("Overturned", "撤销率"),
    "rules.of": ("{a} of {b}", "{b} 中的 {a}"),
    "rules.when": ("Condition", "条件"),
    "rules.about": (
        "Read only. Rules are changed in their files and by “bountyguard rules step”.",
        "只读。规则通过规则文件与 bountyguard rules step 变更。",
    ),
    # quarantine
    "quarantine.about": (
        "Rows that could not be taken in. They are mended and replayed with "
        "“bountyguard quarantine replay”.",
        "未能接收的数据行，可用 bountyguard quarantine replay 修正并重放。",
    ),
    "file": ("File", "文件"),
    "line": ("Line", "行"),
    "code": ("Code", "代码"),
    "row": ("Row as delivered", "原始数据"),
    # faults
    "fault": ("This did not work", "操作未成功"),
    "fault.back": ("Back to the cases", "返回案件列表"),
    "session.none": (
        "You are not signed in, or your session has ended.",
        "您尚未登录，或会话已结束。",
    ),
    "form.forged": (
        "The form was not sent from this console. Nothing was changed.",
        "表单并非来自本审核台，未作任何更改。",
    ),
    "server.error": (
        "Something went wrong here. Nothing was changed.",
        "系统出现问题，未作任何更改。",
    ),
    "page.unknown": ("There is no such page.", "页面不存在。"),
    "case.unknown": ("There is no such case.", "案件不存在。"),
    "keys": (
        "Keys: j and k move, Enter opens, b blinks, u goes back, 1 2 3 choose a verdict, / filters",
        "快捷键：j、k 移动，Enter 打开，b 闪烁，u 返回，1 2 3 选择裁定，/ 筛选",
    ),
}


def preferred(accept: str | None) -> str:
    """Read ``Accept-Language``: Chinese where it stands before English, else English."""
    ranked = []
    for place, part in enumerate((accept or "")[:500].split(",")):
        name, _, more = part.strip().lower().partition(";")
        weight = more.strip().removeprefix("q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        ranked.append((-quality, place, name[:2]))
    known = [name for _, _, name in sorted(ranked) if name in LANGUAGES]
    return known[0] if known else "en"


def of(language: str) -> dict[str, Any]:
    """Return what templates write with: ``t``, ``known``, ``says``, ``money``, ``when``, ``due``."""

    def t(key: str, **more: Any) -> str:
        told = WORDS[key][LANGUAGES.index(language)]
        return told.format(**more) if more else told

    def known(key: str, fallback: str) -> str:
        return WORDS[key][LANGUAGES.index(language)] if key in WORDS else fallback

    def due(at: datetime, now: datetime) -> str:
        if at < now:
            return t("overdue")
        return t("in_time", t=_span(at - now, t))

    return {
        "t": t,
        "known": known,
        "says": lambda code: statements.says(code, language),
        "money": money,
        "when": when,
        "due": due,
        "span": lambda at, now: t("ago", t=_span(now - at, t)),
    }


def _span(length: timedelta, t: Any) -> str:
    minutes = max(0, int(length.total_seconds() // 60))
    if minutes >= 2 * 1440:
        return str(t("days", n=minutes // 1440))
    return str(t("hours", n=minutes // 60) if minutes >= 120 else t("minutes", n=minutes))


def money(amount_minor: int, currency: str | None) -> str:
    """Write an amount of minor units as people do: 1,234.50 CNY."""
    places = 0 if currency in _NO_MINOR else 3 if currency in _THREE else 2
    whole, rest = divmod(abs(amount_minor), 10**places)
    told = f"{whole:,}" + (f".{rest:0{places}d}" if places else "")
    return f"{'−' if amount_minor < 0 else ''}{told} {currency or ''}".strip()


def when(at: datetime | None) -> str:
    """Write a time to the minute, in UTC."""
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M")
