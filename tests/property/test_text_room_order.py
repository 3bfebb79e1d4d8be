"""Findings of the text room do not depend on order, on batches, or on unrelated texts."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.checks import Blind, world_of
from detectors.checks.conformance import check_order_free, find
from detectors.checks.memory import MemoryPast, World
from detectors.text import detector, room
from pipeline.ports import Example

SENTENCES = (
    "湖边的步道很适合傍晚散步，路灯亮得正好。",
    "老板娘把刚出锅的豆腐分给排队的人尝。",
    "屏幕在太阳底下也看得清，就是边框有点宽。",
    "The ferry leaves every forty minutes and the deck is open in summer.",
    "My second order came with a handwritten note about the recipe.",
    "售后第二天就上门换了电源，态度没得挑。",
    "We sat by the window and counted the trams going up the hill.",
)
START = datetime(2026, 1, 1, tzinfo=UTC)


DISGUISES: dict[str, Callable[[str], str]] = {
    "none": str,
    "zero width": "\u200b".join,
    "look-alikes": lambda text: text.translate(str.maketrans("aeo", "\u0430\u0435\u043e")),
    "full width": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text
    ),
    "turned": lambda text: f"\u202e{text[::-1]}",
}
TASKS = (
    {"task_id": "t0", "brief": SENTENCES[0] + SENTENCES[3]},
    {"task_id": "t1", "extra": '{"canaries": ["counted the trams"]}'},
)


def world_with(rows: list[dict[str, object]]) -> World:
    return world_of(Example(title="", submissions=tuple(rows), tasks=TASKS), Blind())


@st.composite
def submissions(draw: st.DrawFn, most: int = 8) -> list[dict[str, object]]:
    """Answers put together of the same few sentences, so that copies, merges and stock phrases meet."""
    rows: list[dict[str, object]] = []
    for number in range(draw(st.integers(2, most))):
        disguise = DISGUISES[draw(st.sampled_from(["none", "none", *DISGUISES]))]
        picked = draw(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4))
        row: dict[str, object] = {
            "submission_id": f"s{number}",
            "worker_id": draw(st.sampled_from(["w0", "w1", "w2", "w3", "w4"])),
            "task_id": draw(st.sampled_from(["t0", "t1"])),
            "submitted_at": START + timedelta(minutes=draw(st.integers(0, 5))),
            "text": disguise("".join(picked)),
        }
        if number and draw(st.booleans()):
            row["supersedes"] = f"s{draw(st.integers(0, number - 1))}"
        rows.append(row)
    return rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=submissions(), seed=st.integers(0, 99))
def test_text_room_order_and_batches_do_not_matter(
    rows: list[dict[str, object]], seed: int
) -> None:
    check_order_free(detector, world_with(rows), tries=2, seed=seed)


@settings(max_examples=15, deadline=None)
@given(rows=submissions())
def test_text_room_proves_in_pieces_what_it_proves_at_once(rows: list[dict[str, object]]) -> None:
    world = world_with(rows)
    whole = find(detector, world).signals
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "PAIRS_MAX", 2)
        assert find(detector, world).signals.equals(whole)


UNRELATED = int(os.environ.get("BOUNTYGUARD_UNRELATED", "300"))
"""How many strangers' texts stand beside; a million of them take minutes."""


@cache
def unrelated() -> tuple[World, pl.DataFrame]:
    """Texts of random ideographs, a third of them equal to the one before, and their fingerprints."""
    draw = np.random.default_rng(3)
    points = draw.integers(0x6000, 0x8000, (UNRELATED, 60)).astype(np.uint32)
    points[2::3] = points[1::3][: len(points[2::3])]
    rows = tuple(
        {
            "submission_id": f"u{n}",
            "worker_id": f"v{n % 977}",
            "submitted_at": START + timedelta(minutes=n % 7),
            "text": points[n].tobytes().decode("utf-32-le"),
        }
        for n in range(UNRELATED)
    )
    world = world_of(Example(title="", submissions=rows), Blind())
    return world, detector.fingerprint(world.batch())


@settings(max_examples=15 if UNRELATED < 1000 else 2, deadline=None)
@given(rows=submissions())
def test_text_room_unrelated_texts_change_nothing(rows: list[dict[str, object]]) -> None:
    small = world_with(rows)
    alone = find(detector, small)
    others, known = unrelated()
    large = replace(
        small,
        submissions=pl.concat([small.submissions, others.submissions]),
        tasks=pl.concat([small.tasks, others.tasks]).unique("task_id", keep="first"),
    )
    past = MemoryPast(large, pl.concat([detector.fingerprint(small.batch()), known]))
    among = detector.detect(large.batch([str(row["submission_id"]) for row in rows]), past)
    assert among.signals.equals(alone.signals)


def test_text_room_of_many_equal_texts_names_the_first() -> None:
    """More than a fingerprint may have carriers: equal texts are still found, and found once."""
    text = "".join(SENTENCES[:3])
    rows = tuple({"submission_id": f"s{n:05d}", "text": text} for n in range(5200))
    world = world_of(Example(title="", submissions=rows), Blind())
    found = find(detector, world).signals
    assert found.height == len(rows) - 1
    assert set(found["matched_submission_id"]) == {"s00000"}


@pytest.mark.parametrize("size", [1_000_000])
def test_text_room_reads_long_and_repeated_texts(size: int) -> None:
    texts = ("a" * size, "a" * (size - 9), "啊" * size, "ab, " * (size // 4))
    rows = tuple({"submission_id": f"s{n}", "text": text} for n, text in enumerate(texts))
    found = find(detector, world_of(Example(title="", submissions=rows), Blind())).signals
    assert set(found["submission_id"]) == {"s1"}
