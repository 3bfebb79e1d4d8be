"""The room's examples: small pictures made here, with the findings that they must give."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from detectors.watermark.mark import Keyring, MarkKey
from detectors.watermark.registry import deliver, deliver_text, to_line
from detectors.watermark.visible import learn, to_json
from pipeline.ports import Example

POSTED: Final = datetime(2026, 3, 2, tzinfo=UTC)
SITE: Final = {"site_lat": 30.5724, "site_lon": 114.2615, "site_radius_m": 300.0}
_CHINA = timedelta(hours=8)


def _scene(seed: int) -> Image.Image:
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def photo(
    seed: int,
    *,
    taken: datetime | None = None,
    zone: str | None = None,
    at: tuple[float, float] | None = None,
    camera: tuple[str, str] | None = None,
    software: str | None = None,
) -> bytes:
    """Make a small JPEG whose EXIF says these things; ``taken`` is UTC, written in China's time."""
    exif = Image.Exif()
    if camera:
        exif[0x010F], exif[0x0110] = camera
    if software:
        exif[0x0131] = software
    if taken:
        detail = exif.get_ifd(0x8769)
        detail[0x9003] = (taken + _CHINA).strftime("%Y:%m:%d %H:%M:%S")
        if zone:
            detail[0x9011] = zone
    if at:
        gps = exif.get_ifd(0x8825)
        gps[1], gps[3] = "N", "E"
        gps[2], gps[4] = (at[0], 0.0, 0.0), (at[1], 0.0, 0.0)
    out = io.BytesIO()
    _scene(seed).save(out, "JPEG", quality=85, exif=exif)
    return out.getvalue()


def painted(seed: int, texts: dict[str, str]) -> bytes:
    """Make a small PNG with these text chunks."""
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    out = io.BytesIO()
    _scene(seed).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _at(hours: float) -> datetime:
    return POSTED + timedelta(hours=hours)


def provenance_examples() -> Iterator[Example]:
    """What the metadata contradicts, and what only looks like it."""
    onsite = {"task_id": "t", "brief": "到达现场拍摄一张照片", "posted_at": POSTED, **SITE}
    poster = {"task_id": "d", "brief": "设计一张活动海报", "posted_at": POSTED}
    settings = "a street, 35mm\nSteps: 28, Sampler: DPM++ 2M, CFG scale: 7, Seed: 7, Size: 8x8"
    files = {
        "old": photo(1, taken=_at(-2000), zone="+08:00", camera=("Xiaomi", "23127PN0CC")),
        "away": photo(2, taken=_at(5), zone="+08:00", at=(34.3, 108.9), camera=("vivo", "V2309A")),
        "made": painted(3, {"parameters": settings}),
        "cut": photo(4, taken=_at(5), camera=("HUAWEI", "ALN-AL00"), software="GIMP 2.10.36"),
        "fine": photo(5, taken=_at(5), at=(30.575, 114.2615), camera=("Apple", "iPhone 14")),
        "bare": photo(6),
    }
    yield Example(
        title="an old photo, one from elsewhere, a generated and an edited one, and honest ones",
        tasks=(onsite,),
        submissions=tuple(
            {"submission_id": sid, "worker_id": f"w-{sid}", "task_id": "t",
             "submitted_at": _at(6 + i), "files": ((f"IMG_{i}.jpg", data),)}
            for i, (sid, data) in enumerate(files.items())
        ),
        expected={
            "old": frozenset({"provenance.inconsistent"}),
            "away": frozenset({"provenance.inconsistent"}),
            "made": frozenset({"provenance.generated"}),
            "cut": frozenset({"provenance.edited"}),
        },
    )  # fmt: skip
    yield Example(
        title="a poster that names its editor is honest work",
        tasks=(poster,),
        submissions=(
            {"submission_id": "p", "task_id": "d", "submitted_at": _at(6),
             "files": (("poster.jpg", photo(7, software="Adobe Photoshop 25.4")),)},
        ),
    )  # fmt: skip
    yield Example(
        title="where most submitters' cameras stand outside the fence, the fence is wrong",
        tasks=(onsite,),
        submissions=tuple(
            {"submission_id": f"s{i}", "worker_id": f"w{i}", "task_id": "t",
             "submitted_at": _at(6 + i),
             "files": ((f"{i}.jpg", photo(20 + i, at=(30.62, 114.26 + i / 1e4))),)}
            for i in range(6)
        ),
    )  # fmt: skip


