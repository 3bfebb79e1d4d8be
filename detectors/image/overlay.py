"""Two pictures for a person's eye: side by side with the region marked, and laid over to blink."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image import views
from detectors.image.evidence import shares_of
from detectors.image.wording import Wording
from pipeline.model.errors import ContentError
from pipeline.ports import Decoder

Pixels = npt.NDArray[np.uint8]

SIDE: Final = 720
_QUALITY: Final = 88
_STYLE: Final = """
body{font:15px/1.5 system-ui;margin:2rem;color:#1c1c1c;background:#fafafa}
h1{font-size:1.2rem}h2{font-size:1rem;margin:1.6rem 0 .4rem}
.pair{display:flex;gap:1.5rem;align-items:flex-start;flex-wrap:wrap}
figure{margin:0;flex:1 1 20rem;max-width:45rem}figcaption{color:#555;overflow-wrap:anywhere}
.frame{position:relative;display:inline-block;line-height:0;max-width:100%}
.frame img{max-width:100%;height:auto}
.mark{position:absolute;box-sizing:border-box;border:3px solid #e5007d;box-shadow:0 0 0 1px #fff}
.blink .over{position:absolute;inset:0;animation:blink 1.6s steps(1) infinite}
@keyframes blink{0%{opacity:1}50%{opacity:0}}
#still:checked~.blink .over{animation:none;opacity:.5}
@media(prefers-reduced-motion:reduce){.blink .over{animation:none;opacity:.5}}
td{padding:.1rem 1.2rem .1rem 0;vertical-align:top}
"""


def shown(data: bytes, media_type: str, frame: int, decoder: Decoder) -> Pixels | None:
    """Decode one frame as RGB (height, width, 3); None where it cannot be looked at any more."""
    try:
        pictures = views.frames_of(data, media_type, decoder, side_max=SIDE, grey=False)
        for number, picture in enumerate(pictures):
            if number == frame:
                return picture.pixels
    except ContentError:
        pass
    return None


def laid_over(ours: Pixels, theirs: Pixels, evidence: Mapping[str, Any]) -> Pixels:
    """Bring the earlier picture into the later one's frame, as the proof laid it."""
    given_shares = np.array(evidence["transform"], np.float64) @ shares_of(theirs.shape)
    transform = np.linalg.inv(shares_of(ours.shape)) @ given_shares
    given = 255 - theirs if evidence.get("inverted") else theirs
    size = (ours.shape[1], ours.shape[0])
    moved = cv2.warpPerspective(given, transform, size, flags=cv2.INTER_LINEAR)
    inside = cv2.warpPerspective(
        np.full(theirs.shape[:2], 255, np.uint8), transform, size, flags=cv2.INTER_NEAREST
    )
    return np.where(inside[..., None] > 0, moved, ours).astype(np.uint8)


def page(
    ours: Pixels,
    theirs: Pixels,
    evidence: Mapping[str, Any],
    names: tuple[str, str],
    wording: Wording | None = None,
) -> str:
    """Write a page of its own, without scripts: side by side, blinking, and what differs.

    ``ours`` and ``theirs`` are RGB; ``names`` are the later and the earlier submission's ids;
    ``wording`` is told where the two were read.
    """
    over = laid_over(ours, theirs, evidence)
    differs = cv2.absdiff(ours, over).max(axis=2)
    strong = cv2.convertScaleAbs(differs, alpha=2.0)
    named = [html.escape(name) for name in names]
    facts = _rows(
        {k: v for k, v in evidence.items() if k not in ("transform", "region", "matched_region")}
    )
    words = f"<h2>What they say</h2><table>{_rows(wording.told())}</table>" if wording else ""
    return (
        f"<!doctype html><meta charset='utf-8'><title>{named[0]} and {named[1]}</title>"
        f"<style>{_STYLE}</style><h1>{named[0]} and {named[1]}</h1><div class='pair'>"
        f"{_figure(theirs, evidence.get('matched_region'), f'earlier: {named[1]}')}"
        f"{_figure(ours, evidence.get('region'), f'later: {named[0]}')}</div>"
        "<h2>Laid over each other</h2><input type='checkbox' id='still'>"
        "<label for='still'> hold still, half transparent</label><br>"
        f"<div class='frame blink'><img alt='later' src='{_data(ours)}'>"
        f"<img class='over' alt='earlier, laid over' src='{_data(over)}'></div>"
        f"<h2>What differs</h2><div class='frame'><img alt='difference' src='{_data(strong)}'></div>"
        f"{words}<h2>Figures</h2><table>{facts}</table>"
    )


def _rows(facts: Mapping[str, Any]) -> str:
    return "".join(
        f"<tr><td>{html.escape(key.replace('_', ' '))}</td><td>{html.escape(str(value))}</td></tr>"
        for key, value in facts.items()
    )


def _figure(pixels: Pixels, region: Sequence[float] | None, caption: str) -> str:
    mark = ""
    if region:
        left, top, right, bottom = (100 * float(edge) for edge in region)
        mark = (
            f"<div class='mark' style='left:{left:.2f}%;top:{top:.2f}%;"
            f"width:{right - left:.2f}%;height:{bottom - top:.2f}%'></div>"
        )
    return (
        f"<figure><div class='frame'><img alt='{caption}' src='{_data(pixels)}'>{mark}</div>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _data(pixels: Pixels) -> str:
    """Write pixels as a JPEG of our own making: a stranger's bytes never reach the page."""
    bgr = pixels[:, :, ::-1] if pixels.ndim == 3 else pixels
    coded = cv2.imencode(".jpg", np.ascontiguousarray(bgr), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(bytes(coded[1])).decode()
