"""What a task asks for and a submission thereby claims: a fresh shot, a true record, a free design."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipeline.model.records import Site

_FRESH: Final = re.compile(
    r"现场|实地|当场|当日拍|发布后|不得使用旧图|旧图|到店拍|到达|on[- ]site|in person|taken after|"
    r"live photo|at the (?:place|location|site)|no old (?:photo|picture)s?",
    re.IGNORECASE,
)
_RECORD: Final = re.compile(
    r"实拍|拍摄|拍照|拍一张|照片|原图|小票|凭证|票据|发票|截图|真实界面|未经修改|不得[ps修]|"
    r"photo(?!shop)|receipt|invoice|screenshot|screen shot|unedited|unaltered|snapshot|proof of",
    re.IGNORECASE,
)
_DESIGN: Final = re.compile(
    r"设计|海报|修图|美化|抠图|插画|绘制|标志|宣传图|配图|调色|精修|后期|剪辑|表情包|"
    r"\bdesign|poster|retouch|\bedit(?!ed\b|orial)|illustrat|banner|\blogo\b|artwork|collage|meme",
    re.IGNORECASE,
)
_NO_GENERATOR: Final = re.compile(
    r"(?:不得|禁止|不要|请勿|不可|不能|严禁|非|拒绝|不接受)[^。，,.;；]{0,8}(?:AI|人工智能|生成)|"
    r"\b(?:no|not|without|never|don't|non)[^.,;]{0,16}\b(?:AI|generated|generative)\b",
    re.IGNORECASE,
)
_GENERATOR: Final = re.compile(
    r"AI ?(?:绘|生成|作图|作画|出图|创作|生图)|AIGC|人工智能生成|文生图|提示词|"
    r"\bAI[- ]generated|\bgenerat(?:e|ed|ive) (?:AI|image|picture|art)|midjourney|stable diffusion|"
    r"text[- ]to[- ]image|\bprompts?\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What handing this in for this task claims of the picture.

    ``fresh``: shot for the task, after it was posted. ``record``: shows what was there, unchanged.
    ``design``: making or changing a picture is the work. ``generator`` says whether a generator is
    asked for (True), forbidden (False) or not spoken of (None).
    """

    site: Site | None
    posted_at: datetime | None
    submitted_at: datetime
    fresh: bool
    record: bool
    design: bool
    generator: bool | None


def claim_of(submission: Mapping[str, Any], task: Mapping[str, Any] | None) -> Claim:
    """Read the claim out of a row of SUBMISSIONS and one of TASKS (None where it is unknown)."""
    known: Mapping[str, Any] = task or {}
    words = " ".join(str(known.get(name) or "") for name in ("title", "brief", "category"))
    words = words.replace("_", " ")[:20_000]
    site = None
    if known.get("site_lat") is not None and known.get("site_lon") is not None:
        site = Site(
            lat=float(known["site_lat"]),
            lon=float(known["site_lon"]),
            radius_m=float(known.get("site_radius_m") or 0.0),
        )
    forbidden, asked = bool(_NO_GENERATOR.search(words)), bool(_GENERATOR.search(words))
    record = site is not None or bool(_RECORD.search(words))
    return Claim(
        site=site,
        posted_at=known.get("posted_at"),
        submitted_at=submission["submitted_at"],
        fresh=site is not None or bool(_FRESH.search(words)),
        record=record,
        design=bool(_DESIGN.search(words)) and site is None,
        generator=False if forbidden else (True if asked else None),
    )