def texture(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Make a picture (384 × 512, RGB) with detail at all scales."""
    draw = np.random.default_rng(seed)
    layers = np.zeros((384, 512, 3))
    for cell in (4, 8, 16, 32, 64, 128):
        rough = draw.normal(0, 1, (384 // cell, 512 // cell, 3)).astype(np.float32)
        channels = [
            np.asarray(Image.fromarray(rough[:, :, c]).resize((512, 384), Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        layers += np.stack(channels, -1) * cell**0.6
    return np.clip(128 + layers * 6, 0, 255).astype(np.uint8)


def branded(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Lay a half transparent mark of rings and bars over a texture."""
    pixels = texture(seed).astype(np.float32)
    y, x = np.mgrid[0:384, 0:512]
    ring = np.abs(np.hypot(y - 300, x - 300) - 40) < 6
    bars = (np.abs(y - 300) < 30) & (x > 350) & (x < 470) & ((x - 350) // 12 % 2 == 0)
    pixels[ring | bars] = pixels[ring | bars] * 0.5 + 127
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


_ESSAY: Final = " ".join(
    f"On day {day} the stall near gate {day * 7 % 31} sold {day * 13 % 97} bowls of noodles, and "
    f"the queue reached the {('bakery', 'bank', 'school', 'station')[day % 4]} by half past {day % 12}."
    for day in range(1, 40)
)


def mark_examples() -> Iterator[Example]:
    """A paid delivery that comes back, and what only looks like it."""
    key = MarkKey(key_id="k1", master=b"an example's key, never a real one", epoch=1)
    own, other = texture(1), texture(2)
    marked, row = deliver(
        own, key, serial=0x1234_5678_9ABC_DEF0, submission_id="paid", worker_id="author",
        task_id="t0", recipient="p", delivered_at=_at(1),
    )  # fmt: skip
    words, line = deliver_text(
        _ESSAY, key, serial=0x0FED_CBA9_8765_4321, submission_id="paid2", worker_id="author",
        task_id="t0", recipient="p", delivered_at=_at(1),
    )  # fmt: skip
    pasted = np.clip(other.astype(int) + marked - own, 0, 255).astype(np.uint8)
    cut = np.ascontiguousarray(marked[40:360, 60:480, :])
    yield Example(
        title="a paid delivery under another account; a copied residual; the author's own revision",
        assets={
            "watermark.keys": Keyring(keys=(key,)).to_json(),
            "watermark.deliveries": to_line(row) + to_line(line),
        },
        submissions=(
            {"submission_id": "thief", "worker_id": "w1", "submitted_at": _at(9),
             "files": (("cut.png", _png(cut)),)},
            {"submission_id": "copyist", "worker_id": "w2", "submitted_at": _at(9.5),
             "text": words[200:]},
            {"submission_id": "framed", "worker_id": "w3", "submitted_at": _at(10),
             "files": (("other.png", _png(pasted)),)},
            {"submission_id": "again", "worker_id": "author", "task_id": "t0",
             "submitted_at": _at(11), "files": (("mine.png", _png(marked)),), "text": words},
        ),
        expected={
            "thief": frozenset({"watermark.platform_mark"}),
            "copyist": frozenset({"watermark.text_mark"}),
        },
    )  # fmt: skip
    yield Example(
        title="another site's mark, learned from examples; and a picture without it",
        assets={
            "watermark.templates": to_json([learn("stock", [branded(s) for s in range(30, 36)])])
        },
        submissions=(
            {"submission_id": "taken", "files": (("a.png", _png(branded(40))),)},
            {"submission_id": "own", "files": (("b.png", _png(texture(41))),)},
        ),
        expected={"taken": frozenset({"watermark.foreign_mark"})},
    )
