"""From the submissions of linked accounts to rings: shared keys weighed, links, who was first."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from detectors.identity.belief import (
    STRENGTH_MIN,
    Account,
    Belief,
    KeyKind,
    Use,
    level_of,
    weigh,
)
from detectors.identity.hand import Likeness, strength
from detectors.kit.graph.clusters import (
    Cluster,
    Key,
    Link,
    Member,
    components,
    label_of,
    merge_links,
    weakest_link,
)

HANDS_MAX: Final = 64
"""Accounts of one key whose hands are laid beside the founder's, in order of appearance."""
COLUMNS: Final[Mapping[KeyKind, str]] = {"device": "device_id", "payout": "payout_account_hash"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A submission that another room has proven to repeat one of another account."""

    submission_id: str
    worker_id: str
    source_worker_id: str
    kind: str
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """One device or payout account that several accounts use. ``uses`` in order of submission.

    ``hands`` are the likenesses of the founder's hand with those of others, where both are known.
    """

    kind: KeyKind
    label: str
    uses: tuple[Use, ...]
    belief: Belief
    hands: Mapping[str, Likeness]
    copies: tuple[Copy, ...] = ()

    @property
    def workers(self) -> tuple[str, ...]:
        """The accounts, in order of their first submission."""
        return tuple(dict.fromkeys(u.worker_id for u in self.uses))

    def hand_of(self, worker_id: str, other_id: str) -> tuple[float, Likeness | None]:
        """How sure one hand is behind two accounts, of which one is the founder, and the likeness."""
        founder = self.uses[0].worker_id
        likeness = self.hands.get(other_id if worker_id == founder else worker_id)
        if likeness is None or founder not in (worker_id, other_id):
            return 0.0, None
        return strength(self.belief.log_odds, likeness), likeness

    @property
    def told(self) -> bool:
        """Whether this key, or a hand behind it, is worth a person's look."""
        founder = self.uses[0].worker_id
        hands = (self.hand_of(founder, w)[0] for w in self.hands)
        return max(self.belief.strength, *hands, 0.0) >= STRENGTH_MIN

    def accused(self) -> Iterator[tuple[Use, Use]]:
        """Pair each submission with the first one of another account: first come, first protected.

        Whoever opened the ring is named on all of it, so that its submissions lead to one place.
        The founder's own later submissions are paired with the first other account.
        """
        founder, second = self.uses[0], None
        for use in self.uses[1:]:
            if use.worker_id != founder.worker_id:
                second = second or use
                yield use, founder
            elif second is not None:
                yield use, second

    def beside(self) -> dict[str, str]:
        """Lay each submission beside the first earlier one of another account to the same task."""
        firsts: dict[str, list[Use]] = {}
        found = {}
        for use in self.uses:
            seen = firsts.setdefault(use.task_id, [])
            other = next((u for u in seen if u.worker_id != use.worker_id), None)
            if other is not None:
                found[use.submission_id] = other.submission_id
            if not seen or (len(seen) == 1 and other is not None):
                seen.append(use)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Accounts joined by shared keys, and what each key says."""

    cluster: Cluster
    shared: tuple[Shared, ...]
    accounts: Mapping[str, Account]

    def level(self, worker_id: str) -> str:
        """The identity level of a member."""
        return self.accounts[worker_id].level

    def live_accounts(self, worker_id: str) -> int:
        """How many accounts of this ring are paid to the member's payout account, itself included.

        Zero where no payout account is known. Rules that allow one live account for each payout
        identity read this.
        """
        payout = self.accounts[worker_id].payout
        return sum(a.payout == payout for a in self.accounts.values()) if payout else 0


def rings_of(
    known: pl.DataFrame,
    tasks: pl.DataFrame,
    compare: Callable[[str, str], Likeness | None] = lambda a, b: None,
    copies: Sequence[Copy] = (),
) -> list[Ring]:
    """Group the accounts of ``known`` into rings.

    ``known`` is SUBMISSIONS beside the columns of the worker, in order of submission and closed
    under sharing: whoever shares a key with an account in it is in it too. ``compare`` lays the
    hands of two accounts side by side; only accounts that share a key are. ``copies`` corroborate
    in the same way: between accounts of one key.
    """
    uses = [
        Use(**row)
        for row in known.select(
            "submission_id", "worker_id", "task_id", "claimed_at", "submitted_at", "device_id",
            "ip",
        ).iter_rows(named=True)
    ]  # fmt: skip
    payout_of = dict(known.select("worker_id", "payout_account_hash").iter_rows())
    groups: dict[tuple[KeyKind, str], list[Use]] = defaultdict(list)
    for use in uses:
        if use.device_id:
            groups[("device", use.device_id)].append(use)
        if payout := payout_of.get(use.worker_id):
            groups[("payout", payout)].append(use)
    held = {k: g for k, g in groups.items() if len({u.worker_id for u in g}) > 1}
    accounts = _accounts(known, held)
    shared = []
    for (kind, value), g in sorted(held.items()):
        users = {u.worker_id for u in g}
        mine = tuple(c for c in copies if {c.worker_id, c.source_worker_id} <= users)
        belief = weigh(kind, g, accounts, len({c.submission_id for c in mine}))
        label = label_of(kind, value)
        hands = _hands(g, compare)
        shared.append(
            Shared(kind=kind, label=label, uses=tuple(g), belief=belief, hands=hands, copies=mine)
        )
    told = [s for s in shared if s.told]
    parts = components((s.workers[0], w) for s in told for w in s.workers[1:])
    money = dict(tasks.select("task_id", pl.struct("currency", "bounty_minor")).iter_rows())
    by_worker: dict[str, list[Use]] = defaultdict(list)
    for use in uses:
        by_worker[use.worker_id].append(use)
    rings = []
    for part in parts:
        inside = [s for s in told if s.workers[0] in part]
        rings.append(
            Ring(
                cluster=_cluster(part, inside, by_worker, accounts, money),
                shared=tuple(inside),
                accounts={w: accounts[w] for w in part},
            )
        )
    return rings


def _hands(
    uses: Sequence[Use], compare: Callable[[str, str], Likeness | None]
) -> dict[str, Likeness]:
    """Lay the founder's hand beside those of accounts that were never seen on one device with it."""
    founder = uses[0].worker_id
    devices: dict[str, set[str]] = defaultdict(set)
    for use in uses:
        devices[use.worker_id] |= {use.device_id} if use.device_id else set()
    apart = [w for w in devices if devices[w] and not devices[w] & devices[founder]]
    if not devices[founder]:
        return {}
    found = {w: compare(founder, w) for w in apart[:HANDS_MAX]}
    return {w: likeness for w, likeness in found.items() if likeness is not None}


def _accounts(
    known: pl.DataFrame, held: Mapping[tuple[KeyKind, str], Sequence[Use]]
) -> dict[str, Account]:
    devices = dict(
        known.group_by("worker_id").agg(pl.col("device_id").drop_nulls().n_unique()).iter_rows()
    )
    rows = known.unique("worker_id", keep="first", maintain_order=True)
    return {
        r["worker_id"]: Account(
            worker_id=r["worker_id"],
            registered_at=r["registered_at"],
            level=level_of(r["phone_verified"], r["real_name_verified"], r["social_linked"]),
            payout=r["payout_account_hash"],
            other_devices=devices[r["worker_id"]] > 1,
        )
        for r in rows.iter_rows(named=True)
    }


def _cluster(
    part: Sequence[str],
    shared: Sequence[Shared],
    by_worker: Mapping[str, Sequence[Use]],
    accounts: Mapping[str, Account],
    money: Mapping[str, Mapping[str, Any]],
) -> Cluster:
    links = merge_links(_links(shared))
    weak = weakest_link(links)
    members = sorted(
        (
            Member(
                worker_id=w,
                first_at=by_worker[w][0].submitted_at,
                last_at=by_worker[w][-1].submitted_at,
                submissions=len(by_worker[w]),
                identity_level=accounts[w].level,
            )
            for w in part
        ),
        key=lambda m: (m.first_at, m.worker_id),
    )
    stake: dict[str, int] = defaultdict(int)
    for w in part:
        for use in by_worker[w]:
            task = money.get(use.task_id)
            if task and task["currency"] and task["bounty_minor"] is not None:
                stake[task["currency"]] += task["bounty_minor"]
    return Cluster(
        kind="identity",
        members=tuple(members),
        links=tuple(links),
        keys=tuple(Key(kind=s.kind, label=s.label, accounts=len(s.workers)) for s in shared),
        confidence=0.0 if weak is None else weak.weight,
        weakest=weak,
        money=dict(stake),
        first_at=members[0].first_at,
        last_at=max(m.last_at for m in members),
    )


def _links(shared: Sequence[Shared]) -> Iterator[Link]:
    """Join the first account of each key to the others, a star, so that links stay few; and copies."""
    for s in shared:
        at = {u.submission_id: u.submitted_at for u in s.uses}
        for copy in s.copies:
            moment = at.get(copy.submission_id, s.uses[0].submitted_at)
            yield Link(
                a=copy.source_worker_id, b=copy.worker_id, kind=copy.kind, weight=copy.strength,
                count=1, first_at=moment, last_at=moment,
            )  # fmt: skip
        hub, *others = s.workers
        for other in others:
            mine = [u for u in s.uses if u.worker_id in (hub, other)]
            yield Link(
                a=hub,
                b=other,
                kind=s.kind,
                weight=s.belief.confidence,
                count=len(mine),
                first_at=mine[0].submitted_at,
                last_at=mine[-1].submitted_at,
            )
            sure, likeness = s.hand_of(hub, other)
            if likeness is not None and sure >= STRENGTH_MIN:
                yield Link(
                    a=hub, b=other, kind="hand", weight=(1.0 + sure) / 2.0, count=len(mine),
                    first_at=mine[0].submitted_at, last_at=mine[-1].submitted_at,
                )  # fmt: skip
