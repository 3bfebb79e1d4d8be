"""Texts as people compare them: letter by letter, with what is invisible made visible.

A text becomes a list of pieces, each a kind, the characters and a note; the console's template, a page
of its own (``page``) or a terminal (``plain``) writes them out. What a stranger wrote is escaped there.
"""

import html
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rapidfuzz.distance import Indel

from detectors.kit.lexical import read
from detectors.kit.lexical.markup import rendered
from detectors.kit.lexical.shapes import BIDI, INVISIBLE
from detectors.kit.lexical.table import fold_table

SHOWN_MAX: Final = 20_000
SPAN_MAX: Final = 4_000
PLAIN, SAME, MASKED, OTHER = range(4)
KINDS: Final = ("plain", "same", "masked", "other")
_KEPT_CONTROLS: Final = frozenset("\n\t\r")
_SHORT: Final = {
    0x200B: "ZWSP", 0x200C: "ZWNJ", 0x200D: "ZWJ", 0x2060: "WJ", 0xFEFF: "BOM", 0x00AD: "SHY",
    0x202A: "LRE", 0x202B: "RLE", 0x202C: "PDF", 0x202D: "LRO", 0x202E: "RLO", 0x2066: "LRI",
    0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0x200E: "LRM", 0x200F: "RLM", 0x061C: "ALM",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some characters of one kind: ``plain``, ``same``, ``masked`` (the same behind a disguise),
    ``other`` (differs inside a passage), ``hidden`` or ``alike`` (``note`` names the character), and
    ``passage`` (the number of a passage that begins here).
    """

    kind: str
    text: str
    note: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Two texts, the accused one and the earlier one, in pieces, at most ``SHOWN_MAX`` characters."""

    mine: Sequence[Piece]
    theirs: Sequence[Piece]


def align(
    mine: str,
    theirs: str,
    spans: Sequence[Mapping[str, Any]],
    disguises: Collection[str] = (),
) -> Aligned | None:
    """Lay two texts side by side along the passages of the evidence.

    ``spans`` have ``begin``, ``end``, ``source_begin``, ``source_end`` in characters of the texts as
    they were handed in. None where they do not fit these texts.
    """
    ordered = sorted((s for s in spans if _fits(s, mine, theirs)), key=lambda s: s["begin"])
    if not ordered:
        return None
    ours, others = bytearray(len(mine)), bytearray(len(theirs))
    starts: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for number, s in enumerate(ordered, 1):
        a, b, c, d = (s[k] for k in ("begin", "end", "source_begin", "source_end"))
        left, right = _letters(mine[a:b], theirs[c:d])
        ours[a:b], others[c:d] = left, right
        starts[0].setdefault(a, number)
        starts[1].setdefault(c, number)
    return Aligned(
        mine=pieces(mine, ours, starts[0], disguises),
        theirs=pieces(theirs, others, starts[1], disguises),
    )


def excerpts(
    spans: Sequence[Mapping[str, Any]], disguises: Collection[str] = ()
) -> list[tuple[Mapping[str, Any], Aligned]]:
    """Pair the excerpts that the evidence itself holds, for texts that lie in files."""
    told = []
    for s in spans:
        mine, theirs = s.get("text"), s.get("source_text")
        if isinstance(mine, str) and isinstance(theirs, str) and mine and theirs:
            left, right = _letters(mine, theirs)
            if _is_cut(s):
                mine, theirs = mine[: _last(left)], theirs[: _last(right)]
            laid = Aligned(
                mine=pieces(mine, left, {}, disguises),
                theirs=pieces(theirs, right, {}, disguises),
            )
            told.append((s, laid))
    return told


def pieces(
    text: str,
    marks: bytes | bytearray | None = None,
    starts: Mapping[int, int] | None = None,
    disguises: Collection[str] = (),
) -> list[Piece]:
    """Cut a text where its kind changes. ``disguises`` are look-alike characters to point at."""
    shown = text[:SHOWN_MAX]
    marks = marks if marks is not None else bytes(len(shown))
    starts = starts or {}
    odd = {c for c in set(shown) if is_hidden(c)}
    told: list[Piece] = []
    run: list[str] = []
    kind = PLAIN
    for i, c in enumerate(shown):
        special = c in odd or c in disguises
        if run and (special or marks[i] != kind or i in starts):
            told.append(Piece(kind=KINDS[kind], text="".join(run)))
            run = []
        kind = marks[i]
        if i in starts:
            told.append(Piece(kind="passage", text=str(starts[i]), number=starts[i]))
        if c in odd:
            told.append(Piece(kind="hidden", text=short_name(c), note=long_name(c)))
        elif c in disguises:
            told.append(Piece(kind="alike", text=c, note=long_name(c)))
        else:
            run.append(c)
    if run:
        told.append(Piece(kind=KINDS[kind], text="".join(run)))
    return told


def page(titles: Sequence[str], laid: Sequence[Aligned]) -> str:
    """Write aligned texts as one HTML page without outside assets; ``titles`` are of the two sides."""
    heads = "".join(f"<h2>{html.escape(title)}</h2>" for title in titles)
    rows = "".join(f"<p>{_markup(a.mine)}</p><p>{_markup(a.theirs)}</p>" for a in laid)
    legend = " ".join(f"<span class='{name}'>{says}</span>" for name, says in _LEGEND.items())
    return (
        "<!doctype html><meta charset='utf-8'><title>Aligned text</title><style>"
        "body{font:16px/1.6 system-ui;margin:2rem}main{display:grid;grid-template-columns:1fr 1fr;"
        "gap:0 2rem}p{white-space:pre-wrap;overflow-wrap:anywhere}mark,.same{background:#ffe79a}"
        ".masked,.alike{background:#ffc891;border-bottom:2px solid #b3261e}"
        ".other{color:#d2483c;text-decoration:underline dotted}.hidden{background:#b3261e;color:#fff;"
        f"font:600 .62em monospace;padding:0 .3em}}</style><p>{legend}</p><main>{heads}{rows}</main>"
    )


_LEGEND: Final = {
    "same": "the same", "masked": "the same behind a disguise", "other": "differs",
    "alike": "a look-alike character", "hidden": "an invisible character",
}  # fmt: skip


def _markup(told: Sequence[Piece]) -> str:
    written = []
    for piece in told:
        text, note = html.escape(piece.text), html.escape(piece.note)
        if piece.kind == "same":
            written.append(f"<mark>{text}</mark>")
        elif piece.kind == "plain":
            written.append(text)
        elif piece.kind == "passage":
            written.append(f"<sup>{text}</sup>")
        else:
            written.append(f"<span class='{piece.kind}' title='{note}'>{text}</span>")
    return "".join(written)


def plain(told: Sequence[Piece]) -> list[tuple[str, str]]:
    """Write pieces for a terminal: (characters, style); what differs is bracketed as well as coloured."""
    written = []
    for piece in told:
        begin, end, style = _PLAIN.get(piece.kind, ("", "", ""))
        text = "".join(c if c.isprintable() else " " for c in piece.text)
        written.append((f"{begin}{text}{end}", style))
    return written


_PLAIN: Final = {
    "masked": ("{", "}", "yellow"), "alike": ("{", "}", "yellow"), "other": ("[", "]", "red"),
    "hidden": ("<", ">", "bold red"),
}  # fmt: skip


def is_hidden(character: str) -> bool:
    """Tell whether a character shows nothing, or turns the direction of others."""
    if character in _KEPT_CONTROLS:
        return False
    kind = int(fold_table().traits[ord(character)]) >> 2
    return kind in (INVISIBLE, BIDI) or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")


def short_name(character: str) -> str:
    """Name a character in a few letters."""
    return _SHORT.get(ord(character), f"{ord(character):04X}")


def long_name(character: str) -> str:
    """Name a character as Unicode does."""
    return f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}"


