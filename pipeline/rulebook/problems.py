"""What is wrong with a rule file: every problem with its line, caret, why and the nearest name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rapidfuzz import fuzz, process

from pipeline.model.errors import UsageError

SHOWN_MAX: Final = 96
"""A longer source line is cut around the caret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that keeps a rulebook from being used.

    ``line`` and ``column`` count from 1 (characters); ``source`` is that line, ``width`` how many
    characters the caret underlines; ``code`` is stable, ``why`` a sentence, ``hint`` what to do.
    """

    file: str
    line: int
    column: int
    code: str
    why: str
    source: str = ""
    width: int = 1
    hint: str = ""

    def render(self) -> str:
        """Write the problem for a person, as the golden files hold it."""
        head = f"{self.file}:{self.line}:{self.column}: {self.code}: {self.why}"
        lines = [head]
        if self.source:
            shown, offset = _cut(self.source, self.column - 1)
            number = f"{self.line:>5}"
            width = max(1, min(self.width, len(shown) - offset))
            lines += [
                f"{number} | {shown}",
                f"{' ' * len(number)} | {' ' * offset}{'^' * width}",
            ]
        if self.hint:
            lines.append(f"        {self.hint}")
        return "\n".join(lines)


class RulebookError(UsageError):
    """A rulebook cannot be used: carries **all** problems of all its files, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column, p.code)))
        count = len(self.problems)
        told = "\n".join(p.render() for p in self.problems)
        noun = "problem" if count == 1 else "problems"
        super().__init__("rules.invalid", f"{count} {noun} in the rulebook\n{told}")

    def __reduce__(self) -> tuple[type["RulebookError"], tuple[tuple[Problem, ...]]]:  # type: ignore[override]
        return type(self), (self.problems,)


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known name was probably meant; empty where none is near."""
    found = process.extractOne(name[:80], known, scorer=fuzz.ratio, score_cutoff=60.0)
    return f"did you mean `{found[0]}`?" if found else ""


def _cut(source: str, offset: int) -> tuple[str, int]:
    source = source.replace("\t", " ")
    if len(source) <= SHOWN_MAX:
        return source, offset
    start = max(0, min(offset - SHOWN_MAX // 2, len(source) - SHOWN_MAX))
    piece = source[start : start + SHOWN_MAX]
    left = "…" if start else ""
    right = "…" if start + SHOWN_MAX < len(source) else ""
    return left + piece + right, offset - start + len(left)
