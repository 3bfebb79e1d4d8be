"""Stamps of time, date, place and position: how many are noticed, and how each part is read.

Stamps are drawn on real photographs in Chinese and English, several layouts and sizes, saved as
JPEG. Run with ``python benchmarks/watermark_stamps.py [--photos N] [--format json]``; needs the
development photos and, for Chinese, the wheel ``cvttf-notosanscjk-regular``.
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

from detectors.watermark.provenance.claims import Claim
from detectors.watermark.provenance.exif import Exif
from detectors.watermark.stamps import may_be_stamped, read_stamp, stamp_contradictions
from pipeline.model.records import Site

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
CITIES = (
    ("武汉市洪山区珞喻路1037号", "1037 Luoyu Road", 30.5136, 114.4144),
    ("成都市锦江区春熙路8号", "8 Chunxi Road", 30.6574, 104.0817),
    ("西安市雁塔区长安南路86号", "86 Changan South Road", 34.2104, 108.9468),
    ("长沙市岳麓区麓山南路932号", "932 Lushan South Road", 28.1706, 112.9353),
    ("杭州市西湖区文三路390号", "390 Wensan Road", 30.2799, 120.1263),
)


def font(size: int) -> Any:
    """Find a font with Chinese glyphs in the wheel that carries one."""
    for file in metadata.files("cvttf-notosanscjk-regular") or ():
        if file.name.endswith(".otf"):
            return ImageFont.truetype(str(file.locate()), size)
    raise SystemExit("install cvttf-notosanscjk-regular for the Chinese stamps")


def stamp(pixels: np.ndarray, case: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw the stamp of a case, and say what is on it."""
    draw = np.random.default_rng(case)
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=int(draw.integers(0, 500_000)))
    place_zh, place_en, lat, lon = CITIES[case % len(CITIES)]
    chinese = case % 2 == 0
    lines = [when.strftime("%H:%M"), when.strftime("%Y-%m-%d")]
    if chinese:
        lines = [
            when.strftime("%Y年%m月%d日 %H:%M")
            if case % 4 == 0
            else when.strftime("%Y.%m.%d %H:%M:%S")
        ]
        lines += [
            place_zh,
            f"北纬{lat:.4f} 东经{lon:.4f}" if case % 4 == 0 else f"经度:{lon:.5f} 纬度:{lat:.5f}",
        ]
    else:
        lines = [
            when.strftime("%Y-%m-%d %H:%M:%S") if case % 4 == 1 else when.strftime("%d %b %Y %H:%M")
        ]
        lines += [
            place_en,
            f"{lat:.5f}N {lon:.5f}E" if case % 4 == 1 else f"Lat {lat:.4f} Lon {lon:.4f}",
        ]
    picture = Image.fromarray(pixels)
    size = max(15, round(min(picture.size) * (0.04 if case % 3 else 0.055)))
    pen, face = ImageDraw.Draw(picture), font(size)
    colour = ((255, 255, 255), (255, 210, 40), (255, 255, 255))[case % 3]
    y = picture.size[1] - int(size * 1.35 * len(lines)) - 8 if case % 5 else 10
    for line in lines:
        pen.text((12, y), line, font=face, fill=colour, stroke_width=1, stroke_fill=(40, 40, 40))
        y += int(size * 1.35)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    truth = {
        "when": when,
        "place": place_zh[:3] if chinese else place_en.split()[1],
        "lat": lat,
        "lon": lon,
    }
    return np.asarray(Image.open(out).convert("RGB")), truth | {"chinese": chinese}


def measure(photos: int) -> dict[str, Any]:
    """Draw, look, read and compare; and look at the unstamped photos."""
    files = [
        f for f in sorted((SHARED / "photos").glob("*")) if f.name[:4] in ("kodi", "imag", "bsds")
    ]
    clean = sum(may_be_stamped(np.asarray(Image.open(f).convert("RGB"))) for f in files)
    chosen = [f for f in files if min(Image.open(f).size) >= 375][:: max(1, 130 // photos)][:photos]
    got = {"noticed": 0, "date": 0, "time": 0, "place": 0, "position": 0, "contradiction named": 0}
    of, seconds, missed = 0, 0.0, []
    for case, file in enumerate(chosen):
        pixels, truth = stamp(np.asarray(Image.open(file).convert("RGB")), case)
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
        of += 1
        for part, ok in right.items():
            got[part] += bool(ok)
        if not all(right.values()):
            missed.append([file.name, [k for k, ok in right.items() if not ok], list(read.lines)])
    return {
        "stamped": of, "right": got, "read_s": round(seconds / max(of, 1), 3),
        "unstamped_photos": len(files), "unstamped_noticed": int(clean), "missed": missed,
    }  # fmt: skip


def main() -> None:
    """Measure and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    result = measure(asked.photos)
    if asked.format == "json":
        print(json.dumps(result, ensure_ascii=False))
        return
    for part, count in result["right"].items():
        print(f"{part:<22} {count} of {result['stamped']}")
    print(f"reading {result['read_s']} s CPU; unstamped photos looked at twice: "
          f"{result['unstamped_noticed']} of {result['unstamped_photos']}")  # fmt: skip
    for row in result["missed"]:
        print("  ", row)


if __name__ == "__main__":
    main()
