"""What a page shows of a text written as markup: entities resolved, tags that only dress words left out.

A worker may type ``&#20320;`` or ``w<b></b>ord``; a platform that renders answers shows letters alone.
Tags of structure keep their letters where they stand between words, so that answers which are source
code stay what they are.
"""

import html
import re
from typing import Final

import numpy as np

from detectors.kit.lexical.shapes import I64

_DRESS: Final = "a|abbr|b|big|em|font|i|mark|s|small|span|strike|strong|sub|sup|tt|u|wbr"
MARKS_MAX: Final = 400_000
"""A text with more of them is no page that anybody reads, and is left as it is: each takes time."""
_TAG: Final = r"[/!]?[a-z-][^<>]{0,200}>"
_MARKUP: Final = re.compile(
    rf"<(?:/?(?:{_DRESS})(?:\s[^<>]{{0,200}})?/?>|(?<=\w<){_TAG}(?:<{_TAG}){{0,7}}(?=\w))"
    r"|&(?:#\d{1,7};?|#x[0-9a-f]{1,6};?|[a-z][a-z0-9]{1,30};)",
    re.IGNORECASE,
)


def rendered(text: str) -> tuple[str, I64] | None:
    """Return a text as a page shows it, and the place (m,) int64 each character came from.

    None where it holds no markup, or too much. What an entity stands for is not read again.
    """
    if not 0 < text.count("&") + text.count("<") <= MARKS_MAX:
        return None
    parts: list[str] = []
    spans: list[tuple[int, int, int]] = []
    done = 0
    for found in _MARKUP.finditer(text):
        begin, end = found.span()
        shown = "" if text[begin] == "<" else html.unescape(found[0])
        if end - begin <= len(shown):
            continue  # no entity that anybody knows
        parts += (text[done:begin], shown)
        spans.append((begin, begin + len(shown), end))
        done = end
    if not spans:
        return None
    parts.append(text[done:])
    begins, shown_to, ends = np.array(spans, np.int64).T
    steps = np.zeros(
        len(text) + 1, np.int64
    )  # below 0 where a character of the markup is not shown
    steps[shown_to] -= 1
    steps[ends] += 1
    places = np.flatnonzero(np.cumsum(steps[:-1]) == 0)
    at = np.searchsorted(begins, places, "right") - 1
    inside = (at >= 0) & (places < ends[at])
    return "".join(parts), np.where(inside, begins[at], places)
