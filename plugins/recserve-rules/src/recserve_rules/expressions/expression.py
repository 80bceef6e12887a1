"""The expression language of rules: text to a small tree, never anything executable.

A condition compares an attribute with a value::

    price < 20 and "Comedy" in genres and not (brand == "acme" or year is missing)

The grammar is LALR(1) and parsed by Lark. The tree is built while parsing, without recursion, so that
length, number of conditions and depth are bounded before anything walks it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import (
    UnexpectedCharacters,
    UnexpectedEOF,
    UnexpectedInput,
    UnexpectedToken,
    VisitError,
)

from recserve_rules.expressions.columns import Scalar

MAX_LENGTH = 2000
MAX_CONDITIONS = 100
MAX_DEPTH = 20

Operator = Literal["==", "!=", "<", "<=", ">", ">="]

GRAMMAR = r"""
?start: either
?either: both | either "or" both
?both: negation | both "and" negation
?negation: condition | "not" negation            -> negate
?condition: "(" either ")"
    | operand                                     -> flag
    | operand (OPERATOR operand)+                 -> compare
    | operand "in" container                      -> member
    | operand "not" "in" container                -> no_member
    | operand "is" "missing"                      -> missing
    | operand "is" "not" "missing"                -> present
?container: operand | "[" literal ("," literal)* ","? "]" -> values
?operand: NAME                                    -> name
    | QUOTED                                      -> quoted
    | literal
?literal: TEXT                                    -> text
    | NUMBER                                      -> number
    | TRUE                                        -> true
    | FALSE                                       -> false

