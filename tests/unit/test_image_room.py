"""The image room as a whole: first submitters, evidence, and pictures that mean harm."""

import io
import json
import os
import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from detectors.checks import world_of
from detectors.checks.conformance import check_order_free, find
from detectors.image import detector, overlay, room
from detectors.image.drawings import photo, screen
from detectors.image.examples import jpeg, phone, png, row
from pipeline.decode.inline import InlineDecoder
from pipeline.ports import Example, Findings

OURS = photo(31, 270, 360)


def _find(*rows: dict[str, object]) -> Findings:
    return find(detector, world_of(Example(title="", submissions=rows), InlineDecoder()))


def test_reuploads_of_reuploads_are_all_attributed_to_the_first() -> None:
    small = cv2.resize(OURS, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    found = _find(
        row("c", jpeg(phone(small), 70), 3),
        row("b", jpeg(small, 60), 2),
        row("a", png(OURS), 1),
        row("d", jpeg(np.ascontiguousarray(small[10:, ::-1]), 50), 4),
    ).signals
    assert dict(found.select("submission_id", "matched_submission_id").iter_rows()) == {
        "b": "a", "c": "a", "d": "a",
    }  # fmt: skip
    assert found["strength"].min() >= 0.5


def test_evidence_names_the_region_in_both_pictures() -> None:
    other = photo(32, 360, 480)
    pasted = other.copy()
    pasted[90:270, 120:360] = cv2.resize(OURS, (240, 180), interpolation=cv2.INTER_AREA)
    found = _find(row("a", png(OURS), 1), row("b", png(pasted), 2)).signals
    assert found["reason_code"].to_list() == ["image.region_reused"]
    told = json.loads(found["evidence"][0])
    assert told["region"] == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.08)
    assert told["matched_region"] == pytest.approx([0, 0, 1, 1], abs=0.12)


def test_a_family_of_reuploads_is_the_firsts_in_any_order_and_any_batches() -> None:
    """Each is made from the one before it, never from the first."""
    chain = [OURS]
    for step in range(5):
        made = cv2.imdecode(np.frombuffer(jpeg(chain[-1], 70 - 5 * step), np.uint8), 1)
        height, width = made.shape[:2]
        made = made[: height - 4, 3:]
        made = made[:, ::-1] if step == 1 else cv2.convertScaleAbs(made, alpha=1.05, beta=-4)
        factor = 0.9 if step % 2 else 1.1
        chain.append(cv2.resize(made, (int(width * factor), int(height * factor))))
    rows = [row(f"s{i}", jpeg(np.ascontiguousarray(p), 80), i) for i, p in enumerate(chain)]
    world = world_of(Example(title="", submissions=tuple(reversed(rows))), InlineDecoder())
    found = find(detector, world).signals
    named = dict(found.select("submission_id", "matched_submission_id").iter_rows())
    assert named == {f"s{i}": "s0" for i in range(1, 6)}
    check_order_free(detector, world, tries=2)


def test_a_collage_names_every_cells_own_source() -> None:
    """The earliest alone would leave three owners unnamed."""
    others = [photo(50 + i, 270, 360) for i in range(2)]
    cells = [
        cv2.copyMakeBorder(p, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255,) * 3)
        for p in (OURS, *others)
    ]
    found = _find(
        row("x", png(others[0]), 0), row("y", png(OURS), 1), row("z", jpeg(np.hstack(cells)), 2)
    ).signals
    assert sorted(found.select("submission_id", "matched_submission_id").iter_rows()) == [
        ("z", "x"), ("z", "y"),
    ]  # fmt: skip
    regions = [json.loads(told)["region"] for told in found["evidence"]]
    assert max(regions[0][0], regions[1][0]) >= min(regions[0][2], regions[1][2]) - 0.05


def test_a_screen_that_shows_what_another_showed_is_looked_at_and_no_more() -> None:
    """Two people may work on one slide; what lies around it is each one's own."""

    def at_work(seed: int) -> np.ndarray:
        desk = screen(seed, 720, 1000)
        desk[90:360, 300:660] = OURS
        return desk

    found = _find(row("a", png(OURS), 1), row("b", png(at_work(81)), 2)).signals
    assert found["matched_submission_id"].to_list() == ["a"]
    assert found["strength"].max() < 0.5


