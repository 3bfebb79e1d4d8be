"""The micro-batch line: every complete drop that arrived in a watched folder, through the whole line.

A drop is complete once its folder bears its final name (write it as ``.name``, then rename). A drop is
marked in the home after its money moved; one that was killed before is run again, which changes
nothing that was done.
"""

import hashlib
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.line import line_flow
from pipeline.settings import load_settings

DROPS_MAX = 100
"""Drops that one run takes; the next minute takes the rest."""


@flow(name="bountyguard-arrivals", timeout_seconds=3_600)
def arrivals_flow(
    inbox: str, home: str | None = None, pay: bool = True, drops_max: int = DROPS_MAX
) -> dict[str, Any]:
    """Take in, judge and settle what arrived in ``inbox``; return the names and the last report.

    ``home`` is the folder of the embedded stores (by default what the environment says), ``pay``
    whether credit and money are moved, ``drops_max`` how many drops one run takes.
    """
    marks = load_settings(home=Path(home) if home else None).home / "arrivals"
    waiting = [d for d in arrived(Path(inbox)) if not _mark(marks, d).exists()][:drops_max]
    if not waiting:
        return {"drops": [], "report": None}
    progress = create_progress_artifact(0.0, key="arrivals", description="Drops of this run")
    report: dict[str, Any] | None = None
    for number, drop in enumerate(waiting, 1):
        report = line_flow(str(drop), home, pay)
        marks.mkdir(parents=True, exist_ok=True)
        _mark(marks, drop).write_text(drop.name, encoding="utf-8")
        update_progress_artifact(progress, 100.0 * number / len(waiting))  # type: ignore[arg-type]
    return {"drops": [d.name for d in waiting], "report": report}


def arrived(inbox: Path) -> list[Path]:
    """List the complete drops of a folder, by name."""
    return sorted(p for p in inbox.iterdir() if p.is_dir() and not p.name.startswith("."))


def _mark(marks: Path, drop: Path) -> Path:
    return marks / hashlib.sha256(str(drop.resolve()).encode()).hexdigest()
