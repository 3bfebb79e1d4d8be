"""Our mark in text: a sealed serial in zero-width signs and look-alike letters.

Every gap between two words, and every word, is a slot; what a slot carries is chosen by the HMAC of
the words beside it, not by its place, so replaced, deleted and cut-off words cost only their own
slots, and a mark cannot be moved to another text. Zero-width signs survive NFKC, DOCX and most
copying; look-alike letters survive stripping of format characters. Code and MAC are those of the
picture mark.
"""

import dataclasses
import hashlib
import hmac
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from detectors.watermark.mark.code import CODED_BITS, MAC_BITS, decode, encode, seal, unseal
from detectors.watermark.mark.keys import MarkKey
from pipeline.model.errors import UsageError

Channel = Literal["zero_width", "look_alike"]

SIGNS: Final = "\u200b\u200c\u200d\u2060"
"""Two bits each. All four are invisible where no emoji and no joining script stands beside them."""
TWINS: Final = dict(zip("acehijopsxyABCEHIKMOPSTX", "асеһіјорѕхуАВСЕНІКМОРЅТХ", strict=True))
"""Latin letters and the Cyrillic ones that look the same."""
_BACK: Final = str.maketrans({twin: letter for letter, twin in TWINS.items()})
_STRIP: Final = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad]")
_WORD: Final = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff]|"
    r"[^\W\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff]+"
    r"(?:[\u200b-\u200d\u2060]?[^\W\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff]+)*"
)
_CARRIES: Final = re.compile(f"[{SIGNS}]|[a-zA-Z][{''.join(TWINS.values())}]|"
                             f"[{''.join(TWINS.values())}][a-zA-Z]")  # fmt: skip
WORDS_MIN: Final = 120
"""Words (Chinese characters count as words) from which a text can carry a serial."""
VOTES_MIN: Final = 60
TEXT_MAX: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReading:
    """A serial read from text. ``p_decode`` bounds the chance that noise gave it."""

    key_id: str
    serial: int
    slots: int
    agreeing: float
    p_decode: float
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    start: int
    end: int
    plain: str


def mark_text(
    text: str,
    serial: int,
    key: MarkKey,
    *,
    channels: tuple[Channel, ...] = ("zero_width", "look_alike"),
) -> str:
    """Return the text with the serial in every slot. Reading it looks the same.

    Raises ``UsageError`` where the key is retired, the text is too short, or it already carries
    such signs (they would be ours or another's to lose).
    """
    if key.retired:
        raise UsageError("mark.key", f"key {key.key_id} is retired: it only detects")
    if _CARRIES.search(text):
        raise UsageError("mark.text", "the text already holds invisible or look-alike characters")
    words = _words(text)
    if len(words) < WORDS_MIN:
        raise UsageError("mark.text", f"{len(words)} words; a serial needs {WORDS_MIN}")
    own = _own(key)
    bits = (encode(seal(own, serial)) < 0).astype(int)
    slot_key = own.derive("slots")
    out, at = [], 0
    for before, word in _pairs(words):
        out.append(text[at : word.start])
        written = text[word.start : word.end]
        if "look_alike" in channels:
            place, flip = _look_slot(slot_key, before.plain, word.plain)
            if bits[place] ^ flip:
                written = _twin(written)
        if "zero_width" in channels and _free(text, before.end):
            places, flips = _gap_slot(slot_key, before.plain, word.plain)
            value = 2 * (bits[places[0]] ^ flips[0]) + (bits[places[1]] ^ flips[1])
            gap = out.pop()
            out.append(SIGNS[value] + gap)
        out.append(written)
        at = word.end
    return "".join(out) + text[at:]


def read_text(text: str, keys: tuple[MarkKey, ...]) -> TextReading | None:
    """Read a serial, or None. Costs one pattern search where no such sign is in the text."""
    text = text[:TEXT_MAX]
    if not _CARRIES.search(text):
        return None
    words = _words(text)
    for key in keys:
        own = _own(key)
        gaps, looks = _votes(text, words, own.derive("slots"))
        for soft in (gaps + looks, gaps, looks):
            votes = float(np.abs(soft).sum())
            if votes < VOTES_MIN:
                continue
            message = decode(soft.astype(np.float32))
            serial = unseal(own, message)
            if serial is None:
                continue
            agree = float((np.sign(soft) == encode(message))[soft != 0].mean())
            return TextReading(
                key_id=key.key_id,
                serial=serial,
                slots=round(votes),
                agreeing=round(agree, 4),
                p_decode=3 * len(keys) * 2.0**-MAC_BITS,
                excerpt=shown(text[words[0].start : words[0].start + 200]) if words else "",
            )
    return None


