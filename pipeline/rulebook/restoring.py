"""A rulebook from its canonical JSON: how an old revision is replayed or rolled back to."""

from typing import Any

import orjson

from pipeline.model.errors import StoreError
from pipeline.rulebook.book import Case, Ceiling, Limits, Rule, Rulebook
from pipeline.rulebook.names import Counter
from pipeline.rulebook.syntax import parse


def restore(canonical: bytes | str, digest: str | None = None) -> Rulebook:
    """Read back what ``Rulebook.canonical`` wrote.

    Raises ``StoreError('rules.corrupt')`` where it does not give the ``digest`` that it should.
    """
    said = orjson.loads(canonical)
    book = Rulebook(
        **{name: said[name] for name in ("name", "review_at", "hold_at", "alpha")},
        slices=tuple(said["slices"]),
        ceilings={family: Ceiling(**c) for family, c in said["ceilings"].items()},
        abstentions=said["abstentions"],
        counters=tuple(Counter(**c) for c in said["counters"]),
        rules=tuple(_rule(entry) for entry in said["rules"]),
    )
    if digest is not None and book.digest != digest:
        raise StoreError("rules.corrupt", f"a stored rulebook is not {digest[:12]} any more")
    return book


def _rule(said: dict[str, Any]) -> Rule:
    plain = {n: v for n, v in said.items() if n not in ("limits", "tests", "reasons")}
    return Rule(
        **plain,
        reasons=tuple(said["reasons"]),
        limits=Limits(**said["limits"]),
        tests=tuple(Case(**case) for case in said["tests"]),
        tree=parse(said["when"]),
        scale_tree=parse(said["scale"]) if said["scale"] else None,
    )
