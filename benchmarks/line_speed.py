"""The whole line over generated drops: rate, share of each stage, of the stores and of Prefect, memory, growth.

    python benchmarks/line_speed.py --kind text --count 1000 10000 100000 --workers 2
    python benchmarks/line_speed.py --kind image --count 1000 --workers 2 --prefect

``per_hour`` is by the clock. ``per_hour_two_cores`` is two hours of CPU through what a submission costs, over
all processes (the decoder's child too): what the line does where both cores are its own. ``memory_mb`` is the
peak of the writing process and of the largest other one, mapped files included; ``memory_of_stage_mb`` the most
anonymous memory that the writing process held in each stage, ``cpu_ms_of_stage`` that process' CPU a submission,
``memory_steps_mb`` what it held after each tenth of the work. ``stores`` is the share of the writing process' time
that the database's driver and files take (statements, rows, commits, segments); ``transactions`` that of all writing
transactions, with the ledger's own work inside them. ``prefect`` is the time of a flow that is not in its three
tasks' work.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from line_drops import KINDS, write  # noqa: E402


class Clock:
    """Wall and CPU of this process and of its children that ended, by what it is told."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.steps: list[int] = []
        self.peaks: dict[str, int] = {}
        self.cpu: dict[str, float] = {}
        self._last = time.perf_counter()
        self._used = time.process_time()

    def told(self, step: str, count: int) -> None:
        now = time.perf_counter()
        row = self.spent.setdefault("settle" if step == "settle" else step, [0.0, 0])
        row[0] += now - self._last
        row[1] += count
        self._last = now
        used = time.process_time()
        self.cpu[step] = self.cpu.get(step, 0.0) + used - self._used
        self._used = used
        self.steps.append(anonymous_mb())
        self.peaks[step] = max(self.peaks.get(step, 0), self.steps[-1])


def anonymous_mb() -> int:
    """Memory of this process that no file stands behind: mapped indexes may be dropped at any time."""
    told = Path("/proc/self/status").read_text()
    return int(told.split("RssAnon:")[1].split()[0]) // 1024


def cpu_s() -> float:
    """CPU seconds of this process and of all its children that have ended."""
    both = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in both)


@contextlib.contextmanager
def timed_stores() -> Iterator[dict[str, float]]:
    """Add up what the database's driver takes (statements, rows, commits) and what files take.

    ``transactions`` is all time inside writing transactions, the ledger's own work in them included.
    """
    from sqlalchemy.engine.cursor import CursorFetchStrategy
    from sqlalchemy.engine.default import DefaultDialect

    from pipeline.stores import fetch
    from pipeline.stores.database import Database
    from pipeline.stores.objects import FolderObjects

    spent = {"stores": 0.0, "transactions": 0.0}
    inside = dict.fromkeys(spent, 0)

    @contextlib.contextmanager
    def timing(name: str) -> Iterator[None]:
        begun = time.perf_counter()
        inside[name] += 1
        try:
            yield
        finally:
            inside[name] -= 1
            if not inside[name]:
                spent[name] += time.perf_counter() - begun

    def timed(work: Any) -> Any:
        def run(*given: Any, **more: Any) -> Any:
            with timing("stores"):
                return work(*given, **more)

        return run

    write = Database.write

    @contextlib.contextmanager
    def slow_write(self: Database) -> Iterator[Any]:
        with timing("transactions"), write(self) as connection:
            yield connection

    patched: list[tuple[Any, str]] = [
        (DefaultDialect, "do_execute"), (DefaultDialect, "do_executemany"),
        (DefaultDialect, "do_commit"), (CursorFetchStrategy, "fetchall"), (fetch, "drawn"), (FolderObjects, "put"),
    ]  # fmt: skip
    before = [(kind, name, getattr(kind, name)) for kind, name in patched]
    for kind, name, work in before:
        setattr(kind, name, timed(work))
    Database.write = slow_write  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Database.write = write  # type: ignore[method-assign]
        for kind, name, work in before:
            setattr(kind, name, work)


