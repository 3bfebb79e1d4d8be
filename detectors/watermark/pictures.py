"""What a finding of this room looks like, for an analyst: one HTML page that needs nothing else."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.watermark.match import SHRINK
from detectors.watermark.registry import Delivery

SIDE_MAX: Final = 960
ENLARGED: Final = 5
"""How much larger than recorded a delivery's thumbnail is shown."""
STYLE: Final = (
    "body{font:15px/1.5 system-ui;margin:2rem;display:flex;flex-wrap:wrap;gap:1.5rem}"
    "figure{margin:0}figcaption,th{color:#666;font-weight:normal;text-align:left}"
    "svg{max-width:100%;height:auto}td,th{padding:.15rem 1rem .15rem 0;vertical-align:top}"
    "p{white-space:pre-wrap;max-width:60rem}mark{background:#ffe08a}"
)
Pixels = npt.NDArray[np.uint8]
Box = Sequence[float]
_SIGN: Final = re.compile(r"\[([0-9A-F]{4})\]")


def finding_page(
    code: str,
    evidence: Mapping[str, Any],
    pixels: Pixels | None = None,
    delivery: Delivery | None = None,
) -> str:
    """Draw a finding: the picture with what was located in it, what it is held against, the facts.

    ``pixels`` is the picture handed in (RGB, upright, full size); ``delivery`` the recorded one.
    Everything that a stranger wrote is escaped.
    """
    parts = []
    if pixels is not None:
        parts.append(_figure("as handed in", _picture(pixels, _boxes(evidence))))
        if delivery is not None and evidence.get("laid_at") is not None:
            parts += _against(pixels, evidence, delivery)
    if evidence.get("channel") == "textmark":
        excerpt = html.escape(str(evidence.get("excerpt", "")))
        parts.append("<p>" + _SIGN.sub(r"<mark>\1</mark>", excerpt) + "</p>")
    parts.append(_facts(evidence))
    body = "".join(parts)
    return (
        f"<!doctype html><meta charset='utf-8'><title>{html.escape(code)}</title>"
        f"<style>{STYLE}</style>{body}"
    )


def _boxes(evidence: Mapping[str, Any]) -> list[Box]:
    found = [evidence["located_at"]] if "located_at" in evidence else []
    for said in evidence.get("contradictions", ()):
        found += said.get("boxes", ())
    return found


def _figure(caption: str, drawn: str) -> str:
    return f"<figure>{drawn}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _picture(pixels: Pixels, boxes: Sequence[Box] = (), enlarge: float = 1.0) -> str:
    """An SVG of a picture with frames over it; ``boxes`` are x0, y0, x1, y1 in its pixels."""
    height, width = pixels.shape[:2]
    scale = min(enlarge, SIDE_MAX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    shown = cv2.resize(pixels, size, interpolation=how)
    shown = shown if shown.ndim == 2 else shown[:, :, ::-1]
    packed = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    frames = "".join(
        f"<rect x='{x0 * scale:.1f}' y='{y0 * scale:.1f}' width='{(x1 - x0) * scale:.1f}' "
        f"height='{(y1 - y0) * scale:.1f}' fill='none' stroke='#e0218a' stroke-width='3'/>"
        for x0, y0, x1, y1 in boxes
    )
    return (
        f"<svg viewBox='0 0 {size[0]} {size[1]}' width='{size[0]}' height='{size[1]}'>"
        f"<image width='{size[0]}' height='{size[1]}' "
        f"href='data:image/jpeg;base64,{base64.b64encode(packed).decode()}'/>{frames}</svg>"
    )


def _against(pixels: Pixels, evidence: Mapping[str, Any], delivery: Delivery) -> list[str]:
    """The recorded delivery, the picture laid over it as the mark says, and where they differ."""
    x, y = evidence["laid_at"]
    to = np.array([[SHRINK, 0, x], [0, SHRINK, y], [0, 0, 1.0]])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    placed = np.linalg.inv(half) @ np.array(evidence["homography"]) @ to @ half
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = float(np.sqrt(abs(np.linalg.det(placed[:2, :2]))))
    soft = cv2.GaussianBlur(grey, (0, 0), max(0.4, 0.4 * scale)) if scale > 1 else grey
    own = delivery.thumbnail
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (own.shape[1], own.shape[0])
    laid = np.asarray(cv2.warpPerspective(soft, placed, size, flags=flags), np.uint8)
    known = cv2.warpPerspective(np.ones_like(grey), placed, size, flags=flags) > 0
    apart = np.where(known, cv2.absdiff(laid, own), np.uint8(0)).astype(np.uint8)
    return [
        _figure("the recorded delivery", _picture(own, enlarge=ENLARGED)),
        _figure("the picture, laid over it", _picture(laid, enlarge=ENLARGED)),
        _figure("their difference", _picture(apart, enlarge=ENLARGED)),
    ]


def _facts(evidence: Mapping[str, Any]) -> str:
    """The facts as a table: for contradictions, those that contradict each other side by side."""
    rows = [(k, v) for k, v in evidence.items() if k not in ("contradictions", "excerpt")]
    for said in evidence.get("contradictions", ()):
        rows.append((said.get("rule", ""), ""))
        rows += [(f"– {k}", v) for k, v in said.items() if k not in ("rule", "boxes")]
    cells = "".join(
        f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(_told(v))}</td></tr>" for k, v in rows
    )
    return f"<table>{cells}</table>"


def _told(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_told(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_told(v)}" for k, v in value.items())
    return str(value)
