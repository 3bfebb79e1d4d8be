"""Stamps of time, date, place and position: how many are noticed, and how each part is read.

Stamps are drawn on real photographs in Chinese and English, several layouts and sizes, saved as
JPEG. ``--set tune`` are the stamps that the look and the reading were made on; ``--set test`` has
other photographs, places, faces (the system's where it has them) and colours. Run with ``python
benchmarks/watermark_stamps.py [--set test] [--stamps N] [--format json]``; needs the development
photos and, for Chinese, the wheel ``cvttf-notosanscjk-regular``.
"""

import argparse
import io
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detectors.watermark.overlay import may_be_stamped
from detectors.watermark.provenance.claims import Claim
from detectors.watermark.provenance.exif import Exif
from detectors.watermark.stamps import read_stamp, stamp_contradictions
from pipeline.model.records import Site

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
PLACES = {
    "tune": (
        ("武汉市洪山区珞喻路1037号", "1037 Luoyu Road", 30.5136, 114.4144),
        ("成都市锦江区春熙路8号", "8 Chunxi Road", 30.6574, 104.0817),
        ("西安市雁塔区长安南路86号", "86 Changan South Road", 34.2104, 108.9468),
        ("长沙市岳麓区麓山南路932号", "932 Lushan South Road", 28.1706, 112.9353),
        ("杭州市西湖区文三路390号", "390 Wensan Road", 30.2799, 120.1263),
    ),
    "test": (
        ("南京市玄武区北京东路41号", "41 Beijing East Road", 32.0576, 118.7981),
        ("广州市天河区体育西路103号", "103 Tiyu West Road", 23.1352, 113.3218),
        ("青岛市市南区香港中路10号", "10 Hongkong Middle Road", 36.0649, 120.3840),
        ("昆明市五华区翠湖南路5号", "5 Cuihu South Road", 25.0489, 102.7043),
        ("哈尔滨市道里区中央大街89号", "89 Zhongyang Street", 45.7732, 126.6173),
        ("厦门市思明区中山路217号", "217 Zhongshan Road", 24.4577, 118.0819),
        ("重庆市渝中区民权路28号", "28 Minquan Road", 29.5579, 106.5749),
    ),
}
COLOURS = {
    "tune": ((255, 255, 255), (255, 210, 40), (255, 255, 255)),
    "test": ((255, 255, 255), (255, 140, 20), (240, 240, 240), (255, 235, 120), (235, 60, 45)),
}
SYSTEM = Path("/usr/share/fonts")
FACES = {
    "tune": ("cjk",),
    "test": ("cjk", "NotoSerifCJK-Bold.ttc", "NotoSansCJK-Bold.ttc", "DejaVuSans.ttf", "DejaVuSansMono-Bold.ttf"),
}  # fmt: skip


def font(name: str, size: int, chinese: bool) -> Any:
    """Find a face by file name among the system's, or the one with Chinese glyphs in the wheel."""
    if name != "cjk" and not (chinese and name.startswith("DejaVu")):
        for file in sorted(SYSTEM.rglob(name)):
            return ImageFont.truetype(str(file), size, index=2 if name.endswith("ttc") else 0)
    for file in metadata.files("cvttf-notosanscjk-regular") or ():
        if file.name.endswith(".otf"):
            return ImageFont.truetype(str(file.locate()), size)
    raise SystemExit("install cvttf-notosanscjk-regular for the Chinese stamps")


def written(case: int, when: datetime, place: tuple[str, str, float, float]) -> list[str]:
    """The lines of a stamp: even cases in Chinese, odd ones in English, two forms of each."""
    place_zh, place_en, lat, lon = place
    first = case % 4 < 2
    if case % 2 == 0:
        clock = "%Y年%m月%d日 %H:%M" if first else "%Y.%m.%d %H:%M:%S"
        where = f"北纬{lat:.4f} 东经{lon:.4f}" if first else f"经度:{lon:.5f} 纬度:{lat:.5f}"
        return [when.strftime(clock), place_zh, where]
    clock = "%Y-%m-%d %H:%M:%S" if first else "%d %b %Y %H:%M"
    where = f"{lat:.5f}N {lon:.5f}E" if first else f"Lat {lat:.4f} Lon {lon:.4f}"
    return [when.strftime(clock), place_en, where]


