# ruff: noqa: INP001, T201
"""Make data/demo: a small bilingual task market with its truth, from one seed.

Run ``python scripts/make_demo_drop.py [FOLDER]``; the same libraries give the same bytes. Everything
in it is written or drawn here: no person, shop, app or order in it is real.
"""

import io
import json
import random
import sys
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import demo_hands
import demo_pictures
import demo_words
import polars as pl

SEED = 20260302
OPENS = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SITE = {"lat": 31.2304, "lon": 121.4737, "radius_m": 300}
ZERO_WIDTH = "\u200b\u200c\u2060"

EVENT_SCHEMA = {
    "event_id": pl.String, "session_id": pl.String, "worker_id": pl.String,
    "submission_id": pl.String, "type": pl.String, "at": pl.Float64,
    "received_at": pl.Datetime("us", "UTC"), "x": pl.Float32, "y": pl.Float32,
    "pointer_type": pl.String, "key_class": pl.String, "length": pl.Int32, "path": pl.String,
    "lat": pl.Float64, "lon": pl.Float64, "accuracy_m": pl.Float64, "mocked": pl.Boolean,
    "device_id": pl.String,
}  # fmt: skip


class Market:
    """Collects the tables of the drop and the truth beside them."""

    def __init__(self) -> None:
        self.draw = random.Random(SEED)
        self.tasks: list[dict[str, Any]] = []
        self.workers: dict[str, dict[str, Any]] = {}
        self.submissions: list[dict[str, Any]] = []
        self.truth: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.sessions: dict[str, list[dict[str, Any]]] = {}
        self.blobs: dict[str, bytes] = {}

    def task(self, task_id: str, publisher_id: str, title: str, brief: str, category: str,
             language: str, bounty_minor: int, grade: str, **more: Any) -> None:  # fmt: skip
        """Post a task."""
        self.tasks.append({
            "task_id": task_id, "publisher_id": publisher_id, "title": title, "brief": brief,
            "category": category, "language": language, "grade": grade,
            "bounty_minor": bounty_minor, "currency": "CNY", "slots": 20,
            "posted_at": stamp(OPENS - timedelta(hours=20)),
            "deadline_at": stamp(OPENS + timedelta(days=7)), "site": None, "reference_paths": [],
        } | more)  # fmt: skip

    def worker(self, worker_id: str, *, days: int = 0, payout: str | None = None,
               verified: bool = True) -> None:  # fmt: skip
        """Open an account, once; ``days`` before the market opens (0: drawn)."""
        if worker_id in self.workers:
            return
        age = days or self.draw.randint(60, 1400)
        self.workers[worker_id] = {
            "worker_id": worker_id, "registered_at": stamp(OPENS - timedelta(days=age, hours=3)),
            "phone_verified": True, "real_name_verified": verified, "social_linked": age > 300,
            "payout_account_hash": payout or f"{self.draw.getrandbits(128):032x}",
            "skills": sorted(self.draw.sample(["文案", "拍摄", "设计", "标注", "体验", "录音"], 2)),
        }  # fmt: skip

    def hand_in(
        self,
        sid: str,
        task_id: str,
        worker_id: str,
        *,
        hours: float,
        minutes: float = 12.0,
        text: str = "",
        files: Sequence[tuple[str, bytes, str]] = (),
        way: demo_hands.Way = "mouse",
        label: str = "honest",
        kinds: Sequence[str] = (),
        source: str | None = None,
        confounder: str | None = None,
        ambiguous: bool = False,
        device: str | None = None,
        supersedes: str | None = None,
        fixes: Sequence[tuple[float, float, float]] = (),
        replay: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Hand in one submission ``hours`` after opening, worked at for ``minutes``, with its truth."""
        self.worker(worker_id)
        submitted = OPENS + timedelta(hours=hours, seconds=self.draw.randint(0, 40))
        claimed = submitted - timedelta(minutes=minutes)
        attachments = [self.attach(name, data, claim) for name, data, claim in files]
        address = f"198.51.100.{sum(worker_id.encode()) % 250 + 1}"
        self.submissions.append({
            "submission_id": sid, "task_id": task_id, "worker_id": worker_id,
            "claimed_at": stamp(claimed), "submitted_at": stamp(submitted), "text": text,
            "attachments": attachments, "session_id": f"x-{sid}",
            "device_id": device or f"d-{worker_id}", "ip": address, "supersedes": supersedes,
        })  # fmt: skip
        rows = demo_hands.session(
            self.draw, way=way, claimed_at=claimed, submitted_at=submitted, text=text,
            fixes=fixes, replay=[dict(r) for r in replay],
        )  # fmt: skip
        self.sessions[sid] = rows
        for i, row in enumerate(rows):
            late = timedelta(milliseconds=row["at"] + 120)
            self.events.append({
                "event_id": f"{sid}-{i}", "session_id": f"x-{sid}", "worker_id": worker_id,
                "submission_id": sid, "device_id": device or f"d-{worker_id}",
                "received_at": datetime(1970, 1, 1, tzinfo=UTC) + late,
            } | row)  # fmt: skip
        told = {"submission_id": sid, "label": label, "kinds": list(kinds),
                "source_submission_id": source}  # fmt: skip
        if confounder:
            told["confounder"] = confounder
        if ambiguous:
            told["ambiguous"] = True
        self.truth.append(told)

    def attach(self, name: str, data: bytes, claim: str) -> dict[str, str]:
        """Put a file into the drop and name it as an attachment does."""
        path = f"blobs/{name}"
        self.blobs[path] = data
        return {"path": path, "media_type": claim, "name": name}


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def post_tasks(m: Market) -> None:
    """Eight tasks of ordinary publishers, four of one that pays for crowds."""
    kinds = {
        "tofu": ("p-corner", "copywriting", "zh-CN", 1500, "B"),
        "bicycle": ("p-school", "short_answer", "en", 1200, "A"),
        "park": ("p-city", "review", "zh-CN", 800, "B"),
        "bird": ("p-lab", "labelling", "en", 60, "C"),
        "poster": ("p-hills", "design", "en", 6000, "A"),
        "sign": ("p-city", "onsite_photo", "zh-CN", 1000, "B"),
        "checkin": ("p-reader", "screenshot_proof", "en", 150, "C"),
        "minutes": ("p-garden", "writing", "en", 2500, "B"),
    }
    for task_id, (publisher, category, language, bounty, grade) in kinds.items():
        title, brief = demo_words.BRIEFS[task_id]
        site = {"site": SITE} if task_id == "sign" else {}
        m.task(task_id, publisher, title, brief, category, language, bounty, grade, **site)
    for i in range(4):
        m.task(f"follow-{i + 1}", "p-crowd", f"{demo_words.FOLLOW[0]}({i + 1})",
               demo_words.FOLLOW[1], "follow", "zh-CN", 300, "C")  # fmt: skip


def texts(m: Market) -> None:
    """Honest writing, and what was made of it."""
    words = demo_words
    for i, text in enumerate(words.TOFU):
        way: demo_hands.Way = "drafted" if i == 3 else "mouse"
        why = "legit_paste" if i == 3 else "quotes_brief"
        m.hand_in(f"tofu-{i + 1}", "tofu", f"w-{i + 1:02d}", hours=2 + 2.5 * i, minutes=38,
                  text=text, way=way, confounder=why)  # fmt: skip
    m.worker("w-31", days=3, verified=False)
    m.hand_in("tofu-6", "tofu", "w-31", hours=19, minutes=4, text=words.TOFU[0], way="pasted",
              label="fraud", kinds=["text.near_duplicate", "trajectory.pasted"],
              source="tofu-1")  # fmt: skip
    m.hand_in("tofu-7", "tofu", "w-32", hours=21, minutes=6, text=hidden(words.TOFU[2]),
              way="pasted", label="fraud", source="tofu-3",
              kinds=["text.near_duplicate", "text.hidden_characters", "trajectory.pasted"])  # fmt: skip
    m.hand_in("tofu-8", "tofu", "w-33", hours=23, minutes=5, way="pasted",
              text=words.BRIEFS["tofu"][1], label="fraud",
              kinds=["text.template_only", "trajectory.pasted"])  # fmt: skip
    for i, text in enumerate(words.BICYCLE):
        m.hand_in(f"bicycle-{i + 1}", "bicycle", f"w-{i + 6:02d}", hours=3 + 3 * i, minutes=30,
                  text=text, confounder="same_prompt")  # fmt: skip
    m.hand_in("bicycle-5", "bicycle", "w-34", hours=20, minutes=14, text=words.BICYCLE_REWORDED,
              label="fraud", kinds=["text.near_duplicate"], source="bicycle-1")  # fmt: skip
    m.hand_in("bicycle-6", "bicycle", "w-35", hours=24, minutes=13,
              text=words.BICYCLE[2].replace("a", "\u0430").replace("o", "\u043e"), label="fraud",
              kinds=["text.near_duplicate", "text.hidden_characters"], source="bicycle-3")  # fmt: skip
    for i, text in enumerate(words.PARK):
        m.hand_in(f"park-{i + 1}", "park", f"w-{i + 10:02d}", hours=4 + 4 * i, minutes=26,
                  text=text, way="touch" if i % 2 else "mouse",
                  confounder="touch_few_moves" if i % 2 else None)  # fmt: skip
    stolen = words.PARK[2].partition("周末白天")[0]
    m.hand_in("park-5", "park", "w-36", hours=27, minutes=11, label="fraud", source="park-3",
              text=words.PARK_MERGED_OWN + stolen + words.PARK_MERGED_END,
              kinds=["text.contained"])  # fmt: skip
    m.hand_in("park-6", "park", "w-31", hours=30, minutes=0.3, text=words.PARK[0], way="pasted",
              label="fraud", source="park-1",
              kinds=["text.near_duplicate", "trajectory.pasted", "trajectory.too_fast"])  # fmt: skip
    for i in range(2):
        data = words.MINUTES[i].encode()
        m.hand_in(f"minutes-{i + 1}", "minutes", f"w-{i + 14:02d}", hours=6 + 5 * i, minutes=55,
                  files=[(f"minutes-{i + 1}.txt", data, "text/plain")], way="touch")  # fmt: skip
    m.hand_in("minutes-3", "minutes", "w-15", hours=12, minutes=9, supersedes="minutes-2",
              files=[("minutes-2b.txt", words.MINUTES_REVISED.encode(), "text/plain")],
              way="touch", confounder="own_revision")  # fmt: skip
    m.hand_in("minutes-4", "minutes", "w-37", hours=28, minutes=8, way="touch", label="fraud",
              files=[("my minutes.txt", words.MINUTES[0].encode(), "text/plain")],
              kinds=["file.identical", "text.near_duplicate"], source="minutes-1")  # fmt: skip
    for i, answer in enumerate(["yes", "yes", "no", "yes", "unclear", "Yes", "yes"]):
        m.hand_in(f"bird-{i + 1}", "bird", f"w-{i + 16:02d}", hours=1 + 1.5 * i, minutes=0.7,
                  text=answer, way="touch", confounder="short_common_answer")  # fmt: skip


def hidden(text: str) -> str:
    """The same words to the eye, with an invisible character after every fourth."""
    parts = [text[i : i + 4] for i in range(0, len(text), 4)]
    return "".join(p + ZERO_WIDTH[i % 3] for i, p in enumerate(parts))


def pictures(m: Market) -> None:
    """Posters, signs and result pages, and what was made of them."""
    shown = demo_pictures
    posters = [shown.poster(i) for i in range(6)]
    for i, image in enumerate(posters):
        kind = ("image/png", ".png.jpg") if i == 4 else ("image/jpeg", ".jpg")
        m.hand_in(f"poster-{i + 1}", "poster", f"w-{i + 1:02d}", hours=8 + 3 * i, minutes=170,
                  files=[(f"poster-{i + 1}{kind[1]}", shown.jpeg(image), kind[0])],
                  confounder="wrong_media_claim" if i == 4 else None)  # fmt: skip
    width, height = posters[1].size
    cropped = posters[1].crop((width // 9, height // 12, width, height * 11 // 12))
    m.hand_in("poster-7", "poster", "w-38", hours=40, minutes=31, label="fraud", source="poster-2",
              files=[("final.jpg", shown.jpeg(cropped.resize((480, 320)), quality=70), "image/jpeg")],
              kinds=["image.near_duplicate", "image.region_reused"])  # fmt: skip
    m.hand_in("poster-8", "poster", "w-39", hours=42, minutes=25, label="fraud", source="poster-1",
              files=[("hills.jpg", shown.jpeg(posters[0]), "image/jpeg")],
              kinds=["file.identical", "image.near_duplicate"])  # fmt: skip
    made = shown.png(
        shown.poster(77).quantize(64),
        parameters="hills at dusk, festival poster\nSteps: 28, Sampler: Euler a, Seed: 5",
    )
    m.hand_in("poster-9", "poster", "w-40", hours=44, minutes=22, label="fraud",
              files=[("dusk.png", made, "image/png")], kinds=["provenance.generated"])  # fmt: skip
    for i in range(4):
        at = OPENS + timedelta(hours=5 + 2 * i, minutes=-6)
        block = shown.exif(at, lat=SITE["lat"] + 0.0004 * i, lon=SITE["lon"], model=f"L{i + 4}")
        m.hand_in(f"sign-{i + 1}", "sign", f"w-{i + 23:02d}", hours=5 + 2 * i, minutes=35,
                  way="touch", files=[(f"sign-{i + 1}.jpg", shown.jpeg(shown.sign(i), exif=block),
                                       "image/jpeg")],
                  fixes=[(SITE["lat"] + 0.0004 * i, SITE["lon"] + 0.0002, 14.0)] * 3)  # fmt: skip
    before = shown.exif(OPENS - timedelta(days=140), lat=39.9042, lon=116.4074, model="L2")
    m.hand_in("sign-5", "sign", "w-41", hours=29, minutes=20, way="touch", label="fraud",
              files=[("IMG_2207.jpg", shown.jpeg(shown.sign(55), exif=before), "image/jpeg")],
              fixes=[(SITE["lat"], SITE["lon"], 20.0)] * 3,
              kinds=["provenance.inconsistent"])  # fmt: skip
    away = [(31.301, 121.52, 12.0), (31.3011, 121.5203, 11.0), (31.3012, 121.5201, 12.0)]
    m.hand_in("sign-6", "sign", "w-42", hours=31, minutes=18, way="touch", label="fraud",
              files=[("IMG_0031.jpg", shown.jpeg(shown.sign(66)), "image/jpeg")],
              fixes=away, kinds=["trajectory.off_site"])  # fmt: skip
    names = ["Mira", "Jonas K.", "Xiaolin", "Peter", "Aroha", "Dana"]
    for i, name in enumerate(names):
        m.hand_in(f"checkin-{i + 1}", "checkin", f"w-{i + 10:02d}", hours=9 + 2 * i, minutes=6,
                  way="touch", confounder="lookalike_screenshot",
                  files=[(f"page-{i + 1}.jpg", shown.jpeg(shown.result_page(name, i), quality=72),
                          "image/jpeg")])  # fmt: skip
    taken = shown.result_page(names[2], 2).resize((300, 533))
    m.hand_in("checkin-7", "checkin", "w-38", hours=33, minutes=3, way="touch", label="fraud",
              files=[("screen.jpg", shown.jpeg(taken, quality=45), "image/jpeg")],
              kinds=["image.near_duplicate"], source="checkin-3")  # fmt: skip


def hands(m: Market) -> None:
    """A script, a replay, one person with three accounts, and a crowd that is paid to be one."""
    m.hand_in("bird-8", "bird", "w-43", hours=14, minutes=1.0, text="no", way="script",
              label="fraud", kinds=["trajectory.automated"])  # fmt: skip
    m.hand_in("bird-9", "bird", "w-44", hours=16, minutes=1.0, text="yes", way="script",
              label="fraud", kinds=["trajectory.automated"])  # fmt: skip
    m.hand_in("bird-10", "bird", "w-45", hours=18, minutes=1.4, text="yes", label="fraud",
              replay=demo_hands.pointer_rows(m.sessions["bicycle-2"]), source="bicycle-2",
              kinds=["trajectory.replayed"])  # fmt: skip
    for i, (task_id, text) in enumerate(
        zip(["park", "bicycle", "tofu"], demo_words.RING, strict=True)
    ):
        m.worker(f"w-{i + 46}", days=9 + i, payout="5e" * 16, verified=i == 0)
        m.hand_in(f"ring-{i + 1}", task_id, f"w-{i + 46}", hours=25 + i, minutes=17, text=text,
                  way="touch", device="d-ring", label="fraud" if i else "honest",
                  kinds=["identity.shared_device", "identity.shared_payout"] if i else [],
                  source="ring-1" if i else None, ambiguous=not i)  # fmt: skip
    comments = iter(demo_words.COMMENTS)
    for task in range(4):
        for crew in range(5):
            m.worker(f"w-{crew + 50}", days=12 + crew, verified=False)
            m.hand_in(f"follow-{task + 1}-{crew + 1}", f"follow-{task + 1}", f"w-{crew + 50}",
                      hours=10 + 21 * task + crew / 90, minutes=2.5, text=next(comments),
                      way="touch", label="fraud",
                      kinds=["collusion.dense_block", "collusion.lockstep"])  # fmt: skip


def broken_lines(m: Market) -> list[str]:
    """Rows that cannot be taken: each a lesson in what quarantine says."""
    base = {
        "task_id": "poster", "worker_id": "w-39", "claimed_at": stamp(OPENS),
        "submitted_at": stamp(OPENS + timedelta(hours=50)), "text": "", "session_id": None,
        "device_id": None, "ip": None, "supersedes": None,
    }  # fmt: skip
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        entry = zipfile.ZipInfo("notes.txt", (2026, 3, 2, 0, 0, 0))
        packed.writestr(entry, "what a picture should not carry\n")
    double = m.attach("double.jpg", demo_pictures.jpeg(demo_pictures.poster(90).resize((224, 168)))
                      + archive.getvalue(), "image/jpeg")  # fmt: skip
    cut = demo_pictures.jpeg(demo_pictures.poster(91).resize((224, 168)))
    half = m.attach("half.jpg", cut[: len(cut) // 2], "image/jpeg")
    page = m.attach(
        "page.png", b"<!doctype html><html><body>not a picture</body></html>", "image/png"
    )
    absent = {"path": "blobs/never-sent.jpg", "media_type": "image/jpeg", "name": "never-sent.jpg"}
    outside = {"path": "../../outside.jpg", "media_type": "image/jpeg", "name": "outside.jpg"}
    rows = [
        {**base, "submission_id": f"broken-{name}", "attachments": [file]}
        for name, file in (("polyglot", double), ("half", half), ("page", page),
                           ("absent", absent), ("outside", outside))
    ]  # fmt: skip
    no_id = {**base, "attachments": [], "text": "who am I?"}
    return ['{"submission_id": "broken-json", "task_id": "poster", "worker_id":',
            *(dump(row) for row in [no_id, *rows])]  # fmt: skip


def dump(row: Mapping[str, Any]) -> str:
    """One JSON line."""
    return json.dumps(row, ensure_ascii=False)


def write(m: Market, folder: Path) -> None:
    """Write drop and truth."""
    drop = folder / "drop"
    (drop / "events").mkdir(parents=True, exist_ok=True)
    (drop / "blobs").mkdir(exist_ok=True)
    broken = broken_lines(m)
    lines = [dump(row) for row in m.submissions]
    lines.append(lines[4])  # delivered twice
    late = lines.pop(2)  # delivered last, though handed in early
    for i, line in enumerate(broken):
        lines.insert(9 + 8 * i, line)
    lines.append(late)
    for name, rows in (("tasks", [dump(t) for t in m.tasks]),
                       ("workers", [dump(w) for w in m.workers.values()]),
                       ("submissions", lines)):  # fmt: skip
        (drop / f"{name}.jsonl").write_text("".join(f"{r}\n" for r in rows), encoding="utf-8")
    (folder / "truth.jsonl").write_text("".join(f"{dump(t)}\n" for t in m.truth), encoding="utf-8")
    events = pl.DataFrame(m.events, schema=EVENT_SCHEMA, strict=False)
    unknown = events.head(1).with_columns(
        pl.lit("broken-event").alias("event_id"), pl.lit("pointer.teleport").alias("type")
    )
    pl.concat([events, unknown]).write_parquet(
        drop / "events" / "part-0.parquet", compression="zstd", compression_level=19
    )
    for path, data in m.blobs.items():
        (drop / path).write_bytes(data)


def main() -> None:
    """Make the market and say what is in it."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "data" / "demo"
    m = Market()
    post_tasks(m)
    texts(m)
    pictures(m)
    hands(m)
    write(m, folder)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    fraud = sum(t["label"] == "fraud" for t in m.truth)
    print(f"{len(m.truth)} submissions ({fraud} fraud), {len(m.tasks)} tasks, {len(m.workers)} "
          f"workers, {len(m.events)} events, {size:,} bytes in {folder}")  # fmt: skip


if __name__ == "__main__":
    main()
