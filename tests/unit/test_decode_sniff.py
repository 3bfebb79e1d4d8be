"""The bytes decide what a file is: magic, structure, and text that is really text."""

import io
import random
import zipfile

import pytest
from PIL import Image

from pipeline.decode.sniff import DOCX, PPTX, XLSX, media_type
from pipeline.decode.text import decode_text, tidy


def encoded(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 6), "teal").save(out, kind, **options)
    return out.getvalue()


def office(marker: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("[Content_Types].xml", "<Types/>")
        packed.writestr(marker, "<x/>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded("JPEG"), "image/jpeg"),
        (encoded("PNG"), "image/png"),
        (encoded("GIF"), "image/gif"),
        (encoded("WEBP"), "image/webp"),
        (encoded("BMP"), "image/bmp"),
        (encoded("TIFF"), "image/tiff"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(16), "image/heic"),
        (b"\x00\x00\x00\x18ftypavif" + bytes(16), "image/avif"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(16), "video/mp4"),
        (b"\x00\x00\x00\x18ftypqt  " + bytes(16), "video/quicktime"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"ID3\x04\x00" + bytes(20), "audio/mpeg"),
        (b"\xff\xfb\x90\x00" + bytes(200), "audio/mpeg"),
        (b"OggS\x00\x02" + bytes(20), "audio/ogg"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
        (b"\r\n\r\n%PDF-1.4\n", "application/pdf"),
        (office("word/document.xml"), DOCX),
        (office("xl/workbook.xml"), XLSX),
        (office("ppt/presentation.xml"), PPTX),
        (office("notes.txt"), "application/zip"),
        (b"PK\x03\x04 but no archive", "application/zip"),
        (b"\x1f\x8b\x08\x00" + bytes(10), "application/gzip"),
        (b"<!DOCTYPE html><html><p>x", "text/html"),
        (b"  <!-- hello -->\n<Html lang=en>", "text/html"),
        (b"<?xml version='1.0'?><html xmlns='x'/>", "text/html"),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", "image/svg+xml"),
        (b"BMW drives, as text goes, past forty bytes of letters", "text/plain"),
        ("你好,世界。".encode("gb18030"), "text/plain"),
        ("hello".encode("utf-16"), "text/plain"),
        (b"\xef\xbb\xbfmarked", "text/plain"),
        (b"# A heading\n\n*words*", "text/plain"),
        (b"ends with\x00a nul", "application/octet-stream"),
        (bytes(range(256)), "application/octet-stream"),
    ],
)
def test_media_type(data: bytes, expected: str) -> None:
    assert media_type(data) == expected


def test_noise_is_not_text() -> None:
    draw = random.Random(5)
    for length in (3, 8, 20, 100, 5000):
        for _ in range(200):
            data = bytes(draw.randrange(0x80, 0x100) for _ in range(length))
            text = decode_text(data)
            assert text is None or length <= 8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_text_survives_its_encoding(encoding: str) -> None:
    text = "早上六点半，磨盘先醒。Tofu at 6:30!\r\n第二行\t“引号”…"
    assert decode_text(text.encode(encoding)) == text


def test_tidy_leaves_nothing_that_a_store_refuses() -> None:
    assert tidy("a\ud800b\x00c") == "a\ufffdb\ufffdc"
    assert tidy("plain 字") == "plain 字"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<!---->" * 200_000, "text/plain"),
        (b"<?xml ?>" * 200_000, "text/plain"),
        (b"<!-- " * 200_000, "text/plain"),
        (b" " * 2_000_000 + b"<svg>", "text/plain"),
        (b"\xff\xd8\xff" + b"\xff" * 2_000_000, "image/jpeg"),
    ],
)
def test_no_page_makes_the_search_go_back(data: bytes, expected: str) -> None:
    """With patterns that go back, the first of these never ends."""
    assert media_type(data) == expected
