"""Telling text from other bytes, and decoding it: UTF-8, UTF-16 with a mark, GB18030."""

import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
_UNLIKELY: Final = re.compile(r"[\x80-\x9f\ue000-\uf8ff\ufffd\U000f0000-\U0010ffff]")
_FOREIGN: Final = re.compile(r"[^\x00-\x7f]")
_CHINESE: Final = re.compile(r"[\u2010-\u203b\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_HANZI: Final = re.compile(r"[\u4e00-\u9fff]")
_CHINESE_SHARE_MIN: Final = 0.7
_COMMON_SHARE_MIN: Final = 0.8
_LOOKED_AT_MAX: Final = 100_000
"""GB18030 maps most byte pairs to something, so bytes are only taken for it where what comes out
reads like Chinese: mostly characters of GB 2312's first level, the 3,755 of daily use."""


def decode_text(data: bytes) -> str | None:
    """Decode bytes that are text; None where they are not."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _checked(data, encoding)
    text = _checked(data, "utf-8")
    return text if text is not None else _chinese(data)


def _checked(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def _chinese(data: bytes) -> str | None:
    text = _checked(data, "gb18030")
    if text is None or _UNLIKELY.search(text):
        return None
    head = text[:_LOOKED_AT_MAX]
    foreign = len(_FOREIGN.findall(head))
    likely = len(_CHINESE.findall(head))
    if likely < _CHINESE_SHARE_MIN * foreign:
        return None
    hanzi = _HANZI.findall(head)
    leads = "".join(hanzi).encode("gb2312", "ignore")[::2]
    common = sum(0xB0 <= lead <= 0xD7 for lead in leads)
    return text if common >= _COMMON_SHARE_MIN * len(hanzi) else None


def tidy(text: str) -> str:
    """Make text storable anywhere: no lone surrogates, no NUL."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return _SURROGATE.sub("\ufffd", text) if _SURROGATE.search(text) else text
