"""Reading a TOML table key by key, with a problem for everything that is not as it should be."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pipeline.rulebook.places import Path, Source
from pipeline.rulebook.problems import Problem, nearest


class BadField(Exception):
    """A value was refused; the problem is already kept."""


PROBLEMS_MAX: Final = 500
"""More are not told: who made five hundred mistakes made one many times."""

_KINDS: Final = {bool: "yes or no", int: "a whole number", float: "a number", str: "a string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of a rule file, its place, and where its problems go."""

    source: Source
    path: Path
    data: dict[str, Any]
    problems: list[Problem]

    def refuse(self, key: Path, code: str, why: str, hint: str = "") -> None:
        """Keep a problem at that key of this table, or at the table itself."""
        if len(self.problems) >= PROBLEMS_MAX:
            return
        path = (*self.path, *key)
        line, column, shown = self.source.at(self.source.nearest_key(path))
        width = len(str(key[-1])) if key and path in self.source.keys else 1
        self.problems.append(
            Problem(
                file=self.source.file,
                line=line,
                column=column,
                code=code,
                why=why,
                source=shown,
                width=width,
                hint=hint,
            )
        )

    def refuse_near(self, key: Path, code: str, why: str, name: str, known: Iterable[str]) -> None:
        """Keep a problem and say which known name is nearest."""
        if len(self.problems) < PROBLEMS_MAX:
            self.refuse(key, code, why, nearest(name, list(known)))

    def only(self, *keys: str) -> None:
        """Refuse every key that is not one of these."""
        for key in self.data:
            if key not in keys:
                self.refuse_near(
                    (key,), "unknown-key", f"`{key[:60]}` means nothing here", key, keys
                )

    def table(self, key: str) -> "Table":
        """Return the table under that key; an empty one where there is none."""
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            self.refuse((key,), "wrong-type", f"`{key}` is a table")
            value = {}
        return Table(source=self.source, path=(*self.path, key), data=value, problems=self.problems)

    def tables(self, key: str) -> list["Table"]:
        """Return the tables of an array of tables."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            self.refuse((key,), "wrong-type", f"`{key}` is an array of tables: [[{key}]]")
            return []
        return [
            Table(source=self.source, path=(*self.path, key, i), data=v, problems=self.problems)
            for i, v in enumerate(value)
        ]

    def text(self, key: str, length_max: int) -> str:
        """Return a string that is not blank. Raises ``BadField``."""
        if key not in self.data:
            self.refuse((), "missing-key", f"`{key}` is missing")
            raise BadField
        value = self._typed(key, str)
        if not value.strip():
            self.refuse((key,), "bad-value", f"`{key}` is blank")
            raise BadField
        if len(value) > length_max:
            self.refuse((key,), "too-long", f"`{key}` may have {length_max} characters")
            raise BadField
        return str(value)

    def optional_text(self, key: str, length_max: int) -> str:
        """Return a string; empty where the key is absent or refused."""
        try:
            return self.text(key, length_max) if key in self.data else ""
        except BadField:
            return ""

    def integer(self, key: str, low: int, high: int) -> int:
        """Return a whole number in [low, high]. Raises ``BadField``."""
        if key not in self.data:
            self.refuse((), "missing-key", f"`{key}` is missing")
            raise BadField
        value = self._typed(key, int)
        if not low <= value <= high:
            self.refuse((key,), "bad-value", f"`{key}` lies between {low} and {high}")
            raise BadField
        return int(value)

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """Return a whole number, or None where the key is absent or refused."""
        try:
            return self.integer(key, low, high) if key in self.data else None
        except BadField:
            return None

    def number(self, key: str, low: float, high: float, default: float) -> float:
        """Return a number in [low, high]; ``default`` where the key is absent or refused."""
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse((key,), "wrong-type", f"`{key}` is {_KINDS[float]}")
            return default
        if not low <= value <= high:
            self.refuse((key,), "bad-value", f"`{key}` lies between {low:g} and {high:g}")
            return default
        return float(value)

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """Return one of these words. Raises ``BadField`` where it is another and none is default."""
        known = list(choices)
        if key not in self.data and default is not None:
            return default
        value = self.text(key, 80)
        if value not in known:
            hint = nearest(value, known) or f"one of: {', '.join(known)}"
            self.refuse((key,), "bad-value", f"`{value}` is no {key}", hint)
            raise BadField
        return value

    def optional_choice(self, key: str, choices: Iterable[str]) -> str | None:
        """Return one of these words, or None where the key is absent or refused."""
        try:
            return self.choice(key, choices) if key in self.data else None
        except BadField:
            return None

    def strings(
        self, key: str, choices: Iterable[str] | None, default: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return an array of strings, each one of ``choices`` where these are given."""
        value = self.data.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.refuse((key,), "wrong-type", f"`{key}` is an array of strings")
            return default
        if choices is not None:
            known = list(choices)
            for position, entry in enumerate(value):
                if entry not in known:
                    self.refuse_near(
                        (key, position), "unknown-name", f"there is no `{entry[:60]}`", entry, known
                    )
        return tuple(value)

    def _typed(self, key: str, kind: type) -> Any:
        value = self.data[key]
        if type(value) is not kind:
            self.refuse((key,), "wrong-type", f"`{key}` is {_KINDS[kind]}")
            raise BadField
        return value
