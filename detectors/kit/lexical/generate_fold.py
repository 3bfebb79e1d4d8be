"""Generate the folding table: ``python -m detectors.kit.lexical.generate_fold [PATH]``.

Reads Unicode's own data (``unicodedata``), OpenCC's traditional to simplified characters and the
look-alikes of UTS #39 (``confusable-homoglyphs``); both packages belong to the development tools. The
table ships as ``fold_table.npz`` and names the versions that it was made from.
"""

import importlib
import importlib.metadata
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from detectors.kit.lexical.shapes import (
    BIDI,
    CODE_POINTS,
    DISGUISED,
    EXPANDS,
    FULL_WIDTH,
    INVISIBLE,
    LENGTH_BITS,
    MIXED,
    NO_CLASS,
)

_BIDI: Final = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_FILLERS: Final = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x2800}
_SELECTORS: Final = {*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x180F)}
_MARKS: Final = (
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F),
    (0x0670, 0x0670), (0x06D6, 0x06ED), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF),
    (0x3099, 0x309A), (0xFE20, 0xFE2F),
)  # fmt: skip
"""Accents and vowel points that a reader may leave out; vowel signs of Indic scripts stay."""
_HAN: Final = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x323AF), (0x3005, 0x3007))
_KANA: Final = ((0x3041, 0x30FF), (0x31F0, 0x31FF))
_RADICALS: Final = ((0x2E80, 0x2FDF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
_LATIN_STYLES: Final = ((0x1D400, 0x1D7FF), (0x1F150, 0x1F189))
_MODIFIERS: Final = ((0x02B0, 0x02FF), (0x0640, 0x0640), (0x07FA, 0x07FA), (0xA700, 0xA721))
"""Tone and stress letters and stretchers: put between letters they change no word."""
_STYLED: Final = re.compile(
    r"(?:NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER|REGIONAL INDICATOR SYMBOL LETTER) ([A-Z])"
)
_LATIN: Final = re.compile(
    r"LATIN (?:CAPITAL |SMALL )?LETTER (?:(?:SMALL CAPITAL|SCRIPT|DOTLESS|STRETCHED|INSULAR|OPEN|SIDEWAYS"
    r"|BLACKLETTER|TAILLESS) )*([A-Z])(?: WITH .*)?"
)
_SEEN_AS: Final = {
    "ĸ": "k",
    "м": "m",
    "χ": "x",
    "ω": "w",
    "ⲱ": "w",
    "ꞷ": "w",
    "μ": "u",
    "ŋ": "n",
    "ɑ": "a",
}
"""Letters in which UTS #39 sees no ASCII letter, and a reader does."""
_SIGNS: Final = {"₳": "a", "฿": "b", "₵": "c", "₣": "f", "₲": "g", "₭": "k", "₥": "m", "₦": "n", "₱": "p",
                 "₴": "s", "₮": "t", "₩": "w"}  # fmt: skip
"""Currency signs that decorated writing takes for letters; those of daily use are not among them."""
_MERGED: Final = {"著": "着", "瞭": "了"}
"""What Taiwan writes for a character of daily use and the mainland for another word too."""
_KEPT: Final = ("L", "N", "M")


def _within(cp: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= cp <= high for low, high in ranges)


def _latin(char: str) -> str:
    """Name the plain letter that a Latin letter with strokes, or in small capitals, is; or ''."""
    if char.isascii() or char in _SEEN_AS:
        return _SEEN_AS.get(char, "")
    told = _LATIN.fullmatch(unicodedata.name(char, ""))
    return told[1].casefold() if told else ""


def _bare(text: str) -> str:
    return "".join(c for c in text if not _within(ord(c), _MARKS))


def _look_alike(char: str, similar: Mapping[str, list[dict[str, str]]]) -> str:
    """Name the ASCII letter or digit that a letter of another script looks like, or ''."""
    if char.isascii() or not unicodedata.category(char).startswith(("L", "N")):
        return ""
    found = [_bare(s["c"]) for s in similar.get(char, ())]
    letters = [c for c in found if len(c) == 1 and c.isascii() and c.isalnum()]
    if not letters:
        plain = [_latin(c) for c in [char, *found] if len(c) == 1]
        letters = [c for c in plain if c]
    if not letters:
        return ""
    if unicodedata.category(char) == "Lu" and {"l", "I"} & set(letters):
        return "i"
    return letters[0].casefold()


def _fold_one(
    cp: int, simplify: Callable[[str], str], similar: Mapping[str, list[dict[str, str]]]
) -> str:
    """Fold one code point to the letters and digits that a reader sees in it."""
    char = chr(cp)
    if unicodedata.category(char) in ("Cs", "Co", "Cn", "Cc", "Cf") or cp in _FILLERS:
        return ""
    styled = _STYLED.fullmatch(unicodedata.name(char, ""))
    if styled or char in _SIGNS:
        return styled[1].casefold() if styled else _SIGNS[char]
    kept = []
    for part in unicodedata.normalize("NFKD", char):
        code = ord(part)
        if code in _SELECTORS or code in _FILLERS or _within(code, _MARKS + _MODIFIERS):
            continue
        digit = unicodedata.digit(part, None)
        if digit is None and not unicodedata.category(part).startswith(_KEPT):
            continue
        kept.append(str(digit) if digit is not None else part)
    told = []
    for part in kept:
        small = part.casefold()
        like = _look_alike(part, similar)
        like = like or (_look_alike(small, similar) if len(small) == 1 else "")
        ideograph = _within(ord(part), _HAN) or _within(ord(part), _RADICALS)
        if like and not ideograph and not _within(ord(part), _KANA):
            told.append(like)
        elif _within(ord(part), _RADICALS):
            alike = [s["c"] for s in similar.get(part, ()) if _within(ord(s["c"][0]), _HAN)]
            told.append(simplify(alike[0] if alike else part))
        else:
            told.append(simplify(part) if ideograph else unicodedata.normalize("NFKD", small))
    return "".join(
        c for c in "".join(told)
        if unicodedata.category(c).startswith(_KEPT) and not _within(ord(c), _MARKS)
    )  # fmt: skip


def _settled(whole: Sequence[str], cp: int) -> str:
    """Fold what was folded until nothing changes, so that folding twice is folding once."""
    told = whole[cp]
    for _ in range(4):
        again = "".join(whole[ord(c)] for c in told)
        if again == told:
            break
        told = again
    return told


def _class_of(cp: int, similar: Mapping[str, list[dict[str, str]]]) -> int:
    """Say in what way a code point may be used to hide that a text is a copy."""
    char = chr(cp)
    category = unicodedata.category(char)
    if cp in _BIDI:
        return BIDI
    if category == "Cf" or cp in _FILLERS or cp in _SELECTORS:
        return INVISIBLE
    if _within(cp, _RADICALS) and category[0] in "LS":
        return DISGUISED
    if _within(cp, _LATIN_STYLES) or " SMALL CAPITAL " in unicodedata.name(char, ""):
        return DISGUISED
    if 0xFF10 <= cp <= 0xFF5A and category[0] in "LN":
        return FULL_WIDTH
    other_script = not unicodedata.name(char, "").startswith(("LATIN", "CJK", "DIGIT"))
    if category[0] == "L" and other_script and _look_alike(char, similar):
        return MIXED
    return NO_CLASS


def _weight_of(cp: int) -> int:
    """Weigh a folded code point: an ideograph says about three times what a letter says."""
    if _within(cp, _HAN):
        return 3
    return 2 if _within(cp, _KANA) else 1


def _simplifier() -> Callable[[str], str]:
    """Make what turns a character, as Taiwan, Hong Kong or Japan writes it, into its simplified form."""
    opencc = importlib.import_module("opencc").OpenCC
    plain = opencc("t2s").convert
    others = [opencc(name).convert for name in ("tw2s", "hk2s", "jp2t")]

    def daily(char: str) -> bool:
        return bool(char.encode("gb2312", "ignore"))

    def simplify(char: str) -> str:
        told: str = _MERGED.get(char) or plain(char)
        found = [told, *(plain(convert(char)) for convert in others if not daily(told))]
        return next((c for c in found if daily(c)), told)

    return simplify


def generate() -> dict[str, Any]:
    """Make the arrays of the table (see ``shapes`` for their meaning)."""
    simplify = _simplifier()
    source = files("confusable_homoglyphs").joinpath("confusables.json")
    similar = json.loads(source.read_text(encoding="utf-8"))
    fold = np.zeros(CODE_POINTS, np.uint32)
    traits = np.zeros(CODE_POINTS, np.uint8)
    pool: list[int] = []
    known: dict[str, int] = {}
    whole = [_fold_one(cp, simplify, similar) for cp in range(CODE_POINTS)]
    for cp in range(CODE_POINTS):
        told = _settled(whole, cp)
        traits[cp] = _weight_of(cp) | (_class_of(cp, similar) << 2)
        if len(told) == 1:
            fold[cp] = ord(told)
        elif told:
            if told not in known:
                known[told] = len(pool)
                pool += map(ord, told)
            fold[cp] = EXPANDS | (known[told] << LENGTH_BITS) | len(told)
    versions = {
        "unicode": unicodedata.unidata_version,
        "opencc": importlib.metadata.version("opencc"),
        "confusable-homoglyphs": importlib.metadata.version("confusable-homoglyphs"),
    }
    return {
        "fold": fold,
        "traits": traits,
        "pool": np.array(pool, np.uint32),
        "versions": np.array(json.dumps(versions, sort_keys=True)),
    }


def main() -> None:
    """Write the table beside this file, or to the path given."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("fold_table.npz")
    np.savez_compressed(path, **generate())


if __name__ == "__main__":
    main()
