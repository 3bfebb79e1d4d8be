"""Drops that a seed draws, for measuring the line: text-only, mixed, image-heavy; nobody's data.

``python benchmarks/line_drops.py KIND COUNT FOLDER [--seed 7] [--plain]``, with KIND ``text``, ``mixed`` or ``image``.
Of 100 submissions 3 are an earlier one with a few words changed; the rest are their own. Half are Chinese, half
English. ``mixed`` gives every second submission a session with pointer and key events and every fourth a
picture; ``image`` gives each one picture and two sentences. Of 100 pictures 3 are an earlier one, cut and coded anew.
``--plain`` draws words by frequency alone, as these drops were once made: English then shares twice as many passages
by chance as real texts do, Chinese none.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import polars as pl

KINDS = ("text", "mixed", "image")
SLOTS = 40
"""Submissions to one task."""
OPEN_TASKS = 100
"""Tasks that are open side by side; when their slots are filled, as many others are posted."""
PER_WORKER = 12
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
PER_MINUTE = 200
COPIES = 0.03
PICTURE = (768, 1024)
SHAPES = 160
"""Shapes in a picture; no two pictures share any."""
PICTURES_KEPT = 500
"""Pictures of which a later one may be a copy."""


PHRASES = 380_000
PHRASE_WORDS = {"zh": 4, "en": 6}
PHRASE_PART = {"zh": 0.95, "en": 0.8}
"""Share of a text that is made of phrases which others use too."""
PHRASE_ZIPF, PHRASE_HEAD = 0.685, 1
"""How often the phrase of a rank is used: (rank + head) ** −zipf. See ``Language``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Words with the frequencies of a language (Zipf), and the phrases that its writers share.

    The phrases are set so that texts share passages by chance as often as real ones do
    (``docs/scale.md`` has both figures). Without phrases words follow each other by frequency alone.
    """

    words: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any]
    phrases: np.ndarray[Any, Any] | None
    phrase_weight: np.ndarray[Any, Any]
    part: float

    @classmethod
    def of(
        cls, words: list[str], phrases: tuple[int, float] | None, draw: np.random.Generator
    ) -> "Language":
        """Make a language of words by rank; ``phrases`` says how many words each has and their part."""
        weight = 1 / (np.arange(len(words)) + 12.0)
        weight = np.cumsum(weight / weight.sum())
        usage = (np.arange(PHRASES) + PHRASE_HEAD + 1.0) ** -PHRASE_ZIPF
        made = phrases and np.searchsorted(weight, draw.random((PHRASES, phrases[0])))
        return cls(
            words=np.array(words), weight=weight, phrases=made if phrases else None,
            phrase_weight=np.cumsum(usage / usage.sum()), part=phrases[1] if phrases else 0.0,
        )  # fmt: skip

    def text(self, draw: np.random.Generator, length: int) -> list[str]:
        """Words of a text, without separators."""
        if self.phrases is None:
            return self.words[np.searchsorted(self.weight, draw.random(length))].tolist()
        size = self.phrases.shape[1]
        count = -(-length // size)
        shared = self.phrases[
            np.searchsorted(self.phrase_weight, draw.random(count)).clip(0, PHRASES - 1)
        ]
        own = np.searchsorted(self.weight, draw.random((count, size)))
        told = np.where(draw.random((count, 1)) < self.part, shared, own)
        return self.words[told.ravel()[:length].clip(0, len(self.words) - 1)].tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The two languages."""

    latin: Language
    han: Language

    @classmethod
    def drawn(cls, draw: np.random.Generator, *, plain: bool = False) -> "Words":
        syllables = np.array(
            [c + v + e for c in "bcdfghlmnprstvw" for v in "aeiou" for e in ("", "n", "r", "s")]
        )
        latin = ["".join(draw.choice(syllables, int(n))) for n in draw.integers(1, 5, 20_000)]
        han = [chr(int(c)) for c in draw.choice(np.arange(0x4E00, 0x9000), 3_500, replace=False)]
        if plain:
            return cls(latin=Language.of(latin, None, draw), han=Language.of(han, None, draw))
        # the words of every day are short ones
        lengths = np.array([len(w) for w in latin]) + draw.normal(0, 4, len(latin))
        latin = [latin[i] for i in np.argsort(lengths, kind="stable")]
        sizes = draw.choice([1, 2, 3], 20_000, p=[0.25, 0.6, 0.15])
        han = ["".join(draw.choice(han, int(n))) for n in sizes]
        parts = {name: (PHRASE_WORDS[name], PHRASE_PART[name]) for name in PHRASE_WORDS}
        return cls(
            latin=Language.of(latin, parts["en"], draw), han=Language.of(han, parts["zh"], draw)
        )

    def text(self, draw: np.random.Generator, *, chinese: bool, length: int) -> list[str]:
        """Words of a text, without separators; of a Chinese one ``length`` characters."""
        if not chinese:
            return self.latin.text(draw, length)
        return list("".join(self.han.text(draw, length))[:length])


