# ruff: noqa: INP001, T201
"""Train the image room's shipped vocabulary anew, on generated drawings only.

    python scripts/train_vocabulary.py [FILE]

The same drawings give the same bytes. A change of the features asks for this; all known pictures must
then be fingerprinted again, which the digest in the detector's version sees to.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from detectors.image.drawings import photo, screen
from detectors.image.vocabulary import FILE, train

ROOM = Path(__file__).resolve().parents[1] / "detectors" / "image"
PHOTOS, SCREENS = 420, 120


def drawings() -> Iterator[np.ndarray]:
    """Draw what looks a little like photographs, and like screenshots."""
    for seed in range(PHOTOS):
        yield cv2.cvtColor(photo(100_000 + seed), cv2.COLOR_BGR2GRAY)
    for seed in range(SCREENS):
        yield cv2.cvtColor(screen(200_000 + seed), cv2.COLOR_BGR2GRAY)


def main() -> None:
    """Train and write."""
    made = train(drawings())
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOM / FILE
    path.write_bytes(made.to_bytes())
    print(f"{path}: {made.digest}")


if __name__ == "__main__":
    main()