def disguises_of(evidence: Mapping[str, Any]) -> frozenset[str]:
    """Return the characters that the evidence of ``text.hidden_characters`` names."""
    found = set()
    for told in evidence.get("characters", ()):
        point = str(told.get("code_point", ""))[2:]
        if 0 < len(point) <= 6 and all(c in "0123456789ABCDEF" for c in point):
            found.add(chr(min(int(point, 16), 0x10FFFF)))
    return frozenset(found)


def _is_cut(span: Mapping[str, Any]) -> bool:
    """Tell whether a passage is longer than its excerpt: then the two end at different places."""
    sides = (("begin", "end", "text"), ("source_begin", "source_end", "source_text"))
    return any(
        isinstance(span.get(a), int)
        and isinstance(span.get(b), int)
        and span[b] - span[a] > len(span[t])
        for a, b, t in sides
    )


def _last(marks: bytearray) -> int:
    """Return where the last letter ends that the other side has too."""
    return len(marks.rstrip(bytes([OTHER]))) or len(marks)


def _fits(span: Mapping[str, Any], mine: str, theirs: str) -> bool:
    for text, begin, end in ((mine, "begin", "end"), (theirs, "source_begin", "source_end")):
        a, b = span.get(begin), span.get(end)
        if not (isinstance(a, int) and isinstance(b, int) and 0 <= a < b <= len(text)):
            return False
    return True


def _letters(mine: str, theirs: str) -> tuple[bytearray, bytearray]:
    """Mark each letter of a pair of passages: the same, the same behind a disguise, or another."""
    if max(len(mine), len(theirs)) > SPAN_MAX:
        return bytearray([SAME]) * len(mine), bytearray([SAME]) * len(theirs)
    left, right = bytearray([OTHER]) * len(mine), bytearray([OTHER]) * len(theirs)
    folded = _folded(mine), _folded(theirs)
    for step in Indel.opcodes(*folded):
        if step.tag != "equal":
            continue
        for i, j in zip(
            range(step.src_start, step.src_end), range(step.dest_start, step.dest_end), strict=True
        ):
            left[i] = right[j] = SAME if mine[i] == theirs[j] else MASKED
    for marks, text in ((left, mine), (right, theirs)):
        for at in _unshown(text):
            marks[at] = MASKED if marks[at] == OTHER else marks[at]
    return left, right


def _folded(text: str) -> list[int]:
    """Fold each character where it stands to a number: those that are read alike share one."""
    told = [-ord(c) for c in text]
    texts = read([text])
    for unit, origin in zip(texts.units[::-1].tolist(), texts.origins[::-1].tolist(), strict=True):
        told[origin] = unit
    return told


def _unshown(text: str) -> list[int]:
    """Name the characters of markup that a page does not show, but for the first of an entity."""
    made = rendered(text)
    return [] if made is None else np.setdiff1d(np.arange(len(text)), made[1]).tolist()
