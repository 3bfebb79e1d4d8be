"""Block search: it finds what was planted, says nothing of chance, and forgives common taste."""

from datetime import timedelta

import numpy as np
import pytest

from detectors.kit.graph.blocks import blocks, search
from detectors.kit.graph.incidence import incidence
from detectors.kit.graph.peel import peel
from detectors.kit.graph.scan import Meetings, Width, scan
from detectors.kit.graph.standing import Standing

DAY = 86_400_000_000
WIDTHS = (
    Width(name="publisher", by="publisher"),
    Width(name="hours", by="publisher", span=timedelta(hours=2), phases=2),
)


def chance(seed, *, workers=1_500, publishers=120, edges=5_000):
    draw = np.random.default_rng(seed)
    liking = 1.0 / (np.arange(publishers) + 5.0)
    activity = draw.lognormal(0, 1, workers)
    w = draw.choice(workers, edges, p=activity / activity.sum()).astype(np.int32)
    p = draw.choice(publishers, edges, p=liking / liking.sum()).astype(np.int32)
    at = np.sort(draw.integers(0, 28 * DAY, edges))
    return w, p, at


def planted(seed, *, members=15, publishers=5, camouflage=1, old=False):
    w, p, at = chance(seed)
    draw = np.random.default_rng(seed + 1)
    first = int(w.max()) + 1
    targets = (
        draw.choice(60, publishers, replace=False) + 60 if old else np.arange(120, 120 + publishers)
    )
    mine = np.repeat(np.arange(first, first + members), publishers)
    theirs = np.tile(targets, members)
    noise_w = np.repeat(np.arange(first, first + members), publishers * camouflage)
    noise_p = draw.integers(0, 120, len(noise_w))
    w = np.concatenate([w, mine, noise_w]).astype(np.int32)
    p = np.concatenate([p, theirs, noise_p]).astype(np.int32)
    at = np.concatenate([at, draw.integers(0, 28 * DAY, len(mine) + len(noise_w))])
    order = np.argsort(at, kind="stable")
    return Meetings(
        worker=w[order], met={"publisher": p[order]}, at=at[order], workers=first + members
    ), set(range(first, first + members))


def graph_of(w, p):
    return incidence(w, p, workers=int(w.max()) + 1, cells=int(p.max()) + 1)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("camouflage", [0, 1, 3])
def test_a_planted_ring_is_found_whole_and_nobody_else(old, camouflage):
    meetings, ring = planted(3, old=old, camouflage=camouflage)
    flagged = {int(w) for f in scan(meetings, WIDTHS) for w in f.block.workers}
    assert len(flagged & ring) >= 0.9 * len(ring)
    assert len(flagged - ring) <= 1


def test_chance_gives_blocks_no_more_often_than_the_e_value_says():
    """At e >= 100, forty windows of chance hold 0.4 blocks on average at most."""
    found = 0
    for seed in range(40):
        w, p, at = chance(seed, edges=2_500, workers=800)
        meetings = Meetings(worker=w, met={"publisher": p}, at=at, workers=800)
        found += bool(scan(meetings, WIDTHS))
    assert found <= 2


def test_people_of_one_district_are_no_crew():
    """Four hundred who like the same eight places, some more and some less: taste, not collusion."""
    draw = np.random.default_rng(9)
    w, p, _ = chance(9)
    locals_, places = np.repeat(np.arange(400), 8), np.tile(np.arange(60, 68), 400)
    keen = draw.random(len(locals_)) < np.repeat(draw.beta(1, 2, 400), 8)
    graph = graph_of(
        np.concatenate([w, locals_[keen]]).astype(np.int32),
        np.concatenate([p, places[keen]]).astype(np.int32),
    )
    assert search(graph), "the plain null takes the keenest of them for a crew"
    assert not blocks(graph)


def test_the_search_does_not_depend_on_the_order_of_edges():
    meetings, _ = planted(5)
    w, p = meetings.worker, meetings.met["publisher"]
    shuffle = np.random.default_rng(0).permutation(len(w))
    one, other = blocks(graph_of(w, p)), blocks(graph_of(w[shuffle], p[shuffle]))
    assert [b.workers.tolist() for b in one] == [b.workers.tolist() for b in other]
    assert [b.log_e for b in one] == [b.log_e for b in other]


def test_meetings_that_come_later_give_the_ring_that_a_full_scan_gives():
    meetings, ring = planted(7)
    late = np.isin(meetings.worker, list(ring))
    early = Meetings(
        worker=meetings.worker[~late],
        met={"publisher": meetings.met["publisher"][~late]},
        at=meetings.at[~late],
        workers=meetings.workers,
    )
    standing = Standing.of(early, WIDTHS)
    told = standing.add(
        meetings.worker[late], {"publisher": meetings.met["publisher"][late]}, meetings.at[late]
    )
    found = {int(w) for _, block in told for w in block.workers}
    whole = {int(w) for f in scan(meetings, WIDTHS) for w in f.block.workers}
    assert found >= whole & ring
    assert (
        standing.add(
            meetings.worker[late], {"publisher": meetings.met["publisher"][late]}, meetings.at[late]
        )[0][1].workers.tolist()
        == told[0][1].workers.tolist()
    )


def test_peeling_nominates_a_large_dense_block():
    w, p, _ = chance(1)
    crew_w = np.repeat(np.arange(1_500, 1_600), 15)
    crew_p = np.tile(np.arange(120, 135), 100)
    graph = graph_of(
        np.concatenate([w, crew_w]).astype(np.int32), np.concatenate([p, crew_p]).astype(np.int32)
    )
    block = peel(graph)
    assert set(range(1_500, 1_600)) <= set(block.workers.tolist())
    assert set(range(120, 135)) <= set(block.cells.tolist())


def test_camouflage_of_a_thin_ring_gives_it_away():
    """Sixty who do a third of fifteen places, hidden among three times as many honest-looking visits."""
    w, p, _ = chance(11, workers=8_000, publishers=200, edges=24_000)
    draw = np.random.default_rng(12)
    first = int(w.max()) + 1
    targets = draw.choice(200, 15, replace=False)
    liking = np.bincount(p, minlength=200) / len(p)
    extra = []
    for m in range(60):
        own = draw.choice(targets, max(3, int(draw.binomial(15, 0.35))), replace=False)
        noise = draw.choice(200, 3 * len(own), replace=False, p=liking)
        extra += [(first + m, int(c)) for c in (*own, *noise)]
    more = np.array(extra)
    graph = graph_of(
        np.concatenate([w, more[:, 0]]).astype(np.int32),
        np.concatenate([p, more[:, 1]]).astype(np.int32),
    )
    named = {int(x) for b in blocks(graph) for x in b.workers}
    ring = set(range(first, first + 60))
    assert len(named & ring) >= 40
    assert len(named - ring) <= 3
