"""Everything that one file says of itself, gathered from its metadata blocks."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from detectors.watermark.provenance.containers import Blocks, find_blocks
from detectors.watermark.provenance.exif import Exif, read_exif
from detectors.watermark.provenance.makers import (
    EDITORS,
    GENERATOR_KEYS,
    GENERATORS,
    SOURCE_COMPOSITE,
    SOURCE_GENERATED,
    STEPS,
)
from detectors.watermark.provenance.manifests import Manifests, alters, read_manifests
from detectors.watermark.provenance.xmp import Xmp, read_xmp

_PROGRAM_KEYS: Final = frozenset({"software", "source", "creator tool", "generator", "creator"})
_XAI_SIGNATURE: Final = re.compile(r"^Signature: [A-Za-z0-9+/=]{40,}$")
_UUID: Final = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_MIDJOURNEY: Final = re.compile(r"--v(?:ersion)? \d|\bJob ID: [0-9a-f-]{36}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One thing that the metadata says: ``where`` it stands and the words that say it.

    ``hard`` marks what only the program itself writes (its settings, a label by law, a signed
    claim) as against a mere name.
    """

    where: str
    says: str
    hard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A file's own account: ``generated`` and ``edited`` hold the statements to that effect."""

    exif: Exif
    manifests: Manifests
    generated: tuple[Statement, ...] = ()
    edited: tuple[Statement, ...] = ()

    @property
    def camera(self) -> str:
        """Maker and model that the file claims; empty where it claims none."""
        return " ".join(part for part in (self.exif.make, self.exif.model) if part)[:120]


def read_facts(data: bytes, media_type: str, anchors: str = "") -> Facts:
    """Read the metadata of a file of that (true) media type. Never raises for bad bytes."""
    blocks = find_blocks(data)
    exif = read_exif(blocks.tiff) if blocks.tiff else Exif()
    xmp = read_xmp(blocks.xmp)
    signed = blocks.c2pa or (not media_type.startswith("image/") and b"c2pa" in data)
    manifests = read_manifests(data, media_type, anchors) if signed else Manifests()
    generated = [*_labels(blocks, exif, xmp), *_chunks(blocks), *_named(exif, xmp, blocks)]
    generated += _signed_generated(manifests)
    return Facts(
        exif=exif,
        manifests=manifests,
        generated=_distinct(generated),
        edited=_distinct([*_editors(exif, xmp, blocks), *_signed_edits(manifests)]),
    )


def _distinct(found: list[Statement]) -> tuple[Statement, ...]:
    return tuple(dict.fromkeys(found))[:8]


def _labels(blocks: Blocks, exif: Exif, xmp: Xmp) -> Iterator[Statement]:
    """Labels meant to be read: IPTC source types and the AIGC label of GB 45438 (TC260)."""
    for name in ("DigitalSourceType", "digitalSourceType"):
        for value in xmp.all(name):
            code = value.rstrip("/").rpartition("/")[2].casefold()
            if code in SOURCE_GENERATED:
                yield Statement(where=f"XMP {name}", says=value[:200], hard=True)
    for name in ("AISystemUsed", "AIPromptInformation"):
        for value in xmp.all(name):
            yield Statement(where=f"XMP {name}", says=value[:200], hard=True)
    places = [("XMP AIGC", value) for value in xmp.all("AIGC")]
    places += [(f"text {key}", value) for key, value in blocks.texts]
    places += [("EXIF UserComment", exif.comment), ("EXIF ImageDescription", exif.description)]
    for where, value in places:
        label = _aigc_label(value)
        if label is not None:
            yield Statement(where=where, says=f"AIGC label {label}", hard=True)


def _aigc_label(text: str) -> str | None:
    """Read the implicit label of generated content: 1 is, 2 may be, 3 is suspected to be it."""
    if '"Label"' not in text or not ("AIGC" in text or '"ContentProducer"' in text):
        return None
    found = re.search(r'"Label"\s*:\s*"?([123])"?', text[:8192])
    return found.group(1) if found else None


