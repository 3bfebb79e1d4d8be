"""Clusters: the weakest link, stable names, bounded evidence, and the picture of them."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import orjson
import pytest

from detectors.kit.graph.clusters import (
    Cluster,
    Key,
    Link,
    Member,
    cluster_id,
    components,
    weakest_link,
)
from detectors.kit.graph.draw import cluster_svg

AT = datetime(2026, 3, 1, tzinfo=UTC)


def link(a, b, weight, kind="device"):
    return Link(a=a, b=b, kind=kind, weight=weight, count=3, first_at=AT, last_at=AT)


def cluster(n=3):
    names = [f"w<{i}>" for i in range(n)]
    links = tuple(link(names[0], w, 0.9) for w in names[1:])
    return Cluster(
        kind="identity",
        members=tuple(Member(worker_id=w, first_at=AT, last_at=AT, submissions=2) for w in names),
        links=links,
        keys=(Key(kind="device", label="abc123", accounts=n),),
        confidence=0.9,
        weakest=weakest_link(links),
        money={"CNY": 1234},
        first_at=AT,
        last_at=AT,
    )


def test_the_weakest_link_is_the_bridge_and_parallel_links_support_each_other():
    bridge = link("b", "c", 0.5)
    links = [link("a", "b", 0.9), bridge, link("c", "d", 0.4), link("c", "d", 0.4, "payout")]
    found = weakest_link(links)
    assert found is not None
    assert {found.a, found.b} == {"b", "c"}
    assert weakest_link([]) is None


def test_a_light_edge_inside_a_ring_is_not_the_weakest_link():
    found = weakest_link([link("a", "b", 0.9), link("b", "c", 0.8), link("a", "c", 0.1)])
    assert found is not None
    assert found.weight == pytest.approx(0.8)


def test_components_and_names_are_stable():
    assert components([("d", "c"), ("a", "b"), ("b", "c")]) == [("a", "b", "c", "d")]
    assert cluster_id("identity", ("a",)) == cluster_id("identity", ("a",))
    assert cluster_id("identity", ("a",)) != cluster_id("collusion", ("a",))


def test_evidence_is_bounded_and_counts_what_it_leaves_out():
    evidence = cluster(500).evidence()
    assert evidence["member_count"] == 500
    assert evidence["link_count"] == 499
    assert len(orjson.dumps(evidence)) < 4096


def test_the_picture_is_well_formed_escaped_and_the_same_every_time():
    evidence = cluster().evidence()
    svg = cluster_svg(evidence)
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "<0>" not in svg
    assert "12.34 CNY" in svg
    assert svg == cluster_svg(evidence)
