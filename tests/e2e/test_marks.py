"""Marks as operators use them: hand over, see it come back, look at the finding; learn others' marks."""

import io
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from detectors.watermark.examples import branded, texture
from ledger_worlds import Client
from pipeline.bootstrap import House, open_house
from pipeline.entry.api import Services, create_app
from pipeline.entry.cli import app
from pipeline.entry.marking import CopyDesk
from pipeline.settings import load_settings
from pipeline.stores.gate import GateReader
from pipeline.stores.ledger_writer import Writer

ESSAY = " ".join(
    f"On day {day} the stall near gate {day * 7 % 31} sold {day * 13 % 97} bowls, and the queue stood "
    f"until half past {day % 12}." for day in range(1, 40)
)  # fmt: skip


def save(path: Path, pixels: np.ndarray, **more: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **more)


def drop(folder: Path, rows: list[dict[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tasks = {str(r["task_id"]) for r in rows}
    for name, lines in (
        (
            "tasks",
            [{"task_id": t, "publisher_id": f"p-{t}", "brief": "画一幅画"} for t in sorted(tasks)],
        ),
        ("submissions", rows),
    ):
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    return folder


def submission(
    name: str, worker: str, task: str, at: str, path: str | None, text: str = ""
) -> dict[str, object]:
    files = [{"path": path, "media_type": "image/png", "name": path}] if path else []
    return {"submission_id": name, "worker_id": worker, "task_id": task, "claimed_at": at,
            "submitted_at": at, "text": text, "attachments": files}  # fmt: skip


def bountyguard(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with one paid picture and text, taken in."""
    place = tmp_path_factory.mktemp("marks")
    save(place / "first/blobs/own.png", texture(21))
    paid = submission("paid", "author", "t1", "2026-05-01T08:00:00Z", "blobs/own.png", ESSAY)
    first = drop(place / "first", [paid])
    assert bountyguard("--home", str(place / "home"), "ingest", str(first)).exit_code == 0
    return place


@pytest.fixture
def home(taken_in: Path, tmp_path: Path) -> Path:
    """That house for one test alone, so that none sees what another one did."""
    shutil.copytree(taken_in, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_marked_delivery_that_comes_back_is_found_and_drawn(home: Path) -> None:
    at, out = ("--home", str(home / "home")), home / "copies"
    made = bountyguard(*at, "mark", str(home / "first/blobs/own.png"), "--submission", "paid",
                       "--recipient", "p-t1", "-o", str(out), "--format", "json")  # fmt: skip
    assert made.exit_code == 0, made.output
    copy = orjson.loads(made.stdout)
    seen = orjson.loads(bountyguard(*at, "marks", "read", copy["copy"], "--format", "json").stdout)
    assert (seen["serial"], seen["submission_id"]) == (copy["serial"], "paid")
    assert seen["p_value"] < 1e-6
    marked = np.asarray(Image.open(copy["copy"]))
    assert 10 * np.log10(255**2 / np.mean((marked.astype(float) - texture(21)) ** 2)) >= 42.0

    stolen = home / "second/blobs"
    save(stolen / "cut.jpg", marked[30:350, 40:470], quality=80)
    save(stolen / "other.png", texture(22))
    second = drop(home / "second", [
        submission("thief", "w1", "t2", "2027-01-01T08:00:00Z", "blobs/cut.jpg"),
        submission("honest", "w2", "t2", "2027-01-01T09:00:00Z", "blobs/other.png"),
        submission("again", "author", "t1", "2027-01-01T10:00:00Z", "blobs/own.png"),
    ])  # fmt: skip
    save(second / "blobs/own.png", marked)
    assert bountyguard(*at, "run", str(second)).exit_code == 0
    told = bountyguard(
        *at, "explain", "thief", "--pictures", str(home / "drawn"), "--format", "json"
    )
    signals = {s["reason_code"]: s for s in orjson.loads(told.stdout)["signals"]}
    found = signals["watermark.platform_mark"]
    assert found["matched_submission_id"] == "paid"
    assert found["evidence"]["deliveries"][0]["serial"] == copy["serial"]
    drawn = next((home / "drawn").glob("thief-*platform_mark.html")).read_text(encoding="utf-8")
    assert drawn.count("data:image/jpeg") == 4
    assert "<rect" in drawn
    marks = [
        orjson.loads(line) for line in bountyguard(*at, "export", "signals").stdout.splitlines()
    ]
    assert {s["submission_id"] for s in marks if s["reason_code"].startswith("watermark.")} == {
        "thief"
    }


def test_a_rotated_key_marks_and_the_retired_one_still_detects(home: Path) -> None:
    at = ("--home", str(home / "home"))
    old = bountyguard(*at, "marks", "rotate").stdout.strip()
    own = str(home / "first/blobs/own.png")
    words = (
        "--submission",
        "paid",
        "--recipient",
        "r",
        "-o",
        str(home / "rotated"),
        "--format",
        "json",
    )
    before = orjson.loads(bountyguard(*at, "mark", own, *words).stdout)
    assert before["key_id"] == old
    new = bountyguard(*at, "marks", "rotate").stdout.strip()
    after = orjson.loads(bountyguard(*at, "mark", own, *words).stdout)
    assert after["key_id"] == new != old
    told = bountyguard(
        *at, "marks", "read", before["copy"], after["copy"], "--format", "json"
    ).stdout
    assert [orjson.loads(line)["key_id"] for line in told.splitlines()] == [old, new]
    listed = [
        orjson.loads(x)
        for x in bountyguard(*at, "marks", "keys", "--format", "json").stdout.splitlines()
    ]
    assert [k["use"] for k in listed if k["key_id"] in (old, new)] == ["detects", "marks"]
    assert "master" not in str(listed)
    lines = bountyguard(*at, "export", "deliveries").stdout.splitlines()
    assert {orjson.loads(line)["serial"] for line in lines} >= {before["serial"], after["serial"]}


def test_what_cannot_be_marked_is_told(home: Path) -> None:
    at = ("--home", str(home / "home"))
    to = ("--recipient", "r", "-o", str(home / "none"))
    own = str(home / "first/blobs/own.png")
    assert (
        bountyguard(*at, "mark", own, "--submission", "nobody", *to).exception.code
        == "submission.unknown"
    )
    assert (
        bountyguard(*at, "mark", str(home / "no.png"), "--submission", "paid", *to).exception.code
        == "mark.file"
    )
    broken = home / "broken.png"
    broken.write_bytes((home / "first/blobs/own.png").read_bytes()[:300])
    assert bountyguard(*at, "mark", str(broken), "--submission", "paid", *to).exit_code == 1


def test_a_visible_mark_is_learned_from_a_folder(home: Path) -> None:
    at = ("--home", str(home / "home"))
    for number in range(30, 36):
        save(home / f"stock/{number}.png", branded(number))
    (home / "stock/notes.txt").write_text("not a picture")
    told = bountyguard(*at, "marks", "learn", str(home / "stock"), "--format", "json")
    assert told.exit_code == 0, told.output
    learned = orjson.loads(told.stdout)
    assert (learned["name"], learned["examples"], learned["unread"]) == ("stock", 6, 1)
    save(home / "third/blobs/b.png", branded(44))
    third = drop(
        home / "third", [submission("branded", "w7", "t3", "2027-02-01T08:00:00Z", "blobs/b.png")]
    )
    assert bountyguard(*at, "run", str(third)).exit_code == 0
    folder = home / "drawn3"
    told = bountyguard(*at, "explain", "branded", "--pictures", str(folder), "--format", "json")
    signals = {s["reason_code"]: s for s in orjson.loads(told.stdout)["signals"]}
    assert signals["watermark.foreign_mark"]["evidence"]["mark"] == "stock"
    assert "<rect" in next(folder.glob("*foreign_mark.html")).read_text(encoding="utf-8")
    few = home / "few"
    save(few / "1.png", branded(1))
    assert bountyguard(*at, "marks", "learn", str(few)).exception.code == "marks.learn"


@pytest.fixture
def desk(home: Path) -> "object":
    with open_house(load_settings({}, home=home / "home")) as opened:
        yield opened, *served(opened)


def served(opened: House) -> tuple[Client, dict[str, str]]:
    services = Services(
        database=opened.database, ledger=opened.ledger, writer=Writer(opened.ledger),
        access=opened.access(), permits=opened.permits(), reader=GateReader(opened.database),
        clock=opened.settings.now, marker=CopyDesk(opened),
    )  # fmt: skip
    key = services.access.make("platform", ["deliveries"])
    return Client(create_app(services)), {"Authorization": f"Bearer {key}"}


def test_the_api_hands_over_a_marked_copy_once(desk: tuple[House, Client, dict[str, str]]) -> None:
    opened, client, headers = desk
    ask = {"submission_id": "paid", "content_index": 0, "recipient": "p-t1"}
    first = client.post("/v1/deliveries", json=ask, headers=headers | {"Idempotency-Key": "a"})
    again = client.post("/v1/deliveries", json=ask, headers=headers | {"Idempotency-Key": "a"})
    assert (first.status_code, first.headers["content-type"]) == (201, "image/png")
    assert first.content == again.content
    key_id, _, serial = first.headers["bountyguard-delivery"].partition(":")
    assert again.headers["bountyguard-delivery"] == f"{key_id}:{serial}"
    assert np.asarray(Image.open(io.BytesIO(first.content))).shape == texture(21).shape
    assert opened.deliveries.line(key_id, serial) is not None
    other = client.post("/v1/deliveries", json=ask, headers=headers | {"Idempotency-Key": "b"})
    assert other.headers["bountyguard-delivery"] != first.headers["bountyguard-delivery"]
    words = client.post("/v1/deliveries", json={"submission_id": "paid", "recipient": "p-t1"},
                        headers=headers | {"Idempotency-Key": "c"})  # fmt: skip
    assert words.headers["content-type"].startswith("text/plain")
    assert words.text != ESSAY
    for ask, code in (
        ({"submission_id": "no", "recipient": "r"}, "submission.unknown"),
        ({"submission_id": "paid", "content_index": 9, "recipient": "r"}, "content.unknown"),
    ):
        told = client.post("/v1/deliveries", json=ask, headers=headers | {"Idempotency-Key": code})
        assert told.json()["code"] == code


def test_erasing_the_author_erases_the_copies(desk: tuple[House, Client, dict[str, str]]) -> None:
    opened, client, headers = desk
    ask = {"submission_id": "paid", "content_index": 0, "recipient": "p-t1"}
    made = client.post("/v1/deliveries", json=ask, headers=headers | {"Idempotency-Key": "z"})
    key_id, _, serial = made.headers["bountyguard-delivery"].partition(":")
    opened.upkeep().erase_worker("author")
    assert opened.deliveries.line(key_id, serial) is None
    gone = client.post("/v1/deliveries", json=ask, headers=headers | {"Idempotency-Key": "z"})
    assert gone.json()["code"] == "delivery.erased"
