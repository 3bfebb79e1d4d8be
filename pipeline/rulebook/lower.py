"""Conditions checked by type, then lowered to polars expressions by an allow-list.

Nothing is lowered that is not named here. The meaning is CEL's, with one word on what is missing:
a field without a value is an error in CEL and *unknown* (null) here, and the two travel alike
through ``&&``, ``||`` and ``!`` (Kleene's logic). So null stands where CEL would raise.
"""

import re
from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from typing import Final

import polars as pl

from pipeline.rulebook.names import Field
from pipeline.rulebook.problems import nearest
from pipeline.rulebook.syntax import (
    Call,
    ListOf,
    Literal,
    Name,
    Node,
    Operation,
    SyntaxProblem,
    children,
)

PATTERN_MAX: Final = 200
REPEATS_MAX: Final = 200
_ORDERED: Final = frozenset({"<", "<=", ">", ">="})
_EQUAL: Final = frozenset({"==", "!="})
_METHODS: Final = frozenset({"startsWith", "endsWith", "contains", "matches"})
_FUNCTIONS: Final = frozenset({"has", "size", "double", "int"})
_LOOKAROUND: Final = re.compile(r"\(\?(?:[=!>]|<[=!]|\(|P=|P>|&|R)")
_BACKREFERENCE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\(?:[1-9]|k[<{'])")
_COUNTED: Final = re.compile(r"\{(\d*)(?:,(\d*))?\}")


class Checker:
    """Walks a tree once and keeps every problem of it; ``of`` gives a node's type or None."""

    def __init__(self, names: Mapping[str, Field]) -> None:
        self.names = names
        self.problems: list[SyntaxProblem] = []

    def refuse(self, node: Node, code: str, why: str, hint: str = "") -> None:
        """Keep a problem at that node."""
        self.problems.append(SyntaxProblem(code, why, node.start, node.end, hint))

    def of(self, node: Node) -> str | None:
        """Return the node's type; None where it has a problem, which is then kept."""
        match node:
            case Literal(value=bool()):
                return "bool"
            case Literal(value=int()):
                return "int"
            case Literal(value=float()):
                return "double"
            case Literal():
                return "string"
            case Name():
                return self._name(node)
            case ListOf():
                self.refuse(node, "list-alone", "a list may only follow `in`")
                return None
            case Call():
                return self._call(node)
            case Operation():
                return self._operation(node)

    def _name(self, node: Name) -> str | None:
        if field := self.names.get(node.path):
            return field.type
        inside = sorted(n for n in self.names if n.startswith(f"{node.path}."))
        if inside:
            rest = [n.removeprefix(f"{node.path}.") for n in inside]
            shown = ", ".join(rest[:6]) + (" …" if len(rest) > 6 else "")
            why = f"`{node.path}` is a group of names, not a value"
            self.refuse(node, "incomplete-name", why, f"go on with one of: {shown}")
            return None
        hint = nearest(node.path, list(self.names))
        self.refuse(node, "unknown-name", f"there is no name `{node.path[:80]}`", hint)
        return None

    def _operation(self, node: Operation) -> str | None:
        operator = node.operator
        if operator == "in":
            return self._in(node)
        types = [self.of(part) for part in node.operands]
        if operator in ("&&", "||", "!"):
            for part, found in zip(node.operands, types, strict=True):
                self._want(part, found, "bool", f"`{operator}` joins yes and no")
            return "bool"
        if operator == "?":
            self._want(node.operands[0], types[0], "bool", "before `?` stands a yes or no")
            return self._alike(node, types[1], types[2])
        if operator == "neg":
            return self._number(node.operands[0], types[0], "-")
        if None in types:
            return "bool" if operator in _ORDERED | _EQUAL else None
        if operator in _EQUAL:
            self._alike(node, types[0], types[1])
            if types[0] == types[1] == "list<string>":
                self.refuse(node, "type-mismatch", "lists are not compared", "use `in`")
            return "bool"
        if operator in _ORDERED:
            if self._alike(node, types[0], types[1]) in ("bool", "list<string>"):
                self.refuse(node, "type-mismatch", f"`{operator}` needs numbers or strings")
            return "bool"
        left = self._number(node.operands[0], types[0], operator)
        right = self._number(node.operands[1], types[1], operator)
        if operator == "%" and "double" in (left, right):
            self.refuse(node, "type-mismatch", "`%` needs whole numbers")
            return None
        return self._alike(node, left, right)

    def _in(self, node: Operation) -> str:
        item, container = node.operands
        found = self.of(item)
        if isinstance(container, ListOf):
            if not container.items:
                self.refuse(container, "empty-list", "nothing is in an empty list")
            for entry in container.items:
                if not isinstance(entry, Literal):
                    self.refuse(entry, "not-a-literal", "a list holds plain values only")
                elif found and (kind := self.of(entry)) != found:
                    self.refuse(entry, "type-mismatch", f"{kind} cannot be among {found} values")
            return "bool"
        kind = self.of(container)
        if kind and kind != "list<string>":
            hint = "part of a string? `text.contains(...)`" if kind == "string" else ""
            self.refuse(container, "type-mismatch", f"`in` needs a list, this is {kind}", hint)
        elif kind and found and found != "string":
            self.refuse(item, "type-mismatch", f"{found} cannot be among string values")
        return "bool"

    def _call(self, node: Call) -> str | None:
        name, arguments = node.function, node.arguments
        if name not in _METHODS | _FUNCTIONS:
            hint = nearest(name, sorted(_METHODS | _FUNCTIONS))
            self.refuse(node, "unknown-function", f"there is no function `{name[:40]}`", hint)
            return None
        wanted = 2 if name in _METHODS else 1
        if len(arguments) != wanted:
            how = f"{wanted - 1} in brackets" if name in _METHODS else f"{wanted}"
            self.refuse(node, "wrong-arguments", f"`{name}` takes {how}")
            return None
        if name == "has" and not isinstance(arguments[0], Name):
            self.refuse(arguments[0], "not-a-name", "`has` asks about a name")
            return "bool"
        types = [self.of(a) for a in arguments]
        if name == "has":
            return "bool"
        if name in ("double", "int"):
            if types[0] not in ("int", "double", None):
                self.refuse(arguments[0], "type-mismatch", f"`{name}` needs a number")
            return name
        if name == "size":
            if types[0] not in ("string", "list<string>", None):
                self.refuse(arguments[0], "type-mismatch", "`size` needs a string or a list")
            return "int"
        for part, found in zip(arguments, types, strict=True):
            self._want(part, found, "string", f"`{name}` works on strings")
        if name == "matches":
            self._pattern(arguments[1])
        return "bool"

    def _pattern(self, node: Node) -> None:
        if not isinstance(node, Literal) or not isinstance(node.value, str):
            self.refuse(node, "pattern-not-literal", "a pattern is written out, never computed")
            return
        if problem := pattern_problem(node.value):
            self.refuse(node, *problem)

    def _want(self, node: Node, found: str | None, wanted: str, why: str) -> None:
        if found not in (wanted, None):
            hint = "compare it: `> 0`" if wanted == "bool" and found in ("int", "double") else ""
            self.refuse(node, "type-mismatch", f"{why}, this is {found}", hint)

    def _number(self, node: Node, found: str | None, operator: str) -> str | None:
        if found in ("int", "double", None):
            return found
        self.refuse(node, "type-mismatch", f"`{operator}` needs numbers, this is {found}")
        return None

    def _alike(self, node: Operation, left: str | None, right: str | None) -> str | None:
        if left is None or right is None:
            return None
        if left == right:
            return left
        hint = ""
        if {left, right} == {"int", "double"}:
            hint = "write the number with a point (`1.0`), or convert with `double(...)`"
        self.refuse(node, "type-mismatch", f"{left} and {right} do not go together", hint)
        return None


def pattern_problem(pattern: str) -> tuple[str, str, str] | None:
    """Say why a regular expression is refused (code, why, hint), or None.

    Only what a finite automaton can do passes: time is linear in the text, whatever the pattern.
    """
    if len(pattern) > PATTERN_MAX:
        return ("pattern-too-long", f"a pattern may have {PATTERN_MAX} characters", "")
    if _LOOKAROUND.search(pattern) or _BACKREFERENCE.search(pattern):
        why = "looking around and back-references cost more than linear time"
        return ("pattern-not-linear", why, "write it without")
    repeats = 1
    for low, high in _COUNTED.findall(pattern):
        repeats *= max(1, min(int(low[:6] or 0), 10**6), min(int(high[:6] or 0), 10**6))
    if repeats > REPEATS_MAX:
        why = f"counted repeats multiply to {repeats}, {REPEATS_MAX} are allowed"
        return ("pattern-too-large", why, "use `+` or `*`")
    try:
        pl.Series([""]).str.contains(pattern, strict=True)
    except pl.exceptions.ComputeError as error:
        lines = str(error).strip().splitlines()
        told = next((line[7:] for line in lines if line.startswith("error: ")), lines[0])
        return ("bad-pattern", f"no regular expression: {told[:120]}", "")
    return None


def lower(tree: Node, names: Mapping[str, Field]) -> pl.Expr:
    """Lower a **checked** tree to one expression over columns that bear the names.

    The expression is null where CEL would raise: a missing field, a whole number beyond 64 bits, a
    division of whole numbers by zero, an order that asks about a number that is none. It is null too
    where a double is divided by zero, which CEL makes infinite: a rate over nothing is not large, it
    is unknown.
    """
    return _Lowering(names).of(tree)


class _Lowering:
    def __init__(self, names: Mapping[str, Field]) -> None:
        self.names = names
        self.checker = Checker(names)

    def of(self, node: Node) -> pl.Expr:
        match node:
            case Literal(value=bool(value)):
                return pl.lit(value, pl.Boolean())
            case Literal(value=int(value)):
                return pl.lit(value, pl.Int64())
            case Literal(value=float(value)):
                return pl.lit(value, pl.Float64())
            case Literal(value=value):
                return pl.lit(value, pl.String())
            case Name():
                return pl.col(node.path)
            case Call():
                return self._call(node)
            case Operation():
                return self._operation(node)
            case ListOf():
                raise TypeError("a list is lowered by `in` alone")

    def _operation(self, node: Operation) -> pl.Expr:
        operator = node.operator
        if operator == "in":
            return self._in(node)
        parts = [self.of(part) for part in node.operands]
        if operator == "&&":
            return _tree(and_, parts)
        if operator == "||":
            return _tree(or_, parts)
        if operator == "!":
            return ~parts[0]
        if operator == "?":
            condition, first, second = parts
            return pl.when(condition).then(first).when(~condition).then(second).otherwise(None)
        if operator in _COMPARISONS:
            return self._compare(node, operator, parts)
        return self._arithmetic(node, operator, parts)

    def _compare(self, node: Operation, operator: str, parts: list[pl.Expr]) -> pl.Expr:
        """Nothing equals NaN, and what is less than it is unknown, as Rust CEL has it."""
        computed = [self._may_be_nan(part) for part in node.operands]
        if operator in _ORDERED:
            parts = [p.fill_nan(None) if c else p for p, c in zip(parts, computed, strict=True)]
            return _COMPARISONS[operator](*parts)
        compared = _COMPARISONS[operator](*parts)
        if not any(computed):
            return compared
        meets = _tree(or_, [p.is_nan() for p, c in zip(parts, computed, strict=True) if c])
        settled = pl.when(meets).then(operator == "!=").otherwise(compared)
        return pl.when(compared.is_not_null()).then(settled).otherwise(None)

    def _arithmetic(self, node: Operation, operator: str, parts: list[pl.Expr]) -> pl.Expr:
        if self.checker.of(node) == "double":
            if operator == "neg":
                return -parts[0]
            return _DOUBLE[operator](*parts)
        wide = [part.cast(pl.Int128()) for part in parts]
        if operator == "neg":
            return (pl.lit(0, pl.Int128()) - wide[0]).cast(pl.Int64(), strict=False)
        if operator in _WHOLE:
            return _WHOLE[operator](*wide).cast(pl.Int64(), strict=False)
        left, right = wide
        sign = left.sign() * right.sign()
        divisor = pl.when(right == 0).then(None).otherwise(right.abs())
        quotient = sign * (left.abs() // divisor)
        quotient = quotient.cast(pl.Int64(), strict=False)
        if operator == "/":
            return quotient
        return (left - right * quotient.cast(pl.Int128())).cast(pl.Int64(), strict=False)

    def _in(self, node: Operation) -> pl.Expr:
        item, container = node.operands
        looked_for = self.of(item)
        if isinstance(container, ListOf):
            values = [entry.value for entry in container.items if isinstance(entry, Literal)]
            dtype = {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64()}.get(
                type(values[0]), pl.String()
            )
            return looked_for.is_in(pl.lit(pl.Series(values, dtype=dtype).implode()).first())
        return (
            pl.when(looked_for.is_not_null())
            .then(self.of(container).list.contains(looked_for))
            .otherwise(None)
        )

    def _call(self, node: Call) -> pl.Expr:
        first = self.of(node.arguments[0])
        match node.function:
            case "has":
                return first.is_not_null()
            case "double":
                return first.cast(pl.Float64())
            case "int":
                return first.cast(pl.Int64(), strict=False)
            case "size" if self.checker.of(node.arguments[0]) == "string":
                return first.str.len_chars().cast(pl.Int64())
            case "size":
                return first.list.len().cast(pl.Int64())
        second = self.of(node.arguments[1])
        match node.function:
            case "startsWith":
                return first.str.starts_with(second)
            case "endsWith":
                return first.str.ends_with(second)
            case "contains":
                return first.str.contains(second, literal=True)
            case _:
                return first.str.contains(second, strict=True)

    def _may_be_nan(self, node: Node) -> bool:
        """Tell whether a double was computed here; facts themselves never hold NaN."""
        if self.checker.of(node) != "double":
            return False
        waiting = [node]
        while waiting:
            part = waiting.pop()
            if isinstance(part, Operation) and part.operator in _DOUBLE:
                return True
            waiting.extend(children(part))
        return False


def _tree(join: Callable[[pl.Expr, pl.Expr], pl.Expr], parts: list[pl.Expr]) -> pl.Expr:
    """Join in halves, so that a long chain stays shallow for the engine."""
    if len(parts) <= 2:
        return reduce(join, parts)
    middle = len(parts) // 2
    return join(_tree(join, parts[:middle]), _tree(join, parts[middle:]))


_COMPARISONS: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_WHOLE: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
_DOUBLE: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    **_WHOLE,
    # a column as divisor: by a literal, the engine multiplies with the reciprocal, an ulp away
    "/": lambda a, b: a / pl.when((b != 0.0) & a.is_not_null()).then(b).otherwise(None),
}
