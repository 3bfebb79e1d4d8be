"""The image room's parts: hashes, features, geometry, words, panels, prints."""

import cv2
import numpy as np
import pytest

from detectors.image import (
    compare,
    features,
    geometry,
    hashes,
    pages,
    panels,
    prints,
    proof,
    verdict,
    views,
    vocabulary,
)
from detectors.image.drawings import photo, screen
from detectors.image.examples import phone
from detectors.image.lookalike import Variable
from detectors.image.nominate import Nominee


def _grey(seed: int, height: int = 270, width: int = 360) -> np.ndarray:
    return cv2.cvtColor(photo(seed, height, width), cv2.COLOR_BGR2GRAY)


TURNS = {
    "mirror": lambda g: g[:, ::-1],
    "flip": lambda g: g[::-1],
    "half turn": lambda g: g[::-1, ::-1],
    "transpose": lambda g: g.T,
    "quarter": np.rot90,
    "three quarters": lambda g: np.rot90(g, 3),
    "other diagonal": lambda g: np.rot90(g, 2).T,
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_picture_has_one_of_the_eight_codes(turn: str) -> None:
    grey = _grey(3)
    turned = np.ascontiguousarray(TURNS[turn](grey))
    asked = hashes.orientations(hashes.code_of(hashes.shrink(turned)))
    code = hashes.code_of(hashes.shrink(grey))
    assert min(hashes.hamming(code, variant) for variant in asked) <= 2


def test_a_negative_has_the_complement_and_another_picture_neither() -> None:
    code = hashes.code_of(hashes.shrink(_grey(3)))
    negative = hashes.code_of(hashes.shrink(255 - _grey(3)))
    assert hashes.hamming(hashes.complement(code), negative) <= 2
    other = hashes.orientations(hashes.code_of(hashes.shrink(_grey(4))))
    assert min(hashes.hamming(code, variant) for variant in other) > 60


def test_a_flat_picture_is_not_hashed() -> None:
    flat = np.full((90, 120), 128, np.uint8)
    assert not any(view.hashable for view in views.views_of(flat))
    assert views.views_of(np.zeros((1, 1), np.uint8)) == []


def test_borders_and_letterboxes_are_trimmed() -> None:
    framed = cv2.copyMakeBorder(_grey(5), 40, 40, 20, 20, cv2.BORDER_CONSTANT, value=(255,))
    left, top, right, bottom = views.trimmed(framed)
    assert abs(left - 20) <= 1
    assert abs(top - 40) <= 1
    assert abs(right - 380) <= 1
    assert abs(bottom - 310) <= 1


@pytest.mark.parametrize("seed", range(2))
def test_mirrored_features_are_those_of_the_mirrored_picture(seed: int) -> None:
    grey = _grey(seed)
    drawn = features.features_of(np.ascontiguousarray(grey[:, ::-1]))
    told = features.features_of(grey).mirrored()
    found = geometry.align(told, drawn)
    assert found is not None
    assert found.inliers > 40
    assert np.allclose(found.transform, np.eye(3), atol=0.7)


def test_inverted_features_are_those_of_the_negative() -> None:
    found = geometry.align(
        features.features_of(_grey(6)).inverted(), features.features_of(255 - _grey(6))
    )
    assert found is not None
    assert found.inliers > 40


def test_the_transform_is_recovered() -> None:
    grey = _grey(7, 384, 384)
    turn = cv2.getRotationMatrix2D((192, 192), 20, 0.8)
    moved = cv2.warpAffine(grey, turn, (384, 384))
    found = geometry.align(features.features_of(moved), features.features_of(grey))
    assert found is not None
    assert np.allclose(found.transform[:2, :2], turn[:, :2], atol=0.02)
    assert found.scale == pytest.approx(0.8, abs=0.02)
    laid = compare.compare(moved, grey, found)
    assert laid.agreement() > 0.95


def test_unrelated_pictures_do_not_align() -> None:
    made = [features.features_of(_grey(seed)) for seed in range(10, 18)]
    found = [geometry.align(a, b) for i, a in enumerate(made) for b in made[:i]]
    assert max((f.inliers for f in found if f), default=0) < 8


def test_chance_is_the_less_likely_the_more_agree_and_a_copy_is_no_chance() -> None:
    hit = 1e-3
    told = [geometry.chance_log10(60, k, 3, hit) for k in range(3, 40)]
    assert told[0] == 0.0
    assert told == sorted(told, reverse=True)
    assert told[5] < -2 < told[2]
    assert geometry.chance_log10(60, 8, 4, hit) > geometry.chance_log10(60, 8, 3, hit)
    one = _grey(3)
    found = geometry.align(features.features_of(one[20:-30, 15:-40]), features.features_of(one))
    assert found is not None
    assert found.chance_log10 < -50


def test_features_and_prints_survive_packing() -> None:
    made, small = prints.read([_grey(8), cv2.cvtColor(phone(photo(9)), cv2.COLOR_BGR2GRAY)])
    again = prints.unpack(prints.pack(made))
    assert again.codes == made.codes
    assert [p.page for p in again.parts] == [p.page for p in made.parts]
    for one, other in zip(made.parts, again.parts, strict=True):
        assert np.array_equal(one.features.codes, other.features.codes)
        assert np.abs(one.features.points - other.features.points).max() < 0.02
        assert one.boxes == other.boxes
    packed = prints.pack_canvases(small)
    shown = [prints.unpack_canvas(packed, part) for part in range(len(small))]
    assert [s.shape for s in shown] == [s.shape for s in small]


def test_a_gallery_and_a_collage_give_up_their_panels() -> None:
    shot = cv2.cvtColor(phone(photo(11)), cv2.COLOR_BGR2GRAY)
    assert len(panels.panels_of(shot)) == 1
    cells = [
        cv2.copyMakeBorder(_grey(s, 180, 240), 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255,))
        for s in range(12, 16)
    ]
    collage = np.vstack([np.hstack(cells[:2]), np.hstack(cells[2:])])
    assert len(panels.panels_of(collage)) == 4
    assert panels.panels_of(_grey(17)) == []


