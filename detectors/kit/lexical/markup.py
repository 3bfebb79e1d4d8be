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
_MARKUP: Final = re.compile(
    rf"</?(?:{_DRESS})(?:\s[^<>]{{0,200}})?/?>"
    r"|(?<=\w)(?:<[/!]?[a-zA-Z-][^<>]{0,200}>){1,8}(?=\w)"
    r"|&(?:#\d{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[a-zA-Z][a-zA-Z0-9]{1,30};)",
    re.IGNORECASE,
)


def rendered(text: str) -> tuple[str, I64] | None:
    """Return a text as a page shows it, and the place (m,) int64 each character came from.

    None where it holds no markup. A text is rendered once: what an entity stands for is not read again.
    """
    if "&" not in text and "<" not in text:
        return None
    parts: list[str] = []
    places: list[I64] = []
    done = 0
    for found in _MARKUP.finditer(text):
        shown = "" if found[0][0] == "<" else html.unescape(found[0])
        if shown == found[0]:
            continue  # no entity that anybody knows
        parts += [text[done : found.start()], shown]
        places.append(np.arange(done, found.start()))
        places.append(np.full(len(shown), found.start()))
        done = found.end()
    if not parts:
        return None
    parts.append(text[done:])
    places.append(np.arange(done, len(text)))
    return "".join(parts), np.concatenate(places)