def test_a_collage_tells_a_doubtful_cell_beside_a_sure_one() -> None:
    """A page without peers is worth a look, and no less so for the photograph beside it."""
    page = screen(81, 360, 360)
    cells = [
        cv2.copyMakeBorder(p, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255,) * 3)
        for p in (cv2.resize(OURS, (480, 360)), page)
    ]
    found = _find(
        row("x", png(OURS), 0), row("y", png(page), 1), row("z", jpeg(np.hstack(cells)), 2)
    ).signals
    told = dict(found.select("matched_submission_id", "strength").iter_rows())
    assert told.keys() == {"x", "y"}
    assert told["x"] >= 0.5 > told["y"] >= 0.25


def test_a_page_under_a_sticker_is_worth_a_look() -> None:
    page = screen(81, 720, 1000)
    covered = page.copy()
    cv2.rectangle(covered, (300, 180), (760, 560), (40, 90, 160), -1)
    cv2.circle(covered, (530, 370), 120, (220, 220, 60), -1)
    found = _find(row("a", png(page), 1), row("b", jpeg(covered), 2)).signals
    assert found["matched_submission_id"].to_list() == ["a"]
    assert 0.25 <= found["strength"][0] < 0.5


def test_pictures_are_judged_alike_however_many_are_read_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = [OURS, OURS[:, ::-1], photo(61, 270, 360), photo(61, 270, 360)[20:, :330]]
    rows = [
        row(f"s{i}", jpeg(np.ascontiguousarray(p), 80 - 5 * i), i) for i, p in enumerate(pictures)
    ]
    together = _find(*rows).signals
    assert together["matched_submission_id"].to_list() == ["s0", "s2"]
    monkeypatch.setattr(room, "AT_ONCE", 1)
    assert _find(*rows).signals.equals(together)


def test_a_stock_ground_behind_two_peoples_windows_holds_nobody() -> None:
    """What both show is the same picture, and nobody's own."""
    sky = np.linspace(60, 200, 540)[None, :, None] + np.linspace(0, 30, 400)[:, None, None]
    ground = np.repeat(sky, 3, axis=2).astype(np.uint8)
    panes = [(310, 130, 362, 190), (368, 126, 424, 190), (310, 196, 362, 250), (368, 196, 424, 252)]
    for left, top, right, bottom in panes:
        pane = np.array([(left, top), (right, top - 6), (right, bottom), (left, bottom - 5)])
        cv2.fillPoly(ground, [pane], (235, 215, 190), cv2.LINE_AA)
        cv2.circle(ground, (left + 20, top + 30), 12, (120, 100, 80), -1, cv2.LINE_AA)
    desk = ground.copy()
    desk[20:380, 20:200] = screen(82, 360, 180)
    found = _find(row("a", png(desk), 1), row("b", jpeg(ground[60:340, 210:]), 2)).signals
    assert found["matched_submission_id"].to_list() == ["a"]
    assert found["strength"].max() < 0.5


def test_one_line_of_writing_on_everybodys_photographs_is_no_copied_part() -> None:
    rows = []
    for i, top in enumerate((300, 120)):
        sky = np.linspace(90 + 15 * i, 225 + 15 * i, 400)[:, None, None]
        picture = np.repeat(np.repeat(sky, 540, axis=1), 3, axis=2).astype(np.uint8)
        at = 10 if i == 0 else 300
        picture[at : at + 90, 420:530] = photo(70 + i, 90, 110)
        said, font = f"Camera stamp of app {4711 + 37 * i}", cv2.FONT_HERSHEY_DUPLEX
        cv2.putText(picture, said, (8, top), font, 1.3, (30,) * 3, 2, cv2.LINE_AA)
        rows.append(row(f"s{i}", jpeg(picture), i))
    signals = _find(*rows).signals
    assert signals.filter(signals["strength"] >= 0.5).is_empty()


