"""Provenance on labelled drops: what of each kind is found, and which honest files are accused.

Run with ``python benchmarks/watermark_market.py [mini|small|full] [--format json]``. Needs the
development drops beside the project (``BOUNTYGUARD_SHARED``).
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detectors.checks import World, world_of
from detectors.checks.conformance import find
from detectors.watermark import WatermarkDetector
from pipeline.decode import open_decoder
from pipeline.ports import Decoder, Example

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def _rows(path: Path, key: str) -> Iterator[dict[str, Any]]:
    seen = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get(key), str) and row[key] not in seen:
            seen.add(row[key])
            yield row


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if value else None


def load(folder: Path, decoder: Decoder) -> tuple[World, dict[str, dict[str, Any]]]:
    """Read a drop's labelled submissions that carry files, and their truth."""
    truth = {row["submission_id"]: row for row in _rows(folder / "truth.jsonl", "submission_id")}
    tasks = []
    for row in _rows(folder / "drop/tasks.jsonl", "task_id"):
        site = row.get("site") or {}
        tasks.append({
            "task_id": row["task_id"], "title": row["title"], "brief": row["brief"],
            "category": row["category"], "posted_at": _time(row["posted_at"]),
            "deadline_at": _time(row["deadline_at"]), "site_lat": site.get("lat"),
            "site_lon": site.get("lon"), "site_radius_m": site.get("radius_m"),
            "reference_files": tuple(
                (folder / "drop" / p).read_bytes() for p in row.get("reference_paths") or ()
            ),
        })  # fmt: skip
    submissions = []
    for row in _rows(folder / "drop/submissions.jsonl", "submission_id"):
        if row["submission_id"] not in truth or not row.get("attachments"):
            continue
        submissions.append({
            "submission_id": row["submission_id"], "task_id": row["task_id"],
            "worker_id": row["worker_id"], "submitted_at": _time(row["submitted_at"]),
            "claimed_at": _time(row["claimed_at"]), "text": row.get("text") or "",
            "supersedes": row.get("supersedes"),
            "files": tuple(
                (a["name"], (folder / "drop" / a["path"]).read_bytes()) for a in row["attachments"]
            ),
        })  # fmt: skip
    named = {s["task_id"] for s in submissions}
    example = Example(
        title=folder.name,
        submissions=tuple(submissions),
        tasks=tuple(t for t in tasks if t["task_id"] in named),
    )
    return world_of(example, decoder), truth


def measure(name: str) -> dict[str, Any]:
    """Judge one drop and count what was found and who was wrongly accused."""
    with open_decoder() as decoder:
        world, truth = load(SHARED / "market" / name, decoder)
        started = time.process_time()
        findings = find(WatermarkDetector(), world)
        spent = time.process_time() - started
    said: dict[str, dict[str, float]] = {}
    for sid, code, strength in findings.signals.select(
        "submission_id", "reason_code", "strength"
    ).iter_rows():
        mine = said.setdefault(sid, {})
        mine[code] = max(mine.get(code, 0.0), strength)
    wanted, got, accused = Counter[str](), Counter[str](), []
    weak = Counter[str]()
    for sid in world.submissions["submission_id"]:
        label, codes = truth[sid], said.get(sid, {})
        for kind in label["kinds"]:
            if kind.startswith(("provenance.", "watermark.")):
                wanted[f"{label['scheme']} {kind}"] += 1
                got[f"{label['scheme']} {kind}"] += kind in codes
                weak[f"{label['scheme']} {kind}"] += 0.0 < codes.get(kind, 0.0) < 0.5
        if label["label"] == "honest" and codes and not label["ambiguous"]:
            accused.append({"submission_id": sid, "confounder": label["confounder"], **codes})
    other = Counter(
        f"{truth[sid]['scheme']}: {code}"
        for sid, codes in said.items()
        for code in codes
        if truth[sid]["label"] == "fraud" and code not in truth[sid]["kinds"]
    )
    files = world.contents.height
    return {
        "drop": name, "submissions": world.submissions.height, "files": files,
        "found": {k: [got[k], n, weak[k]] for k, n in sorted(wanted.items())},
        "honest_accused": accused, "unlabelled_on_fraud": dict(other),
        "cpu_ms_per_file": round(1000 * spent / max(files, 1), 3),
        "abstentions": findings.abstentions.height,
    }  # fmt: skip


def main() -> None:
    """Measure the drops named and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("drops", nargs="*", default=["mini", "small", "full"])
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    results = [measure(name) for name in asked.drops]
    if asked.format == "json":
        print(json.dumps(results, ensure_ascii=False))
        return
    for result in results:
        print(f"{result['drop']}: {result['submissions']} submissions with files")
        for kind, (hit, of, weak) in result["found"].items():
            print(f"  {kind:<52} {hit} of {of}, {weak} of them only worth a look")
        print(f"  honest accused: {len(result['honest_accused'])} {result['honest_accused'][:5]}")
        print(f"  said of other fraud: {result['unlabelled_on_fraud']}")
        print(f"  {result['cpu_ms_per_file']} ms CPU a file, fingerprint and verdict together")


if __name__ == "__main__":
    main()
