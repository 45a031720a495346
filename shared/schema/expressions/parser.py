"""Text to syntax tree: a recursive-descent parser.

    expression = call | attribute | constant | number | word
    call       = name "(" [argument {"," argument}] ")"
    argument   = condition | nothing
    condition  = conjunction {"OR" conjunction}
    conjunction= comparison {"AND" comparison}
    comparison = operand [("=" | "<>" | ">" | ">=" | "<" | "<=") operand]
    operand    = call | attribute | constant | number | word | "(" condition ")"

Names and keywords are case-sensitive; blanks and newlines are free, also between a name and its parenthesis. ``AND``, ``OR``
and parentheses are our extension.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from .errors import ExpressionError
from .syntax import Attribute, Call, Comparator, Comparison, Connective, Constant, Logical, Node, Number, Omitted, Span, Word

MAX_LENGTH = 10_000
"""Characters in an expression (source: "Customize user provisioning attribute-mappings", Microsoft Entra docs)."""

MAX_DEPTH = 100
"""Calls and parentheses inside one another; a limit of ours, far above any real mapping."""

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
  | (?P<constant>"(?:[^"\\]|\\.)*")
  | (?P<attribute>\[[^\]]*\])
  | (?P<number>&H[0-9A-Fa-f]+|-?[0-9]+(?:\.[0-9]+)?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<operator><>|<=|>=|[=<>])
  | (?P<mark>[(),])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r'\\([\\"])')
_LONGEST_NUMBER = 40
_COMPARATORS = frozenset({"=", "<>", ">", ">=", "<", "<="})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    span: Span


def parse(text: str) -> Node:
    """Parse a whole expression.

    Raises :class:`ExpressionError` with the position of the first fault.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{len(text)} characters are more than the {MAX_LENGTH:,} that an expression may have")
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ExpressionError(_unreadable(text[place]), position=place + 1)
        kind = str(found.lastgroup)
        if kind != "blank":
            tokens.append(_Token(kind, found.group(), Span(place, found.end())))
        place = found.end()
    tokens.append(_Token("end", "", Span(len(text), len(text))))
    return tokens


def _unreadable(character: str) -> str:
    match character:
        case '"':
            return "the text constant has no closing quotation mark"
        case "[":
            return 'the attribute has no closing "]"'
        case _:
            return f"{character!r} does not belong here"


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def whole(self) -> Node:
        if self._next.kind == "end":
            raise ExpressionError("the expression is empty", position=self._next.span.position)
        node = self._operand()
        if self._next.kind != "end":
            raise self._unexpected("the end of the expression")
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += 1
        return token

    def _unexpected(self, wanted: str) -> ExpressionError:
        token = self._next
        found = f'"{token.text[:20]}"' if token.kind != "end" else "the end"
        return ExpressionError(f"expected {wanted}, found {found}", position=token.span.position)

    def _expect(self, mark: str) -> _Token:
        if self._next.text != mark or self._next.kind != "mark":
            raise self._unexpected(f'"{mark}"')
        return self._take()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested more than {MAX_DEPTH} deep", position=self._next.span.position)

    def _condition(self) -> Node:
        return self._chain("OR")

    def _chain(self, connective: Connective) -> Node:
        terms = [self._link(connective)]
        while self._next.kind == "name" and self._next.text == connective:
            self._take()
            terms.append(self._link(connective))
        if len(terms) == 1:
            return terms[0]
        return Logical(connective, tuple(terms), Span(terms[0].span.start, terms[-1].span.end))

    def _link(self, connective: Connective) -> Node:
        return self._chain("AND") if connective == "OR" else self._comparison()

    def _comparison(self) -> Node:
        left = self._operand()
        if self._next.text not in _COMPARATORS or self._next.kind != "operator":
            return left
        operator = cast("Comparator", self._take().text)
        right = self._operand()
        return Comparison(operator, left, right, Span(left.span.start, right.span.end))

    def _operand(self) -> Node:
        token = self._next
        match token.kind:
            case "attribute":
                return self._attribute()
            case "constant":
                self._take()
                return Constant(_ESCAPE.sub(r"\1", token.text[1:-1]), token.span)
            case "number":
                self._take()
                if len(token.text) > _LONGEST_NUMBER:
                    raise ExpressionError("the number is too long", position=token.span.position)
                return Number(token.text, token.span)
            case "name":
                return self._call_or_word()
            case "mark" if token.text == "(" and self._depth:
                return self._group()
            case _:
                raise self._unexpected("a function, an attribute or a constant")

    def _attribute(self) -> Attribute:
        token = self._take()
        name = token.text[1:-1].strip()
        if not name:
            raise ExpressionError("the attribute has no name", position=token.span.position)
        return Attribute(name, token.span)

    def _group(self) -> Node:
        self._take()
        self._deeper()
        node = self._condition()
        self._expect(")")
        self._depth -= 1
        return node

    def _call_or_word(self) -> Node:
        name = self._take()
        if self._next.text != "(" or self._next.kind != "mark":
            return Word(name.text, name.span)
        self._take()
        self._deeper()
        arguments: list[Node] = []
        if self._next.text != ")" or self._next.kind != "mark":
            arguments.append(self._argument())
            while self._next.kind == "mark" and self._next.text == ",":
                self._take()
                arguments.append(self._argument())
        end = self._expect(")")
        self._depth -= 1
        return Call(name.text, tuple(arguments), Span(name.span.start, end.span.end))

    def _argument(self) -> Node:
        token = self._next
        if token.kind == "mark" and token.text in {",", ")"}:
            return Omitted(token.span)
        return self._condition()
