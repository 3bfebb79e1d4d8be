"""The condition language as a tree: a bounded reader of the CEL subset that rules may use.

Follows the Common Expression Language specification (cel.dev) for everything it accepts. Length,
nesting, nodes and literals are bounded **while reading**, so that nothing hostile reaches what
comes after.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

LENGTH_MAX: Final = 4_000
DEPTH_MAX: Final = 32
NODES_MAX: Final = 400
LITERAL_MAX: Final = 500
LIST_MAX: Final = 100
INTEGER_MAX: Final = 2**53


class SyntaxProblem(Exception):
    """The text is no condition. ``start`` and ``end`` are character offsets into it."""

    def __init__(self, code: str, why: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(why)
        self.code, self.why, self.hint = code, why, hint
        self.start, self.end = start, max(end, start + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A bool, int, double or string."""

    value: bool | int | float | str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A dotted name: ``text.near_duplicate.strength``."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf:
    """A list of literals."""

    items: tuple["Node", ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operator and its operands; ``&&`` and ``||`` take any number, ``?`` three."""

    operator: str
    operands: tuple["Node", ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function; a method's receiver is its first argument."""

    function: str
    arguments: tuple["Node", ...]
    start: int
    end: int


Node: TypeAlias = Literal | Name | ListOf | Operation | Call


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number string raw name operator end
    text: str
    start: int
    end: int


_SPACE: Final = re.compile(r"(?:[ \t\r\n]+|//[^\n]*)+")
_NUMBER: Final = re.compile(r"(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR: Final = re.compile(r"\|\||&&|==|!=|<=|>=|[-+*/%!<>?:()\[\],.]")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "`": "`"}
_COMPARE: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter", "reduce"})
_RESERVED: Final = frozenset(
    {
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while", "null"),
    }
)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        if text[at] in "'\"" or (text[at] in "rR" and text[at + 1 : at + 2] in ("'", '"')):
            token = _string(text, at)
        elif number := _NUMBER.match(text, at):
            token = _Token("number", number.group(), at, number.end())
        elif name := _NAME.match(text, at):
            kind = "operator" if name.group() == "in" else "name"
            token = _Token(kind, name.group(), at, name.end())
        elif operator := _OPERATOR.match(text, at):
            token = _Token("operator", operator.group(), at, operator.end())
        else:
            hint = {"=": "compare with `==`", "&": "write `&&`", "|": "write `||`"}.get(
                text[at], ""
            )
            raise SyntaxProblem(
                "unexpected-character", f"{text[at]!r} means nothing here", at, at + 1, hint
            )
        found.append(token)
        at = token.end
    found.append(_Token("end", "", len(text), len(text)))
    return found


def _string(text: str, start: int) -> _Token:
    raw = text[start] in "rR"
    at = start + (1 if raw else 0)
    quote = text[at]
    at += 1
    out: list[str] = []
    while at < len(text) and text[at] != quote:
        if text[at] == "\n":
            break
        if text[at] == "\\" and not raw:
            follow = text[at + 1 : at + 2]
            if follow in _ESCAPES and follow:
                out.append(_ESCAPES[follow])
                at += 2
                continue
            code = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})").match(text, at + 1)
            if code is None or 0xD800 <= int(code.group(1) or code.group(2), 16) <= 0xDFFF:
                raise SyntaxProblem("bad-escape", f"`\\{follow}` is no escape", at, at + 2)
            out.append(chr(int(code.group(1) or code.group(2), 16)))
            at = code.end()
            continue
        out.append(text[at])
        at += 1
    if at >= len(text) or text[at] != quote:
        raise SyntaxProblem("open-string", "this string is never closed", start, start + 1)
    if len(out) > LITERAL_MAX:
        why = f"a literal may have {LITERAL_MAX} characters, this one has {len(out)}"
        raise SyntaxProblem(
            "literal-too-long", why, start, start + 1, "keep long lists in `listed`"
        )
    return _Token("string", "".join(out), start, at + 1)


