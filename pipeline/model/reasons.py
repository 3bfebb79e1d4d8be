"""The reason codes: what a finding can say, in the words of the public contract.

A code is ``family.finding`` in lower snake case and is stable for ever; codes are only added.
``says`` is one sentence about the submission, ``says_zh`` the same for a Chinese reader.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason code and its plain sentence."""

    code: str
    says: str
    says_zh: str

    @property
    def family(self) -> str:
        """The part before the dot: ``file``, ``text``, ``image`` …"""
        return self.code.partition(".")[0]


def _reasons(*rows: tuple[str, str, str]) -> Mapping[str, Reason]:
    return MappingProxyType({c: Reason(code=c, says=en, says_zh=zh) for c, en, zh in rows})


REASONS: Final = _reasons(
    ("file.identical", "the same bytes were handed in before", "提交的文件与之前的文件逐字节相同"),
    (
        "text.near_duplicate",
        "nearly the same text was handed in before",
        "文本与之前提交的内容几乎相同",
    ),
    (
        "text.contained",
        "a long part of the text was handed in before",
        "文本的较长部分来自之前的提交",
    ),
    (
        "text.template_only",
        "the text is only the brief or its template",
        "文本只是任务说明或模板本身",
    ),
    (
        "text.hidden_characters",
        "invisible or look-alike characters were used",
        "文本使用了不可见或形近字符",
    ),
    ("text.canary", "the text carries a planted phrase", "文本包含任务中埋设的识别短语"),
    ("image.near_duplicate", "the same picture was handed in before", "同一张图片之前已被提交"),
    ("image.region_reused", "part of the picture was handed in before", "图片的一部分之前已被提交"),
    (
        "image.same_scene",
        "another shot of the same scene was handed in",
        "同一场景的另一张照片曾被提交",
    ),
    (
        "watermark.platform_mark",
        "it carries our mark of an earlier paid delivery",
        "带有平台此前已付款交付的水印",
    ),
    ("watermark.foreign_mark", "it carries another site's visible mark", "带有其他网站的可见水印"),
    ("watermark.text_mark", "the text carries our mark", "文本带有平台的隐形标记"),
    (
        "provenance.generated",
        "its metadata says that a generator made it",
        "元数据显示由生成工具制作",
    ),
    (
        "provenance.inconsistent",
        "its metadata says another time, place or device than claimed",
        "元数据中的时间、地点或设备与声明不符",
    ),
    (
        "provenance.edited",
        "its metadata says that an editor changed it",
        "元数据显示经过编辑软件修改",
    ),
    ("trajectory.automated", "the pointer moved as scripts do", "指针轨迹呈脚本特征"),
    ("trajectory.replayed", "a recorded session was played back", "行为轨迹为录制回放"),
    ("trajectory.pasted", "the text was pasted in one piece", "文本为一次性粘贴"),
    (
        "trajectory.too_fast",
        "it was done faster than honest work takes",
        "完成速度快于正常作业所需",
    ),
    (
        "trajectory.impossible_travel",
        "the places are too far apart for the time between them",
        "两地之间的移动速度不可能实现",
    ),
    ("trajectory.location_mocked", "the device reported a mocked position", "设备上报了模拟定位"),
    ("trajectory.off_site", "it was handed in far from the task's site", "提交地点远离任务现场"),
    ("identity.shared_device", "several accounts use one device", "多个账号使用同一设备"),
    (
        "identity.shared_payout",
        "several accounts are paid to one account",
        "多个账号使用同一收款账户",
    ),
    (
        "identity.same_hand",
        "several accounts move as one person does",
        "多个账号的操作习惯如同一人",
    ),
    (
        "collusion.dense_block",
        "workers and publishers act as one group",
        "任务方与执行者形成密集团伙",
    ),
    (
        "collusion.lockstep",
        "several accounts act within the same minutes",
        "多个账号步调一致地行动",
    ),
    ("collusion.self_dealing", "publisher and worker are one party", "发布者与执行者为同一方"),
)

RULE_REASONS: Final = _reasons(
    (
        "policy.hard_grade",
        "the task is of the hardest grade, which is looked at more strictly",
        "任务属于最高难度等级，审核更为严格",
    ),
    (
        "policy.high_value",
        "the bounty is high, and high bounties are looked at more strictly",
        "任务赏金较高，审核更为严格",
    ),
    (
        "policy.repeated",
        "the same account was confirmed for this before",
        "同一账号此前已有经确认的同类记录",
    ),
    (
        "velocity.worker_burst",
        "unusually many were handed in within an hour",
        "一小时内提交数量异常",
    ),
    (
        "velocity.device_many_workers",
        "unusually many accounts used this device within a day",
        "一天内使用该设备的账号数量异常",
    ),
    (
        "list.blocked_account",
        "the account is on the platform's block list",
        "账号在平台的禁止名单中",
    ),
    (
        "list.blocked_material",
        "the material is on the platform's block list",
        "内容在平台的禁止名单中",
    ),
    ("list.watched", "the account is on the platform's watch list", "账号在平台的关注名单中"),
)
"""What a rule may give as its reason without a finding: circumstances, never an accusation."""

PENDING_ANALYSIS: Final = "pending.analysis"
"""Given with ``block_and_review`` where no analysis exists yet."""


def degraded(detector: str) -> str:
    """Name the reason code for a detector that applied and did not run."""
    return f"degraded.{detector}"
