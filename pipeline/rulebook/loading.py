"""Reading rule files: TOML and conditions checked against the schema, all problems told at once."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from pipeline.model.decisions import OUTCOMES, Outcome
from pipeline.model.reasons import REASONS
from pipeline.rulebook.book import STATUSES, Case, Ceiling, Limits, Rule, Rulebook
from pipeline.rulebook.fields import BadField, Table
from pipeline.rulebook.lower import Checker
from pipeline.rulebook.names import COUNTER_BY, COUNTER_OF, WINDOWS, Counter, Field, known_names
from pipeline.rulebook.places import Path as Where
from pipeline.rulebook.places import Source, locate
from pipeline.rulebook.problems import Problem, RulebookError
from pipeline.rulebook.syntax import Node, SyntaxProblem, names_in, parse

FILE_MAX: Final = 1_000_000
RULES_MAX: Final = 2_000
NESTING_MAX: Final = 24
_ID: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+")
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_NESTING: Final = re.compile(
    r"""(?m)(?:^|(?<=[{,\[]))[ \t]*(?:[\w"'-]+[ \t]*\.[ \t]*){24}|[\[{\]}\n]"""
)
"""Keys with two dozen dots, brackets, line ends."""
_TOML_PLACE: Final = re.compile(r"\(at line (\d+), column (\d+)\)")


@cache
def shipped() -> Rulebook:
    """Load the rulebook that ships with the project."""
    files = sorted(
        (f for f in resources.files("rules").iterdir() if f.name.endswith(".toml")),
        key=lambda f: f.name,
    )
    return load({f"rules/{f.name}": f.read_text("utf-8") for f in files})


def load(source: Mapping[str, str] | Iterable[str | Path]) -> Rulebook:
    """Read a rulebook from files or from texts by name.

    ``source`` is a mapping of file names to TOML texts, or paths of files and of folders (whose
    ``*.toml`` are read). Raises ``RulebookError`` with every problem of every file.
    """
    texts = dict(source) if isinstance(source, Mapping) else _read(source)
    problems: list[Problem] = []
    tables = [
        table
        for file, text in sorted(texts.items())
        if (table := _toml(file, text, problems)) is not None
    ]
    builder = _Builder(tables, problems)
    book = builder.build()
    if problems or book is None:
        raise RulebookError(problems)
    return book


def _read(paths: Iterable[str | Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for path in map(Path, paths):
        for file in sorted(path.glob("*.toml")) if path.is_dir() else [path]:
            try:
                found[str(file)] = file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                why = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else "not readable"
                problems.append(
                    Problem(file=str(file), line=1, column=1, code="unreadable-file", why=why)
                )
    if problems:
        raise RulebookError(problems)
    return found


def _toml(file: str, text: str, problems: list[Problem]) -> Table | None:
    def refuse(code: str, why: str, line: int = 1, column: int = 1) -> None:
        lines = text[:FILE_MAX].splitlines()
        shown = lines[line - 1] if line <= len(lines) else ""
        problems.append(
            Problem(file=file, line=line, column=column, code=code, why=why, source=shown)
        )

    if len(text) > FILE_MAX:
        refuse("file-too-large", f"a rule file may have {FILE_MAX} characters")
        return None
    if (deep := _too_nested(text)) is not None:
        refuse("toml-too-deep", f"brackets may nest {NESTING_MAX} deep", deep, 1)
        return None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line, column = (int(g) for g in place.groups()) if place else (text.count("\n") + 1, 1)
        refuse("bad-toml", _TOML_PLACE.sub("", str(error)).strip(), line, column)
        return None
    except (ValueError, RecursionError) as error:  # a number with thousands of digits
        refuse("bad-toml", f"cannot be read: {str(error)[:80]}")
        return None
    return Table(source=locate(file, text), path=(), data=data, problems=problems)


def _too_nested(text: str) -> int | None:
    """Return the first line with too many brackets open; quotes are not looked at (a safe bound)."""
    depth, line = 0, 1
    for found in _NESTING.finditer(text):
        mark = found.group()
        if mark == "\n":
            line += 1
        elif mark in "[{":
            depth += 1
        elif mark in "]}":
            depth = max(0, depth - 1)
        else:
            return line
        if depth > NESTING_MAX:
            return line
    return None


class _Builder:
    def __init__(self, tables: list[Table], problems: list[Problem]) -> None:
        self.tables, self.problems = tables, problems
        self.names: dict[str, Field] = {}
        self.seen: dict[str, str] = {}

    def build(self) -> Rulebook | None:
        heads = [t.table("ruleset") for t in self.tables if "ruleset" in t.data]
        if len(heads) != 1 and self.tables:
            where = heads[1] if heads else self.tables[0]
            why = (
                "one file must hold [ruleset]" if not heads else "only one file may hold [ruleset]"
            )
            where.refuse((), "ruleset", why)
        for table in self.tables:
            table.only("ruleset", "counters", "rules")
        counters = [
            counter
            for table in self.tables
            for entry in table.tables("counters")
            if (counter := self._counter(entry)) is not None
        ]
        self.names = known_names(tuple(counters))
        ceilings = self._ceilings(heads[0]) if heads else {}
        rules: list[Rule] = []
        for table in self.tables:
            for entry in table.tables("rules"):
                if rule := self._rule(entry, ceilings):
                    rules.append(rule)
        if len(rules) > RULES_MAX:
            self.tables[0].refuse((), "too-many-rules", f"a rulebook may have {RULES_MAX} rules")
        if not heads:
            return None
        return self._ruleset(heads[0], ceilings, tuple(counters), tuple(rules))

    def _ruleset(
        self,
        head: Table,
        ceilings: dict[str, Ceiling],
        counters: tuple[Counter, ...],
        rules: tuple[Rule, ...],
    ) -> Rulebook | None:
        head.only("name", "review_at", "hold_at", "alpha", "slices", "ceilings", "abstentions")
        try:
            review_at = head.integer("review_at", 1, 100)
            hold_at = head.integer("hold_at", 1, 100)
            if hold_at <= review_at:
                head.refuse(("hold_at",), "bad-value", "hold_at must lie above review_at")
            return Rulebook(
                name=head.text("name", 80),
                review_at=review_at,
                hold_at=hold_at,
                alpha=head.number("alpha", 0.0, 1.0, 0.005),
                slices=head.strings("slices", tuple(self.names), ()),
                ceilings=ceilings,
                abstentions=self._abstentions(head),
                counters=counters,
                rules=tuple(sorted(rules, key=lambda rule: rule.id)),
            )
        except BadField:
            return None

    def _abstentions(self, head: Table) -> dict[str, Outcome]:
        given = head.table("abstentions")
        found: dict[str, Outcome] = {}
        for key in given.data:
            value = given.choice(key, OUTCOMES[:3])
            found[key] = OUTCOMES[OUTCOMES.index(value)]
        return found

    def _ceilings(self, head: Table) -> dict[str, Ceiling]:
        found: dict[str, Ceiling] = {}
        given = head.table("ceilings")
        for family in given.data:
            entry = given.table(family)
            entry.only("hints", "all")
            try:
                found[family] = Ceiling(
                    hints=entry.integer("hints", 0, 100), all=entry.integer("all", 0, 100)
                )
            except BadField:
                found[family] = Ceiling(hints=0, all=0)
        return found

    def _counter(self, entry: Table) -> Counter | None:
        entry.only("name", "of", "by", "window")
        try:
            name = entry.text("name", 60)
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                entry.refuse(("name",), "bad-name", "a counter's name is lower snake case")
            if name in self.seen:
                entry.refuse(("name",), "duplicate", f"the counter `{name}` exists already")
            self.seen[name] = name
            window = _WINDOW.fullmatch(entry.text("window", 10))
            if window is None:
                entry.refuse(("window",), "bad-value", "a window is like 30m, 24h or 7d")
                return None
            return Counter(
                name=name,
                of=entry.choice("of", COUNTER_OF),
                by=entry.choice("by", COUNTER_BY),
                window_s=int(window.group(1)) * WINDOWS[window.group(2)],
            )
        except BadField:
            return None

    def _rule(self, entry: Table, ceilings: Mapping[str, Ceiling]) -> Rule | None:
        entry.only(*_RULE_KEYS)
        rule_id = self._id(entry)
        tree = self._condition(entry, "when", "bool")
        scale = self._condition(entry, "scale", "double") if "scale" in entry.data else None
        hard = entry.optional_choice("hard", ("block", "overridable_block", "override"))
        points = entry.optional_integer("points", -100, 100)
        if (hard is None) == (points is None):
            entry.refuse((), "bad-rule", "a rule has either `points` or `hard`")
        family = entry.optional_text("family", 40)
        if not hard and family not in ceilings:
            self._no_ceiling(entry, family, ceilings)
        notice = entry.table("notice")
        notice.only("en", "zh")
        try:
            rule = Rule(
                id=rule_id,
                why=entry.text("why", 600),
                when=str(entry.data.get("when", "")),
                family=family,
                status=STATUSES[STATUSES.index(entry.choice("status", STATUSES, "draft"))],
                kind="proof"
                if entry.choice("kind", ("hint", "proof"), "hint") == "proof"
                else "hint",
                points=points or 0,
                scale=entry.optional_text("scale", 4_000) or None,
                hard=hard,  # type: ignore[arg-type]
                to=self._to(entry, hard),
                reasons=self._reasons(entry),
                share=entry.number("share", 0.0, 100.0, 100.0),
                effect=entry.text("effect", 600),
                notice_en=self._notice(entry, notice, "en", points, hard),
                notice_zh=self._notice(entry, notice, "zh", points, hard),
                owner=entry.text("owner", 80),
                limits=self._limits(entry),
                tests=self._cases(entry),
                tree=tree,  # type: ignore[arg-type]
                scale_tree=scale,
            )
        except BadField:
            return None
        return rule if tree is not None else None

    def _id(self, entry: Table) -> str:
        try:
            rule_id = entry.text("id", 80)
        except BadField:
            return ""
        if not _ID.fullmatch(rule_id):
            entry.refuse(("id",), "bad-id", "an id is lower snake case with a dot: family.finding")
        elif rule_id in self.seen:
            entry.refuse(("id",), "duplicate", f"the id stands in {self.seen[rule_id]} already")
        else:
            self.seen[rule_id] = entry.source.file
        return rule_id

    def _no_ceiling(self, entry: Table, family: str, ceilings: Mapping[str, Ceiling]) -> None:
        if family:
            entry.refuse_near(
                ("family",), "unknown-family", f"`{family}` has no ceiling", family, ceilings
            )
        else:
            entry.refuse((), "missing-key", "`family` is missing: its ceiling bounds the points")

    def _to(self, entry: Table, hard: str | None) -> Outcome | None:
        if hard != "override":
            if "to" in entry.data:
                entry.refuse(
                    ("to",), "unknown-key", "only an override says what it lets through to"
                )
            return None
        return (
            "approve"
            if entry.choice("to", ("approve", "review"), "review") == "approve"
            else "review"
        )

    def _reasons(self, entry: Table) -> tuple[str, ...]:
        found = entry.strings("reasons", None, ())
        for position, code in enumerate(found):
            if code in REASONS or code.startswith(("list.", "velocity.", "policy.")):
                continue
            entry.refuse_near(
                ("reasons", position),
                "unknown-reason",
                f"`{code}` is no reason code, nor list.*, velocity.* or policy.*",
                code,
                REASONS,
            )
        return found

    def _notice(
        self, entry: Table, notice: Table, language: str, points: int | None, hard: str | None
    ) -> str:
        against = (points or 0) > 0 or hard in ("block", "overridable_block")
        if not against:
            return notice.optional_text(language, 600)
        if language not in notice.data:
            why = f"what the worker reads is missing: [rules.notice] {language}"
            entry.refuse(("notice",), "missing-notice", why)
            return ""
        return notice.text(language, 600)

    def _limits(self, entry: Table) -> Limits:
        given = entry.table("limits")
        given.only(*Limits.__dataclass_fields__)
        plain = Limits()
        return Limits(
            overturned_max=given.number("overturned_max", 0.0, 1.0, plain.overturned_max),
            overturned_min=int(given.number("overturned_min", 1, 1e6, plain.overturned_min)),
            hits_max=given.number("hits_max", 0.0, 1.0, plain.hits_max),
            hits_min=int(given.number("hits_min", 1, 1e9, plain.hits_min)),
        )

    def _cases(self, entry: Table) -> tuple[Case, ...]:
        cases: list[Case] = []
        for given in entry.tables("tests"):
            signals = given.table("signals")
            for code in signals.data:
                if code not in REASONS:
                    signals.refuse_near(
                        (code,), "unknown-reason", f"`{code}` is no reason code", code, REASONS
                    )
            facts = given.table("given")
            for name, value in facts.data.items():
                self._given(facts, name, value)
            try:
                cases.append(
                    Case(
                        name=given.text("name", 200),
                        expect=given.choice("expect", ("hit", "miss", "unknown")),
                        signals=signals.data,
                        given=facts.data,
                        points=given.optional_integer("points", -100, 100),
                    )
                )
            except BadField:
                continue
            given.only("name", "expect", "signals", "given", "points")
        if {c.expect for c in cases}.isdisjoint({"hit"}) or len(cases) < 2:
            why = "a rule needs a case that hits and one that does not"
            entry.refuse((), "missing-tests", why)
        return tuple(cases)

    def _given(self, facts: Table, name: str, value: object) -> None:
        field = self.names.get(name)
        if field is None:
            facts.refuse_near(
                (name,), "unknown-name", f"there is no name `{name}`", name, self.names
            )
            return
        wanted = {"bool": bool, "int": int, "double": float, "string": str, "list<string>": list}
        exact = type(value) is wanted[field.type]
        if not exact:
            facts.refuse((name,), "type-mismatch", f"`{name}` is {field.type}")

    def _condition(self, entry: Table, key: str, wanted: str) -> Node | None:
        """Read and check a condition; None where it has a problem, which is then kept."""
        text = entry.data.get(key)
        if not isinstance(text, str):
            entry.refuse(
                (key,) if key in entry.data else (), "missing-key", f"`{key}` is a condition"
            )
            return None
        try:
            tree = parse(text)
        except SyntaxProblem as problem:
            self._refuse_in(entry, key, text, problem)
            return None
        checker = Checker(self.names)
        found = checker.of(tree)
        for found_problem in checker.problems:
            self._refuse_in(entry, key, text, found_problem)
        if checker.problems:
            return None
        if found != wanted:
            why = f"`{key}` must give {wanted}, this gives {found}"
            self._refuse_in(
                entry, key, text, SyntaxProblem("type-mismatch", why, tree.start, tree.end)
            )
            return None
        if not names_in(tree):
            why = "it reads no name, so it says the same of every submission"
            self._refuse_in(entry, key, text, SyntaxProblem("constant", why, tree.start, tree.end))
            return None
        return tree

    def _refuse_in(self, entry: Table, key: str, text: str, problem: SyntaxProblem) -> None:
        path: Where = (*entry.path, key)
        source: Source = entry.source
        line, column, shown = source.at(source.inside(path, text, problem.start))
        self.problems.append(
            Problem(
                file=source.file,
                line=line,
                column=column,
                code=problem.code,
                why=problem.why,
                source=shown,
                width=min(problem.end - problem.start, max(1, len(shown) - column + 1)),
                hint=problem.hint,
            )
        )


_RULE_KEYS: Final[tuple[str, ...]] = (
    *("id", "why", "when", "family", "status", "kind", "points", "scale", "hard", "to", "reasons"),
    *("share", "effect", "notice", "owner", "limits", "tests"),
)
