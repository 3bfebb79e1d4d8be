"""What a picture costs: fingerprint, hash alone, proof, look-up, beside imagehash and PDQ.

    python benchmarks/image_speed.py [--pictures 24] [--format json]

Pictures of one megapixel (JPEG 88) are made of real ones where there are any (``BOUNTYGUARD_SHARED``), else drawn.
Milliseconds are the mean over pictures of the best of several tries, one core.
"""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pdqhash
from PIL import Image

from detectors.image import prints, proof, views
from detectors.image.drawings import photo
from detectors.image.hashes import Grey
from detectors.image.nominate import Nominee
from detectors.image.vocabulary import shipped
from pipeline.decode import open_decoder
from pipeline.decode.inline import InlineDecoder

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", ROOT.parent / "shared"))
PIXELS, TRIES = 1_000_000, 5


def megapixels(count: int) -> list[bytes]:
    """Make JPEGs of one megapixel."""
    files = sorted(p for p in (SHARED / "photos").glob("*") if p.suffix in {".jpg", ".png"})
    chosen = files[:: max(1, len(files) // count)][:count]
    pictures = [cv2.imread(str(p)) for p in chosen] or [photo(s, 816, 1224) for s in range(count)]
    made = []
    for picture in pictures:
        factor = (PIXELS / (picture.shape[0] * picture.shape[1])) ** 0.5
        large = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        made.append(bytes(cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]))
    return made


def best_ms(
    look: Callable[[int], object], count: int, clock: Callable[[], float] = time.process_time
) -> float:
    total = 0.0
    for i in range(count):
        spent = []
        for _ in range(TRIES):
            began = clock()
            look(i)
            spent.append(clock() - began)
        total += min(spent)
    return 1000 * total / count


def fingerprint(grey: Grey) -> None:
    """Do all that the room does with a decoded frame."""
    made, small = prints.read([grey])
    prints.words_of(made, shipped())
    prints.pack(made)
    prints.pack_canvases(small)


def hash_only(grey: Grey) -> bytes:
    """Hash the whole frame alone."""
    return views.view_of(grey, (0, 0, grey.shape[1], grey.shape[0])).code


def proofs(greys: Sequence[Grey]) -> dict[str, float]:
    """Prove a picture against a copy of itself, and against others."""
    read = []
    for grey in greys:
        copy = cv2.resize(grey[10:-20, 5:-30], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        for pixels in (grey, copy):
            made, small = prints.read([pixels])
            read.append((made, proof.Piece(part=made.parts[0], canvas=small[0])))
    nominee = Nominee(source=("s", 0), mode="upright", votes=9, accused_part=0, source_part=0)

    def prove(i: int, j: int) -> None:
        proof.prove(nominee, read[i][1], read[j][1], (read[i][0], read[j][0]))

    n = len(greys)
    return {
        "proof, a copy": best_ms(lambda i: prove(2 * i + 1, 2 * i), n),
        "proof, another picture": best_ms(lambda i: prove(2 * i, 2 * ((i + 1) % n)), n),
    }


def measure(count: int) -> dict[str, float]:
    files = megapixels(count)
    inline = InlineDecoder()
    greys = [views.to_grey(inline.pictures(f, side_max=512, grey=True)[0]) for f in files]
    fingerprint(greys[0])
    small = {"side_max": 128, "grey": True}
    rows = {
        "decode": best_ms(lambda i: inline.pictures(files[i], side_max=512, grey=True), len(files)),
        "features, words, hashes": best_ms(lambda i: fingerprint(greys[i]), len(files)),
    }
    rows["fingerprint, complete"] = sum(rows.values())
    with open_decoder() as pooled:
        pooled.probe(b"started")
        rows["fingerprint, complete, pooled (wall)"] = best_ms(
            lambda i: fingerprint(
                views.to_grey(pooled.pictures(files[i], side_max=512, grey=True)[0])
            ),
            len(files), time.perf_counter,
        )  # fmt: skip
    rows["hash tier"] = best_ms(
        lambda i: hash_only(views.to_grey(inline.pictures(files[i], **small)[0])), len(files)
    )
    rows["imagehash phash"] = best_ms(
        lambda i: imagehash.phash(Image.open(io.BytesIO(files[i]))), len(files)
    )
    rows["PDQ"] = best_ms(
        lambda i: pdqhash.compute(np.asarray(Image.open(io.BytesIO(files[i])).convert("RGB"))),
        min(8, len(files)),
    )
    return rows | proofs(greys)


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--pictures", type=int, default=24)
    ask.add_argument("--format", choices=["table", "json"], default="table")
    args = ask.parse_args()
    rows = measure(args.pictures)
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return 0
    for name, ms in rows.items():
        print(f"{name:40} {ms:8.2f} ms {1000 / ms:8.0f} a second")
    ratio = rows["imagehash phash"] / rows["hash tier"]
    print(f"the hash tier is {ratio:.1f} times as quick as imagehash's phash, end to end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