def write(folder: Path, kind: str, count: int, seed: int = 7, *, plain: bool = False) -> None:
    """Write a drop of ``count`` submissions into ``folder``."""
    draw = np.random.default_rng([seed, count, KINDS.index(kind)])
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    words = Words.drawn(draw, plain=plain)
    tasks, workers = max(1, count // SLOTS), max(2, count // PER_WORKER)
    _lines(folder / "tasks.jsonl", (_task(n, words, draw) for n in range(tasks)))
    _lines(folder / "workers.jsonl", (_worker(n, draw) for n in range(workers)))
    events: list[pl.DataFrame] = []
    pictures = _Pictures(draw) if kind != "text" else None
    recent: list[tuple[int, list[str]]] = []
    rounds = OPEN_TASKS * SLOTS
    order = np.concatenate([draw.permutation(rounds) for _ in range(-(-count // rounds))])

    def submissions() -> Iterator[dict[str, Any]]:
        for n in range(count):
            first = min(n // rounds * OPEN_TASKS, tasks - 1)
            task = first + int(order[n]) % min(OPEN_TASKS, tasks - first)
            worker = int(order[n] * 7919 + n) % workers
            chinese = task % 2 == 0
            told = _body(n, task, words, draw, recent, kind)
            at = BEGIN + timedelta(minutes=n / PER_MINUTE)
            row = {
                "submission_id": f"s{n:08d}", "task_id": f"t{task:06d}", "worker_id": f"w{worker:06d}",
                "claimed_at": _time(at - timedelta(minutes=10)), "submitted_at": _time(at),
                "text": ("" if chinese else " ").join(told), "attachments": [], "session_id": None,
                "device_id": f"d{worker:06d}", "ip": f"10.{worker >> 16 & 255}.{worker >> 8 & 255}.{worker & 255}",
                "supersedes": None,
            }  # fmt: skip
            if pictures and (kind == "image" or n % 4 == 0):
                path = f"blobs/{n // 1000:05d}/{n:08d}.jpg"
                pictures.write(folder / path)
                row["attachments"] = [
                    {"path": path, "media_type": "image/jpeg", "name": f"{n}.jpg"}
                ]
            if kind == "mixed" and n % 2 == 0:
                row["session_id"] = f"x{n:08d}"
                events.append(_session(n, worker, at, draw))
                if len(events) >= 5_000:
                    _flush(folder, events)
            yield row

    _lines(folder / "submissions.jsonl", submissions())
    if events:
        _flush(folder, events)


def _body(
    n: int, task: int, words: Words, draw: np.random.Generator, recent: list[tuple[int, list[str]]],
    kind: str,
) -> list[str]:  # fmt: skip
    chinese = task % 2 == 0
    usual = (20, 40) if kind == "image" else (60, 160) if chinese else (50, 120)
    told = words.text(draw, chinese=chinese, length=int(draw.integers(*usual)))
    if recent and draw.random() < COPIES:
        language, source = recent[int(draw.integers(len(recent)))]
        if language == task % 2:
            told = list(source)
            for place in draw.integers(0, len(told), 4).tolist():
                told[place] = words.text(draw, chinese=chinese, length=1)[0]
    if len(recent) < 5_000:
        recent.append((task % 2, told))
    else:
        recent[int(draw.integers(len(recent)))] = (task % 2, told)
    return told


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _task(n: int, words: Words, draw: np.random.Generator) -> dict[str, Any]:
    chinese = n % 2 == 0
    brief = words.text(draw, chinese=chinese, length=30)
    return {
        "task_id": f"t{n:06d}", "publisher_id": f"p{n % 997:04d}", "title": f"task {n}",
        "brief": ("" if chinese else " ").join(brief), "category": "copywriting",
        "language": "zh-CN" if chinese else "en", "grade": "B", "bounty_minor": 500 + 100 * (n % 20),
        "currency": "CNY", "slots": SLOTS, "posted_at": "2026-03-01T00:00:00.000Z",
        "deadline_at": None, "site": None, "reference_paths": [],
    }  # fmt: skip


def _worker(n: int, draw: np.random.Generator) -> dict[str, Any]:
    registered = BEGIN - timedelta(days=int(draw.integers(30, 900)))
    return {
        "worker_id": f"w{n:06d}", "registered_at": _time(registered), "phone_verified": True,
        "real_name_verified": bool(draw.random() < 0.8), "social_linked": bool(draw.random() < 0.3),
        "payout_account_hash": f"{n:032x}", "skills": [],
    }  # fmt: skip


def _session(n: int, worker: int, at: datetime, draw: np.random.Generator) -> pl.DataFrame:
    """A view of two minutes: 80 pointer moves along curves, 60 keys, focus, claim and submit."""
    moves, keys = 80, 60
    end = at.timestamp() * 1000
    x = 600 + np.cumsum(draw.normal(0, 14, moves)) + 80 * np.sin(np.arange(moves) / 9)
    y = 400 + np.cumsum(draw.normal(0, 9, moves))
    start = end - 120_000
    times = [
        start + np.cumsum(draw.gamma(2.0, 9.0, moves)) + np.repeat(np.arange(8) * 6_000.0, 10),
        start + 40_000 + np.cumsum(draw.gamma(2.2, 90.0, keys)),
        np.array([start - 400_000, start, end - 40]),
    ]
    kinds = (
        ["pointer.move"] * moves + ["key.down"] * keys + ["task.claim", "page.view", "task.submit"]
    )
    size = len(kinds)
    return pl.DataFrame({
        "event_id": [f"e{n:08d}-{i}" for i in range(size)],
        "session_id": f"x{n:08d}", "worker_id": f"w{worker:06d}", "submission_id": f"s{n:08d}",
        "type": kinds, "at": np.round(np.concatenate(times), 1),
        "x": np.concatenate([np.round(x, 1), np.full(size - moves, np.nan)]),
        "y": np.concatenate([np.round(y, 1), np.full(size - moves, np.nan)]),
        "pointer_type": ["mouse"] * moves + [None] * (size - moves),
        "key_class": [None] * moves + ["character"] * keys + [None] * 3,
        "path": [None] * (size - 2) + ["/task", None],
    }).with_columns(pl.col("x", "y").fill_nan(None))  # fmt: skip


def _flush(folder: Path, events: list[pl.DataFrame]) -> None:
    (folder / "events").mkdir(exist_ok=True)
    number = len(list((folder / "events").iterdir()))
    pl.concat(events).write_parquet(folder / "events" / f"part-{number:05d}.parquet")
    events.clear()


class _Pictures:
    """Pictures of the size that phones send to platforms (1024 × 768, JPEG quality 85), each its own.

    Of 100 pictures 3 are an earlier one, cut at the edges and coded anew.
    """

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._recent: list[np.ndarray[Any, Any]] = []

    def write(self, path: Path) -> None:
        draw = self._draw
        coded = [cv2.IMWRITE_JPEG_QUALITY, 85]
        if self._recent and draw.random() < COPIES:
            earlier = cv2.imdecode(self._recent[int(draw.integers(len(self._recent)))], 1)
            top, left = draw.integers(0, 60, 2).tolist()
            picture, coded[1] = earlier[top:, left:], int(draw.integers(50, 80))
        else:
            picture = self._drawn()
        data = cv2.imencode(".jpg", picture, coded)[1]
        if len(self._recent) < PICTURES_KEPT:
            self._recent.append(data)
        else:
            self._recent[int(draw.integers(PICTURES_KEPT))] = data
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())

    def _drawn(self) -> np.ndarray[Any, Any]:
        """Draw soft light, shapes of all sizes that hide each other, and grain."""
        draw = self._draw
        height, width = PICTURE
        picture = np.full((height, width, 3), 128, np.float32)
        for rows, columns, depth in ((6, 8, 40), (48, 64, 12)):
            cloud = draw.normal(0, depth, (rows, columns, 3)).astype(np.float32)
            picture += cv2.resize(cloud, (width, height), interpolation=cv2.INTER_CUBIC)
        picture = picture.clip(0, 255).astype(np.uint8)
        for size in (10 * draw.pareto(1.2, SHAPES) + 8).clip(8, 220):
            corners = int(draw.integers(3, 9))
            around = np.sort(draw.uniform(0, 2 * np.pi, corners))
            reach = size * draw.uniform(0.4, 1, (corners, 1))
            outline = np.stack([np.cos(around), np.sin(around)], axis=1) * reach
            outline += draw.uniform(0, 1, 2) * (width, height)
            shade = tuple(int(v) for v in draw.integers(0, 256, 3))
            cv2.fillPoly(picture, [outline.astype(np.int32)], shade, cv2.LINE_AA)
        grain = draw.integers(-6, 7, (height, width, 1), dtype=np.int16)
        return np.clip(picture + grain, 0, 255).astype(np.uint8)


def _lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row) + b"\n")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("kind", choices=KINDS)
    options.add_argument("count", type=int)
    options.add_argument("folder", type=Path)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--plain", action="store_true", help="words by frequency, no phrases")
    told = options.parse_args()
    write(told.folder, told.kind, told.count, told.seed, plain=told.plain)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
