"""The names that a rule may read, each with its type: the schema that conditions are checked by."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import polars as pl

from pipeline.model.reasons import REASONS

Type: TypeAlias = Literal["bool", "int", "double", "string", "list<string>"]

DTYPES: Final[Mapping[str, pl.DataType]] = MappingProxyType(
    {
        "bool": pl.Boolean(),
        "int": pl.Int64(),
        "double": pl.Float64(),
        "string": pl.String(),
        "list<string>": pl.List(pl.String()),
    }
)

SURE: Final = 0.5
"""From this strength on a finding is proof grade: no honest submission should carry it."""
WORTH_A_LOOK: Final = 0.2
"""From this strength on a finding deserves a person's look, and no more than that."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "copies": ("file", "text", "image", "watermark"),
        "provenance": ("provenance",),
        "behaviour": ("trajectory",),
        "accounts": ("identity", "collusion"),
    }
)
"""Which families look at the same thing. Only findings of different groups support each other:
one copied picture gives ``file``, ``image`` and ``watermark`` findings, and is still one thing."""

SOFT: Final = frozenset(
    {"trajectory.pasted", "trajectory.too_fast", "image.same_scene", "provenance.edited"}
)
"""Findings with a common honest cause, however sure the detector is of the fact itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One name: its type, what it says, and its value where the facts are silent.

    ``default`` None means *unknown*: a condition that hangs on it is neither true nor false, and
    the rule then does not hit but is told as unknown.
    """

    name: str
    type: Type
    says: str
    default: bool | int | float | str | None = None


def _signal_fields() -> list[Field]:
    found: list[Field] = []
    for code, reason in REASONS.items():
        found += [
            Field(
                name=f"{code}.found",
                type="bool",
                says=f"it was found: {reason.says}",
                default=False,
            ),
            Field(
                name=f"{code}.strength",
                type="double",
                says="strongest finding, 0 to 1; 0.0 where none",
                default=0.0,
            ),
            Field(
                name=f"{code}.p_value",
                type="double",
                says="smallest p-value; 1.0 where none is defined",
                default=1.0,
            ),
            Field(name=f"{code}.count", type="int", says="how many findings", default=0),
            Field(
                name=f"{code}.other_workers",
                type="int",
                says="how many other workers it was matched with",
                default=0,
            ),
            Field(
                name=f"{code}.paid_match",
                type="bool",
                says="it matches another worker's submission that was paid",
                default=False,
            ),
        ]
    return found


def _fields(prefix: str, *rows: tuple[str, Type, str]) -> list[Field]:
    return [Field(name=f"{prefix}.{n}", type=t, says=s) for n, t, s in rows]


def _defaulted(
    prefix: str, default: bool | int | float, *rows: tuple[str, Type, str]
) -> list[Field]:
    return [Field(name=f"{prefix}.{n}", type=t, says=s, default=default) for n, t, s in rows]


_EVIDENCE: Final = [
    *_defaulted(
        "evidence",
        0.0,
        *(
            (g, "double", f"strongest of {', '.join(f)}; soft ones apart")
            for g, f in GROUPS.items()
        ),
    ),
    *_defaulted(
        "evidence",
        0,
        ("groups", "int", "how many groups have a finding worth a look (0.2 and more)"),
        (
            "sure_groups",
            "int",
            "how many groups have a sure finding (0.5 and more), soft ones apart",
        ),
        ("findings", "int", "how many findings in all"),
    ),
]

SUBJECTS: Final = ("worker", "device", "ip", "payout", "publisher", "task", "digest", "phrase")
"""What a list entry or a snooze may name."""

FIELDS: Final[Mapping[str, Field]] = MappingProxyType(
    {
        field.name: field
        for field in [
            *_signal_fields(),
            *_EVIDENCE,
            *_fields(
                "submission",
                ("text_length", "int", "characters of its text"),
                ("work_s", "double", "seconds from claim to hand-in"),
                ("is_revision", "bool", "it revises the worker's own earlier one"),
                ("device_id", "string", "the device it came from"),
                ("ip", "string", "the address it came from"),
                ("hour_utc", "int", "hour of hand-in, 0 to 23, UTC"),
                ("late", "bool", "handed in after the deadline"),
            ),
            *_fields(
                "task",
                ("id", "string", "the task"),
                ("publisher_id", "string", "who published it"),
                ("category", "string", "its category"),
                ("language", "string", "BCP 47 tag"),
                ("grade", "string", "A hard, B, C easy"),
                ("bounty_minor", "int", "the bounty in minor units"),
                ("currency", "string", "ISO 4217"),
                ("slots", "int", "how many submissions are paid"),
                ("on_site", "bool", "it is done at a place"),
            ),
            *_fields(
                "worker",
                ("id", "string", "the account"),
                ("age_days", "double", "days from registration to hand-in"),
                ("phone_verified", "bool", "phone verified"),
                ("real_name_verified", "bool", "real name verified"),
                ("social_linked", "bool", "a social account is linked"),
                ("skills", "list<string>", "skills that the account names"),
            ),
            *_fields(
                "credit",
                ("score", "int", "credit standing, as the credit ledger counts it"),
                ("level", "string", "what the worker may take: open, c_only or suspended"),
                ("grade", "string", "hardest task grade open to the worker"),
                ("accepted", "int", "submissions accepted so far"),
                ("confirmed", "int", "frauds that a person confirmed"),
                ("overturned", "int", "holds that were overturned in the worker's favour"),
            ),
            *_defaulted(
                "cluster",
                0,
                (
                    "workers",
                    "int",
                    "other accounts tied to this one by identity or collusion findings",
                ),
            ),
            *(
                Field(
                    name=f"listed.{kind}.{subject}",
                    type="bool",
                    says=f"the {subject} stands on a {kind} list",
                    default=False,
                )
                for kind in ("allow", "block", "watch")
                for subject in (*SUBJECTS, "any")
            ),
            *_defaulted(
                "abstained", 0, ("count", "int", "how many detectors applied and could not look")
            ),
        ]
    }
)
"""Every built-in name. A rulebook adds ``counter.<name>`` for each counter that it declares."""

WINDOWS: Final = MappingProxyType({"m": 60, "h": 3600, "d": 86400})
COUNTER_BY: Final = ("worker", "device", "ip", "publisher", "task")
COUNTER_OF: Final = ("submissions", "amount_minor", "holds", "overturns", "workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A velocity counter: ``of`` what, ``by`` whom, over the last ``window_s`` seconds.

    The window of a submission handed in at t is (t - window_s, t], the submission itself included
    and later ones never: exact, and the same in a batch as one by one (``counters.count``).
    """

    name: str
    of: str
    by: str
    window_s: int

    @property
    def field(self) -> Field:
        """The name that conditions read."""
        says = f"{self.of} by {self.by} within {self.window_s} s"
        return Field(name=f"counter.{self.name}", type="int", says=says)


def known_names(counters: tuple[Counter, ...]) -> dict[str, Field]:
    """Return every name that a rulebook with these counters may read."""
    return {**FIELDS, **{c.field.name: c.field for c in counters}}