def test_pages_and_photographs_are_told_apart() -> None:
    assert pages.is_page(cv2.cvtColor(screen(3), cv2.COLOR_BGR2GRAY))
    assert not pages.is_page(_grey(3))


def test_a_wide_sky_makes_no_page_of_a_photograph() -> None:
    picture = _grey(23, 360, 480)
    sky = np.linspace(196, 205, 220)[:, None] + np.random.default_rng(1).normal(0, 1, (220, 480))
    picture[:220] = cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 2).astype(np.uint8)
    assert pages.narrow_share(picture) > 0.4
    assert not pages.is_page(picture)


def test_a_scanned_form_is_a_page_though_it_lies_askew() -> None:
    form = np.full((480, 340), 232, np.uint8)
    for line in range(14):
        said = f"item {line * 37 % 11} of shop {line * 53 % 97}"
        cv2.putText(form, said, (20, 40 + 30 * line), 0, 0.5, 40, 1, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((170, 240), 1.5, 1)
    askew = cv2.warpAffine(form, turn, (340, 480), borderValue=225).astype(np.float64)
    askew += np.random.default_rng(2).normal(0, 4, askew.shape)
    assert pages.is_page(features.resized(askew.clip(0, 255).astype(np.uint8), 384))


def test_a_page_must_lead_its_peers_however_much_of_it_agrees() -> None:
    page = cv2.cvtColor(screen(5), cv2.COLOR_BGR2GRAY)
    made, small = prints.read([page])
    piece = proof.Piece(part=made.parts[0], canvas=small[0])
    whole = Nominee(source=("s", 0), mode="upright", votes=9, accused_part=0, source_part=0)
    proved = proof.prove(whole, piece, piece, (made, made))
    assert proved is not None
    assert proved.page

    def strength(*, peers: int, lead: float, blocks: int = 13) -> float:
        told = Variable(peers=peers, blocks=blocks, agreement=0.95, asked=peers, lead=lead)
        judged = verdict.judge(proved, told)
        return 0.0 if judged is None else judged.strength

    assert strength(peers=8, lead=0.4) > 0.5
    assert strength(peers=8, lead=0.05) == 0.0
    assert strength(peers=4, lead=0.05) > 0.5  # so few peers say little of how alike pages are
    assert strength(peers=8, lead=0.05, blocks=40) > 0.5  # all over the same: a peer copied it too


def test_like_features_share_words_and_the_vocabulary_is_its_bytes() -> None:
    shipped = vocabulary.shipped()
    again = vocabulary.Vocabulary.from_bytes(shipped.to_bytes())
    assert again.digest == shipped.digest
    codes = features.features_of(_grey(18)).codes
    assert np.array_equal(again.words(codes), shipped.nearby(codes)[:, 0])
    assert len(np.unique(shipped.words(codes))) > 0.8 * len(codes)
    with pytest.raises(ValueError, match="no vocabulary"):
        vocabulary.Vocabulary.from_bytes(b"BGV2 too short")


def test_a_vocabulary_is_trained_on_enough_pictures_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="too few"):
        vocabulary.train([_grey(1)])
    monkeypatch.setattr(vocabulary, "FEATURES_NEEDED", 400)
    monkeypatch.setattr(vocabulary, "CENTRES", 32)
    pictures = [_grey(seed) for seed in range(3)]
    one, two = vocabulary.train(pictures), vocabulary.train(pictures)
    assert one.digest == two.digest
