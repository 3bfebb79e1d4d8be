"""What the bytes are, whatever they were called: the media type by magic and structure."""

import io
import re
import zipfile
from typing import Final

from pipeline.decode.faults import BAD_BYTES
from pipeline.decode.text import decode_text

DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX: Final = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
OFFICE: Final = frozenset({DOCX, XLSX, PPTX})
UNKNOWN: Final = "application/octet-stream"

DECODABLE: Final = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff"}
)
"""The pictures that are decoded; other ``image/`` types are recognised and left alone."""

_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\xff\x0a", "image/jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"8BPS\x00\x01", "image/vnd.adobe.photoshop"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"#!AMR", "audio/amr"),
    (b"\x1a\x45\xdf\xa3", "video/x-matroska"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS: Final = {
    b"heic": "image/heic", b"heix": "image/heic", b"hevc": "image/heic", b"heim": "image/heic",
    b"mif1": "image/heic", b"msf1": "image/heic", b"avif": "image/avif", b"avis": "image/avif",
    b"qt  ": "video/quicktime", b"M4A ": "audio/mp4",
}  # fmt: skip
_BMP_HEADER_SIZES: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_MPEG_AUDIO: Final = frozenset({b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"})
_PDF_HEAD_BYTES: Final = 1024
"""Readers take a header anywhere in the first 1,024 bytes (ISO 32000-1, Annex H.3.4.1)."""
_PROLOGUE: Final = r"(?:<\?xml[^>]*+>|<!--(?:(?!-->).)*+-->|\s++)*+"
"""What may stand before the first tag; possessive, so that no page makes the search go back."""
_HTML: Final = re.compile(
    _PROLOGUE
    + r"<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|style|title|body|br|p|meta|a)"
    r"[\s>/]",
    re.IGNORECASE | re.DOTALL,
)
"""The tags by which WHATWG's MIME sniffing standard (§7.1) knows a page."""
_SVG: Final = re.compile(
    _PROLOGUE + r"(?:<!doctype\s+svg[^>]*+>\s*+)?" + _PROLOGUE + r"<svg[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_HEAD_CHARS: Final = 4096


def media_type(data: bytes) -> str:
    """Name the media type of ``data`` by what is in it; ``application/octet-stream`` if unknown."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], UNKNOWN)
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip_type(data)
    if b"%PDF-" in data[:_PDF_HEAD_BYTES]:
        return "application/pdf"
    text = decode_text(data)
    if text is not None:
        return _text_type(text[:_HEAD_CHARS])
    return "audio/mpeg" if data[:2] in _MPEG_AUDIO else UNKNOWN


def _text_type(head: str) -> str:
    if _SVG.match(head):
        return "image/svg+xml"
    return "text/html" if _HTML.match(head) else "text/plain"


def _zip_type(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = frozenset(archive.namelist())
    except BAD_BYTES:
        return "application/zip"
    if "[Content_Types].xml" not in names:
        return "application/zip"
    for marker, name in (
        ("word/document.xml", DOCX),
        ("xl/workbook.xml", XLSX),
        ("ppt/presentation.xml", PPTX),
    ):
        if marker in names:
            return name
    return "application/zip"
