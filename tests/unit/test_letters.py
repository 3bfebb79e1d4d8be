"""Texts letter by letter, written for a terminal and as a page of their own."""

from pipeline.entry import letters

MINE, THEIRS = "I w\u0430lked\u200b home <b>!", "I walked home <b>?"


def test_a_terminal_shows_differences_without_colour() -> None:
    span = {"text": MINE, "source_text": THEIRS}
    ((_, laid),) = letters.excerpts([span])
    assert (
        "".join(text for text, _ in letters.plain(laid.mine)) == "I w{\u0430}lked<ZWSP> home <b>[!]"
    )
    assert "".join(text for text, _ in letters.plain(laid.theirs)) == "I w{a}lked home <b>[?]"


def test_a_terminal_is_not_steered_by_a_text() -> None:
    told = letters.plain(letters.pieces("a\x1b[31mb\r\nc\x9b"))
    assert "".join(text for text, _ in told) == "a<001B>[31mb  c<009B>"


def test_a_page_escapes_what_a_stranger_wrote() -> None:
    ((_, laid),) = letters.excerpts([{"text": MINE, "source_text": THEIRS}])
    page = letters.page(["<i>", "&"], [laid])
    assert "<b>" not in page
    assert "<i>" not in page
    assert "title='U+200B ZERO WIDTH SPACE'>ZWSP</span>" in page
    assert page.count("class='masked' title=''>") == 2
    assert page.count("class='other' title=''>") == 2


def test_cut_excerpts_do_not_end_in_false_differences() -> None:
    span = {
        "begin": 0, "end": 40, "text": "a\u200bb\u200bc\u200bd\u200b",
        "source_begin": 0, "source_end": 20, "source_text": "abcdefgh",
    }  # fmt: skip
    ((_, laid),) = letters.excerpts([span])
    assert [p.kind for p in laid.theirs] == ["same"]
    assert laid.theirs[0].text == "abcd"
    ((_, whole),) = letters.excerpts([span | {"end": 8, "source_end": 8}])
    assert whole.theirs[-1].text == "efgh"
    assert whole.theirs[-1].kind == "other"


def test_digits_entities_and_tags_are_shown_as_disguises() -> None:
    span = {"text": "&#20320;好 h3l<b></b>1o", "source_text": "你好 helio"}
    ((_, laid),) = letters.excerpts([span])
    told = "".join(text for text, _ in letters.plain(laid.mine))
    assert told == "{&#20320;}好 h{3}l{<b></b>1}o"