TRUE: "true"
FALSE: "false"
OPERATOR: "==" | "!=" | "<=" | ">=" | "<" | ">"
NAME: /[^\W\d]\w*/
QUOTED: /`[^`\n]+`/
TEXT: /"(?:[^"\\\n]|\\["'\\])*"|'(?:[^'\\\n]|\\["'\\])*'/
NUMBER: /[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])/
%ignore /\s+/
"""


class ExpressionError(Exception):
    """An expression that cannot be used.

    Args:
        message: One line.
        position: Character at fault, from 1.
    """

    def __init__(self, message: str, position: int = 1) -> None:
        super().__init__(f"at character {position}: {message}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Name:
    """An attribute, as written at a position (from 1)."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value, as written at a position (from 1)."""

    value: Scalar
    position: int


Operand = Name | Value


@dataclass(frozen=True, slots=True)
class Compare:
    """``attribute operator value``, or two attributes; at least one side is an attribute."""

    left: Operand
    operator: Operator
    right: Operand


@dataclass(frozen=True, slots=True)
class Member:
    """``value in attribute`` and ``attribute in [values]``: one of the values is (in) the attribute's."""

    name: Name
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """``attribute is missing``."""

    name: Name


@dataclass(frozen=True, slots=True)
class Flag:
    """A bare attribute: its value is ``true``."""

    name: Name


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    part: Node


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Conjunction."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Disjunction."""

    parts: tuple[Node, ...]


Node = Compare | Member | Missing | Flag | Not | Conjunction | Disjunction


@lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """Parse an expression.

    Raises:
        ExpressionError: It is empty, too long, too deep, or not of the language.
    """
    if not text.strip():
        raise ExpressionError("the expression is empty")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"the expression is longer than {MAX_LENGTH} characters; shorten it", MAX_LENGTH + 1
        )
    try:
        parsed: Any = _parser().parse(text)
    except VisitError as error:
        raise error.orig_exc from None
    except UnexpectedInput as error:
        raise _explain(error, text) from None
    node, _ = parsed
    if _conditions(node) > MAX_CONDITIONS:
        raise ExpressionError(f"more than {MAX_CONDITIONS} conditions; make it simpler")
    return _checked(node)


def names(node: Node) -> frozenset[str]:
    """Attributes that an expression mentions."""
    if isinstance(node, (Conjunction, Disjunction)):
        return frozenset().union(*map(names, node.parts))
    if isinstance(node, Not):
        return names(node.part)
    if isinstance(node, Compare):
        return frozenset(side.name for side in (node.left, node.right) if isinstance(side, Name))
    return frozenset((node.name.name,))


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="basic", transformer=_Builder())


Built = tuple[Node, int]
"""A tree and its depth, while it is being built."""


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """Builds the tree bottom up; depth is counted so that nothing that walks it can overflow."""

    def either(self, left: Built, right: Built) -> Built:
        return _joined(Disjunction, left, right)

    def both(self, left: Built, right: Built) -> Built:
        return _joined(Conjunction, left, right)

    def negate(self, part: Built) -> Built:
        return _limited(Not(part[0]), part[1] + 1)

    def compare(self, *parts: Any) -> Built:
        pairs = tuple(
            Compare(parts[index], parts[index + 1].value, parts[index + 2])
            for index in range(0, len(parts) - 2, 2)
        )
        return (pairs[0] if len(pairs) == 1 else Conjunction(pairs)), 1

    def flag(self, operand: Operand) -> Built:
        if isinstance(operand, Value):
            raise ExpressionError("a value alone is no condition", operand.position)
        return Flag(operand), 1

    def member(self, left: Operand, right: Operand | tuple[Value, ...]) -> Built:
        if isinstance(left, Name) and isinstance(right, tuple):
            return Member(left, right), 1
        if isinstance(left, Value) and isinstance(right, Name):
            return Member(right, (left,)), 1
        position = left.position
        raise ExpressionError("'in' takes: value in attribute, or attribute in [values]", position)

    def no_member(self, left: Operand, right: Operand | tuple[Value, ...]) -> Built:
        return Not(self.member(left, right)[0]), 2

    def missing(self, operand: Operand) -> Built:
        if isinstance(operand, Value):
            raise ExpressionError("only an attribute can be missing", operand.position)
        return Missing(operand), 1

    def present(self, operand: Operand) -> Built:
        return Not(self.missing(operand)[0]), 2

    def values(self, *values: Value) -> tuple[Value, ...]:
        return values

    def name(self, token: Token) -> Name:
        return Name(token.value, _position(token))

    def quoted(self, token: Token) -> Name:
        return Name(token.value[1:-1], _position(token))

    def text(self, token: Token) -> Value:
        return Value(re.sub(r"\\(.)", r"\1", token.value[1:-1]), _position(token))

    def number(self, token: Token) -> Value:
        return Value(float(token.value), _position(token))

    def true(self, token: Token) -> Value:
        return Value(True, _position(token))

    def false(self, token: Token) -> Value:
        return Value(False, _position(token))


def _joined(kind: type[Conjunction | Disjunction], left: Built, right: Built) -> Built:
    """A chain such as ``a and b and c`` is one node of three parts, however long it is."""
    node, depth = left
    if isinstance(node, kind):
        return _limited(kind((*node.parts, right[0])), max(depth, right[1] + 1))
    return _limited(kind((node, right[0])), max(depth, right[1]) + 1)


def _limited(node: Node, depth: int) -> Built:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels; make it simpler")
    return node, depth


def _conditions(node: Node) -> int:
    if isinstance(node, (Conjunction, Disjunction)):
        return sum(map(_conditions, node.parts))
    if isinstance(node, Member):
        return len(node.values)
    return _conditions(node.part) if isinstance(node, Not) else 1


def _checked(node: Node) -> Node:
    """Refuse comparisons between two values."""
    if isinstance(node, (Conjunction, Disjunction)):
        for part in node.parts:
            _checked(part)
    elif isinstance(node, Not):
        _checked(node.part)
    elif isinstance(node, Compare) and isinstance(node.left, Value) and isinstance(node.right, Value):
        raise ExpressionError("two values are compared; one side must be an attribute", node.left.position)
    return node


def _position(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _explain(error: UnexpectedInput, text: str) -> ExpressionError:
    """One line that says what was found where, and what could stand there."""
    if isinstance(error, UnexpectedCharacters):
        position = (error.pos_in_stream or 0) + 1
        found = text[position - 1]
        hint = {
            "=": "; equality is ==",
            "&": "; write 'and'",
            "|": "; write 'or'",
            "!": "; write 'not'",
            '"': "; the string does not end, or has an escape other than of quotes and the backslash",
            "'": "; the string does not end, or has an escape other than of quotes and the backslash",
        }.get(found, "")
        return ExpressionError(f"unexpected {found!r}{hint}", position)
    if isinstance(error, UnexpectedEOF):
        return ExpressionError("the expression ends too early", len(text) + 1)
    if isinstance(error, UnexpectedToken):
        expected = _words(sorted(error.accepts or error.expected))
        if error.token.type == "$END":
            return ExpressionError(f"the expression ends too early; expected {expected}", len(text) + 1)
        found = str(error.token)[:40]
        hint = f" (keywords are lower case: {found.lower()!r})" if found in _UPPER else ""
        return ExpressionError(f"unexpected {found!r}, expected {expected}{hint}", _position(error.token))
    return ExpressionError("this cannot be read")


_UPPER = frozenset(("AND", "OR", "NOT", "IN", "IS", "MISSING", "TRUE", "FALSE"))

_WORDS = {
    "NAME": "an attribute",
    "QUOTED": "an attribute",
    "TEXT": "a value",
    "NUMBER": "a value",
    "TRUE": "a value",
    "FALSE": "a value",
    "OPERATOR": "a comparison",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "$END": "the end",
}


def _words(terminals: Sequence[str]) -> str:
    listed = list(dict.fromkeys(_WORDS.get(terminal, f"'{terminal.lower()}'") for terminal in terminals))
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"
