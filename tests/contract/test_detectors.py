"""Every registered room passes the conformance suite, and a new one joins as CONTRIBUTING says."""

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from detectors import registry
from detectors.checks import check_detector
from pipeline.bootstrap import open_house
from pipeline.decode import open_decoder
from pipeline.line import judge, take_in
from pipeline.ports import Decoder
from pipeline.rulebook.loading import load
from pipeline.settings import load_settings
from pipeline.stores.exports import export

ROOT = Path(__file__).resolve().parents[2]

ROOM = '''"""The echo room: the answer is nothing but the question."""

from echo_room.room import EchoDetector

detector = EchoDetector()
'''

DETECTOR = '''"""The echo detector: the text is the brief, letter by letter."""

from collections.abc import Iterable

import polars as pl

from detectors.kit.findings import FindingsBuilder
from pipeline.model import frames
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past


class EchoDetector:
    """Reports texts that repeat their brief."""

    spec = DetectorSpec(
        name="echo",
        version="1",
        consumes=frozenset({"text", "tasks"}),
        reason_codes=frozenset({"text.template_only"}),
    )

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember nothing: the brief is at hand."""
        return frames.empty(frames.FINGERPRINTS)

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """No arrival changes another's finding."""
        return frozenset()

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Report every text that is its brief."""
        built = FindingsBuilder(self.spec)
        briefs = dict(batch.tasks.select("task_id", "brief").iter_rows())
        for row in batch.submissions.iter_rows(named=True):
            brief = briefs.get(row["task_id"]) or ""
            if brief and row["text"].strip() == brief:
                built.signal(
                    row["submission_id"], "text.template_only", strength=1.0,
                    evidence={"brief": brief},
                )
        return built.build()

    def examples(self) -> Iterable[Example]:
        """An echo, and an answer."""
        yield Example(
            title="an answer that only repeats the question",
            tasks=({"task_id": "t", "brief": "Why is the sky blue?"},),
            submissions=(
                {"submission_id": "echo", "text": " Why is the sky blue?"},
                {"submission_id": "answer", "text": "Because short waves scatter more."},
            ),
            expected={"echo": frozenset({"text.template_only"})},
        )
'''

RULE = """
[[rules]]
id = "copies.echo"
status = "live"
owner = "risk"
family = "copies"
kind = "proof"
points = 80
reasons = ["text.template_only"]
why = "An answer that only repeats the question answers nothing."
when = 'text.template_only.strength >= 0.9'
effect = "Holds echoes."
notice.en = "Your text repeats the task and adds nothing. The payout waits until a person has looked."
notice.zh = "您的文本只是重复了任务说明。付款将在人工查看后决定。"
tests = [
  { name = "an echo", expect = "hit", signals = { "text.template_only" = 1.0 }, points = 80 },
  { name = "an answer", expect = "miss" },
]
"""


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with open_decoder() as opened:
        yield opened


@pytest.mark.parametrize("room", registry.ROOMS)
def test_a_registered_room_passes_the_conformance_suite(room: str, decoder: Decoder) -> None:
    check_detector(importlib.import_module(room).detector, decoder)


def test_all_rooms_stand_in_the_order_of_the_line() -> None:
    named = [d.spec.name for d in registry.detectors()]
    assert sorted(named) == sorted(room.rpartition(".")[2] for room in registry.ROOMS)
    for place, detector in enumerate(registry.detectors()):
        assert set(detector.spec.after) <= set(named[:place])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder outside the project with one room in it."""
    room = tmp_path / "echo_room"
    room.mkdir()
    (room / "__init__.py").write_text(ROOM)
    (room / "room.py").write_text(DETECTOR)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    registry.detectors.cache_clear()
    for name in ("echo_room", "echo_room.room"):
        sys.modules.pop(name, None)


def test_a_room_from_a_temporary_folder_joins_the_line(folder: Path, decoder: Decoder) -> None:
    """Steps one to three and five: a room, its examples, one line in the registry, the checks."""
    rooms = ("detectors.file", "echo_room")
    line = registry.detectors(rooms)
    assert [d.spec.name for d in line] == ["file", "echo"]
    check_detector(line[1], decoder)


def test_its_rule_stands_beside_those_that_ship(tmp_path: Path) -> None:
    """Step four: one table in a file of its own, which carries its own tests."""
    (tmp_path / "90_echo.toml").write_text(RULE, encoding="utf-8")
    book = load([*sorted((ROOT / "rules").glob("*.toml")), tmp_path / "90_echo.toml"])
    mine = [case for case in book.test() if case.rule == "copies.echo"]
    assert [case.case for case in mine] == ["an echo", "an answer"]
    assert all(case.passed for case in mine), mine


def test_a_drop_travels_through_the_line_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, drop = tmp_path / "rules", tmp_path / "drop"
    shutil.copytree(ROOT / "rules", rules, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (rules / "90_echo.toml").write_text(RULE, encoding="utf-8")
    drop.mkdir()
    task = {"task_id": "t", "publisher_id": "p", "brief": "Why is the sky blue?",
            "bounty_minor": 500, "currency": "CNY"}  # fmt: skip
    (drop / "tasks.jsonl").write_text(json.dumps(task) + "\n")
    answers = {"echo": task["brief"], "answer": "Because short waves scatter more."}
    rows = [
        {"submission_id": sid, "task_id": "t", "worker_id": f"w-{sid}", "text": text,
         "submitted_at": "2026-03-02T08:00:00Z"} for sid, text in answers.items()
    ]  # fmt: skip
    (drop / "submissions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    line = registry.detectors(("detectors.file", "echo_room"))
    monkeypatch.setattr("pipeline.bootstrap.registered", lambda: line)
    settings = load_settings({"BOUNTYGUARD_RULES": str(rules)}, home=tmp_path / "home")
    with open_house(settings) as house:
        take_in(house, drop)
        judge(house)
        standing = export(house.database, "assessments")
    assert dict(standing.select("submission_id", "outcome").iter_rows()) == {
        "echo": "block_and_review",
        "answer": "approve",
    }


def test_the_suite_catches_a_room_that_does_not_keep_its_word(
    folder: Path, decoder: Decoder
) -> None:
    module = folder / "echo_room" / "room.py"
    module.write_text(module.read_text().replace("strip() == brief", "strip() != brief"))
    importlib.invalidate_caches()
    for name in ("echo_room", "echo_room.room"):
        sys.modules.pop(name, None)
    with pytest.raises(AssertionError, match="an answer that only repeats the question"):
        check_detector(importlib.import_module("echo_room").detector, decoder)


def test_two_rooms_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="share a name"):
        registry.detectors(("detectors.file", "detectors.file"))
    with pytest.raises(ModuleNotFoundError):
        registry.detectors(("detectors.nowhere",))
