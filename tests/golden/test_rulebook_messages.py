"""Every message that a bad rule file can give, held as golden files beside it.

``BOUNTYGUARD_GOLDEN=write`` writes them anew; read what changed before committing it.
"""

import os
import re
from pathlib import Path

import pytest

from pipeline.rulebook import RulebookError, load
from pipeline.rulebook import problems as rulebook_home

HERE = Path(__file__).parent / "rulebook"
FILES = sorted(HERE.glob("*.toml"))
SOURCES = sorted(Path(rulebook_home.__file__).parent.glob("*.py"))


def told(file: Path) -> str:
    text = file.read_bytes().decode()
    with pytest.raises(RulebookError) as caught:
        load({file.name: text})
    return caught.value.message + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_message_is_the_golden_one(file: Path) -> None:
    golden = file.with_suffix(".txt")
    message = told(file)
    if os.environ.get("BOUNTYGUARD_GOLDEN") == "write":
        golden.write_text(message, encoding="utf-8")
    assert message == golden.read_text("utf-8")


def test_every_code_has_a_golden_message() -> None:
    source = "".join(file.read_text("utf-8") for file in SOURCES)
    calls = r'(?:refuse\w*\(|SyntaxProblem\(|return \()[^"]{0,80}"([a-z]+(?:-[a-z]+)+)"'
    codes = set(re.findall(calls, source)) - NEEDS_A_FILE
    shown = "".join(file.read_text("utf-8") for file in HERE.glob("*.txt"))
    missing = {code for code in codes if f": {code}: " not in shown}
    assert len(codes) > 30
    assert not missing


NEEDS_A_FILE = {"unreadable-file", "file-too-large", "too-many-rules"}  # shown below


def test_all_problems_of_all_files_come_at_once() -> None:
    head = (HERE / "unknown_name.toml").read_text("utf-8")
    with pytest.raises(RulebookError) as caught:
        load({"a.toml": head, "b.toml": "[[rules]]\nid = 3\n", "c.toml": "x ="})
    assert {p.file for p in caught.value.problems} == {"a.toml", "b.toml", "c.toml"}
    assert caught.value.exit_status == 2


def test_a_file_that_is_too_large_or_unreadable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RulebookError, match="file-too-large"):
        load({"a.toml": "#" * 1_000_001})
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(RulebookError, match="no UTF-8 text"):
        load([broken])
    with pytest.raises(RulebookError, match="not readable"):
        load([tmp_path / "absent.toml"])
