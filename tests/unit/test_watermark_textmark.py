"""Our mark in text: what it survives, and that other texts carry none."""

import io
import os
import random
import unicodedata
from pathlib import Path

import docx
import polars as pl
import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen import canvas

from detectors.watermark.examples import _ESSAY
from detectors.watermark.mark import MarkKey
from detectors.watermark.textmark import (
    SIGNS,
    canary_chance,
    find_canary,
    mark_text,
    plain_text,
    read_text,
    shown,
)
from detectors.watermark.textmark import canary as canary_phrase
from pipeline.decode import open_decoder
from pipeline.model.errors import UsageError

KEY = MarkKey(key_id="k", master=b"a key of the tests alone")
SERIAL = 0x0123_4567_89AB_CDEF
ZH = "".join(
    f"第{i}天上午，{'东南西北'[i % 4]}门的面馆卖出{i * 37 % 101}碗面，排队的人一直站到"
    f"{('书店', '银行', '车站', '学校')[i % 4]}门口，老板说明天还要多准备{i * 53 % 89}份。"
    for i in range(1, 40)
)
SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[3] / "shared"))


def replaced(text: str, share: float) -> str:
    draw = random.Random(1)
    return " ".join(w if draw.random() > share else "other" for w in text.split(" "))


def deleted(text: str, share: float) -> str:
    draw = random.Random(2)
    return " ".join(w for w in text.split(" ") if draw.random() > share)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t,
        lambda t: unicodedata.normalize("NFKC", t),
        lambda t: replaced(t, 0.10),
        lambda t: deleted(t, 0.15),
        lambda t: t[len(t) // 3 : len(t) // 3 + len(t) // 2],
    ],
    ids=["as is", "nfkc", "replaced", "deleted", "excerpt"],
)
def test_the_serial_survives(change: object) -> None:
    found = read_text(change(mark_text(_ESSAY, SERIAL, KEY)), (KEY,))  # type: ignore[operator]
    assert found is not None
    assert found.serial == SERIAL
    assert found.p_decode < 1e-8


def test_look_alikes_outlive_the_stripping_of_format_characters() -> None:
    if not (SHARED / "texts").is_dir():
        pytest.skip("the development texts are absent")
    news = pl.read_parquet(SHARED / "texts" / "en_bbc.parquet")["text"].to_list()
    text = next(t for t in news if len(t) > 4096)[:4096]
    marked = mark_text(text, SERIAL, KEY)
    found = read_text("".join(c for c in marked if unicodedata.category(c) != "Cf"), (KEY,))
    assert found is not None
    assert found.serial == SERIAL


def test_chinese_carries_it_between_characters() -> None:
    marked = mark_text(ZH[:1365], SERIAL, KEY)
    assert plain_text(marked) == ZH[:1365]
    half = marked[len(marked) // 4 : len(marked) * 3 // 4]
    found = read_text(half, (KEY,))
    assert found is not None
    assert found.serial == SERIAL


def test_the_reader_sees_no_difference() -> None:
    marked = mark_text(_ESSAY, SERIAL, KEY)
    assert plain_text(marked) == _ESSAY
    assert any(sign in marked for sign in SIGNS)
    assert "[200" in shown(marked) or "[2060]" in shown(marked)


def test_it_survives_a_word_document() -> None:
    document = docx.Document()
    for part in mark_text(_ESSAY, SERIAL, KEY).split(". "):
        document.add_paragraph(part)
    out = io.BytesIO()
    document.save(out)
    with open_decoder() as decoder:
        kind = decoder.probe(out.getvalue()).media_type
        text = "\n".join(decoder.document(out.getvalue(), kind).pages)
    found = read_text(text, (KEY,))
    assert found is not None
    assert found.serial == SERIAL


def test_it_survives_a_pdf() -> None:
    """As far as the font has the signs: one without them writes the same box for all."""
    try:
        pdfmetrics.registerFont(TTFont("Signs", "dejavu/DejaVuSans.ttf"))
    except TTFError:
        pytest.skip("no font with zero-width signs is installed")
    out = io.BytesIO()
    sheet = canvas.Canvas(out)
    words = mark_text(_ESSAY, SERIAL, KEY, channels=("zero_width",)).split(" ")
    for number, start in enumerate(range(0, len(words), 12)):
        if number % 50 == 0:
            sheet.showPage()
            sheet.setFont("Signs", 9)
        sheet.drawString(40, 800 - 15 * (number % 50), " ".join(words[start : start + 12]))
    sheet.save()
    with open_decoder() as decoder:
        text = "\n".join(decoder.document(out.getvalue(), "application/pdf").pages)
    found = read_text(text, (KEY,))
    assert found is not None
    assert found.serial == SERIAL


def test_another_key_a_short_text_and_a_marked_text_are_refused() -> None:
    other = MarkKey(key_id="o", master=b"another key of the tests")
    marked = mark_text(_ESSAY, SERIAL, KEY)
    assert read_text(marked, (other,)) is None
    with pytest.raises(UsageError, match="words"):
        mark_text("too short", 1, KEY)
    with pytest.raises(UsageError, match="already"):
        mark_text(marked, 1, KEY)


def test_a_mark_cannot_be_moved_to_another_text() -> None:
    marked = mark_text(_ESSAY, SERIAL, KEY, channels=("zero_width",))
    signs = iter([c for c in marked if c in SIGNS])
    words = ["another"] + [f"w{i}" for i in range(800)]
    assert read_text("".join(w + next(signs, "") + " " for w in words), (KEY,)) is None


def test_a_canary_is_found_and_its_chance_is_stated() -> None:
    phrases = {canary_phrase(KEY, serial, "zh"): serial for serial in range(50)}
    planted = f"以上内容供参考。{canary_phrase(KEY, 7, 'zh')}。" + ZH
    assert find_canary(planted, phrases) == 7
    assert find_canary(ZH, phrases) is None
    assert canary_chance(ZH, 50) < 1e-8


def test_no_real_text_reads_as_marked() -> None:
    if not (SHARED / "texts").is_dir():
        pytest.skip("the development texts are absent")
    texts: list[str] = []
    for name in ("zh_hotel_reviews", "zh_waimai", "en_bbc", "zh_cnews"):
        texts += pl.read_parquet(SHARED / "texts" / f"{name}.parquet")["text"].to_list()
    pairs = pl.read_parquet(SHARED / "texts" / "pan_train.parquet")
    texts += pairs["text_a"].to_list() + pairs["text_b"].to_list()
    long = [t for t in texts if len(t) > 400]
    texts += [t[at : at + 300] for t in long for at in range(0, len(t), 75)]
    assert len(texts) > 100_000
    assert not [t for t in texts if read_text(t, (KEY,)) is not None]


def test_what_others_marked_is_not_read_as_ours() -> None:
    """Texts full of signs, so that every one of them is decoded."""
    for number in range(20):
        other = MarkKey(key_id="o", master=number.to_bytes(16, "big"))
        assert read_text(mark_text(_ESSAY, number, other), (KEY,)) is None
