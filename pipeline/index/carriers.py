"""The earliest carriers of keys as numbers: what ``Past.carriers`` answers, without a name for any."""

import numpy as np

from pipeline.index.owners import Owners
from pipeline.index.postings import PostingIndex
from pipeline.index.shapes import I32, I64, U32, U64
from pipeline.model.carriers import Carriers


def carriers(
    index: PostingIndex, keys: U64, owners: Owners, beside: U32, *, df_max: int | None, most: int
) -> Carriers:
    """Find the ``most`` earliest texts of each of the sorted distinct keys.

    ``beside`` are documents that are placed in the order too. What is found depends neither on runs nor
    on the order of adding.
    """
    from pipeline.index import carrying

    asked = keys
    if df_max is not None and len(keys):
        asked = keys[index.counts(keys, most=df_max) <= df_max]
    runs, removed = index.snapshot()
    sizes = np.zeros(len(asked), np.int64)
    docs: U32 = np.empty((len(asked), most), np.uint32)
    contents: I32 = np.empty((len(asked), most), np.int32)
    for run in runs:
        begins, ends = run.bounds_of(asked)
        gone = removed if run.name else removed[:0]
        carrying.pour(
            run.docs, run.contents, begins, ends, gone, owners.times, owners.spots, owners.letters,
            sizes, docs, contents,
        )  # fmt: skip
    kept = np.arange(most) < sizes[:, None]
    flat = docs[kept]
    met = np.sort(np.concatenate([flat, beside]))
    known = owners.in_order(met[np.flatnonzero(np.diff(met, prepend=met[:1] - np.uint32(1)))])
    places: I64 = np.empty(len(owners), np.int64)
    places[known] = np.arange(len(known))
    return Carriers(
        keys=asked, bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        places=places[flat], contents=contents[kept],
        documents=known, workers=owners.workers[known],
        beside=places[beside],
    )  # fmt: skip