def one(drop: Path, home: Path, workers: int, rooms: list[str]) -> dict[str, Any]:
    """Take a drop through the line in this process; tell what it cost."""
    from detectors.registry import detectors
    from pipeline import bootstrap, line
    from pipeline.bootstrap import open_house
    from pipeline.settings import load_settings

    asked = tuple(d for d in detectors() if not rooms or d.spec.name in rooms)
    vars(bootstrap)["registered"] = lambda: asked
    warm_up(line, open_house, load_settings, home)
    clock, begun, cpu = Clock(), time.perf_counter(), cpu_s()
    settings = load_settings({"BOUNTYGUARD_WORKERS": str(workers)}, home=home / "home")
    with timed_stores() as stores, open_house(settings) as house:
        taken = line.take_in(house, drop, progress=clock.told)
        line.judge(house, progress=clock.told)
        line.settle(house, progress=clock.told)
        told = line.report(house, taken, 0)
        clock.told("report", 0)
    wall, used = time.perf_counter() - begun, cpu_s() - cpu
    count = taken.tables["submissions"].new
    peaks = [
        resource.getrusage(w).ru_maxrss // 1024
        for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    tenth = max(1, len(clock.steps) // 10)
    return {
        "submissions": count, "workers": workers, "wall_s": round(wall, 1), "cpu_s": round(used, 1),
        "per_s": round(count / wall, 1), "per_hour": round(count / wall * 3600),
        "cpu_ms_each": round(used / count * 1000, 3),
        "per_hour_two_cores": round(2 * 3600 * count / used),
        "cpu_ms_of_stage": {n: round(s / count * 1000, 3) for n, s in clock.cpu.items()},
        "share": {n: round(s / wall, 3) for n, (s, _) in clock.spent.items()},
        "stores": round(stores["stores"] / wall, 3),
        "transactions": round(stores["transactions"] / wall, 3), "memory_mb": peaks,
        "memory_of_stage_mb": clock.peaks, "memory_steps_mb": clock.steps[::tenth], "outcomes": dict(told.outcomes),
        "home_bytes_each": round(sum(f.stat().st_size for f in settings.home.rglob("*") if f.is_file()) / count),
    }  # fmt: skip


def warm_up(line: Any, open_house: Any, load_settings: Any, folder: Path) -> None:
    """Import and compile what a standing process has imported and compiled long ago."""
    write(folder / "warm", "mixed", 40)
    with open_house(load_settings({}, home=folder / "warm-home")) as house:
        line.run_line(house, folder / "warm")


FLOW = """
import sys, time, json
sys.path[:0] = [sys.argv[3]]
from prefect.testing.utilities import prefect_test_harness
from pipeline import line

spent = [0.0]
def timed(work):
    def run(*a, **k):
        begun = time.perf_counter()
        try:
            return work(*a, **k)
        finally:
            spent[0] += time.perf_counter() - begun
    return run
for name in ("take_in", "judge", "settle", "report"):
    setattr(line, name, timed(getattr(line, name)))
from flows.line import line_flow

if __name__ == "__main__":
    with prefect_test_harness(server_startup_timeout=180):
        begun = time.perf_counter()
        line_flow(sys.argv[1], sys.argv[2])
        whole = time.perf_counter() - begun
    print("TOLD " + json.dumps({"flow_s": round(whole, 1), "prefect_s": round(whole - spent[0], 1)}))
"""


def by_flow(drop: Path, home: Path, workers: int) -> dict[str, Any]:
    """Take a drop through the line as a flow; tell what was not the line's own work."""
    env = os.environ | {"BOUNTYGUARD_WORKERS": str(workers), "PREFECT_HOME": str(home / "prefect")}
    home.mkdir(parents=True, exist_ok=True)
    script = home / "flow.py"
    script.write_text(FLOW)
    done = subprocess.run([sys.executable, str(script), str(drop), str(home), str(ROOT)], env=env, cwd=ROOT,
                          capture_output=True, check=True)  # fmt: skip
    told = next(x for x in done.stdout.decode().splitlines() if x.startswith("TOLD "))
    found: dict[str, Any] = json.loads(told.removeprefix("TOLD "))
    return found | {"prefect": round(found["prefect_s"] / found["flow_s"], 3)}


def alone(
    kind: str, count: int, workers: int, folder: Path, flow: bool, rooms: list[str], plain: bool
) -> dict[str, Any]:
    """Measure one size in a process of its own, so that its peak of memory is its own."""
    drop = folder / f"{kind}{'-plain' if plain else ''}-{count}"
    if not (drop / "submissions.jsonl").exists():
        write(drop, kind, count, plain=plain)
    with tempfile.TemporaryDirectory(dir=folder) as home:
        done = subprocess.run(
            [sys.executable, __file__, "--inside", str(drop), home, "--workers", str(workers),
             "--rooms", *rooms],
            capture_output=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    told: dict[str, Any] = {"kind": kind} | json.loads(done.stdout)
    if flow:
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as home:
            told |= by_flow(drop, Path(home) / "flow", workers)
    return told


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kind", choices=KINDS, default="text")
    options.add_argument("--count", type=int, nargs="+", default=[1_000, 10_000])
    options.add_argument("--workers", type=int, default=2)
    options.add_argument(
        "--prefect", action="store_true", help="also as a flow, to tell Prefect's share"
    )
    options.add_argument(
        "--rooms", nargs="*", default=[], help="only these detectors, to see the other stages alone"
    )
    options.add_argument(
        "--plain", action="store_true", help="texts of words by frequency, without phrases"
    )
    options.add_argument("--folder", type=Path, help="where drops are made and kept")
    options.add_argument("--format", choices=("text", "json"), default="text")
    options.add_argument("--inside", type=Path, nargs=2, help=argparse.SUPPRESS)
    told = options.parse_args()
    if told.inside:
        print(json.dumps(one(told.inside[0], told.inside[1], told.workers, told.rooms)))
        return 0
    with tempfile.TemporaryDirectory() as made:
        folder = told.folder or Path(made)
        more = told.workers, folder, told.prefect, told.rooms, told.plain
        first = 0.0
        for count in told.count:
            row = alone(told.kind, count, *more)
            first = first or row["cpu_ms_each"]
            row["growth"] = round(row["cpu_ms_each"] / first, 3)
            show(row, told.format)
    return 0


def show(row: dict[str, Any], form: str) -> None:
    """Print a row as soon as it is measured. ``growth`` is its CPU a submission beside the first's."""
    if form == "json":
        print(json.dumps(row), flush=True)
        return
    print(f"{row['kind']} {row['submissions']:,}")
    for name, value in row.items():
        if name not in ("kind", "submissions"):
            print(f"  {name:18} {value}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
