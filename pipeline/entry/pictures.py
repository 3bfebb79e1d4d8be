"""Evidence better looked at than read: sessions, clusters, copied text and pictures, as SVG, HTML."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from pipeline.model.errors import ContentError

if TYPE_CHECKING:
    from pipeline.bootstrap import House

SIDE_MAX = 16_384
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def draw(opened: "House", submission_id: str, folder: Path) -> list[Path]:
    """Draw what the standing findings of a submission show; return the files that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    found = opened.known.signals([submission_id])
    for number, row in enumerate(found.iter_rows(named=True)):
        made = drawn(opened, row)
        if made is not None:
            suffix, text = made
            name = _UNSAFE.sub("_", f"{submission_id}-{number}-{row['reason_code']}")[:120]
            path = folder / f"{name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def drawn(opened: "House", row: dict[str, Any]) -> tuple[str, str] | None:
    """Draw what one finding (a row of SIGNALS) shows: (``svg`` or ``html``, text); None for nothing."""
    evidence = orjson.loads(row["evidence"])
    family = row["reason_code"].partition(".")[0]
    if family == "trajectory":
        return "svg", _session(opened, row, evidence)
    if family in ("identity", "collusion") and "cluster" in evidence:
        from detectors.kit.graph.draw import cluster_svg

        return "svg", cluster_svg(evidence["cluster"])
    if family == "text" and row["matched_submission_id"]:
        return "html", _texts(opened, row, evidence)
    if family == "image" and row["matched_submission_id"]:
        page = _overlaid(opened, row, evidence)
        return None if page is None else ("html", page)
    if family in ("watermark", "provenance"):
        return "html", _marked_file(opened, row, evidence)
    return None


def _marked_file(opened: "House", row: dict[str, Any], evidence: dict[str, Any]) -> str:
    """Draw a finding of the watermark room over the file that it is about, as far as it decodes."""
    from detectors.watermark.pictures import finding_page
    from detectors.watermark.registry import Registry

    pixels = delivery = None
    files = opened.known.contents([row["submission_id"]])
    at = evidence.get("content_index")
    for file in files.iter_rows(named=True):
        if file["content_index"] == at and (file["media_type"] or "").startswith("image/"):
            try:
                data = opened.blobs.get(file["digest"])
                pixels = opened.decoder.pictures(data, side_max=SIDE_MAX, frames_max=1)[0].pixels
            except ContentError:
                break  # erased or unreadable: the facts are drawn without it
    named = evidence.get("deliveries") or ()
    if named and "key_id" in evidence:
        line = opened.deliveries.line(evidence["key_id"], named[0]["serial"])
        delivery = next(iter(Registry.from_lines(line)), None) if line else None
    return finding_page(row["reason_code"], evidence, pixels, delivery)


def _session(opened: "House", row: dict[str, Any], evidence: dict[str, Any]) -> str:
    from detectors.trajectory import picture

    matched = row["matched_submission_id"]
    pairs = [(p["stroke"], p["source_stroke"]) for p in evidence.get("pairs", ()) if "stroke" in p]
    return picture(
        opened.known.events([row["submission_id"]]),
        opened.known.events([matched]) if matched else None,
        title=row["submission_id"],
        matched_title=matched or "",
        pairs=pairs,
    )


def _texts(opened: "House", row: dict[str, Any], evidence: dict[str, Any]) -> str:
    """Lay two texts side by side letter by letter; of texts in files, and of long ones, excerpts."""
    from pipeline.entry import letters

    ids = [row["submission_id"], row["matched_submission_id"]]
    places = [evidence.get("where"), evidence.get("source_where")]
    spans = [s for s in evidence.get("spans", ()) if isinstance(s, dict)]
    texts = dict(opened.known.submissions(ids).select("submission_id", "text").iter_rows())
    mine, theirs = (texts.get(sid) or "" for sid in ids)
    laid = None
    if places == ["text", "text"] and max(len(mine), len(theirs)) <= letters.SHOWN_MAX:
        laid = letters.align(mine, theirs, spans)
    parts = [laid] if laid else [found for _, found in letters.excerpts(spans)]
    titles = [
        sid if place == "text" else f"{sid} · {place}"
        for sid, place in zip(ids, places, strict=True)
    ]
    return letters.page(titles, parts)


def _overlaid(opened: "House", row: dict[str, Any], evidence: dict[str, Any]) -> str | None:
    """Lay the two pictures over each other; None where one of them is not there any more."""
    from detectors.image import overlay, wording

    ids = (row["submission_id"], row["matched_submission_id"])
    at = (evidence["content_index"], evidence["matched_content_index"])
    frames = (evidence["frame"], evidence["matched_frame"])
    contents = opened.known.contents(list(ids))
    shown = []
    for sid, index, frame in zip(ids, at, frames, strict=True):
        file = contents.filter(
            (pl.col("submission_id") == sid) & (pl.col("content_index") == index)
        ).to_dicts()
        if not file:
            return None
        try:
            data = opened.known.blob(file[0]["digest"])
        except ContentError:
            return None
        pixels = overlay.shown(data, file[0]["media_type"], frame, opened.decoder)
        if pixels is None:
            return None
        shown.append(pixels)
    doubt = wording.in_doubt(evidence, row["strength"])
    words = wording.compared(shown[0], shown[1]) if doubt else None
    return overlay.page(shown[0], shown[1], evidence, ids, words)
