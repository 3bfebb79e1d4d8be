"""What hostile texts cost the text room: huge, repeated, broken, and 100,000 times the same.

``python benchmarks/text_hostile.py [--format json] [--equal 100000]``. Each text is handed in after a
nearly equal one of another worker, in a world of its own; milliseconds are for one submission,
fingerprinting and looking taken together, the best of three, by the clock and of the processor. The equal texts stand in the real stores,
in SQLite and Parquet, with their indexes on disk.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "property"))

import numpy as np
from test_text_lexical import NAUGHTY

from detectors.checks import world_of
from detectors.checks.memory import MemoryPast
from detectors.text import detector
from pipeline.decode import open_decoder
from pipeline.decode.text import tidy
from pipeline.model.rows import check_submission
from pipeline.ports import Decoder, Example, RawRow
from pipeline.stores.assets import Assets
from pipeline.stores.blobs import FolderBlobs
from pipeline.stores.database import open_database
from pipeline.stores.intake import RecordIntake
from pipeline.stores.past import StorePast
from pipeline.stores.segments import Segments
from pipeline.stores.work import WorkQueue

START = datetime(2026, 1, 1, tzinfo=UTC)
BRIEF = "Say what you saw, and what it cost you. Name the violet paperweight where you like. "
TASK = {"task_id": "t", "brief": BRIEF, "extra": '{"canaries": ["violet paperweight"]}'}
ROUNDS = 3
CHUNK = 5_000


def texts() -> dict[str, str]:
    """Name hostile texts; the huge ones are of 10 MB in UTF-8."""
    draw = np.random.default_rng(9)
    words = draw.integers(97, 123, (1_500_000, 6)).astype(np.uint8)
    words[:, 5] = 32
    english = words.tobytes().decode()[:10_000_000]
    ideographs = draw.integers(0x4E00, 0x9FA0, 3_333_333).astype(np.uint32)
    return {
        "10 MB of words": english,
        "10 MB of ideographs": ideographs.tobytes().decode("utf-32-le"),
        "10 MB of one letter": "a" * 10_000_000,
        "10 MB of two words in turn": "spam eggs " * 1_000_000,
        "10 MB of the brief again and again": BRIEF * (10_000_000 // len(BRIEF)),
        "10 MB of zero-width spaces": "\u200b" * 3_333_333,
        "100,000 of one letter": "a" * 100_000,
        "100,000 of one ideograph": "啊" * 100_000,
        "100,000 lone surrogates": "\ud800\udfff" * 50_000,
        "100,000 overrides": "\u202eab" * 33_333,
        "5,000 ligatures of 18 letters": "ﷺ" * 5_000,
    }


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return the least milliseconds of a few rounds: by the clock, and of the processor."""
    took, worked = [], []
    for _ in range(ROUNDS):
        begun, cpu = time.perf_counter(), time.process_time()
        work()
        took.append(1000 * (time.perf_counter() - begun))
        worked.append(1000 * (time.process_time() - cpu))
    return round(min(took), 1), round(min(worked), 1)


def alone(name: str, text: str, decoder: Decoder) -> dict[str, Any]:
    """Look at a text that stands, but for its middle, in an earlier one."""
    text = tidy(text)  # as it comes out of ingest: no lone surrogates, no NUL
    half = len(text) // 2
    earlier = text[:half] + "x" + text[half + 1 :]
    rows = tuple(
        {
            "submission_id": sid,
            "task_id": "t",
            "submitted_at": START + timedelta(minutes=n),
            "text": t,
        }
        for n, (sid, t) in enumerate((("s0", earlier), ("s1", text)))
    )
    world = world_of(Example(title="", submissions=rows, tasks=(TASK,)), decoder)
    past, batch = MemoryPast.of(world, [detector]), world.batch(["s1"])
    found = detector.detect(batch, past).signals
    return {
        "case": name, "characters": len(text),
        "ms": spent(lambda: (detector.fingerprint(batch), detector.detect(batch, past))),
        "found": sorted(set(found["reason_code"])), "peak_mb": peak(),
    }  # fmt: skip


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def naughty(decoder: Decoder) -> dict[str, Any]:
    """Every string of the tests' list; the slowest is told."""
    worst = max((alone(repr(t[:12]), t, decoder) for t in NAUGHTY), key=lambda r: r["ms"][1])
    return worst | {"case": f"slowest of {len(NAUGHTY)} naughty strings: {worst['case']}"}


