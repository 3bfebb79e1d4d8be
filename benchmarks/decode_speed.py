"""What looking into a file costs, in the pooled child and in this process, beside plain Pillow.

``python benchmarks/decode_speed.py [--format json]``. Pictures are generated; each figure is
the mean over pictures of the best of several tries, in milliseconds.
"""

import argparse
import io
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.decode import open_decoder
from pipeline.decode.inline import InlineDecoder

TRIES = 7
PICTURES = 8
SIZES = {"0.5 MP JPEG": (866, 577), "1 MP JPEG": (1224, 816), "12 MP JPEG": (4000, 3000)}


def scene(size: tuple[int, int], seed: int) -> bytes:
    """A picture with the detail of a photograph: octaves of smoothed noise."""
    draw = random.Random(seed)
    image = Image.new("RGB", size, "grey")
    for side in (4, 16, 64, 256):
        noise = Image.frombytes("RGB", (side, side), draw.randbytes(side * side * 3))
        image = Image.blend(image, noise.resize(size, Image.Resampling.BICUBIC), 0.35)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def plain(data: bytes, side_max: int) -> None:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.thumbnail((side_max, side_max))


def best_ms(look: Callable[[bytes], object], files: Sequence[bytes], tries: int) -> float:
    total = 0.0
    for data in files:
        spent = []
        for _ in range(tries):
            began = time.perf_counter()
            look(data)
            spent.append(time.perf_counter() - began)
        total += min(spent)
    return 1000 * total / len(files)


def measure() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    inline = InlineDecoder()
    with open_decoder() as pooled:
        began = time.perf_counter()
        pooled.probe(b"words")
        start_ms = 1000 * (time.perf_counter() - began)
        rows.append({"file": "text of 5 bytes", "ask": "first question", "pooled_ms": start_ms})
        for name, size in SIZES.items():
            many = PICTURES if size[0] < 2000 else 2
            files = [scene(size, seed) for seed in range(many)]
            tries = TRIES if size[0] < 2000 else 3
            rows.append({
                "file": name, "ask": "probe", "pooled_ms": best_ms(pooled.probe, files, tries),
                "inline_ms": best_ms(inline.probe, files, tries),
            })  # fmt: skip
            rows.append({
                "file": name, "ask": "pictures 512 grey",
                "pooled_ms": best_ms(lambda d: pooled.pictures(d, side_max=512, grey=True), files, tries),
                "inline_ms": best_ms(lambda d: inline.pictures(d, side_max=512, grey=True), files, tries),
            })  # fmt: skip
            for side in (256, 512, 1024):
                rows.append({
                    "file": name, "ask": f"pictures {side}",
                    "pooled_ms": best_ms(lambda d, s=side: pooled.pictures(d, side_max=s), files, tries),
                    "inline_ms": best_ms(lambda d, s=side: inline.pictures(d, side_max=s), files, tries),
                    "pillow_ms": best_ms(lambda d, s=side: plain(d, s), files, tries),
                })  # fmt: skip
    return rows


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--format", choices=("table", "json"), default="table")
    rows = measure()
    if options.parse_args().format == "json":
        print(json.dumps(rows))
        return
    columns = ("pooled_ms", "inline_ms", "pillow_ms")
    print(f"{'file':16} {'ask':18}" + "".join(f"{c:>12}" for c in columns))
    for row in rows:
        cells = [f"{row[c]:12.2f}" if c in row else f"{'–':>12}" for c in columns]
        print(f"{row['file']:16} {row['ask']:18}" + "".join(cells))


if __name__ == "__main__":
    main()
