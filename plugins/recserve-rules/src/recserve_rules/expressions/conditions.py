"""Expressions over catalogue columns as vectorised masks.

Truth has three values, as in SQL: a comparison with a missing attribute (or with a value of another kind) is
unknown, the negation of unknown is unknown, and only what is true matches. So ``not (year < 2000)`` does not
match an item without a year; ``year is missing`` does.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from recserve import BoolArray, ConfigError, nearest
from recserve_rules.expressions.columns import Column, Columns, Kind, kind_of
from recserve_rules.expressions.expression import (
    Compare,
    Conjunction,
    Disjunction,
    ExpressionError,
    Flag,
    Member,
    Missing,
    Name,
    Node,
    Not,
    Operator,
    Value,
    names,
    parse,
)

_COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_MIRRORED: Mapping[Operator, Operator] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Truth:
    """Truth values by item, or by distinct value of an attribute.

    Attributes:
        yes: bool; where it is true.
        no: bool; where it is false, never where it is true. Neither is unknown.
    """

    yes: BoolArray
    no: BoolArray

    @classmethod
    def of(cls, holds: BoolArray, known: BoolArray) -> Truth:
        """True where it holds, false where it does not, unknown outside of ``known``."""
        return cls(holds & known, ~holds & known)


def matches(expression: str, columns: Columns) -> BoolArray:
    """Items that an expression matches.

    Args:
        expression: See :mod:`recserve_rules.expressions.expression`.
        columns: The attributes of the catalogue.

    Returns:
        bool, shape (n_items,).

    Raises:
        ExpressionError: It is not of the language, names an attribute that no item has, or compares an
            attribute with a kind of value that the attribute never has.
    """
    node = parse(expression)
    columns.load(name for name in names(node) if name in columns.names)
    return _Evaluation(columns).truth(node).yes


def standing(expression: str, columns: Columns, where: str) -> BoolArray:
    """Like :func:`matches` for a rule that stands in the configuration.

    Args:
        expression: The rule.
        columns: The attributes of the catalogue.
        where: The rule's place, for the message.

    Raises:
        ConfigError: The expression cannot be used.
    """
    try:
        return matches(expression, columns)
    except ExpressionError as error:
        raise ConfigError(f"{where}: {error}") from None


class _Evaluation:
    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def truth(self, node: Node) -> Truth:
        if isinstance(node, Not):
            part = self.truth(node.part)
            return Truth(part.no, part.yes)
        if isinstance(node, (Conjunction, Disjunction)):
            parts = [self.truth(part) for part in node.parts]
            yes, no = [part.yes for part in parts], [part.no for part in parts]
            if isinstance(node, Conjunction):
                return Truth(reduce(np.logical_and, yes), reduce(np.logical_or, no))
            return Truth(reduce(np.logical_or, yes), reduce(np.logical_and, no))
        if isinstance(node, Compare):
            return self._compare(node)
        column = self._column(node.name)
        if isinstance(node, Missing):
            return _of_items(column, Truth(~column.present, column.present))
        if isinstance(node, Flag):
            return _of_items(column, self._flag(column, node))
        return _of_items(column, self._member(column, node))

    def _column(self, name: Name) -> Column:
        # An empty catalogue has no names to check against, and nothing to match.
        if len(self._columns) and name.name not in self._columns.names:
            hint = nearest(name.name, self._columns.names)
            raise ExpressionError(f"no item has an attribute {name.name[:60]!r}{hint}", name.position)
        return self._columns[name.name]

    def _flag(self, column: Column, node: Flag) -> Truth:
        if column.present.any() and "booleans" not in column.scalar_kinds:
            raise ExpressionError(
                f"attribute {column.name!r} holds {_kinds(column)}, no booleans; compare it with a value",
                node.name.position,
            )
        return Truth(column.flags == 1, column.flags == 0)

    def _member(self, column: Column, node: Member) -> Truth:
        for value in node.values:
            _check_kind(column, value, column.kinds)
        return Truth.of(column.having(value.value for value in node.values), column.present)

    def _compare(self, node: Compare) -> Truth:
        left, right = node.left, node.right
        if isinstance(left, Name) and isinstance(right, Name):
            return self._compare_attributes(left, node.operator, right)
        if isinstance(right, Name):
            assert isinstance(left, Value)
            return self._compare_value(right, _MIRRORED[node.operator], left)
        assert isinstance(left, Name)
        return self._compare_value(left, node.operator, right)

    def _compare_attributes(self, left: Name, sign: Operator, right: Name) -> Truth:
        columns = [self._column(left), self._column(right)]
        for name, column in zip((left, right), columns, strict=True):
            if column.present.any() and "numbers" not in column.scalar_kinds:
                raise ExpressionError(
                    f"attribute {name.name!r} holds {_kinds(column)}; only numbers of two attributes "
                    "can be compared",
                    name.position,
                )
        first, second = (column.of_items(column.numbers) for column in columns)
        return Truth.of(_COMPARE[sign](first, second), ~np.isnan(first) & ~np.isnan(second))

    def _compare_value(self, name: Name, sign: Operator, literal: Value) -> Truth:
        column = self._column(name)
        _check_kind(column, literal, column.scalar_kinds)
        value = literal.value
        if isinstance(value, bool):
            if sign not in ("==", "!="):
                raise ExpressionError("booleans have no order; use == or !=", name.position)
            truth = Truth.of(_COMPARE[sign](column.flags, int(value)), column.flags >= 0)
        elif isinstance(value, str):
            order, known = column.compare_text(value)
            truth = Truth.of(_COMPARE[sign](order, 0), known)
        else:
            truth = Truth.of(_COMPARE[sign](column.numbers, value), ~np.isnan(column.numbers))
        return _of_items(column, truth)


def _of_items(column: Column, truth: Truth) -> Truth:
    """What holds of each item, from what holds of each value."""
    return Truth(column.of_items(truth.yes), column.of_items(truth.no))


def _check_kind(column: Column, value: Value, kinds: frozenset[Kind]) -> None:
    """Refuse a comparison that can match nothing: far more often a slip than a wish."""
    kind = kind_of(value.value)
    if kind in kinds or not column.kinds - {"lists"}:
        return
    advice = f"; write: value in {column.name}" if kind in column.kinds else f", no {kind}"
    raise ExpressionError(f"attribute {column.name!r} holds {_kinds(column)}{advice}", value.position)


def _kinds(column: Column) -> str:
    scalars: list[str] = sorted(column.scalar_kinds)
    if "lists" in column.kinds:
        inside = " and ".join(sorted(column.kinds - {"lists"})) or "nothing"
        scalars.append(f"lists of {inside}")
    return " and ".join(scalars) or "nothing"
