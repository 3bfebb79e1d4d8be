"""Text and pictures inside files: what is read, page by page, and what is refused."""

import base64
import io
import struct
import zipfile
import zlib
from collections.abc import Sequence

import docx
import pytest
from docx.enum.text import WD_BREAK
from PIL import Image
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen import canvas

from pipeline.decode.inline import InlineDecoder
from pipeline.decode.limits import Limits
from pipeline.decode.sniff import DOCX, PPTX, XLSX
from pipeline.model.errors import ContentError
from pipeline.ports import Document

DECODER = InlineDecoder()


def png(colour: str = "green") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()


def read(data: bytes, media_type: str = "application/octet-stream") -> Document:
    return DECODER.document(data, media_type)


def refused(data: bytes, limits: Limits | None = None) -> str:
    decoder = InlineDecoder(limits) if limits else DECODER
    with pytest.raises(ContentError) as caught:
        decoder.document(data, "application/octet-stream")
    return caught.value.code


def word(*paragraphs: str, picture: bytes | None = None, page_break_after: int = -1) -> bytes:
    document = docx.Document()
    for i, text in enumerate(paragraphs):
        paragraph = document.add_paragraph(text)
        if i == page_break_after:
            paragraph.add_run().add_break(WD_BREAK.PAGE)
    if picture:
        document.add_picture(io.BytesIO(picture))
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def pdf(pages: Sequence[str], picture: bytes | None = None, password: str | None = None) -> bytes:
    out = io.BytesIO()
    paper = canvas.Canvas(out, encrypt=password)
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    for text in pages:
        paper.setFont("STSong-Light", 14)
        paper.drawString(72, 700, text)
        if picture:
            paper.drawInlineImage(Image.open(io.BytesIO(picture)), 72, 400)
        paper.showPage()
    paper.save()
    return out.getvalue()


