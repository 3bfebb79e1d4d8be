"""Ways to hide that a text was copied, each a function of (text, draw, other texts); seeded."""

import re
from collections.abc import Callable, Sequence

import numpy as np

Draw = np.random.Generator
Attack = Callable[[str, Draw, Sequence[str]], str]

_INVISIBLE = "\u200b\u200c\u2060\ufeff\u00ad"
_LATIN_LIKE = dict(zip("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ", strict=True))
_CJK_LIKE = dict(zip("一人入八十又口土大女子小山工己巾干弓心戈手文斗方无日月木水火爪牛犬玉瓜甘生用田白皮目矛石示禾立竹米羊老耳肉自至舌舟色虫行衣见角言谷豆走足身车里金长门雨青非面音食首马高鱼鸟黑",
                     "⼀⼈⼊⼋⼗⼜⼝⼟⼤⼥⼦⼩⼭⼯⼰⼱⼲⼸⼼⼽⼿⽂⽃⽅⽆⽇⽉⽊⽔⽕⽖⽜⽝⽟⽠⽢⽣⽤⽥⽩⽪⽬⽭⽯⽰⽲⽴⽵⽶⽺⽼⽿⾁⾃⾄⾆⾈⾊⾍⾏⾐⻅⾓⾔⾕⾖⾛⾜⾝⻋⾥⾦⻓⻔⾬⾭⾮⾯⾳⾷⾸⻢⾼⻥⻦⿊", strict=True))  # fmt: skip
_PUNCTUATION = "，。、；·~-…!?*|"
_ENDS = re.compile(r"(?<=[。！？!?；;，,.])")


def is_zh(text: str) -> bool:
    return sum("\u4e00" <= c <= "\u9fff" for c in text) * 3 > len(text)


def zero_width(text: str, draw: Draw, others: Sequence[str]) -> str:
    step = int(draw.integers(1, 5))
    return "".join(
        c + (_INVISIBLE[int(draw.integers(len(_INVISIBLE)))] if i % step == 0 else "")
        for i, c in enumerate(text)
    )


def look_alikes(text: str, draw: Draw, others: Sequence[str]) -> str:
    table = _LATIN_LIKE | _CJK_LIKE
    return "".join(table.get(c, c) if draw.random() < 0.8 else c for c in text)


def full_width(text: str, draw: Draw, others: Sequence[str]) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def traditional(text: str, draw: Draw, others: Sequence[str]) -> str:
    import opencc

    return str(opencc.OpenCC("s2tw").convert(text))


def punctuation(text: str, draw: Draw, others: Sequence[str]) -> str:
    return "".join(
        c + (_PUNCTUATION[int(draw.integers(len(_PUNCTUATION)))] if draw.random() < 0.25 else "")
        for c in text
    )


def typos(text: str, draw: Draw, others: Sequence[str], share: float = 0.10) -> str:
    """One in ten characters replaced, dropped, doubled or swapped with its neighbour."""
    pool = "".join(others[int(draw.integers(len(others)))] for _ in range(3)) or text
    letters = [c for c in pool if c.isalnum()] or ["x"]
    told, i = [], 0
    while i < len(text):
        c = text[i]
        if c.isalnum() and draw.random() < share:
            kind = int(draw.integers(4))
            if kind == 0:
                told.append(letters[int(draw.integers(len(letters)))])
            elif kind == 2:
                told.append(c + c)
            elif kind == 3 and i + 1 < len(text):
                told.append(text[i + 1] + c)
                i += 1
        else:
            told.append(c)
        i += 1
    return "".join(told)


def synonyms(text: str, draw: Draw, others: Sequence[str]) -> str:
    """Six words in ten, of those a thesaurus could replace (a third), become another word."""
    if is_zh(text):
        pool = [c for c in "".join(others[int(draw.integers(len(others)))] for _ in range(5))
                if "\u4e00" <= c <= "\u9fff"]  # fmt: skip
        told, i = [], 0
        while i < len(text):
            pair = text[i : i + 2]
            if len(pair) == 2 and "\u4e00" <= pair[0] <= "\u9fff" and draw.random() < 0.11:
                told.append("".join(pool[int(draw.integers(len(pool)))] for _ in range(2)))
                i += 2
            else:
                told.append(text[i])
                i += 1
        return "".join(told)
    words = re.split(r"(\W+)", text)
    pool = [w for w in re.split(r"\W+", others[int(draw.integers(len(others)))]) if len(w) > 3]
    if not pool:
        return text
    return "".join(
        pool[int(draw.integers(len(pool)))] if len(w) > 4 and w.isalpha() and draw.random() < 0.36
        else w for w in words
    )  # fmt: skip


def reorder(text: str, draw: Draw, others: Sequence[str]) -> str:
    parts = [p for p in _ENDS.split(text) if p]
    return "".join(parts[i] for i in draw.permutation(len(parts)))


