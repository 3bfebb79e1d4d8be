"""Where things stand in a TOML file: line and column of each key, and of each character of a string.

The standard reader gives values without places. This one gives places without values; the two are
laid over each other, so a caret can point into a condition inside a file.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_ESCAPED: Final = {"u": 6, "U": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A rule file's text with the offset of every key's name and value, by path."""

    file: str
    text: str
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)
    line_starts: tuple[int, ...] = ()

    def at(self, offset: int) -> tuple[int, int, str]:
        """Return line and column (from 1) of an offset, and the text of that line."""
        offset = min(max(offset, 0), len(self.text))
        line = bisect_right(self.line_starts, offset)
        start = self.line_starts[line - 1]
        end = self.text.find("\n", start)
        shown = self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")
        return line, offset - start + 1, shown

    def nearest_key(self, path: Path) -> int:
        """Return the offset of that key, or of the closest enclosing one that is written."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, 0)

    def inside(self, path: Path, value: str, index: int) -> int:
        """Return where character ``index`` of the string at ``path`` stands in the file."""
        start = self.values.get(path)
        if start is None:
            return self.nearest_key(path)
        return _offsets(self.text, start, len(value))[min(index, len(value))]


def locate(file: str, text: str) -> Source:
    """Find the places of a **valid** TOML text."""
    starts = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]
    source = Source(file=file, text=text, line_starts=tuple(starts))
    _Scanner(source).scan()
    return source


def _offsets(text: str, start: int, count: int) -> list[int]:
    """Return the file offset of each character of the string that opens at ``start``, and its end."""
    quote = text[start]
    triple = text.startswith(quote * 3, start)
    at = start + (3 if triple else 1)
    if triple and text[at : at + 2] == "\r\n":
        at += 2
    elif triple and text[at : at + 1] == "\n":
        at += 1
    found: list[int] = []
    while len(found) <= count and at < len(text):
        if quote == '"' and text[at] == "\\":
            follow = text[at + 1 : at + 2]
            if follow in " \t\r\n":  # a line that goes on: swallowed up to the next character
                at += 1
                while at < len(text) and text[at] in " \t\r\n":
                    at += 1
                continue
            found.append(at)
            at += _ESCAPED.get(follow, 2)
            continue
        if text[at] == "\r" and text[at + 1 : at + 2] == "\n":
            at += 1  # the reader makes one line feed of both
        found.append(at)
        at += 1
    return found + [at] * (count + 1 - len(found))


class _Scanner:
    def __init__(self, source: Source) -> None:
        self.source, self.text, self.at = source, source.text, 0
        self.counts: dict[Path, int] = {}

    def scan(self) -> None:
        table: Path = ()
        while self._blank():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _blank(self, extra: str = "") -> bool:
        """Skip spaces, line ends and comments; tell whether anything is left."""
        while self.at < len(self.text):
            if self.text[self.at] in " \t\r\n" + extra:
                self.at += 1
            elif self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = end if end >= 0 else len(self.text)
            else:
                return True
        return False

    def _header(self) -> Path:
        start = self.at
        array = self.text.startswith("[[", start)
        self.at += 2 if array else 1
        names = self._key()
        self.at = self.text.index("]", self.at) + (2 if array else 1)
        path = self._resolve(names[:-1])
        path = (*path, names[-1])
        if array:
            number = self.counts.get(path, -1) + 1
            self.counts[path] = number
            path = (*path, number)
        self.source.keys.setdefault(path, start)
        return path

    def _resolve(self, names: tuple[str, ...]) -> Path:
        path: Path = ()
        for name in names:
            path = (*path, name)
            if path in self.counts:
                path = (*path, self.counts[path])
        return path

    def _key(self) -> tuple[str, ...]:
        names: list[str] = []
        while True:
            self._spaces()
            if self.text[self.at] in "'\"":
                start = self.at
                self._string()
                names.append(self.text[start + 1 : self.at - 1])
            else:
                start = self.at
                while self.text[self.at].isalnum() or self.text[self.at] in "-_":
                    self.at += 1
                names.append(self.text[start : self.at])
            self._spaces()
            if self.text[self.at] != ".":
                return tuple(names)
            self.at += 1

    def _spaces(self) -> None:
        while self.text[self.at] in " \t":
            self.at += 1

    def _pair(self, table: Path) -> None:
        start = self.at
        path = (*table, *self._key())
        self.source.keys.setdefault(path, start)
        self.at = self.text.index("=", self.at) + 1
        self._spaces()
        self._value(path)

    def _value(self, path: Path) -> None:
        self.source.values[path] = self.at
        opening = self.text[self.at]
        if opening in "'\"":
            self._string()
        elif opening == "[":
            self.at += 1
            number = 0
            while self._blank(",") and self.text[self.at] != "]":
                self.source.keys.setdefault((*path, number), self.at)
                self._value((*path, number))
                number += 1
            self.at += 1
        elif opening == "{":
            self.at += 1
            while self._blank(",") and self.text[self.at] != "}":
                self._pair(path)
            self.at += 1
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\r\n":
                self.at += 1

    def _string(self) -> None:
        quote = self.text[self.at]
        closing = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(closing)
        while not self.text.startswith(closing, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(closing)
        if len(closing) == 3:  # up to two more quotes belong to the string
            while self.text.startswith(quote, self.at):
                self.at += 1
