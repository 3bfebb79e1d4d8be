"""Stamps: parsed in the shapes that stamp cameras write, and held to the task."""

from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from detectors.kit.ocr import Line, read_lines, read_row
from detectors.watermark.overlay import may_be_stamped, stroke_rows
from detectors.watermark.provenance.claims import Claim
from detectors.watermark.provenance.exif import Exif
from detectors.watermark.stamps import parse, stamp_contradictions
from pipeline.model.records import Site

POSTED = datetime(2026, 6, 1, tzinfo=UTC)
CLAIM = Claim(
    site=Site(lat=30.5136, lon=114.4144, radius_m=300), posted_at=POSTED,
    submitted_at=POSTED + timedelta(days=1), fresh=True, record=True, design=False, generator=None,
)  # fmt: skip


def lines(*texts: str) -> tuple[Line, ...]:
    return tuple(
        Line(text=t, confidence=0.9, box=(0.0, 20.0 * i, 200.0, 20.0 * i + 18))
        for i, t in enumerate(texts)
    )


@pytest.mark.parametrize(
    "text",
    ["2026-06-01 18:32", "2026-06-0118:32", "2026年06月01日 18:32", "2026.06.01 06:32 PM",
     "01 Jun 202618:32", "Jun 1, 2026 18:32", "2026/6/1 下午6:32", "2026年06月01日18：32",
     "2026.06.01.18:32", "2026.060118:32:00", "01 Jun 2026 18.32", "01JUn2026-18:32"],
)  # fmt: skip
def test_clocks_are_read_in_every_shape(text: str) -> None:
    stamp = parse(lines(text))
    assert stamp.local == datetime(2026, 6, 1, 18, 32)  # noqa: DTZ001 - a stamp names no zone
    assert stamp.has_time


@pytest.mark.parametrize(
    "text",
    ["北纬30.5136 东经114.4144", "经度:114.4144 纬度:30.5136", "30.5136N 114.4144E",
     "Lat 30.5136 Lon 114.4144", "Lat.30.5136 Lon-114.4144", "Lat30.5136L0n114.4144",
     "30:51360N 114.4144OE", "N30°30'49\" E114°24'52\""],
)  # fmt: skip
def test_positions_are_read_in_every_shape(text: str) -> None:
    position = parse(lines(text)).position
    assert position is not None
    assert abs(position.lat - 30.5136) < 1e-3
    assert abs(position.lon - 114.4144) < 1e-3


@pytest.mark.parametrize("text", ["Lat -30.50 Lon -114.40", "Lat:-30.50 Lon: -114.40"])
def test_a_sign_behind_a_space_or_a_colon_is_a_sign(text: str) -> None:
    position = parse(lines(text)).position
    assert position is not None
    assert (position.lat, position.lon) == (-30.5, -114.4)


def test_contradictions_are_named_and_agreement_is_silent() -> None:
    fine = parse(lines("2026-06-01 18:32", "30.5140N 114.4150E"))
    assert stamp_contradictions(fine, CLAIM, Exif()) == ()
    old = parse(lines("2026-02-01 18:32", "39.9000N 116.4000E"))
    found = {c.rule: c.strength for c in stamp_contradictions(old, CLAIM, Exif())}
    assert set(found) == {"stamp_before_task", "stamp_elsewhere"}
    assert min(found.values()) >= 0.5


def test_a_stamp_is_noticed_and_read() -> None:
    rough = np.random.default_rng(1).integers(60, 150, (8, 10, 3), dtype=np.uint8)
    pixels = cv2.resize(rough, (640, 480), interpolation=cv2.INTER_CUBIC)
    assert not may_be_stamped(pixels)
    cv2.putText(pixels, "2026-03-04 12:33", (20, 440), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255,) * 3, 2)
    assert may_be_stamped(pixels)
    assert parse(read_lines(pixels)).local == datetime(2026, 3, 4, 12, 33)  # noqa: DTZ001


def test_a_stamp_in_red_ink_is_noticed_and_rows_of_leaves_are_not() -> None:
    rough = np.random.default_rng(2).integers(90, 170, (8, 10, 1), dtype=np.uint8)
    grey = cv2.resize(rough, (640, 480), interpolation=cv2.INTER_CUBIC)
    pixels = np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    leaves = pixels.copy()
    for x in range(30, 400, 22):
        cv2.ellipse(leaves, (x, 440), (2, 9), 20, 0, 360, (250, 250, 250), -1)
    assert list(stroke_rows(leaves))
    assert not may_be_stamped(leaves)
    cv2.putText(
        pixels, "2026-03-04 12:33", (20, 440), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (230, 50, 40), 2
    )
    assert may_be_stamped(pixels)


def test_one_line_is_read_where_it_stands_and_nothing_outside_the_picture() -> None:
    pixels = np.full((80, 400, 3), 90, np.uint8)
    cv2.putText(pixels, "2026-03-04 12:33", (20, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255,) * 3, 2)
    text, confidence = read_row(pixels, (10.0, 15.0, 395.0, 65.0))
    assert "2026-03-04" in text
    assert confidence > 0.6
    assert read_row(pixels, (-50.0, -40.0, -10.0, -5.0)) == ("", 0.0)
