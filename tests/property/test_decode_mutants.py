"""Mutants of generated files: the child answers or gives a typed code, and the parent never dies.

The ordinary run tries 300; ``BOUNTYGUARD_MUTANTS=20000`` the long one. Each mutant is drawn from its own
number, so that a failure names the one to look at.
"""

import contextlib
import io
import os
import random
import re
import zipfile
from functools import cache
from pathlib import Path

import docx
import numpy as np
import pytest
from PIL import Image
from reportlab.pdfgen import canvas

from pipeline.decode import open_decoder
from pipeline.decode.pool import PooledDecoder
from pipeline.model.errors import ContentError

MUTANTS = int(os.environ.get("BOUNTYGUARD_MUTANTS", "300"))
CODES = {
    "blob.empty", "blob.polyglot", "blob.timeout", "blob.too_large", "blob.unreadable",
    "blob.wrong_type",
}  # fmt: skip
TEXT_TYPES = ("text/", "application/pdf", "application/vnd.openxmlformats")
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
MEMORY_MAX = 1 << 30


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@cache
def originals() -> tuple[bytes, ...]:
    """One file of each format, mode and feature that the decoder takes."""
    noise = Image.frombytes("RGB", (64, 48), np.random.default_rng(7).bytes(64 * 48 * 3))
    smooth = noise.resize((6, 4)).resize((96, 72))
    frames = [smooth.rotate(20 * i) for i in range(5)]
    many = {"save_all": True, "append_images": frames[1:]}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    deep = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20)
    written = docx.Document()
    written.add_paragraph("words in a file")
    written.add_picture(io.BytesIO(save(smooth, "PNG")))
    word, paper = io.BytesIO(), io.BytesIO()
    written.save(word)
    page = canvas.Canvas(paper)
    page.drawString(72, 700, "words on a page")
    page.drawInlineImage(smooth, 72, 400)
    page.save()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "x" * 50)
    return (
        save(smooth, "JPEG", exif=exif), save(noise, "JPEG", progressive=True),
        save(smooth.convert("CMYK"), "JPEG"), save(smooth.convert("L"), "JPEG"),
        save(smooth, "PNG"), save(deep, "PNG"), save(smooth.convert("P"), "PNG"),
        save(smooth.convert("LA"), "PNG"), save(frames[0], "PNG", **many),
        save(frames[0], "GIF", **many), save(smooth.convert("1"), "GIF"),
        save(smooth, "WEBP"), save(smooth, "WEBP", lossless=True), save(frames[0], "WEBP", **many),
        save(smooth, "BMP"), save(smooth.convert("P"), "BMP"),
        save(smooth, "TIFF", compression="tiff_lzw"),
        save(noise.convert("1"), "TIFF", compression="group4"),
        save(smooth, "TIFF", compression="jpeg"), save(frames[0], "TIFF", **many),
        save(frames[0], "MPO", **many), word.getvalue(), paper.getvalue(), packed.getvalue(),
        b"<!doctype html><html><body><p>words<table><tr><td>in a table", "一碗豆花".encode("gb18030"),
    )  # fmt: skip


def mutant(number: int) -> bytes:
    """Flip, overwrite, cut, repeat, insert or splice a few times."""
    draw = random.Random(f"mutant {number}")
    data = bytearray(draw.choice(originals()))
    for _ in range(draw.choice((1, 1, 2, 4, 12))):
        if not data:
            break
        at = draw.randrange(len(data))
        if draw.random() < 0.4:
            at = min(at, draw.randrange(64), len(data) - 1)
        match draw.randrange(7):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                data[at] = draw.choice(EDGES)
            case 2:
                data[at : at + 4] = draw.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")
                )
            case 3:
                del data[at : at + draw.randrange(1, 200)]
            case 4:
                data[at:at] = data[at : at + draw.randrange(1, 400)] * draw.choice((1, 3, 40))
            case 5:
                other = draw.choice(originals())
                data[at:] = other[draw.randrange(len(other)) :]
            case _:
                data[at:at] = draw.randbytes(draw.randrange(1, 60))
    return bytes(data)


def look(decoder: PooledDecoder, data: bytes) -> str:
    """Ask all that can be asked; return what came of it."""
    try:
        probe = decoder.probe(data)
        if probe.frame_count is not None:
            for picture in decoder.pictures(data, side_max=128):
                height, width, depth = picture.pixels.shape
                assert 1 <= height <= 128
                assert 1 <= width <= 128
                assert depth == 3
                assert 0 < picture.scale <= 1
        elif probe.media_type.startswith(TEXT_TYPES):
            decoder.document(data, probe.media_type)
    except ContentError as error:
        assert error.code in CODES
        return error.code
    return "taken"


def peak() -> int:
    """Bytes that the greatest living child has held since it began: what it inherited does not count."""
    most = 0
    for listed in Path("/proc/self/task").glob("*/children"):
        for child in listed.read_text().split():
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                told = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{child}/status").read_text())
                most = max(most, int(told[1]) * 1024 if told else 0)
    return most


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_mutants_give_answers_or_typed_codes() -> None:
    seen: dict[str, int] = {}
    with open_decoder() as decoder:
        most = 0
        for number in range(MUTANTS):
            try:
                came = look(decoder, mutant(number))
            except AssertionError as error:
                raise AssertionError(f"mutant {number}: {error}") from error
            seen[came] = seen.get(came, 0) + 1
            most = max(most, peak())
        assert decoder.probe(originals()[0]).media_type == "image/jpeg"
    assert seen.get("taken", 0) > MUTANTS // 10
    assert seen.get("blob.unreadable", 0) > MUTANTS // 10
    assert 0 < most <= MEMORY_MAX, f"a child needed {most >> 20} MiB"
