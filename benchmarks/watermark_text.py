"""Our mark in text: how many of 4 KB of real news are read again, and whether others read as marked.

Texts of 4,096 bytes (English BBC news, Chinese news) are marked and changed: a tenth of the words
replaced by words of other texts, 15 % of the words deleted, half cut out, taken through a Word
document and a PDF, normalised, stripped of format characters. Chinese is changed by the character.
Run with ``python benchmarks/watermark_text.py [--texts N] [--format json]``; needs the development
texts; the PDF needs DejaVu, or a Chinese face, of the system.
"""

import argparse
import io
import json
import os
import random
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import polars as pl
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen import canvas

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detectors.watermark.mark import MarkKey
from detectors.watermark.textmark import mark_text, read_text
from pipeline.decode import open_decoder
from pipeline.ports import Decoder

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
KEY = MarkKey(key_id="bench", master=b"a key of the benchmark alone")
BYTES = 4096
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def news(name: str, count: int) -> list[str]:
    """Texts of one collection, cut to ``BYTES`` bytes."""
    texts = pl.read_parquet(SHARED / "texts" / f"{name}.parquet")["text"].to_list()
    long = [t for t in texts if len(t.encode()) >= BYTES]
    return [t.encode()[:BYTES].decode("utf-8", "ignore") for t in long[:count]]


def units(text: str, chinese: bool) -> list[str]:
    """What is replaced or deleted: words with the spaces between them, or characters."""
    return list(text) if chinese else text.split(" ")


def replaced(text: str, other: str, chinese: bool, draw: random.Random) -> str:
    """Replace a tenth by what stands in another text."""
    theirs = [u for u in units(other, chinese) if u.strip()]
    glue = "" if chinese else " "
    return glue.join(
        u if draw.random() > 0.1 else draw.choice(theirs) for u in units(text, chinese)
    )


def deleted(text: str, chinese: bool, draw: random.Random) -> str:
    """Delete 15 %."""
    glue = "" if chinese else " "
    return glue.join(u for u in units(text, chinese) if draw.random() > 0.15)


def through_docx(text: str, decoder: Decoder) -> str:
    """Write a Word document of sentences and read it as the line does."""
    document = docx.Document()
    for part in text.replace("\n", " ").split(". "):
        document.add_paragraph(part)
    out = io.BytesIO()
    document.save(out)
    return "\n".join(decoder.document(out.getvalue(), DOCX).pages)


def through_pdf(text: str, decoder: Decoder) -> str:
    """Write a PDF in a face that has the signs and read it as the line does."""
    out = io.BytesIO()
    sheet = canvas.Canvas(out)
    words = text.replace("\n", " ").split(" ")
    for number, start in enumerate(range(0, len(words), 12)):
        if number % 50 == 0:
            if number:
                sheet.showPage()
            sheet.setFont("Signs", 9)
        sheet.drawString(40, 800 - 15 * (number % 50), " ".join(words[start : start + 12]))
    sheet.save()
    return "\n".join(decoder.document(out.getvalue(), "application/pdf").pages)


def changes(
    chinese: bool, decoder: Decoder, pdf: bool
) -> dict[str, Callable[[str, str, random.Random], str]]:
    """Every change by name: (text, another text, generator) to text."""

    def excerpt(t: str, _: str, d: random.Random) -> str:
        start = d.randrange(len(t) // 2)
        return t[start : start + len(t) // 2]

    made: dict[str, Callable[[str, str, random.Random], str]] = {
        "none": lambda t, o, d: t,
        "10 % replaced": lambda t, o, d: replaced(t, o, chinese, d),
        "15 % deleted": lambda t, o, d: deleted(t, chinese, d),
        "half cut out": excerpt,
        "NFKC": lambda t, o, d: unicodedata.normalize("NFKC", t),
        "docx": lambda t, o, d: through_docx(t, decoder),
    }
    if not chinese:
        made["format characters stripped"] = lambda t, o, d: "".join(
            c for c in t if unicodedata.category(c) != "Cf"
        )
        if pdf:
            made["PDF"] = lambda t, o, d: through_pdf(t, decoder)
    return made


def unmarked() -> list[str]:
    """Every real text, and passages of the long ones."""
    texts: list[str] = []
    for name in ("zh_hotel_reviews", "zh_waimai", "en_bbc", "zh_cnews"):
        texts += pl.read_parquet(SHARED / "texts" / f"{name}.parquet")["text"].to_list()
    pairs = pl.read_parquet(SHARED / "texts" / "pan_train.parquet")
    texts += pairs["text_a"].to_list() + pairs["text_b"].to_list()
    long = [t for t in texts if len(t) > 400]
    return texts + [t[at : at + 300] for t in long for at in range(0, len(t), 75)]


def measure(count: int) -> dict[str, Any]:
    """Mark, change and read; then read what was never marked."""
    try:
        pdfmetrics.registerFont(TTFont("Signs", "dejavu/DejaVuSans.ttf"))
        pdf = True
    except TTFError:
        pdf = False
    found: dict[str, list[int]] = {}
    with open_decoder() as decoder:
        for language, name in (("English", "en_bbc"), ("Chinese", "zh_cnews")):
            texts = news(name, count)
            ways = changes(language == "Chinese", decoder, pdf)
            for number, text in enumerate(texts):
                serial = 0x9E3779B97F4A7C15 * (number + 1) % 2**64
                marked = mark_text(text, serial, KEY)
                for way, change in ways.items():
                    changed = change(marked, texts[number - 1], random.Random(number))
                    seen = read_text(changed, (KEY,))
                    row = found.setdefault(f"{language}, {way}", [0, 0])
                    row[0] += seen is not None and seen.serial == serial
                    row[1] += 1
    texts = unmarked()
    started = time.process_time()
    false = sum(read_text(t, (KEY,)) is not None for t in texts)
    spent = time.process_time() - started
    return {
        "bytes": BYTES, "found": found, "unmarked": len(texts), "false": false,
        "read_us_a_text": round(1e6 * spent / len(texts), 1),
    }  # fmt: skip


def main() -> None:
    """Measure and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    result = measure(asked.texts)
    if asked.format == "json":
        print(json.dumps(result, ensure_ascii=False))
        return
    for what, (hit, of) in result["found"].items():
        print(f"{what:<38} {hit} of {of}")
    print(f"{result['false']} of {result['unmarked']} unmarked texts and passages read as marked; "
          f"{result['read_us_a_text']} µs of CPU each")  # fmt: skip


if __name__ == "__main__":
    main()