def _row(sid: str, number: int, text: str) -> tuple[RawRow, Mapping[str, Any]]:
    at = START + timedelta(seconds=number)
    row = check_submission(
        {"submission_id": sid, "task_id": "t", "worker_id": f"w{number % 5000}", "text": text,
         "session_id": sid, "submitted_at": at.isoformat()}
    )  # fmt: skip
    row.pop("attachments")
    return RawRow(file="submissions.jsonl", line=1, raw=sid), row | {"contents": []}


def equal(count: int, decoder: Decoder) -> dict[str, Any]:
    """One text more where ``count`` workers have handed in the same."""
    text = (
        "早上七点的码头还有雾，卖鱼的人把灯挂在伞骨上。我要了一条海鲈，老板顺手教我怎么挑鳃。" * 3
    )
    with tempfile.TemporaryDirectory() as folder_:
        folder = Path(folder_)
        database = open_database(f"sqlite:///{folder / 'record.db'}")
        blobs, segments = FolderBlobs(folder / "blobs"), Segments(folder / "lake", database)
        intake, work = RecordIntake(database, blobs, segments), WorkQueue(database, segments)
        assets = Assets(database, blobs)
        past = StorePast(database, segments, blobs, assets, decoder, folder / "index")
        begun = time.perf_counter()
        for start in range(0, count, CHUNK):
            here = range(start, min(start + CHUNK, count))
            intake.admit("submissions", [_row(f"s{n:06d}", n, text) for n in here], [])
            tickets = work.next(0, CHUNK)
            made = detector.fingerprint(past.batch([t.submission_id for t in tickets]))
            written = work.write_fingerprints(made)
            work.keep_fingerprints(tickets, written, {"text": detector.spec.version})
            work.move_on(tickets, [], depth=1)
        filled = time.perf_counter() - begun
        intake.admit("submissions", [_row("z", count, text)], [])
        tickets = work.next(0, 9)
        batch = past.batch(["z"])
        written = work.write_fingerprints(detector.fingerprint(batch))
        work.keep_fingerprints(tickets, written, {"text": "2"})
        work.move_on(tickets, [], depth=1)
        found = detector.detect(batch, past).signals
        looked = spent(lambda: detector.detect(batch, past))
        touched = spent(lambda: detector.touched(batch, past))
        whole = past.batch([f"s{n:06d}" for n in range(1, min(CHUNK, count))])
        begun = time.perf_counter()
        many = detector.detect(whole, past).signals
        each = 1000 * (time.perf_counter() - begun) / whole.submissions.height
        past.close()
        database.close()
    return {
        "case": f"one more of {count:,} equal texts", "characters": len(text),
        "ms": looked, "touched_ms": touched,
        "ms_each_in_a_batch": round(each, 2), "filled_s": round(filled, 1),
        "names": sorted({*found["matched_submission_id"], *many["matched_submission_id"]}),
        "peak_mb": peak(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--equal", type=int, default=100_000)
    asked = parser.parse_args()
    with open_decoder() as decoder:
        alone("warm", "早上七点的码头还有雾" * 9, decoder)
        told = [equal(asked.equal, decoder), naughty(decoder)]
        told += [alone(name, text, decoder) for name, text in texts().items()]
    if asked.format == "json":
        print(json.dumps(told))
        return
    for row in told:
        print("  ".join(f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
