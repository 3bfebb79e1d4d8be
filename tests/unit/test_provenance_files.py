"""Metadata from strangers: read right, contradictions only, never a crash, never the network."""

import os
import random
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from detectors.watermark.examples import painted, photo
from detectors.watermark.provenance.claims import Claim, claim_of
from detectors.watermark.provenance.facts import Facts, read_facts
from detectors.watermark.provenance.rules import contradictions
from pipeline.model.records import Site

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[3] / "shared"))
POSTED = datetime(2026, 3, 2, tzinfo=UTC)
ONSITE = Claim(
    site=Site(lat=30.5724, lon=114.2615, radius_m=300), posted_at=POSTED,
    submitted_at=POSTED + timedelta(hours=8), fresh=True, record=True, design=False, generator=None,
)  # fmt: skip
CAMERA = ("Xiaomi", "23127PN0CC")


def rules(data: bytes, claim: Claim = ONSITE, kind: str = "image/jpeg") -> dict[str, float]:
    return {c.rule: c.strength for c in contradictions(read_facts(data, kind), claim)}


def provenance_files(kind: str) -> pl.DataFrame:
    if not (SHARED / "provenance/manifest.parquet").exists():
        pytest.skip("the development files are absent")
    table = pl.read_parquet(SHARED / "provenance/manifest.parquet")
    return table.filter(pl.col("kind") == kind)


def test_an_honest_local_clock_is_no_contradiction() -> None:
    taken = POSTED + timedelta(hours=7)
    assert rules(photo(1, taken=taken, camera=CAMERA)) == {}
    assert rules(photo(1, taken=taken, zone="+08:00", camera=CAMERA)) == {}


def test_a_shot_before_the_task_contradicts_by_its_lead() -> None:
    old = rules(photo(1, taken=POSTED - timedelta(days=60), zone="+08:00"))
    assert old["shot_before_task"] >= 0.5
    slip = rules(photo(1, taken=POSTED - timedelta(hours=3), zone="+08:00"))
    assert 0.2 <= slip["shot_before_task"] < 0.5
    assert rules(photo(1, taken=POSTED - timedelta(minutes=40), zone="+08:00")) == {}


def test_drift_and_map_datum_are_no_other_place() -> None:
    assert rules(photo(1, at=(30.580, 114.266))) == {}
    assert rules(photo(1, at=(30.9, 114.2)))["shot_elsewhere"] >= 0.5


def test_an_editor_is_no_finding_where_editing_is_the_work() -> None:
    data = photo(1, software="Adobe Photoshop 25.4 (Windows)", camera=CAMERA)
    when = {"submitted_at": POSTED}
    poster = claim_of(when, {"brief": "设计一张活动海报", "posted_at": POSTED})
    receipt = claim_of(when, {"brief": "上传一张小票照片", "posted_at": POSTED})
    assert rules(data, poster) == {}
    assert rules(data, receipt)["editor"] >= 0.5
    assert rules(photo(1, software="OS1.0.9.0", camera=CAMERA)) == {}


@pytest.mark.parametrize(
    "texts",
    [
        {"parameters": "a street\nSteps: 28, Sampler: Euler, CFG scale: 7, Seed: 3"},
        {"prompt": '{"3": {"class_type": "KSampler", "inputs": {}}}'},
        {"Software": "NovelAI", "Comment": '{"steps": 28, "sampler": "k_euler"}'},
        {"AIGC": '{"AIGC": {"Label": "1", "ContentProducer": "x"}}'},
    ],
    ids=["web ui", "graph", "service", "label by law"],
)
def test_generators_sign_in_many_ways(texts: dict[str, str]) -> None:
    assert rules(painted(1, texts), kind="image/png")["generator"] >= 0.75


def test_words_about_generators_in_free_text_say_nothing() -> None:
    about = {"Description": "my review of midjourney and stable diffusion"}
    assert rules(painted(1, about), kind="image/png") == {}


def test_a_generator_that_is_asked_for_is_no_finding() -> None:
    data = painted(1, {"parameters": "x\nSteps: 28, Sampler: Euler, Seed: 3"})
    asked = claim_of({"submitted_at": POSTED}, {"brief": "用AI生成一张插画", "posted_at": POSTED})
    barred = claim_of({"submitted_at": POSTED}, {"brief": "插画，不得使用AI", "posted_at": POSTED})
    assert rules(data, asked, "image/png") == {}
    assert rules(data, barred, "image/png")["generator"] >= 0.5


def test_manifests_altered_untrusted_and_sound_are_three_things() -> None:
    files = provenance_files("c2pa")
    anchors = (SHARED / "provenance/c2pa/trust_anchors.pem").read_text()
    states = {}
    for name, kind in files.select("file", "media_type").iter_rows():
        data = (SHARED / "provenance" / name).read_bytes()
        states[Path(name).name] = [
            read_facts(data, kind, pem).manifests.state for pem in ("", anchors)
        ]
    assert states["XCA.jpg"] == ["altered", "altered"]
    assert states["E-sig-CA.jpg"] == ["altered", "altered"]
    assert states["CA.jpg"] == ["untrusted", "sound"]
    assert states["CIE-sig-CA.jpg"][0] == "untrusted"
    assert states["cloud.jpg"][0] in ("absent", "remote")


def test_exif_agrees_with_what_the_samples_say() -> None:
    agree = total = 0
    for row in provenance_files("exif").drop_nulls("exif_make").iter_rows(named=True):
        exif = read_facts(
            (SHARED / "provenance" / row["file"]).read_bytes(), row["media_type"]
        ).exif
        total += 1
        agree += (
            exif.make == row["exif_make"].strip()
            and exif.model == (row["exif_model"] or "").strip()
        )
    assert total > 50
    assert agree == total


def test_mutated_files_neither_crash_nor_call_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """``BOUNTYGUARD_MUTANTS`` sets how many; the ordinary run takes a thousand."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file made the reader open a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    seeds = [
        photo(1, taken=POSTED, zone="+08:00", at=(30.0, 114.0), camera=CAMERA, software="GIMP"),
        painted(2, {"parameters": "Steps: 2, Sampler: x, Seed: 3", "Comment": "{}"}),
    ]
    kinds = ["image/jpeg", "image/png"]
    if (SHARED / "provenance").is_dir():
        for name in ("c2pa/CA.jpg", "c2pa/cloud.jpg", "exif/heic/IMG_5195.HEIC"):
            if (SHARED / "provenance" / name).exists():
                seeds.append((SHARED / "provenance" / name).read_bytes()[:400_000])
                kinds.append("image/heic" if name.endswith("HEIC") else "image/jpeg")
    draw = random.Random(11)
    for number in range(int(os.environ.get("BOUNTYGUARD_MUTANTS", "1000"))):
        which = number % len(seeds)
        mutant = bytearray(seeds[which])
        for _ in range(draw.choice((1, 3, 10, 60))):
            spot = draw.randrange(min(len(mutant), 4096))
            mutant[spot] = draw.choice((0, 255, draw.randrange(256)))
        if draw.random() < 0.3:
            del mutant[draw.randrange(len(mutant)) :]
        facts = read_facts(bytes(mutant), kinds[which])
        assert isinstance(facts, Facts)
        contradictions(facts, ONSITE)
