"""Known visible marks: seen as a whole wherever they lie, and not in what merely shares a part."""

import cv2
import msgspec
import numpy as np
import pytest

from detectors.watermark.examples import texture
from detectors.watermark.view import View
from detectors.watermark.visible import Sighting, Template, find_known, from_json, learn, to_json
from pipeline.model.errors import ContentError, UsageError
from pipeline.ports import Picture

Pixels = np.ndarray
WORDS, RING = "photohub", (58, 330, 26)


def marked(seed: int, *, ring: bool = True, words: bool = True, opacity: float = 0.4) -> Pixels:
    """A scene with a ring and words in its lower left corner."""
    picture = texture(seed)
    mask = np.zeros(picture.shape[:2], np.uint8)
    x, y, r = RING
    if ring:
        cv2.circle(mask, (x, y), r, 255, 6, cv2.LINE_AA)
    if words:
        cv2.putText(
            mask, WORDS, (x + 40, y + 12), cv2.FONT_HERSHEY_DUPLEX, 1.3, 255, 3, cv2.LINE_AA
        )
    share = mask[..., None] / 255.0 * opacity
    return np.clip(picture * (1 - share) + 255 * share, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def known() -> Template:
    return learn("photohub", [marked(seed) for seed in range(60, 70)])


def seen(pixels: Pixels, known: Template) -> Sighting | None:
    found = find_known(pixels, [known])
    return found if found is not None and not found.ghost else None


def test_a_mark_is_found_at_home_cropped_and_resized(known: Template) -> None:
    picture = marked(71)
    for change in (
        picture,
        picture[60:, :-90],
        cv2.resize(picture, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA),
    ):
        found = seen(np.ascontiguousarray(change), known)
        assert found is not None
        assert found.strength >= 0.35
    whole = seen(picture, known)
    assert whole is not None
    assert whole.at_home
    x0, y0, x1, y1 = whole.box
    assert x0 < RING[0] < x1
    assert y0 < RING[1] < y1


def test_a_picture_without_it_or_with_a_part_of_it_is_not_marked(known: Template) -> None:
    for seed in range(72, 78):
        assert find_known(texture(seed), [known]) is None
    assert seen(marked(78, words=False, opacity=0.9), known) is None


def test_straight_lines_resemble_no_mark(known: Template) -> None:
    lined = texture(79)
    for y in range(20, lined.shape[0], 24):
        cv2.line(lined, (0, y), (lined.shape[1], y), (250, 250, 250), 3)
    for x in range(20, lined.shape[1], 60):
        cv2.line(lined, (x, 0), (x, lined.shape[0]), (10, 10, 10), 2)
    assert find_known(lined, [known]) is None


def test_templates_come_back_and_others_are_refused(known: Template) -> None:
    again = from_json(to_json([known]))[0]
    assert (again.name, again.place, again.examples) == (known.name, known.place, known.examples)
    assert np.abs(again.strokes - known.strokes).max() < 0.01
    rows = msgspec.json.decode(to_json([known]))
    rows["templates"][0]["gradients"] = rows["templates"][0].pop("strokes")
    with pytest.raises(UsageError, match="declared form"):
        from_json(msgspec.json.encode(rows))


class Decoder:
    """Counts what it is asked."""

    def __init__(self, frames: tuple[Picture, ...]) -> None:
        self.frames, self.asked = frames, []

    def pictures(self, data: bytes, *, side_max: int, frames_max: int = 8) -> tuple[Picture, ...]:
        self.asked.append(side_max)
        return self.frames


def test_a_picture_is_decoded_once_for_all_who_look() -> None:
    decoder = Decoder((Picture(pixels=np.zeros((300, 600, 3), np.uint8), scale=0.5),))
    view = View(decoder, b"", 800)  # type: ignore[arg-type]
    assert view.at(800).pixels.shape == (300, 600, 3)
    small = view.at(400)
    assert small.pixels.shape == (200, 400, 3)
    assert small.scale == pytest.approx(0.5 * 400 / 600)
    assert decoder.asked == [800]
    with pytest.raises(ContentError):
        View(Decoder(()), b"", 800).at(800)  # type: ignore[arg-type]