def test_an_overlay_lays_the_earlier_picture_where_the_later_has_it() -> None:
    """Mirrored, cut and turned; and what strangers named is escaped."""
    later = np.ascontiguousarray(OURS[20:250, 10:330][:, ::-1])
    found = _find(row("a", png(OURS), 1), row("b", png(later), 2)).signals
    told = json.loads(found["evidence"][0])
    over = overlay.laid_over(later, OURS, told)
    assert np.abs(over.astype(int) - later).mean() < 6
    shown = overlay.page(later, OURS, told, ("<b>later</b>", "a&b"))
    assert "<script" not in shown
    assert "<b>later" not in shown
    assert "&lt;b&gt;later" in shown
    assert shown.count("data:image/jpeg;base64,") == 5
    assert overlay.shown(b"no picture", "image/png", 0, InlineDecoder()) is None
    assert overlay.shown(png(OURS), "image/png", 0, InlineDecoder()).shape == OURS.shape


def test_a_negative_is_found() -> None:
    found = _find(row("a", png(OURS), 1), row("b", png(255 - OURS), 2)).signals
    assert found["matched_submission_id"].to_list() == ["a"]


def test_animated_and_turned_pictures_are_read() -> None:
    frames = [Image.fromarray(photo(s, 120, 160)[:, :, ::-1]) for s in (33, 34)]
    held = io.BytesIO()
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:])
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(OURS[:, :, ::-1])
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, "JPEG", exif=exif, quality=90)
    found = _find(
        row("still", png(photo(34, 120, 160)), 1), row("moving", held.getvalue(), 2),
        row("flat", png(OURS), 3), row("turned", turned.getvalue(), 4),
    ).signals  # fmt: skip
    matched = dict(found.select("submission_id", "matched_submission_id").iter_rows())
    assert matched["turned"] == "flat"
    assert matched["moving"] == "still"


def _huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _saved(mode: str, kind: str) -> bytes:
    held = io.BytesIO()
    picture = Image.fromarray(OURS[:, :, ::-1])
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    picture.save(held, kind)
    return held.getvalue()


HOSTILE = {
    "truncated": jpeg(OURS)[:900],
    "bomb": _huge_png(24_000, 24_000),
    "huge header": _huge_png(2**31 - 1, 2**31 - 1),
    "polyglot": jpeg(OURS) + b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18),
    "one pixel": png(np.full((1, 1, 3), 7, np.uint8)),
    "a thread": png(np.full((1, 60_000), 9, np.uint8)),
    "flat": png(np.full((300, 300, 3), 200, np.uint8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_looked_at_is_never_called_fraud(name: str) -> None:
    data = HOSTILE[name]
    found = _find(row("a", data, 1), row("b", data, 2))
    assert found.signals.is_empty()
    assert set(found.abstentions["code"]) <= {"blob.unreadable", "blob.too_large", "blob.polyglot"}


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("P", "PNG"), ("I;16", "PNG"), ("LA", "PNG")]
)
def test_every_pixel_mode_is_the_same_picture(mode: str, kind: str) -> None:
    found = _find(row("a", png(OURS), 1), row("b", _saved(mode, kind), 2)).signals
    assert found["matched_submission_id"].to_list() == ["a"]


def test_mutants_raise_nothing_and_accuse_nobody_unread() -> None:
    count = int(os.environ.get("BOUNTYGUARD_IMAGE_MUTANTS", "60"))
    draw = random.Random(5)
    seeds = [jpeg(photo(40, 90, 120)), png(photo(41, 60, 80)), _saved("P", "PNG")[:20_000]]
    for start in range(0, count, 20):
        rows = []
        for i in range(start, min(count, start + 20)):
            data = bytearray(draw.choice(seeds))
            for _ in range(draw.randint(1, 12)):
                data[draw.randrange(len(data))] = draw.randrange(256)
            rows.append(row(f"m{i:05}", bytes(data[: draw.randint(len(data) // 2, len(data))]), i))
        found = _find(*rows)
        unread = set(found.abstentions["submission_id"])
        assert not unread & set(found.signals["submission_id"])
