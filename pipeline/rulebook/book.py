"""A checked rulebook: frozen rules, counters and thresholds, named by the digest of what they say."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import orjson

from pipeline.model.decisions import Outcome
from pipeline.rulebook.names import Counter, Field, known_names
from pipeline.rulebook.syntax import Node, names_in

Status: TypeAlias = Literal["draft", "shadow", "rollout", "live", "paused", "archived"]
Kind: TypeAlias = Literal["hint", "proof"]
Hard: TypeAlias = Literal["block", "overridable_block", "override"]

STATUSES: Final[tuple[Status, ...]] = ("draft", "shadow", "rollout", "live", "paused", "archived")
EVALUATED: Final = frozenset({"shadow", "rollout", "live"})
"""Rules of these statuses are evaluated; those in shadow are counted and change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One of a rule's own cases: facts in, and whether the rule must hit.

    ``signals`` maps reason codes to a strength (or a table of fields), the others set fields of
    their group; what is not named is absent. ``expect`` is ``hit``, ``miss`` or ``unknown``.
    """

    name: str
    expect: str
    signals: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    points: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTest:
    """What one case gave: ``passed``, and ``told`` for a person where it did not."""

    rule: str
    case: str
    passed: bool
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a rule steps back to shadow by itself.

    More than ``overturned_max`` of at least ``overturned_min`` decided cases overturned, or more
    than ``hits_max`` of at least ``hits_min`` submissions hit.
    """

    overturned_max: float = 0.10
    overturned_min: int = 30
    hits_max: float = 0.20
    hits_min: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``id`` is frozen for ever; ``when`` the condition as written, ``tree`` as read."""

    id: str
    why: str
    when: str
    family: str
    status: Status
    kind: Kind
    points: int
    scale: str | None
    hard: Hard | None
    to: Outcome | None
    reasons: tuple[str, ...]
    share: float
    effect: str
    notice_en: str
    notice_zh: str
    owner: str
    limits: Limits
    tests: tuple[Case, ...]
    tree: Node = field(repr=False, compare=False)
    scale_tree: Node | None = field(default=None, repr=False, compare=False)

    @property
    def names(self) -> frozenset[str]:
        """Every name that the rule reads."""
        found = names_in(self.tree)
        return found | names_in(self.scale_tree) if self.scale_tree else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The most that one family can add: its hints together, and all of it."""

    hints: int
    all: int


@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """An immutable set of rules. Two rulebooks that say the same have the same ``digest``."""

    name: str
    review_at: int
    hold_at: int
    alpha: float
    slices: tuple[str, ...]
    ceilings: Mapping[str, Ceiling]
    abstentions: Mapping[str, Outcome]
    counters: tuple[Counter, ...]
    rules: tuple[Rule, ...]

    @cached_property
    def names(self) -> Mapping[str, Field]:
        """Every name that these rules may read, with its type."""
        return MappingProxyType(known_names(self.counters))

    @cached_property
    def by_id(self) -> Mapping[str, Rule]:
        """The rules by id."""
        return MappingProxyType({rule.id: rule for rule in self.rules})

    @cached_property
    def digest(self) -> str:
        """SHA-256, in lower-case hex, of everything the rulebook says (comments do not count)."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def canonical(self) -> bytes:
        """Write everything the rulebook says as canonical JSON, from which ``digest`` is taken."""
        said = {
            "name": self.name,
            "review_at": self.review_at,
            "hold_at": self.hold_at,
            "alpha": self.alpha,
            "slices": self.slices,
            "ceilings": {k: asdict(v) for k, v in self.ceilings.items()},
            "abstentions": dict(self.abstentions),
            "counters": [asdict(c) for c in self.counters],
            "rules": [_said(rule) for rule in sorted(self.rules, key=lambda r: r.id)],
        }
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)

    def with_status(self, statuses: Mapping[str, tuple[Status, float]]) -> "Rulebook":
        """Return a rulebook in which those rules have another status and share: a new digest.

        Raises ``KeyError`` for an id that is not here.
        """
        for rule_id in statuses:
            self.by_id[rule_id]
        rules = tuple(
            replace(r, status=statuses[r.id][0], share=statuses[r.id][1]) if r.id in statuses else r
            for r in self.rules
        )
        return replace(self, rules=rules)

    def test(self) -> tuple[RuleTest, ...]:
        """Run every rule's own cases through the engine that judges submissions."""
        from pipeline.rulebook.cases import run_cases

        return run_cases(self)


def _said(rule: Rule) -> dict[str, Any]:
    plain = {
        name: getattr(rule, name)
        for name in Rule.__dataclass_fields__
        if name not in ("tree", "scale_tree", "tests", "limits")
    }
    return plain | {
        "limits": asdict(rule.limits),
        "tests": [asdict(case) for case in rule.tests],
    }
