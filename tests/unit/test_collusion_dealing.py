"""Self-dealing, and the honest trade that looks a little like it."""

from datetime import UTC, datetime, timedelta

import polars as pl

from detectors.collusion.dealing import dealings
from pipeline.model import frames

AT = datetime(2026, 3, 1, tzinfo=UTC)


def window(*rows):
    return pl.DataFrame(
        [
            {
                "submission_id": f"s{i}", "publisher_id": p, "worker_id": w, "task_id": t,
                "device_id": d, "payout_account_hash": pay, "bounty_minor": 500, "currency": "CNY",
                "submitted_at": AT + timedelta(hours=i),
            }
            for i, (p, w, t, d, pay) in enumerate(rows)
        ]
    )  # fmt: skip


def owners(*rows):
    return frames.conform(
        pl.DataFrame(rows, schema=["worker_id", "payout_account_hash"], orient="row"),
        frames.WORKERS,
    )


def test_own_account_own_purse_and_own_device_are_told_apart():
    found = dealings(
        window(
            ("boss", "boss", "t", "d0", "purse"),
            ("boss", "w1", "t", "d1", "purse"),
            ("boss", "w2", "t", "d0", "p2"),
            ("boss", "w3", "t", "d3", "p3"),
        ),
        owners(("boss", "purse")),
    )
    assert {(d.worker_id, d.how) for d in found} == {
        ("boss", "one_account"), ("w1", "one_payout_account"), ("w2", "one_device"),
    }  # fmt: skip


def test_money_in_a_circle_is_found_and_reciprocal_trade_is_not():
    circle = [(a, b, f"{a}{i}", a, a) for a, b in ("xy", "yz", "zx") for i in range(3)]
    found = dealings(window(*circle), owners())
    assert {d.how for d in found} == {"payment_circle"}
    assert found[0].facts["circle"] == ["x", "y", "z"]
    trade = [
        (a, b, f"{a}{b}{i}", f"d{a}", f"p{a}")
        for a in "klmnop" for b in "klmnop" if a != b for i in range(2)
    ]  # fmt: skip
    assert not dealings(window(*trade), owners())


def test_a_closed_pair_is_only_worth_a_look():
    pair = [("boss", "friend", f"t{i}", "d", "p") for i in range(12)]
    rest = [(f"p{i % 9}", f"w{i % 31}", f"u{i}", f"d{i}", f"q{i % 31}") for i in range(300)]
    found = dealings(window(*pair, *rest), owners())
    assert [(d.worker_id, d.how) for d in found] == [("friend", "closed_pair")]
    assert 0.2 <= found[0].strength < 0.5
    assert found[0].p_value is not None
    assert found[0].p_value < 1e-6
