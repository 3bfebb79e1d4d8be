"""Doubtful pages are read: which lines agree and which differ; sure findings and photographs are not."""

import cv2
import numpy as np
import pytest

from detectors.image import overlay, wording

STATIC = ("Order details", "Delivery to the door", "Thank you for your order")


def _page(*own: str) -> np.ndarray:
    page = np.full((420, 480, 3), 250, np.uint8)
    for i, line in enumerate((*STATIC, *own)):
        place = (20, 50 + 60 * i)
        cv2.putText(page, line, place, cv2.FONT_HERSHEY_DUPLEX, 0.9, (20, 20, 20), 1, cv2.LINE_AA)
    return page


def test_lines_of_two_pages_are_told_apart() -> None:
    later, earlier = _page("Number 4711", "Anna"), _page("Number 9382", "Bertrand")
    found = wording.compared(later, earlier)
    assert found is not None
    assert len(found.both) == len(STATIC)
    assert [line.replace(" ", "") for line in found.only_later] == ["Number4711", "Anna"]
    assert [line.replace(" ", "") for line in found.only_earlier] == ["Number9382", "Bertrand"]
    told = {"transform": np.eye(3).tolist(), "kind": "page"}
    shown = overlay.page(later, earlier, told, ("later", "earlier"), found)
    assert "What they say" in shown
    assert "4711" in shown
    assert "What they say" not in overlay.page(later, earlier, told, ("later", "earlier"))


def test_a_page_without_words_is_not_compared() -> None:
    assert wording.compared(_page(), np.full((200, 200, 3), 255, np.uint8)) is None


@pytest.mark.parametrize(
    ("kind", "strength", "doubt"),
    [("page", 0.4, True), ("page", 0.5, False), ("photo", 0.3, False)],
)
def test_only_doubtful_pages_are_read(kind: str, strength: float, doubt: bool) -> None:
    assert wording.in_doubt({"kind": kind}, strength) is doubt
