"""Documents: the text of txt, md, html, docx, pptx, xlsx and pdf, page by page, and their pictures.

Libraries do the parsing (selectolax, python-docx, lxml through it, defusedxml, pypdf); this module
holds them to limits. Archives are checked before a byte is unpacked: entry count, ratio, total and
overlap, the four ways of a ZIP bomb (D. Fifield, A better zip bomb, WOOT 2019).
"""

import io
import itertools
import re
import zipfile
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pipeline.decode.faults import BAD_BYTES, too_large, unreadable, wrong_type
from pipeline.decode.limits import Limits
from pipeline.decode.sniff import DECODABLE, DOCX, OFFICE, PPTX, media_type
from pipeline.decode.text import decode_text, tidy
from pipeline.model.errors import ContentError

_TEXT_TYPES: Final = frozenset({"text/plain", "text/markdown", "text/x-markdown"})
_PAGE_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
_SILENT_TAGS: Final = ["script", "style", "template", "noscript", "iframe", "object"]
_DATA_URI: Final = re.compile(r"data:image/[a-z.+-]+;base64,", re.IGNORECASE)
_META_CHARSET: Final = re.compile(rb"charset\s*=\s*[\"']?\s*([a-z0-9_-]+)", re.IGNORECASE)
_BLANK: Final = re.compile(r"[ \t\r\f\v]*\n\s*\n\s*")
_MEDIA: Final = re.compile(r"(?:word|ppt|xl)/media/[^/]+\Z")
_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC_FALLBACK: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_A: Final = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_S: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SLIDE: Final = re.compile(r"ppt/slides/slide(\d+)\.xml\Z")
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a document holds: ``pages`` of text in reading order, ``pictures`` still encoded."""

    pages: tuple[str, ...]
    pictures: tuple[bytes, ...] = ()


def read_document(data: bytes, limits: Limits) -> Contents:
    """Extract text and pictures; the bytes decide of what kind the document is."""
    kind = media_type(data)
    try:
        if kind in _TEXT_TYPES:
            contents = _plain(data)
        elif kind in _PAGE_TYPES:
            contents = _html(data, limits)
        elif kind in OFFICE:
            contents = _office(data, kind, limits)
        elif kind == "application/pdf":
            contents = _pdf(data, limits)
        else:
            raise wrong_type(f"{kind} is not a document whose text can be read")
    except ContentError:
        raise
    except _raised_over(kind) as error:
        raise unreadable(f"{kind}: {type(error).__name__}: {error}") from error
    if sum(map(len, contents.pages)) > limits.text_chars_max:
        raise too_large(f"more than {limits.text_chars_max} characters of text")
    return Contents(pages=tuple(map(tidy, contents.pages)), pictures=contents.pictures)


def probe_document(data: bytes, kind: str, limits: Limits) -> None:
    """Check what can be checked without reading all of it. Raises ``ContentError``."""
    try:
        if kind in OFFICE:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                check_archive(archive, limits)
        elif kind == "application/pdf":
            _open_pdf(data)
    except ContentError:
        raise
    except _raised_over(kind) as error:
        raise unreadable(f"{kind}: {type(error).__name__}: {error}") from error


def _raised_over(kind: str) -> tuple[type[Exception], ...]:
    """Errors that the library of that kind raises over bad bytes, beside the common ones."""
    if kind == "application/pdf":
        from pypdf.errors import DependencyError, PyPdfError

        return (*BAD_BYTES, PyPdfError, DependencyError)
    if kind == DOCX:
        from docx.exceptions import PythonDocxError
        from docx.opc.exceptions import OpcError

        return (*BAD_BYTES, PythonDocxError, OpcError)
    if kind in _PAGE_TYPES:
        from selectolax.lexbor import SelectolaxError

        return (*BAD_BYTES, SelectolaxError)
    return BAD_BYTES


def _plain(data: bytes) -> Contents:
    text = decode_text(data) or ""
    return Contents(pages=tuple(text.replace("\r\n", "\n").split("\f")))


# --- pages of the web ---------------------------------------------------------------------------


def _html(data: bytes, limits: Limits) -> Contents:
    from selectolax.lexbor import LexborHTMLParser  # only the child pays for it, and only here

    tree = LexborHTMLParser(_html_text(data))
    pictures = _Pictures(limits)
    for node in tree.css("img[src^='data:']"):
        source = node.attributes.get("src") or ""
        head = _DATA_URI.match(source)
        if head:
            pictures.add(a2b_base64(source[head.end() :]))
    title = tree.css_first("title")
    heading = title.text(strip=True) if title else ""
    tree.strip_tags(_SILENT_TAGS)
    body = tree.body.text(separator="\n", strip=True) if tree.body else ""
    text = _BLANK.sub("\n", f"{heading}\n{body}" if heading else body)
    return Contents(pages=(text,), pictures=pictures.kept)


def _html_text(data: bytes) -> str:
    stated = _META_CHARSET.search(data[:1024])
    if stated and not data.startswith(b"\xef\xbb\xbf"):
        try:
            return data.decode(stated[1].decode("ascii"))
        except (UnicodeDecodeError, LookupError):
            pass  # the page does not keep to what it states
    return decode_text(data) or data.decode("utf-8", "replace")


# --- office ---------------------------------------------------------------------------------------


def check_archive(archive: zipfile.ZipFile, limits: Limits) -> None:
    """Refuse an archive that would unpack to more than the limits. Raises ``blob.too_large``."""
    entries = archive.infolist()
    if len(entries) > limits.archive_entries_max:
        raise too_large(f"{len(entries)} entries are more than {limits.archive_entries_max}")
    unpacked = sum(e.file_size for e in entries)
    packed = sum(e.compress_size for e in entries)
    if unpacked > limits.archive_bytes_max:
        raise too_large(f"unpacks to {unpacked} bytes, more than {limits.archive_bytes_max}")
    if unpacked > limits.archive_bytes_free and unpacked > limits.archive_ratio_max * packed:
        raise too_large(f"unpacks to more than {limits.archive_ratio_max} times its size")
    placed = sorted(entries, key=lambda e: e.header_offset)
    for this, following in itertools.pairwise(placed):
        if this.header_offset + 30 + this.compress_size > following.header_offset:
            raise too_large("entries of the archive overlap")


def _office(data: bytes, kind: str, limits: Limits) -> Contents:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_archive(archive, limits)
        pictures = _Pictures(limits)
        for name in sorted(archive.namelist()):
            if _MEDIA.match(name):
                pictures.add(archive.read(name))
        if kind == DOCX:
            pages = _docx_pages(data)
        elif kind == PPTX:
            pages = _pptx_pages(archive)
        else:
            pages = _xlsx_pages(archive)
    if len(pages) > limits.pages_max:
        raise too_large(f"{len(pages)} pages are more than {limits.pages_max}")
    return Contents(pages=pages, pictures=pictures.kept)


def _docx_pages(data: bytes) -> tuple[str, ...]:
    import docx  # only the child pays for it, and only here

    document = docx.Document(io.BytesIO(data))
    pages = _word_pages(document.element.body)
    notes = [
        "".join(_word_pages(part.element))
        for part in document.part.package.iter_parts()
        if hasattr(part, "element") and part.partname.endswith(("footnotes.xml", "endnotes.xml"))
    ]
    return (*pages, *(n for n in notes if n.strip()))


def _word_pages(root: Any) -> tuple[str, ...]:
    """Text in document order, tables and text boxes too, cut where Word says that a page ended."""
    pages: list[list[str]] = [[]]
    for element in _walk(root):
        tag = element.tag
        if tag == f"{_W}t":
            pages[-1].append(element.text or "")
        elif tag == f"{_W}tab":
            pages[-1].append("\t")
        elif tag == f"{_W}p":
            pages[-1].append("\n")
        elif tag == f"{_W}lastRenderedPageBreak" or (
            tag == f"{_W}br" and element.get(f"{_W}type") == "page"
        ):
            if "".join(pages[-1]).strip():
                pages.append([])
        elif tag in (f"{_W}br", f"{_W}cr"):
            pages[-1].append("\n")
    return tuple("".join(page).strip() for page in pages)


def _walk(root: Any) -> Iterator[Any]:
    """Elements in document order without the fallback copies of drawings, and without recursion."""
    stack = [root]
    while stack:
        element = stack.pop()
        if element.tag == _MC_FALLBACK:
            continue
        yield element
        stack.extend(reversed(element))


def _pptx_pages(archive: zipfile.ZipFile) -> tuple[str, ...]:
    slides = [(int(m[1]), n) for n in archive.namelist() if (m := _SLIDE.match(n))]
    return tuple(_xml_text(archive.read(name), f"{_A}p", f"{_A}t") for _, name in sorted(slides))


def _xlsx_pages(archive: zipfile.ZipFile) -> tuple[str, ...]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return ("",)
    return (_xml_text(archive.read("xl/sharedStrings.xml"), f"{_S}si", f"{_S}t"),)


def _xml_text(data: bytes, block: str, run: str) -> str:
    from defusedxml.ElementTree import fromstring

    root = fromstring(data, forbid_dtd=True)
    return "\n".join("".join(t.text or "" for t in b.iter(run)) for b in root.iter(block))


# --- PDF -----------------------------------------------------------------------------------------


def _open_pdf(data: bytes) -> Any:
    import logging

    from pypdf import PdfReader  # only the child pays for it, and only here

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(io.BytesIO(data), strict=False)
    if not reader.is_encrypted and len(reader.pages) == 0:
        raise unreadable("the PDF has no pages")
    return reader


def _pdf(data: bytes, limits: Limits) -> Contents:
    reader = _open_pdf(data)
    if reader.is_encrypted and not reader.decrypt(""):
        raise unreadable("the PDF is locked with a password")
    if len(reader.pages) > limits.pages_max:
        raise too_large(f"{len(reader.pages)} pages are more than {limits.pages_max}")
    pictures = _Pictures(limits)
    pages, chars = [], 0
    for page in reader.pages:
        text = page.extract_text()
        chars += len(text)
        if chars > limits.text_chars_max:
            raise too_large(f"more than {limits.text_chars_max} characters of text")
        pages.append(text)
        _pdf_pictures(page, pictures, limits)
    return Contents(pages=tuple(pages), pictures=pictures.kept)


def _pdf_pictures(page: Any, pictures: "_Pictures", limits: Limits) -> None:
    """Take the page's pictures; one that cannot be taken out leaves the text standing."""
    try:
        found = page.images
        count = len(found)
    except _raised_over("application/pdf"):
        return
    for index in range(count):
        if pictures.full:
            return
        try:
            pictures.add(found[index].data)
        except _raised_over("application/pdf"):
            continue


class _Pictures:
    """Collects embedded pictures of decodable kinds, each once, within the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: dict[bytes, None] = {}
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self._kept) >= self._limits.pictures_max

    @property
    def kept(self) -> tuple[bytes, ...]:
        return tuple(self._kept)

    def add(self, data: bytes) -> None:
        """Keep the picture, unless it is of another kind, known already, or one too many."""
        if self.full or data in self._kept or media_type(data) not in DECODABLE:
            return
        if self._bytes + len(data) > self._limits.picture_bytes_max:
            return
        self._kept[data] = None
        self._bytes += len(data)