def _chunks(blocks: Blocks) -> Iterator[Statement]:
    """Text chunks and comments that only generators write."""
    for key, value in blocks.texts:
        if STEPS.search(value[:16384]):
            yield Statement(where=f"text {key}", says=_settings(value), hard=True)
        elif key.casefold() in GENERATOR_KEYS and value[:1] in "{[\"'":
            program = GENERATOR_KEYS[key.casefold()]
            yield Statement(where=f"text {key}", says=f"{program} settings", hard=True)
        elif (key in ("prompt", "workflow") and '"class_type"' in value) or _is_graph(key, value):
            yield Statement(where=f"text {key}", says="ComfyUI graph", hard=True)
        elif key == "Comment" and _is_novel_ai(value):
            yield Statement(where=f"text {key}", says="sampler settings", hard=True)
        elif key in ("Description", "Comment") and _MIDJOURNEY.search(value[:8192]):
            yield Statement(where=f"text {key}", says=value[:200], hard=True)


def _settings(text: str) -> str:
    at = text.find("Steps: ")
    return text[at : at + 200]


def _is_graph(key: str, value: str) -> bool:
    return key == "workflow" and '"nodes"' in value and '"links"' in value


def _is_novel_ai(value: str) -> bool:
    if not value.startswith("{") or '"sampler"' not in value:
        return False
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict) and {"steps", "sampler"} <= read.keys()


def _named(exif: Exif, xmp: Xmp, blocks: Blocks) -> Iterator[Statement]:
    """Names of generators where programs sign, and the settings that some leave in EXIF."""
    for where, value in _programs(exif, xmp, blocks):
        if GENERATORS.search(value):
            yield Statement(where=where, says=value[:200])
    for where, value in (("Make", exif.make), ("Artist", exif.artist)):
        if GENERATORS.search(value):
            yield Statement(where=f"EXIF {where}", says=value[:200])
    for value in xmp.all("Credit"):
        if GENERATORS.search(value):
            yield Statement(where="XMP Credit", says=value[:200])
    for where, value in (("UserComment", exif.comment), ("ImageDescription", exif.description)):
        if STEPS.search(value[:16384]):
            yield Statement(where=f"EXIF {where}", says=_settings(value), hard=True)
        elif _MIDJOURNEY.search(value[:8192]):
            yield Statement(where=f"EXIF {where}", says=value[:200], hard=True)
    if _XAI_SIGNATURE.match(exif.description.strip()) and _UUID.match(exif.artist.strip()):
        yield Statement(where="EXIF ImageDescription and Artist", says="xAI signature", hard=True)


def _programs(exif: Exif, xmp: Xmp, blocks: Blocks) -> Iterator[tuple[str, str]]:
    """Fields in which a program names itself."""
    yield "EXIF Software", exif.software
    yield "EXIF HostComputer", exif.host
    for name in ("CreatorTool", "softwareAgent", "Software"):
        yield from ((f"XMP {name}", value) for value in xmp.all(name))
    for key, value in blocks.texts:
        if key.casefold() in _PROGRAM_KEYS:
            yield f"text {key}", value[:400]


def _editors(exif: Exif, xmp: Xmp, blocks: Blocks) -> Iterator[Statement]:
    for where, value in _programs(exif, xmp, blocks):
        if EDITORS.search(value) and not GENERATORS.search(value):
            yield Statement(where=where, says=value[:200])
    for key, value in blocks.texts:
        if key == "Comment" and re.match(r"(Created|Edited) with GIMP", value):
            yield Statement(where="comment", says=value[:200])
    for name in ("DigitalSourceType", "digitalSourceType"):
        for value in xmp.all(name):
            if value.rstrip("/").rpartition("/")[2].casefold() in SOURCE_COMPOSITE:
                yield Statement(where=f"XMP {name}", says=value[:200], hard=True)


def _signed_generated(manifests: Manifests) -> Iterator[Statement]:
    for source in manifests.sources:
        if source.casefold() in SOURCE_GENERATED:
            yield Statement(where="C2PA digitalSourceType", says=source, hard=True)
    for agent in manifests.agents:
        if GENERATORS.search(agent):
            yield Statement(where="C2PA agent", says=agent)


def _signed_edits(manifests: Manifests) -> Iterator[Statement]:
    if manifests.state == "altered":
        code, why = next(f for f in manifests.failures if alters(*f))
        yield Statement(where="C2PA validation", says=f"{code}: {why}"[:200], hard=True)
    for source in manifests.sources:
        if source.casefold() in SOURCE_COMPOSITE:
            yield Statement(where="C2PA digitalSourceType", says=source, hard=True)
    for agent in manifests.agents:
        if EDITORS.search(agent):
            yield Statement(where="C2PA agent", says=agent)