def shown(text: str) -> str:
    """Make invisible signs visible, for a person: each as its code point in brackets."""
    return _STRIP.sub(lambda found: f"[{ord(found.group()):04X}]", text)


def plain_text(text: str) -> str:
    """Return the text without our signs and with look-alikes turned back."""
    return _STRIP.sub("", text).translate(_BACK)


def _own(key: MarkKey) -> MarkKey:
    return dataclasses.replace(key, master=key.derive("text"))


def _words(text: str) -> list[_Word]:
    found = []
    for hit in _WORD.finditer(text):
        raw = hit.group().rstrip(SIGNS)
        plain = unicodedata.normalize("NFKC", plain_text(raw)).casefold()
        if plain:
            found.append(_Word(start=hit.start(), end=hit.start() + len(raw), plain=plain))
    return found


def _pairs(words: list[_Word]) -> Iterator[tuple[_Word, _Word]]:
    return itertools.pairwise(words)


def _free(text: str, at: int) -> bool:
    """Say whether an invisible sign may stand here: nothing beside it joins with its neighbour."""
    for near in text[max(0, at - 1) : at + 1]:
        if (
            unicodedata.category(near) in ("So", "Sk", "Mn", "Mc", "Cf")
            or "\u0590" <= near <= "\u1cff"
        ):
            return False
    return True


def _gap_slot(key: bytes, before: str, after: str) -> tuple[tuple[int, int], tuple[int, int]]:
    made = hmac.new(key, f"gap\x00{before}\x00{after}".encode(), hashlib.sha256).digest()
    first, second = (int.from_bytes(made[i : i + 4], "big") % CODED_BITS for i in (0, 4))
    return (first, second), (made[8] & 1, made[8] >> 1 & 1)


def _look_slot(key: bytes, before: str, word: str) -> tuple[int, int]:
    made = hmac.new(key, f"look\x00{before}\x00{word}".encode(), hashlib.sha256).digest()
    return int.from_bytes(made[:4], "big") % CODED_BITS, made[8] & 1


def _twin(word: str) -> str:
    """Replace the first letter that has a twin, in words of Latin letters alone."""
    if len(word) < 3 or not word.isascii():
        return word
    for at, letter in enumerate(word):
        if letter in TWINS:
            return word[:at] + TWINS[letter] + word[at + 1 :]
    return word


def _votes(
    text: str, words: list[_Word], key: bytes
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Collect what the gaps and the letters say of each coded bit, +1 for a zero."""
    gaps, looks = np.zeros(CODED_BITS), np.zeros(CODED_BITS)
    twinned = any(twin in text for twin in TWINS.values())
    for before, word in _pairs(words):
        sign = next((c for c in text[before.end : word.start] if c in SIGNS), None)
        if sign is not None:
            places, flips = _gap_slot(key, before.plain, word.plain)
            value = SIGNS.index(sign)
            for place, flip, bit in zip(places, flips, (value >> 1, value & 1), strict=True):
                gaps[place] += 1 - 2 * (bit ^ flip)
        if twinned:
            written = _STRIP.sub("", text[word.start : word.end])
            latin = written.translate(_BACK)
            if _twin(latin) != latin:
                place, flip = _look_slot(key, before.plain, word.plain)
                looks[place] += 1 - 2 * (int(written != latin) ^ flip)
    return gaps, looks


CANARY_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
CANARY_LETTERS: Final = 9
CANARY_BITS: Final = 44
"""30 letters to the 9th power are 44 bits."""


def canary(key: MarkKey, serial: int, language: str = "en") -> str:
    """Return the phrase to plant in one delivery: a made-up reference that occurs nowhere else."""
    made = hmac.new(key.derive("canary"), serial.to_bytes(8, "big"), hashlib.sha256).digest()
    number = int.from_bytes(made, "big")
    letters = ""
    for _ in range(CANARY_LETTERS):
        number, rest = divmod(number, len(CANARY_ALPHABET))
        letters += CANARY_ALPHABET[rest]
    code = f"{letters[:3]}-{letters[3:6]}-{letters[6:]}"
    return f"资料编号 {code}" if language.startswith("zh") else f"record no. {code}"


def canary_chance(text: str, phrases: int) -> float:
    """Bound the chance that one of so many planted codes stands in an unrelated text.

    At most one code begins at each character: positions × phrases × 2^-bits.
    """
    return min(1.0, len(text) * phrases * 2.0**-CANARY_BITS)


def find_canary(text: str, phrases: dict[str, int]) -> int | None:
    """Return the serial whose planted phrase (value by phrase) stands in the text, or None."""
    tidy = re.sub(r"\s+", "", unicodedata.normalize("NFKC", plain_text(text))).upper()
    for phrase, serial in phrases.items():
        if phrase.rpartition(" ")[2] in tidy:
            return serial
    return None
