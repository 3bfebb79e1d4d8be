"""Folding, shingles, winnowing, signatures and alignment: what must hold of every string."""

import json
import unicodedata

import numpy as np
import pytest
from datasketch import LeanMinHash, MinHash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.kit.lexical import align, containment, minhash, read, winnow
from detectors.kit.lexical.markup import MARKS_MAX, rendered
from detectors.kit.lexical.table import fold_table

ANY = st.text(st.characters(), max_size=60)
VOCABULARY = ["alpha", "bravo", "你好", "世界", "charlie", "天气", "Été", "ﬁne", "店铺", "delta"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=40)
NAUGHTY = [
    "", " ", "\t\r\n", "\u200b" * 50, "\ufeff", "\ud800", "\udfff\ud800", "a\ud800b", "\x7f\x80\x9f",
    "\u202eevil\u202c", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘", "👩‍👩‍👧‍👦🏳️‍🌈", "ﷺ" * 300, "ǆ", "İı", "ß",
    "\U0010ffff", "ﬃ" * 100, "𝕳𝖊𝖑𝖑𝖔", "社會科學院語學研究所", "ﾊﾝｶｸ", "각", "각", "१२३", "١٢٣", "ⅷ", "㍿",
    "NULL", "<script>alert(1)</script>", "'; DROP TABLE x;--", "../../etc/passwd", "%s%n", "1e309",
    "ＴＨＥ ＱＵＩＣＫ", "ʇɥǝ bnıɔʞ", "a" * 5000, "啊" * 5000, "ab" * 3000, "\u0300" * 500,
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(ANY, max_size=6))
def test_text_reading_many_is_reading_each(texts: list[str]) -> None:
    whole = read(texts)
    for index, text in enumerate(texts):
        alone = read([text])
        assert whole.folded(index) == alone.folded(0)
        assert whole.digests[index] == alone.digests[0]
        assert whole.shingles_of(index).tolist() == alone.shingles_of(0).tolist()
        first, last = whole.starts[index], whole.starts[index + 1]
        origins = whole.origins[first:last]
        assert (np.diff(origins) >= 0).all() or "\u202e" in text
        assert all(0 <= at < len(text) for at in origins.tolist())


@settings(max_examples=300, deadline=None)
@given(text=ANY)
@example(text="ﷺ㍿ﬃİẞ")
def test_text_folding_twice_is_folding_once(text: str) -> None:
    once = read([text]).folded(0)
    assert read([once]).folded(0) == once


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="&<"), max_size=40))
def test_text_separators_accents_and_width_fold_away(text: str) -> None:
    plain = read([text]).folded(0)
    noisy = "\u200b".join(text) + "!…　"
    assert read([noisy]).folded(0) == plain
    if text.isascii():
        wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
        assert read([wide]).folded(0) == plain
        assert read([text.upper()]).folded(0) == plain


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("機場捷運還沒開", "机场捷运还没开"), ("⽣⾯⼈", "生面人"), ("раураl", "paypal"), ("ΡΑΥ", "pay"),
        ("𝐅𝐫𝐞𝐞 ①", "freei"), ("ﬁnancé", "finance"), ("S\u00adE\u2060C\u200dR\u200bET", "secret"),
        ("Ｅ＝ｍｃ２", "emcz"), ("🅐🅱🇨", "abc"), ("ʜᴇʟʟᴏ ❶", "helloi"), ("ⱧɆŁŁØ", "hello"),
        ("вкмнт", "bkmht"),
        ("気説黒徳発", "气说黑德发"), ("看著瞭解衞生", "看着了解卫生"), ("hˈeːlـlo", "hello"),
        ("l33t 5p34k", "leetspeak"),
        ("im 3. Stock, 12345 6789年", "imestock123456789年"), ("三3天 A4", "三3天aa"),
        ("&#20320;&#x597d;&amp;", "你好"), ("w<b></b>ord <SPAN class='x'>one</span>", "wordone"),
        ("List&lt;Item>, a &unknown; b<c", "listitemaunknownbc"),
        ("<p>text</p>\n<p>own</p>", "ptextppownp"),
        ("先\u202e界世好你\u202c后", "先你好世界后"), ("\u202eolleh\nyou", "helloyou"),
    ],
)  # fmt: skip
def test_text_disguises_fold_to_what_is_meant(written: str, meant: str) -> None:
    assert read([written]).folded(0) == meant


