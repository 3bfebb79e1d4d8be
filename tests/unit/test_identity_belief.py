"""What a shared device or payout account says, and what it does not say."""

from datetime import UTC, datetime, timedelta

import pytest

from detectors.identity.belief import Account, Use, level_of, weigh

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


def use(worker, task, minutes, *, device="d", ip="198.18.0.1", spent=20):
    at = AT + timedelta(minutes=minutes)
    return Use(
        submission_id=f"{worker}-{task}-{minutes}",
        worker_id=worker,
        task_id=task,
        claimed_at=at - timedelta(minutes=spent),
        submitted_at=at,
        device_id=device,
        ip=ip,
    )


def accounts(*workers, payout=None, level="phone", elsewhere=False, apart_days=100):
    return {
        w: Account(
            worker_id=w,
            registered_at=AT - timedelta(days=apart_days * (i + 1)),
            level=level,
            payout=payout or f"pay-{w}",
            other_devices=elsewhere,
        )
        for i, w in enumerate(workers)
    }


def test_a_ring_on_one_device_is_sure():
    uses = [use(w, "t", 40 * i) for i, w in enumerate("abc")]
    assert weigh("device", uses, accounts(*"abc")).strength >= 0.5


def test_two_people_of_a_household_who_once_do_the_same_task_are_only_worth_a_look():
    uses = [use("a", "t", 0), use("b", "t", 60), use("a", "u", 3000), use("b", "v", 6000)]
    assert weigh("device", uses, accounts("a", "b")).strength < 0.5


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_family_with_tasks_of_their_own_is_left_alone(size):
    names = "abcd"[:size]
    uses = [use(w, f"{w}{i}", 1500 * i + 400 * k) for k, w in enumerate(names) for i in range(4)]
    assert weigh("device", uses, accounts(*names)).strength < 0.2


def test_a_public_machine_is_left_alone_though_its_guests_sometimes_meet_in_a_task():
    names = [f"g{i}" for i in range(12)]
    uses = [use(w, f"t{i % 7}", 90 * i) for i, w in enumerate(names)]
    assert weigh("device", uses, accounts(*names, elsewhere=True)).strength < 0.2


def test_a_device_id_used_at_once_from_two_addresses_is_a_collision():
    uses = [
        use("a", "t", 0, ip="198.18.0.1", spent=60),
        use("b", "t", 5, ip="203.0.113.9", spent=60),
    ]
    plain = weigh("device", [use("a", "t", 0), use("b", "t", 65)], accounts("a", "b"))
    assert weigh("device", uses, accounts("a", "b")).confidence < plain.confidence / 2


def test_one_payout_account_for_the_same_task_is_sure_and_for_nothing_in_common_is_not():
    same = [use("a", "t", 0, device="x"), use("b", "t", 600, device="y")]
    apart = [use("a", "t", 0, device="x"), use("b", "u", 6000, device="y")]
    known = accounts("a", "b", payout="one")
    assert weigh("payout", same, known).strength >= 0.5
    assert 0.2 <= weigh("payout", apart, known).strength < 0.5


def test_levels_name_the_highest_that_holds():
    assert level_of(None, None, None) == "unknown"
    assert level_of(False, False, False) == "unverified"
    assert level_of(True, False, None) == "phone"
    assert level_of(True, False, True) == "social"
    assert level_of(True, True, False) == "real_name"