def stamp(pixels: np.ndarray, case: int, which: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw the stamp of a case, and say what is on it."""
    draw = np.random.default_rng(case + 10_000 * (which == "test"))
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=int(draw.integers(0, 500_000)))
    place = PLACES[which][int(draw.integers(len(PLACES[which])))]
    colour = COLOURS[which][int(draw.integers(len(COLOURS[which])))]
    lines = written(case, when, place)
    picture = Image.fromarray(pixels)
    size = max(15, round(min(picture.size) * float(draw.uniform(0.036, 0.06))))
    face = font(FACES[which][int(draw.integers(len(FACES[which])))], size, case % 2 == 0)
    pen = ImageDraw.Draw(picture, "RGBA")
    tall, wide = int(size * 1.35), max(round(face.getlength(line)) for line in lines)
    if wide > picture.size[0] - 24:
        size = int(size * (picture.size[0] - 24) / wide)
        face, tall = face.font_variant(size=size), int(size * 1.35)
        wide = picture.size[0] - 24
    x = 12 if draw.random() < 0.7 else picture.size[0] - wide - 12
    y = 10 if draw.random() < 0.2 else picture.size[1] - tall * len(lines) - 8
    look = int(draw.integers(3))
    if look == 2:
        pen.rectangle((x - 6, y - 4, x + wide + 6, y + tall * len(lines)), fill=(0, 0, 0, 90))
    for line in lines:
        if look == 0:
            pen.text((x, y), line, font=face, fill=colour, stroke_width=1, stroke_fill=(40, 40, 40))
        else:
            pen.text((x + 1, y + 1), line, font=face, fill=(30, 30, 30, 160))
            pen.text((x, y), line, font=face, fill=colour)
        y += tall
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    truth = {
        "when": when, "lat": place[2], "lon": place[3],
        "place": place[0][:3] if case % 2 == 0 else place[1].split()[1],
    }  # fmt: skip
    return np.asarray(Image.open(out).convert("RGB")), truth


def photographs(which: str) -> list[Path]:
    """Photographs of one set: every other one of the development photos."""
    files = [
        f for f in sorted((SHARED / "photos").glob("*")) if f.name[:4] in ("kodi", "imag", "bsds")
    ]
    return files[which == "test" :: 2]


def measure(which: str, first: int, count: int) -> dict[str, Any]:
    """Draw, look, read and compare; and look at the unstamped photos."""
    files = photographs(which)
    started = time.process_time()
    clean = sum(may_be_stamped(np.asarray(Image.open(f).convert("RGB"))) for f in files)
    looking = time.process_time() - started
    large = [f for f in files if min(Image.open(f).size) >= 375]
    chosen = [large[i % len(large)] for i in range(first, first + count)]
    got = {"noticed": 0, "date": 0, "time": 0, "place": 0, "position": 0, "contradiction named": 0,
           "noticed and named": 0}  # fmt: skip
    of, seconds, missed = 0, 0.0, []
    for case, file in enumerate(chosen, first):
        pixels, truth = stamp(np.asarray(Image.open(file).convert("RGB")), case, which)
        noticed = may_be_stamped(pixels)
        started = time.process_time()
        read = read_stamp(pixels)
        seconds += time.process_time() - started
        claim = Claim(
            site=Site(lat=39.9, lon=116.4, radius_m=300.0), posted_at=truth["when"] + timedelta(days=30),
            submitted_at=truth["when"] + timedelta(days=31), fresh=True, record=True, design=False,
            generator=None,
        )  # fmt: skip
        named = {c.rule for c in stamp_contradictions(read, claim, Exif())}
        when = truth["when"]
        right = {
            "noticed": noticed,
            "date": read.local is not None and read.local.date() == when.date(),
            "time": read.has_time and read.local is not None
            and (read.local.hour, read.local.minute) == (when.hour, when.minute),
            "place": truth["place"] in read.place,
            "position": read.position is not None
            and abs(read.position.lat - truth["lat"]) + abs(read.position.lon - truth["lon"]) < 1e-3,
            "contradiction named": named == {"stamp_before_task", "stamp_elsewhere"},
        }  # fmt: skip
        right["noticed and named"] = right["noticed"] and right["contradiction named"]
        of += 1
        for part, ok in right.items():
            got[part] += bool(ok)
        if not all(right.values()):
            missed.append(
                [case, file.name, [k for k, ok in right.items() if not ok], list(read.lines)]
            )
    return {
        "set": which, "stamped": of, "right": got, "read_s": round(seconds / max(of, 1), 3),
        "look_ms": round(1000 * looking / len(files), 1), "unstamped_photos": len(files), "unstamped_noticed": int(clean), "missed": missed,
    }  # fmt: skip


def main() -> None:
    """Measure and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=tuple(PLACES), default="test")
    parser.add_argument("--first", type=int, default=1000, help="the first case drawn")
    parser.add_argument("--stamps", type=int, default=300)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    result = measure(asked.set, asked.first, asked.stamps)
    if asked.format == "json":
        print(json.dumps(result, ensure_ascii=False))
        return
    for part, count in result["right"].items():
        print(f"{part:<22} {count} of {result['stamped']}")
    print(f"looking {result['look_ms']} ms a photo (with opening it); reading {result['read_s']} s CPU; unstamped photos looked at twice: "
          f"{result['unstamped_noticed']} of {result['unstamped_photos']}")  # fmt: skip
    for row in result["missed"]:
        print("  ", row)


if __name__ == "__main__":
    main()
