"""The price of a block is that of a prior: all blocks together weigh no more than one."""

import itertools
import math

import numpy as np

from detectors.kit.graph.price import DENSITIES, STRATA, price, rough, tolls


def counts(*there):
    return np.array([*there, *[0.0] * (STRATA - len(there))])


def test_the_weights_of_all_blocks_sum_to_at_most_one():
    there, cells = counts(4, 3, 2), 5
    total = 0.0
    for held in itertools.product(range(5), range(4), range(3)):
        if not any(held):
            continue
        ways = math.prod(math.comb(int(n), k) for n, k in zip(there, held, strict=False))
        for t in range(1, cells + 1):
            weight = math.exp(-price(counts(*held), there, float(t), float(cells)))
            total += ways * math.comb(cells, t) * DENSITIES * weight
    assert 0.2 < total <= 1.0


def test_members_who_are_busy_cost_less_than_members_like_everybody():
    there = counts(8_000, 2_500, 700, 160)
    usual = price(counts(30), there, 5.0, 200.0)
    busy = price(counts(0, 0, 0, 30), there, 5.0, 200.0)
    assert busy < usual - 100.0
    assert tolls(counts(0, 0, 0, 30), there, 0.0)[3] < tolls(counts(30), there, 0.0)[0] - 2.0


def test_the_rough_price_leads_where_the_exact_one_does():
    there = counts(8_000, 2_500, 700, 160)
    log_there = np.log(np.maximum(np.append(there, there.sum()), 1.0))
    for held in (counts(4), counts(2, 2), counts(0, 3, 6), counts(0, 0, 4, 20)):
        exact = price(held, there, 4.0, 200.0)
        assert abs(exact - rough(held, log_there, 4, math.log(200.0))) < 20.0
