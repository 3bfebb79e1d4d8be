"""What is registered is documented: rooms, reason codes, commands, settings."""

import re
from pathlib import Path

import typer
from typer.testing import CliRunner

from detectors.registry import ROOMS
from pipeline import settings
from pipeline.entry.cli import app
from pipeline.model.reasons import REASONS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").glob("*.md")))


def commands() -> list[str]:
    group = typer.main.get_command(app)
    return sorted(group.commands)  # type: ignore[attr-defined]


def test_every_room_is_in_the_readme() -> None:
    assert not [room for room in ROOMS if f"`{room.rpartition('.')[2]}`" not in README]


def test_every_reason_code_of_a_room_is_explained_in_the_docs() -> None:
    silent = {"file.identical"}  # its room says it in one line
    missing = [code for code in REASONS if code not in DOCS and code not in silent]
    assert not missing, missing


def test_every_command_is_in_the_readme_and_teaches_by_itself() -> None:
    runner = CliRunner()
    for name in commands():
        told = runner.invoke(app, [name, "--help"])
        assert told.exit_code == 0
        assert len(told.output) > 200
        assert re.search(rf"bountyguard[^\n]*\b{name}\b|/ {name} ", README), name


def test_every_setting_is_named_where_settings_are_read() -> None:
    source = Path(settings.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'env\.get\("(BOUNTYGUARD_[A-Z_]+)"\)', source))
    assert read
    assert all(f"``{name}``" in (settings.__doc__ or "") for name in read)


def test_links_in_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