def _piece(text: str, share: float, draw: Draw) -> str:
    size = max(1, int(len(text) * share))
    begin = int(draw.integers(0, len(text) - size + 1))
    return text[begin : begin + size]


def _filled(stolen: str, share: float, draw: Draw, others: Sequence[str]) -> str:
    """Put a stolen piece into an own text, so that it is ``share`` of the whole."""
    need = int(len(stolen) * (1 - share) / share)
    own = ""
    while len(own) < need:
        own += others[int(draw.integers(len(others)))]
    cut = int(draw.integers(0, need + 1))
    return own[:cut] + stolen + own[cut:need]


def half(text: str, draw: Draw, others: Sequence[str]) -> str:
    return _filled(_piece(text, 0.5, draw), 0.5, draw, others)


def third(text: str, draw: Draw, others: Sequence[str]) -> str:
    return _filled(_piece(text, 0.34, draw), 0.34, draw, others)


def sandwich(text: str, draw: Draw, others: Sequence[str]) -> str:
    """The whole text between three times as much of one's own."""
    return _filled(text, 0.25, draw, others)


def combined(text: str, draw: Draw, others: Sequence[str]) -> str:
    told = typos(text, draw, others, share=0.04)
    told = reorder(told, draw, others)
    told = punctuation(told, draw, others)
    if is_zh(told):
        told = traditional(told, draw, others)
    return zero_width(look_alikes(told, draw, others), draw, others)


_SMALL_CAPS = dict(zip("abcdefghijklmnopqrstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", strict=True))
_EMOJI = "😀🌸👍🔥✨🎉💯🍀"


def decorated(text: str, draw: Draw, others: Sequence[str]) -> str:
    """Small capitals or black squares for Latin letters, Japanese forms for ideographs."""
    if is_zh(text):
        import opencc

        return str(opencc.OpenCC("t2jp").convert(opencc.OpenCC("s2t").convert(text)))
    if draw.random() < 0.5:
        return "".join(_SMALL_CAPS.get(c, c) for c in text.lower())
    return "".join(
        chr(0x1F170 + ord(c) - 65) if c.isascii() and c.isalpha() else c for c in text.upper()
    )


def turned(text: str, draw: Draw, others: Sequence[str]) -> str:
    """Written backwards behind a right-to-left override, which shows it forwards again."""
    return "\n".join("\u202e" + line[::-1] + "\u202c" for line in text.splitlines())


def emoji(text: str, draw: Draw, others: Sequence[str]) -> str:
    return "".join(
        c + (_EMOJI[int(draw.integers(len(_EMOJI)))] if draw.random() < 0.3 else "") for c in text
    )


def noise_letters(text: str, draw: Draw, others: Sequence[str]) -> str:
    """A letter or digit put in after every seventh to tenth character."""
    told, left = [], int(draw.integers(7, 11))
    for c in text:
        told.append(c)
        left -= 1
        if not left:
            told.append("abcdefghijkmnpqrstuvwxyz0123456789"[int(draw.integers(34))])
            left = int(draw.integers(7, 11))
    return "".join(told)


def typos_20(text: str, draw: Draw, others: Sequence[str]) -> str:
    return typos(text, draw, others, share=0.20)


def digits(text: str, draw: Draw, others: Sequence[str]) -> str:
    """Digits for the letters they look like."""
    return text.translate(str.maketrans("oeiast", "031457"))


def entities(text: str, draw: Draw, others: Sequence[str]) -> str:
    """Half of the characters as numeric entities, which a page shows as they are meant."""
    return "".join(f"&#{ord(c)};" if draw.random() < 0.5 else c for c in text)


def tags(text: str, draw: Draw, others: Sequence[str]) -> str:
    """Empty tags between characters, which a page does not show."""
    return "".join(c + ("<b></b>" if draw.random() < 0.2 else "") for c in text)


def interleaved(text: str, draw: Draw, others: Sequence[str]) -> str:
    """Clause by clause, one stolen and one of somebody's own."""
    own = iter([p for p in _ENDS.split(others[int(draw.integers(len(others)))]) if p])
    told = []
    for part in (p for p in _ENDS.split(text) if p):
        told += [part, next(own, "")]
    return "".join(told)


ATTACKS: dict[str, Attack] = {
    "zero_width": zero_width, "look_alikes": look_alikes, "full_width": full_width,
    "traditional": traditional, "punctuation": punctuation, "typos_10": typos,
    "synonyms_60": synonyms, "reorder": reorder, "half": half, "third": third,
    "sandwich": sandwich, "combined": combined,
}  # fmt: skip
"""``merge_3`` (three sources) is made by the benchmark, which knows the sources."""
BEYOND: dict[str, Attack] = {
    "decorated": decorated, "turned": turned, "emoji": emoji, "noise_letters": noise_letters,
    "typos_20": typos_20, "interleaved": interleaved, "digits": digits, "entities": entities, "tags": tags,
}  # fmt: skip
"""Nobody promised these."""
