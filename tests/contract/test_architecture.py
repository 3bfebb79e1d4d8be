"""The house holds: import contracts with violations planted and caught, names, forbidden places."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "detectors", "flows", "rules")
LAYERS = (
    "pipeline/entry/__init__", "pipeline/bootstrap", "pipeline/settings", "pipeline/assess",
    "pipeline/review/__init__", "pipeline/market/__init__", "pipeline/rulebook/__init__",
    "flows/__init__", "rules/__init__",
)  # fmt: skip

PLANTED = [
    ("one-direction", "pipeline/model/errors.py", "import pipeline.ports"),
    ("one-direction", "pipeline/ports.py", "from pipeline import assess"),
    ("one-direction", "pipeline/stages/ingest.py", "import pipeline.stores.database"),
    ("one-direction", "pipeline/stages/ingest.py", "from detectors.registry import detectors"),
    ("one-direction", "pipeline/assess.py", "import pipeline.bootstrap"),
    ("one-direction", "pipeline/stores/__init__.py", "import pipeline.decode.pool"),
    ("one-direction", "pipeline/entry/__init__.py", "import flows"),
    ("no-strays", "pipeline/stray.py", ""),
    ("stages-apart", "pipeline/stages/ingest.py", "import pipeline.stages.detect"),
    ("rooms-apart", "detectors/file/room.py", "import detectors.trajectory"),
    ("rooms-apart", "detectors/kit/order.py", "import detectors.file"),
    ("rooms-only-look", "detectors/file/room.py", "import pipeline.stores.database"),
    ("rooms-only-look", "detectors/kit/order.py", "from pipeline import settings"),
    ("tools-apart", "pipeline/index/__init__.py", "import pipeline.stages.ingest"),
    ("tools-apart", "pipeline/decode/looking.py", "import pipeline.assess"),
    ("schedules-apart", "pipeline/assess.py", "import prefect"),
    ("schedules-apart", "detectors/registry.py", "import distributed"),
    ("pure-core", "pipeline/stages/ingest.py", "import sqlite3"),
    ("pure-core", "pipeline/assess.py", "import sqlalchemy"),
    ("pure-core", "detectors/file/room.py", "import socket"),
    ("pure-core", "detectors/kit/order.py", "import subprocess"),
    ("pure-core", "pipeline/index/__init__.py", "import httpx"),
    ("pure-core", "pipeline/model/errors.py", "import starlette"),
    ("pure-core", "pipeline/market/__init__.py", "import httpx"),
    ("pure-core", "pipeline/decode/looking.py", "import subprocess"),
    ("pure-core", "pipeline/entry/__init__.py", "import sqlalchemy"),
    ("small-child", "pipeline/decode/images.py", "import numpy"),
    ("small-child", "pipeline/decode/documents.py", "import pipeline.ports"),
    ("rules-are-data", "rules/__init__.py", "import pipeline.model.errors"),
]


def lint(house: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, *options, "--no-logo", "--config", house / ".importlinter"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house, with a bare module where a layer is not there."""
    house = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, house / package, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / ".importlinter", house / ".importlinter")
    for layer in LAYERS:
        module = house / f"{layer}.py"
        whole = module.with_suffix("") / "__init__.py"
        if not module.exists() and not whole.exists():
            module.parent.mkdir(exist_ok=True)
            module.write_text('"""Bare."""\n')
    return house


def test_the_house_holds() -> None:
    done = lint(ROOT, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_copy_holds_before_anything_is_planted(copied: Path) -> None:
    done = lint(copied, "--cache-dir", str(copied / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("contract", "where", "line"), PLANTED)
def test_a_planted_violation_is_caught(copied: Path, contract: str, where: str, line: str) -> None:
    module = copied / where
    before = module.read_text() if module.exists() else None
    module.write_text(f"{before or ''}\n{line}\n")
    try:
        done = lint(copied, "--contract", contract, "--cache-dir", str(copied / "cache"))
    finally:
        if before is None:
            module.unlink()
        else:
            module.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout, done.stdout + done.stderr


def test_every_contract_has_a_planted_violation() -> None:
    text = (ROOT / ".importlinter").read_text()
    stated = {
        line[23:-1] for line in text.splitlines() if line.startswith("[importlinter:contract:")
    }
    assert stated == {contract for contract, _, _ in PLANTED}


def test_names_resolve_here_from_anywhere_and_nobody_else_owns_them(tmp_path: Path) -> None:
    program = (
        "import importlib, importlib.metadata, json, sys\n"
        f"names = {PACKAGES!r}\n"
        "owners = importlib.metadata.packages_distributions()\n"
        "print(json.dumps({n: [importlib.import_module(n).__file__, owners.get(n, [])] "
        "for n in names}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"the project is not installed (make setup): {done.stderr}"
    for name, (place, owners) in json.loads(done.stdout).items():
        assert Path(place) == ROOT / name / "__init__.py"
        assert set(owners) <= {"bountyguard"}, f"{name} also belongs to {owners}"


def test_the_wheel_ships_exactly_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)


def test_data_holds_no_code_and_tests_are_no_package() -> None:
    assert not [*(ROOT / "data").rglob("*.py")]
    assert not [*(ROOT / "tests").rglob("__init__.py")]


def modules(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(), str(path))


def test_the_environment_is_read_only_in_settings() -> None:
    readers = {
        str(path)
        for path, tree in modules(*PACKAGES)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"})
        or (
            isinstance(node, ast.ImportFrom)
            and {a.name for a in node.names} & {"environ", "getenv"}
        )
    }
    # Prefect takes its own settings from the environment only, and before it is imported.
    assert readers <= {"pipeline/settings.py", "flows/__init__.py"}


def test_detectors_open_and_write_no_files() -> None:
    """Import contracts cannot see ``open()``; the package's own data is read by importlib."""
    writes = {"write_text", "write_bytes", "mkdir", "unlink"}
    found = [
        f"{path}:{node.lineno}"
        for path, tree in modules("detectors")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == "open")
            or (isinstance(node.func, ast.Attribute) and node.func.attr in writes)
        )
    ]
    assert not found


def test_nothing_imports_the_data_folder() -> None:
    named = {
        (str(path), name.split(".")[0])
        for path, tree in modules(*PACKAGES)
        for node in ast.walk(tree)
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert not [path for path, name in named if name in {"data", "tests", "benchmarks"}]


def test_the_command_line_does_not_pay_for_prefect() -> None:
    program = (
        "import sys, pipeline.entry.cli\n"
        "heavy = {'prefect', 'distributed'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