def archive(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    return out.getvalue()


def test_plain_text_and_markdown() -> None:
    assert read("# 标题\n\nwords".encode(), "text/markdown").pages == ("# 标题\n\nwords",)
    assert read("你好，世界".encode("gb18030"), "text/plain").pages == ("你好，世界",)
    assert read(b"one\ftwo\r\nlines").pages == ("one", "two\nlines")


def test_a_page_without_its_scripts_and_with_its_pictures() -> None:
    inside = base64.b64encode(png()).decode()
    page = f"""<!doctype html><html><head><title>The title</title><style>p{{}}</style></head><body>
    <script>steal()</script><p>First &amp; <b>bold</b></p><div>第二段</div>
    <img src="data:image/png;base64,{inside}"><img src="https://elsewhere.example/x.png">
    <template>hidden</template></body></html>"""
    document = read(page.encode())
    (text,) = document.pages
    assert "The title" in text
    assert "First &" in text
    assert "第二段" in text
    assert not {"steal", "hidden"} & set(text.replace("(", " ").split())
    assert document.pictures == (png(),)


def test_a_page_in_its_own_encoding() -> None:
    page = '<html><head><meta charset="gb18030"></head><body>一碗豆花，半巷春天</body></html>'
    assert "一碗豆花，半巷春天" in read(page.encode("gb18030")).pages[0]


def test_a_word_file_page_by_page() -> None:
    data = word("first page", "last of the first", "第二页", picture=png(), page_break_after=1)
    document = read(data, DOCX)
    assert len(document.pages) == 2
    assert "last of the first" in document.pages[0]
    assert document.pages[1] == "第二页"
    assert document.pictures == (png(),)
    assert DECODER.probe(data).media_type == DOCX


def test_tables_are_read_in_their_place() -> None:
    document = docx.Document()
    document.add_paragraph("before")
    document.add_table(1, 2).rows[0].cells[1].text = "in the table"
    document.add_paragraph("after")
    out = io.BytesIO()
    document.save(out)
    (text,) = read(out.getvalue()).pages
    assert text.index("before") < text.index("in the table") < text.index("after")


def test_slides_and_sheets() -> None:
    a = "http://schemas.openxmlformats.org/drawingml/2006/main"
    slide = f'<p xmlns:a="{a}"><a:p><a:r><a:t>Slide %d</a:t></a:r></a:p></p>'
    slides = archive({
        "[Content_Types].xml": b"<Types/>", "ppt/presentation.xml": b"<x/>",
        "ppt/slides/slide10.xml": (slide % 10).encode(),
        "ppt/slides/slide2.xml": (slide % 2).encode(), "ppt/media/image1.png": png(),
    })  # fmt: skip
    assert read(slides, PPTX).pages == ("Slide 2", "Slide 10")
    assert read(slides, PPTX).pictures == (png(),)
    s = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = archive({
        "[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<x/>",
        "xl/sharedStrings.xml": f'<sst xmlns="{s}"><si><t>one</t></si><si><t>two</t></si></sst>'.encode(),
    })  # fmt: skip
    assert read(sheet, XLSX).pages == ("one\ntwo",)


def test_a_pdf_page_by_page_with_pictures() -> None:
    data = pdf(["The first page", "第二页的文字"], picture=png())
    document = read(data, "application/pdf")
    assert document.pages[0].strip() == "The first page"
    assert document.pages[1].strip() == "第二页的文字"
    assert document.pictures
    (shown,) = DECODER.pictures(document.pictures[0], side_max=64)
    assert shown.pixels.shape == (30, 40, 3)
    assert DECODER.probe(data).media_type == "application/pdf"


def test_a_locked_pdf_is_accepted_and_cannot_be_read() -> None:
    data = pdf(["secret"], password="x")
    assert DECODER.probe(data).media_type == "application/pdf"
    assert refused(data) == "blob.unreadable"


def test_broken_documents_are_unreadable() -> None:
    whole_pdf, whole_word = pdf(["words"]), word("words")
    assert refused(b"%PDF-1.7\nnothing") == "blob.unreadable"
    assert refused(whole_word[: len(whole_word) // 2]) in {"blob.unreadable", "blob.wrong_type"}
    broken = archive({"[Content_Types].xml": b"<", "word/document.xml": b"<"})
    assert refused(broken) == "blob.unreadable"
    assert refused(whole_pdf[: len(whole_pdf) // 3]) == "blob.unreadable"


def test_what_is_no_document_is_the_wrong_type() -> None:
    for data in (png(), archive({"a.txt": b"x"}), bytes(range(256)), b"RIFF\x00\x00\x00\x00WAVE"):
        assert refused(data) == "blob.wrong_type"


def test_an_archive_bomb_is_refused_before_it_is_unpacked() -> None:
    frame = {"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<x/>"}
    for extra, limits in (
        ({"word/media/a.png": bytes(20_000_000)}, None),
        ({f"word/media/{i}.bin": b"" for i in range(1_000)}, None),
        ({"word/media/a.bin": bytes(range(256)) * 40}, Limits(archive_bytes_max=5_000)),
    ):
        bomb = archive({**frame, **extra})
        assert refused(bomb, limits) == "blob.too_large"
        with pytest.raises(ContentError) as caught:
            InlineDecoder(limits or Limits()).probe(bomb)
        assert caught.value.code == "blob.too_large"


def test_entries_that_overlap_are_refused() -> None:
    """Many entries of one directory that share one body: the non-recursive bomb."""
    name, body = b"word/document.xml", zlib.compress(bytes(3_000))[2:-4]
    crc, sizes = zlib.crc32(bytes(3_000)), (len(body), 3_000)

    def local(n: bytes) -> bytes:
        return struct.pack("<4s5HIII2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, *sizes, len(n), 0) + n

    def central(n: bytes, at: int) -> bytes:
        fixed = struct.pack(
            "<4s6HIII5HII",
            b"PK\x01\x02",
            20,
            20,
            0,
            8,
            0,
            0,
            crc,
            *sizes,
            len(n),
            0,
            0,
            0,
            0,
            0,
            at,
        )
        return fixed + n

    data = local(name) + body
    names = [name, b"[Content_Types].xml", *(b"%03d" % i for i in range(30))]
    directory = b"".join(central(n, 0) for n in names)
    counts = (0, 0, len(names), len(names), len(directory), len(data), 0)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", *counts)
    assert refused(data + directory + end) == "blob.too_large"


def test_entities_are_not_expanded() -> None:
    evil = b'<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><x>&b;</x>'
    sheet = archive({
        "[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<x/>", "xl/sharedStrings.xml": evil,
    })  # fmt: skip
    assert refused(sheet) == "blob.unreadable"


def test_too_many_pages_or_letters_are_too_large() -> None:
    assert refused(pdf(["x"] * 5), Limits(pages_max=4)) == "blob.too_large"
    assert refused(b"word " * 50, Limits(text_chars_max=100)) == "blob.too_large"


def test_ten_megabytes_of_text() -> None:
    text = "一碗豆花，半巷春天。\n" * 330_000
    assert read(text.encode()).pages == (text,)