def parse(text: str) -> Node:
    """Read a condition. Raises ``SyntaxProblem`` for anything that the subset does not hold.

    Time is linear in the text; at most ``LENGTH_MAX`` characters, ``DEPTH_MAX`` levels and
    ``NODES_MAX`` nodes are read.
    """
    if len(text) > LENGTH_MAX:
        why = f"a condition may have {LENGTH_MAX} characters, this one has {len(text)}"
        raise SyntaxProblem("too-long", why, 0, 1, "split it into several rules")
    if not text.strip():
        raise SyntaxProblem("empty", "the condition is empty", 0, 1)
    reader = _Reader(text)
    tree = reader.ternary(0)
    rest = reader.peek()
    if rest.kind != "end":
        raise _unexpected(rest, "the condition should end here")
    _bound_depth(tree)
    return tree


def children(node: Node) -> tuple[Node, ...]:
    """Return the direct parts of a node."""
    match node:
        case Operation(operands=parts) | Call(arguments=parts) | ListOf(items=parts):
            return parts
        case _:
            return ()


def names_in(tree: Node) -> frozenset[str]:
    """Return every name that a condition reads."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Name):
            found.add(node.path)
        waiting.extend(children(node))
    return frozenset(found)


def calls_in(tree: Node) -> frozenset[str]:
    """Return every function that a condition calls."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Call):
            found.add(node.function)
        waiting.extend(children(node))
    return frozenset(found)


def _bound_depth(tree: Node) -> None:
    """Refuse what is deep through chains inside brackets, before anything walks it by recursion."""
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEPTH_MAX + 1:
            why = f"a condition may nest {DEPTH_MAX} deep"
            raise SyntaxProblem("too-deep", why, node.start, node.end, "split the rule")
        waiting.extend((part, depth + 1) for part in children(node))


def _unexpected(token: _Token, wanted: str) -> SyntaxProblem:
    told = "the end" if token.kind == "end" else f"`{token.text[:20]}`"
    hint = {"and": "write `&&`", "or": "write `||`", "not": "write `!`"}.get(token.text, "")
    return SyntaxProblem("unexpected", f"{told}: {wanted}", token.start, token.end, hint)