def test_text_turned_by_an_override_shows_where_its_characters_stand() -> None:
    text = "ab\u202e" + "你好世界今天天气"[::-1] + "\u202ccd"
    texts = read([text])
    begin, end = texts.sources(0, 2, 6)
    assert text[begin:end] == "界世好你"
    assert texts.classes[0, 2] >= 8


def test_text_markup_shows_where_its_characters_stand() -> None:
    text = "so &#20320;&#22909;<i></i>世界 \u202edl<b></b>rl\u202c"
    texts = read(["plain", text, "&#20320;"])
    assert texts.folded(1) == "so你好世界lrld"
    begin, end = texts.sources(1, 2, 6)
    assert text[begin:end] == "&#20320;&#22909;<i></i>世界"
    assert texts.sources(2, 0, 1) == (0, 1)


def test_text_of_more_markup_than_a_page_has_is_left_as_it_is() -> None:
    assert rendered("<b>" * MARKS_MAX) == ("", pytest.approx([]))
    assert rendered("<b>" * (MARKS_MAX + 1)) is None
    assert read(["&#20320;" * (MARKS_MAX + 1)]).folded(0).startswith("20320")


def test_text_table_tells_its_versions() -> None:
    table = fold_table()
    assert set(table.versions) == {"unicode", "opencc", "confusable-homoglyphs"}
    assert json.dumps(table.versions)
    assert unicodedata.normalize("NFKC", "ｱ") == "ア"


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(st.one_of(ANY, WORDS.map(" ".join)), min_size=1, max_size=5))
def test_text_signatures_are_datasketch_signatures(texts: list[str]) -> None:
    mine = read(texts)
    signatures, _ = minhash(mine)
    for index in range(len(texts)):
        theirs = MinHash(num_perm=128, seed=1, scheme="affine32", hashfunc=lambda v: v)
        theirs.update_batch([int(h) >> 32 for h in mine.shingles_of(index)])
        assert (theirs.hashvalues == signatures[index]).all()
        lean = LeanMinHash(seed=1, hashvalues=signatures[index], scheme="affine32")
        assert lean.jaccard(LeanMinHash(theirs)) == 1.0


@settings(max_examples=80, deadline=None)
@given(
    passage=st.lists(st.sampled_from("甲乙丙丁戊己庚辛壬癸子丑寅卯"), min_size=24, max_size=60),
    before=st.integers(0, 900),
    after=st.integers(0, 900),
    seed=st.integers(0, 9),
)
def test_text_winnowing_finds_every_long_passage(
    passage: list[str], before: int, after: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    filler = "".join(chr(0x5000 + c) for c in draw.integers(0, 3000, before + after))
    texts = read(["".join(passage), filler[:before] + "".join(passage) + filler[before:]])
    picks = winnow(texts)
    shared = np.intersect1d(picks.keys[picks.owners == 0], picks.keys[picks.owners == 1])
    assert len(shared) >= 1


@settings(max_examples=80, deadline=None)
@given(left=WORDS.map(" ".join), right=WORDS.map(" ".join))
def test_text_alignment_shows_equal_passages(left: str, right: str) -> None:
    texts = read([left, right])
    found = align(texts, [0, 0], [1, 0])
    a, b = texts.folded(0), texts.folded(1)
    done = 0
    for a0, a1, b0, b1, weight in found.of(0).tolist():
        assert done <= a0 < a1 <= len(a)
        assert 0 <= b0 < b1 <= len(b)
        assert a1 - a0 == b1 - b0
        assert 0 < weight <= 3 * (a1 - a0)
        done = a1
    ours, theirs, jaccard = containment(left, right)
    assert 0.0 <= jaccard <= min(ours, theirs) <= 1.0
    if texts.weights[0] >= 12:
        assert found.of(1)[:, 4].sum() == texts.weights[0]


@pytest.mark.parametrize("text", NAUGHTY)
def test_text_naughty_strings_are_read(text: str) -> None:
    texts = read([text, "x", text])
    picks = winnow(texts)
    minhash(texts)
    align(texts, [0, 2], [2, 0])
    assert texts.digests[0] == texts.digests[2]
    assert picks.cuts[-1] == len(picks.keys)
