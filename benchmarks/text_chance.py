"""How many passages independent texts share by chance: generated ones beside real ones.

    python benchmarks/text_chance.py --counts 500 2000 5000
    python benchmarks/text_chance.py --file reviews.parquet --column text --characters 60 160
    python benchmarks/text_chance.py --file news.parquet --column text --words 50 120

Of the winnowed fingerprints of a text (shingles of weight 12), ``shared`` is the share that another of so many texts
carries, ``carriers`` how many others carry one on average, ``common`` the share that four and more carry. Real texts
are cut to the length of the generated ones, one piece each, where they are longer; the same text twice counts once.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from line_drops import Words  # noqa: E402

from detectors.kit.lexical import read, winnow  # noqa: E402


def measure(texts: list[str]) -> dict[str, float]:
    """Count what these texts share."""
    picks = winnow(read(texts))
    kept = pl.DataFrame({"text": picks.owners, "key": picks.keys}).unique()
    carried = kept.select(pl.len().over("key") - 1).to_series()
    return {
        "fingerprints": round(len(kept) / len(texts), 1),
        "shared": round(float((carried > 0).mean() or 0.0), 3),
        "carriers": round(float(carried.mean() or 0.0), 2),  # type: ignore[arg-type]
        "common": round(float((carried >= 3).mean() or 0.0), 3),
    }


def pieces(texts: list[str], draw: np.random.Generator, *, words: list[int] | None, characters: list[int]) -> list[str]:  # fmt: skip
    """Cut one piece out of each text."""
    made = []
    for text in texts:
        parts = text.split() if words else list(text)
        low, high = words or characters
        size = int(draw.integers(low, high))
        if len(parts) < low:
            continue
        at = int(draw.integers(0, max(1, len(parts) - size)))
        made.append((" " if words else "").join(parts[at : at + size]))
    return made


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--counts", type=int, nargs="+", default=[500, 2_000, 5_000])
    options.add_argument("--file", type=Path, help="Parquet file of real texts")
    options.add_argument("--column", default="text")
    options.add_argument("--words", type=int, nargs=2)
    options.add_argument("--characters", type=int, nargs=2, default=[60, 160])
    told = options.parse_args()
    draw = np.random.default_rng(7)
    most = max(told.counts)
    if told.file:
        real = pl.read_parquet(told.file)[told.column].drop_nulls().unique(maintain_order=True)
        texts = pieces(real.to_list(), draw, words=told.words, characters=told.characters)
        sets = {told.file.stem: [texts[i] for i in draw.permutation(len(texts)).tolist()]}
    else:
        sets = {}
        for plain in (False, True):
            words = Words.drawn(draw, plain=plain)
            name = "plain" if plain else "generated"
            sets[f"{name} zh"] = ["".join(words.text(draw, chinese=True, length=int(n)))
                                  for n in draw.integers(60, 160, most)]  # fmt: skip
            sets[f"{name} en"] = [" ".join(words.text(draw, chinese=False, length=int(n)))
                                  for n in draw.integers(50, 120, most)]  # fmt: skip
    for name, texts in sets.items():
        for count in told.counts:
            if count <= len(texts):
                print(name, count, measure(texts[:count]), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
