"""Clusters of accounts: typed links between them, the weakest link, money and times, bounded for show."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import rustworkx as rx

MEMBERS_SHOWN: Final = 12
LINKS_SHOWN: Final = 12
KEYS_SHOWN: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Two accounts and what joins them.

    ``kind`` is the type of the shared thing (``device``, ``payout``, ``publisher``, ``hand`` …),
    ``weight`` in [0, 1] how sure this link alone is, ``count`` how many observations carry it.
    """

    a: str
    b: str
    kind: str
    weight: float
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A shared thing: its kind, a label that tells it apart without giving it away, its accounts."""

    kind: str
    label: str
    accounts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One account of a cluster, with what it did there."""

    worker_id: str
    first_at: datetime
    last_at: datetime
    submissions: int
    identity_level: str = "unknown"
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Accounts that act as one, with the evidence that a case needs.

    ``money`` is in minor units by currency; ``confidence`` in [0, 1] is that of the weakest link
    that still holds the cluster together.
    """

    kind: str
    members: tuple[Member, ...]
    links: tuple[Link, ...]
    keys: tuple[Key, ...]
    confidence: float
    weakest: Link | None
    money: Mapping[str, int]
    first_at: datetime
    last_at: datetime

    @property
    def cluster_id(self) -> str:
        """A stable name: the kind and the account that was seen first."""
        return cluster_id(self.kind, (self.members[0].worker_id,))

    def evidence(self) -> dict[str, Any]:
        """A bounded JSON object for a signal: the top members, links and keys, and counts of all."""
        return {
            "cluster_id": self.cluster_id,
            "kind": self.kind,
            "member_count": len(self.members),
            "members": [_member(m) for m in self.members[:MEMBERS_SHOWN]],
            "link_count": len(self.links),
            "links": [_link(x) for x in self.links[:LINKS_SHOWN]],
            "keys": [
                {"kind": k.kind, "label": k.label, "accounts": k.accounts}
                for k in self.keys[:KEYS_SHOWN]
            ],
            "weakest_link": None if self.weakest is None else _link(self.weakest),
            "confidence": round(self.confidence, 4),
            "money_at_stake": [
                {"currency": c, "amount_minor": self.money[c]} for c in sorted(self.money)
            ],
            "first_seen": self.first_at.isoformat(),
            "last_seen": self.last_at.isoformat(),
        }


def _member(member: Member) -> dict[str, Any]:
    return {
        "worker_id": member.worker_id,
        "submissions": member.submissions,
        "first_seen": member.first_at.isoformat(timespec="seconds"),
        "identity_level": member.identity_level,
        "weight": round(member.weight, 3),
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "a": link.a,
        "b": link.b,
        "kind": link.kind,
        "weight": round(link.weight, 3),
        "count": link.count,
    }


def cluster_id(kind: str, founders: Sequence[str]) -> str:
    """Name a cluster after its founders: the same founders give the same name for ever."""
    digest = hashlib.blake2b("\x1f".join((kind, *founders)).encode(), digest_size=8)
    return f"{kind}-{digest.hexdigest()}"


def label_of(kind: str, value: str) -> str:
    """Tell one shared thing from another without showing it: 12 hex digits of a digest."""
    return hashlib.blake2b(f"{kind}\x1f{value}".encode(), digest_size=6).hexdigest()


def merge_links(links: Iterable[Link]) -> list[Link]:
    """Join links of the same pair into one a kind, then order by weight, strongest first."""
    best: dict[tuple[str, str, str], Link] = {}
    for link in links:
        pair = (min(link.a, link.b), max(link.a, link.b), link.kind)
        held = best.get(pair)
        best[pair] = link if held is None or held.weight < link.weight else held
    return sorted(best.values(), key=lambda x: (-x.weight, x.a, x.b, x.kind))


def components(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Connected components of an undirected graph of names, each sorted, in order of first name."""
    edges = sorted({(min(p), max(p)) for p in pairs})
    names = sorted({name for pair in edges for name in pair})
    at = {name: i for i, name in enumerate(names)}
    graph: rx.PyGraph[str, None] = rx.PyGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from([(at[a], at[b], None) for a, b in edges])
    found = [tuple(sorted(names[i] for i in part)) for part in rx.connected_components(graph)]
    return sorted(found)


def weakest_link(links: Sequence[Link]) -> Link | None:
    """The link to cut first: the lightest on the heaviest spanning forest.

    Parallel links of one pair support each other: their weights combine as independent evidence,
    1 − Π(1 − w), and the pair is named by its strongest kind.
    """
    by_pair: dict[tuple[str, str], list[Link]] = defaultdict(list)
    for link in links:
        by_pair[(min(link.a, link.b), max(link.a, link.b))].append(link)
    joined: list[Link] = []
    for (a, b), parallel in sorted(by_pair.items()):
        doubt = 1.0
        for link in parallel:
            doubt *= 1.0 - link.weight
        top = max(parallel, key=lambda x: (x.weight, x.kind))
        joined.append(
            Link(
                a=a,
                b=b,
                kind=top.kind,
                weight=1.0 - doubt,
                count=sum(x.count for x in parallel),
                first_at=min(x.first_at for x in parallel),
                last_at=max(x.last_at for x in parallel),
            )
        )
    if not joined:
        return None
    names = sorted({n for x in joined for n in (x.a, x.b)})
    at = {name: i for i, name in enumerate(names)}
    graph: rx.PyGraph[str, Link] = rx.PyGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from([(at[x.a], at[x.b], x) for x in joined])
    tree = rx.minimum_spanning_edges(graph, weight_fn=lambda x: 1.0 - x.weight)
    on_tree: list[Link] = [edge[2] for edge in tree]
    return min(on_tree, key=lambda x: (x.weight, x.a, x.b))
