"""Finding the metadata blocks of JPEG, PNG, WebP, GIF, TIFF and HEIC files, without decoding a pixel.

Every loop walks forward through the bytes and every size is bounded, so that no input can hang or
exhaust it: a damaged file gives fewer blocks, never an error.
"""

import zlib
from dataclasses import dataclass
from typing import Final

BLOCK_MAX: Final = 1 << 20
"""Bytes of one metadata block that are looked at."""
TEXT_MAX: Final = 1 << 16
"""Characters kept of one text chunk."""
BLOCKS_MAX: Final = 4096
"""Segments or chunks walked in one file."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_XMP_JPEG: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_TIFF_HEADS: Final = (b"II*\x00", b"MM\x00*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """``tiff`` holds the TIFF structure of the EXIF block, ``texts`` pairs of key and value."""

    tiff: bytes | None = None
    xmp: tuple[bytes, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    c2pa: bool = False
    iptc: bytes | None = None


def find_blocks(data: bytes) -> Blocks:
    """Walk the file; an unknown or damaged one gives the blocks that could be found."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(_PNG):
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] in _TIFF_HEADS:
        return Blocks(tiff=data, xmp=_packets(data), c2pa=_has_c2pa(data))
    if data[4:8] == b"ftyp":
        return Blocks(tiff=_loose_exif(data), xmp=_packets(data), c2pa=_has_c2pa(data))
    if data[:4] == b"GIF8":
        return Blocks(xmp=_packets(data))
    return Blocks()


def _has_c2pa(data: bytes) -> bool:
    """Say whether a JUMBF box or a reference to a manifest may be inside."""
    return b"c2pa" in data and (b"jumb" in data or b"jumd" in data)


def _jpeg(data: bytes) -> Blocks:
    tiff: bytes | None = None
    iptc: bytes | None = None
    xmp: list[bytes] = []
    texts: list[tuple[str, str]] = []
    at, c2pa = 2, False
    for _ in range(BLOCKS_MAX):
        if at + 4 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (0xDA, 0xD9):
            break
        if 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if size < 2:
            break
        body = data[at + 4 : at + 2 + size]
        if marker == 0xE1 and body.startswith(b"Exif\x00") and tiff is None:
            tiff = body[6:]
        elif marker == 0xE1 and body.startswith(_XMP_JPEG):
            xmp.append(body[len(_XMP_JPEG) :])
        elif marker == 0xED and iptc is None:
            iptc = body
        elif marker == 0xEB and b"jumb" in body[:64]:
            c2pa = True
        elif marker == 0xFE:
            texts.append(("Comment", _text(body)))
        at += 2 + size
    return Blocks(tiff=tiff, xmp=tuple(xmp), texts=tuple(texts), c2pa=c2pa, iptc=iptc)


def _png(data: bytes) -> Blocks:
    tiff: bytes | None = None
    xmp: list[bytes] = []
    texts: list[tuple[str, str]] = []
    at, c2pa = 8, False
    for _ in range(BLOCKS_MAX):
        if at + 8 > len(data):
            break
        size = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + min(size, BLOCK_MAX)]
        if kind == b"IEND":
            break
        if kind == b"eXIf" and tiff is None:
            tiff = body.removeprefix(b"Exif\x00\x00")
        elif kind == b"caBX":
            c2pa = True
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, value = _png_text(kind, body)
            if key == "XML:com.adobe.xmp":
                xmp.append(value.encode())
            elif key:
                texts.append((key, value[:TEXT_MAX]))
        at += 12 + size
    return Blocks(tiff=tiff, xmp=tuple(xmp), texts=tuple(texts), c2pa=c2pa)


def _png_text(kind: bytes, body: bytes) -> tuple[str, str]:
    """Read a text chunk (PNG 3rd edition, 11.3.3); ('', '') where it is damaged."""
    key, _, rest = body.partition(b"\x00")
    if not key or len(key) > 79:
        return "", ""
    name = key.decode("latin-1")
    if kind == b"tEXt":
        return name, _text(rest)
    if kind == b"zTXt":
        return name, _text(_inflate(rest[1:]))
    if len(rest) < 2:
        return "", ""
    packed, tail = rest[0] == 1, rest[2:]
    _, _, tail = tail.partition(b"\x00")
    _, _, tail = tail.partition(b"\x00")
    return name, _text(_inflate(tail) if packed else tail)


def _inflate(packed: bytes) -> bytes:
    """Inflate at most ``BLOCK_MAX`` bytes; what is damaged ends there."""
    try:
        return zlib.decompressobj().decompress(packed, BLOCK_MAX)
    except zlib.error:
        return b""


def _webp(data: bytes) -> Blocks:
    tiff: bytes | None = None
    xmp: list[bytes] = []
    at, c2pa = 12, False
    for _ in range(BLOCKS_MAX):
        if at + 8 > len(data):
            break
        kind = data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + min(size, BLOCK_MAX)]
        if kind == b"EXIF" and tiff is None:
            tiff = body.removeprefix(b"Exif\x00\x00")
        elif kind == b"XMP ":
            xmp.append(body)
        elif kind == b"C2PA":
            c2pa = True
        at += 8 + size + (size & 1)
    return Blocks(tiff=tiff, xmp=tuple(xmp), c2pa=c2pa)


def _loose_exif(data: bytes) -> bytes | None:
    """Find the EXIF item of an ISO base media file (HEIC, AVIF) by its signature."""
    at = data.find(b"Exif\x00\x00")
    while at >= 0:
        if data[at + 6 : at + 10] in _TIFF_HEADS:
            return data[at + 6 : at + 6 + BLOCK_MAX]
        at = data.find(b"Exif\x00\x00", at + 6)
    return None


def _packets(data: bytes) -> tuple[bytes, ...]:
    """Cut out XMP packets by their root element (XMP part 3, packet scanning)."""
    start = data.find(b"<x:xmpmeta")
    end = data.find(b"</x:xmpmeta>", start)
    if start < 0 or end < 0 or end - start > BLOCK_MAX:
        return ()
    return (data[start : end + len(b"</x:xmpmeta>")],)


def _text(raw: bytes) -> str:
    """Decode UTF-8, or Latin-1 where it is not, without NULs."""
    raw = raw[: TEXT_MAX * 4]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\x00", "")[:TEXT_MAX]