class _Reader:
    """Recursive descent with a counted depth; ``level`` is passed down, never beyond the limit."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.nodes = 0

    def peek(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def accept(self, *operators: str) -> _Token | None:
        token = self.peek()
        if token.kind == "operator" and token.text in operators:
            return self.take()
        return None

    def expect(self, operator: str) -> _Token:
        if token := self.accept(operator):
            return token
        raise _unexpected(self.peek(), f"`{operator}` is missing")

    def count(self, token: _Token, level: int) -> None:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            why = f"a condition may have {NODES_MAX} parts"
            raise SyntaxProblem("too-many-nodes", why, token.start, token.end, "split the rule")
        if level > DEPTH_MAX:
            why = f"a condition may nest {DEPTH_MAX} deep"
            raise SyntaxProblem("too-deep", why, token.start, token.end, "split the rule")

    def ternary(self, level: int) -> Node:
        self.count(self.peek(), level)
        condition = self.chain("||", level)
        if not self.accept("?"):
            return condition
        first = self.chain("||", level + 1)
        self.expect(":")
        second = self.ternary(level + 1)
        return self.made("?", (condition, first, second))

    def made(self, operator: str, operands: tuple[Node, ...]) -> Operation:
        return Operation(
            operator=operator, operands=operands, start=operands[0].start, end=operands[-1].end
        )

    def chain(self, operator: str, level: int) -> Node:
        def inner() -> Node:
            return self.chain("&&", level) if operator == "||" else self.compare(level)

        operands = [inner()]
        while token := self.accept(operator):
            self.count(token, level)
            operands.append(inner())
        return operands[0] if len(operands) == 1 else self.made(operator, tuple(operands))

    def compare(self, level: int) -> Node:
        left = self.binary(level, ("+", "-"))
        token = self.accept(*_COMPARE)
        if not token:
            return left
        self.count(token, level)
        whole = self.made(token.text, (left, self.binary(level, ("+", "-"))))
        again = self.peek()
        if again.kind == "operator" and again.text in _COMPARE:
            raise SyntaxProblem(
                "chained-comparison",
                "comparisons do not chain",
                again.start,
                again.end,
                "join two comparisons with `&&`",
            )
        return whole

    def binary(self, level: int, operators: tuple[str, ...]) -> Node:
        def inner() -> Node:
            return self.binary(level, ("*", "/", "%")) if "+" in operators else self.unary(level)

        left = inner()
        steps = 0
        while token := self.accept(*operators):
            steps += 1
            self.count(token, level + steps)
            left = self.made(token.text, (left, inner()))
        return left

    def unary(self, level: int) -> Node:
        token = self.accept("!", "-")
        if not token:
            return self.member(level)
        self.count(token, level)
        if token.text == "-" and self.peek().kind == "number":
            number = self.number(self.take(), sign=-1)
            return Literal(value=number.value, start=token.start, end=number.end)
        operand = self.unary(level + 1)
        return Operation(
            operator="!" if token.text == "!" else "neg",
            operands=(operand,),
            start=token.start,
            end=operand.end,
        )

    def member(self, level: int) -> Node:
        node = self.primary(level)
        steps = 0
        while self.accept("."):
            steps += 1
            field = self.take()
            if field.kind != "name":
                raise _unexpected(field, "a name should follow the dot")
            self.count(field, level + steps)
            if self.accept("("):
                arguments = (node, *self.arguments(level + 1, field))
                end = self.expect(")").end
                node = Call(function=field.text, arguments=arguments, start=node.start, end=end)
            elif isinstance(node, Name):
                node = Name(path=f"{node.path}.{field.text}", start=node.start, end=field.end)
            else:
                raise _unexpected(field, "only a name has fields")
        if self.peek().text == "[" and self.peek().kind == "operator":
            token = self.peek()
            why = "nothing is read by position"
            raise SyntaxProblem("no-index", why, token.start, token.end, "use a dotted name")
        return node

    def arguments(self, level: int, function: _Token) -> list[Node]:
        if function.text in _MACROS:
            raise SyntaxProblem(
                "no-loops",
                f"`{function.text}` loops, and rules do not loop",
                function.start,
                function.end,
                "use `count`, `strength` or a counter",
            )
        found: list[Node] = []
        if self.peek().text == ")" and self.peek().kind == "operator":
            return found
        found.append(self.ternary(level))
        while self.accept(","):
            found.append(self.ternary(level))
            if len(found) > LIST_MAX:
                raise SyntaxProblem(
                    "list-too-long",
                    f"a list may have {LIST_MAX} entries",
                    function.start,
                    function.end,
                    "keep long lists in `listed`",
                )
        return found

    def primary(self, level: int) -> Node:
        token = self.take()
        self.count(token, level)
        if token.kind == "number":
            return self.number(token)
        if token.kind == "string":
            return Literal(value=token.text, start=token.start, end=token.end)
        if token.kind == "name":
            return self.named(token, level)
        if token.kind == "operator" and token.text == "(":
            inner = self.ternary(level + 1)
            self.expect(")")
            return inner
        if token.kind == "operator" and token.text == "[":
            items = self.arguments(level + 1, token) if self.peek().text != "]" else []
            return ListOf(items=tuple(items), start=token.start, end=self.expect("]").end)
        raise _unexpected(token, "a name, a value or `(` should stand here")

    def named(self, token: _Token, level: int) -> Node:
        if token.text in ("true", "false"):
            return Literal(value=token.text == "true", start=token.start, end=token.end)
        if token.text in _RESERVED:
            hint = "ask with `has(name)`" if token.text == "null" else ""
            why = f"`{token.text}` is not part of the language"
            raise SyntaxProblem("reserved-word", why, token.start, token.end, hint)
        if self.accept("("):
            arguments = tuple(self.arguments(level + 1, token))
            end = self.expect(")").end
            return Call(function=token.text, arguments=arguments, start=token.start, end=end)
        return Name(path=token.text, start=token.start, end=token.end)

    def number(self, token: _Token, sign: int = 1) -> Literal:
        if token.text[-1] in "uU":
            why = "there are no unsigned numbers"
            raise SyntaxProblem("no-unsigned", why, token.start, token.end, "drop the `u`")
        if token.text.isdigit():
            if len(token.text) > 16 or int(token.text) > INTEGER_MAX:
                why = "whole numbers go up to 2^53"
                raise SyntaxProblem("number-too-large", why, token.start, token.end)
            return Literal(value=sign * int(token.text), start=token.start, end=token.end)
        value = float(token.text) if len(token.text) <= 40 else float("inf")
        if value == float("inf"):
            why = "this number is too long or too large"
            raise SyntaxProblem("number-too-large", why, token.start, token.end)
        return Literal(value=sign * value, start=token.start, end=token.end)
