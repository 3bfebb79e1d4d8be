"""A replay is shown beside what it replays, with the matched strokes in one colour on both sides."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import polars as pl

from detectors.checks import Blind, World, world_of
from detectors.checks.conformance import find
from detectors.trajectory import detector, drawing, examples, picture
from pipeline.entry.pictures import draw
from pipeline.ports import Example

SVG = "{http://www.w3.org/2000/svg}"


class Known:
    """What a house would tell of this world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._signals = find(detector, world).signals

    def signals(self, ids: Sequence[str]) -> pl.DataFrame:
        return self._signals.filter(pl.col("submission_id").is_in(list(ids)))

    def events(self, ids: Sequence[str]) -> pl.DataFrame:
        return self._world.batch(list(ids)).events


def replayed() -> World:
    later = examples.START + timedelta(hours=1)
    return world_of(
        Example(
            title="",
            submissions=(examples.sent("first", examples.START), examples.sent("<later>", later)),
            events=(
                *examples.moves("first", examples.START, seed=1),
                *examples.moves("<later>", later, seed=1, scale=1.05, shake=0.5),
            ),
        ),
        Blind(),
    )


def test_explain_draws_the_matched_session_beside(tmp_path: Path) -> None:
    (path,) = draw(SimpleNamespace(known=Known(replayed())), "<later>", tmp_path)  # type: ignore[arg-type]
    drawn = path.read_text()
    root = ElementTree.fromstring(drawn)
    sides = root.findall(f"{SVG}g")
    assert [side.findtext(f"{SVG}text") for side in sides] == ["<later>", "first"]
    marked = [
        {line.get("stroke") for line in side.iter(f"{SVG}polyline")} & set(drawing.COLOURS)
        for side in sides
    ]
    assert marked[0] == marked[1]
    assert len(marked[0]) >= 2
    assert "speed, px/ms" in drawn
    assert "<script" not in drawn
    assert re.search(r"(href|url\()", drawn) is None


def test_a_log_that_is_gone_is_said_to_be_empty() -> None:
    gone = replayed().batch([]).events
    assert "no pointer movement" in picture(gone, gone)
