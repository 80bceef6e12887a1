"""Expressions: what is written is what is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recserve_rules.expressions.expression import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LENGTH,
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
    Value,
    names,
    parse,
)

attributes = st.sampled_from(["price", "genres", "old price", "größe", "_x1"]).map(lambda name: Name(name, 1))
values = (st.booleans() | st.integers(-1000, 1000).map(float) | st.text("ab \"'\\é", max_size=4)).map(
    lambda value: Value(value, 1)
)
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
conditions = (
    st.builds(Compare, attributes, operators, attributes | values)
    | st.builds(Compare, values, operators, attributes)
    | st.builds(Member, attributes, st.lists(values, min_size=1, max_size=3).map(tuple))
    | st.builds(Missing, attributes)
    | st.builds(Flag, attributes)
)
trees = st.recursive(
    conditions,
    lambda parts: (
        st.builds(Not, parts)
        | st.builds(Conjunction, st.lists(parts, min_size=2, max_size=3).map(tuple))
        | st.builds(Disjunction, st.lists(parts, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=8,
)


def written(node: Node | Name | Value) -> str:
    """The text of a tree, with every bracket."""
    match node:
        case Name(name, _):
            return f"`{name}`" if " " in name else name
        case Value(bool(value), _):
            return json.dumps(value)
        case Value(float(value), _):
            return repr(value)
        case Value(str(value), _):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Compare(left, operator, right):
            return f"{written(left)} {operator} {written(right)}"
        case Member(name, found):
            return f"{written(name)} in [{', '.join(map(written, found))}]"
        case Missing(name):
            return f"{written(name)} is missing"
        case Flag(name):
            return written(name)
        case Not(part):
            return f"not ({written(part)})"
        case Conjunction(parts):
            return " and ".join(f"({written(part)})" for part in parts)
        case Disjunction(parts):
            return " or ".join(f"({written(part)})" for part in parts)


def plain(node: object) -> object:
    """A tree without positions, chains of one kind as one."""
    match node:
        case Name(name, _):
            return ("name", name)
        case Value(value, _):
            return ("value", type(value).__name__, value)
        case Conjunction(parts) | Disjunction(parts):
            kind = type(node)
            first = parts[0]
            flat = (*first.parts, *parts[1:]) if isinstance(first, kind) else parts
            if isinstance(first, kind):
                return plain(kind(flat))
            return (kind.__name__, *map(plain, flat))
        case Not(part):
            return ("not", plain(part))
        case Compare(left, operator, right):
            return (operator, plain(left), plain(right))
        case Member(name, found):
            return ("in", plain(name), *map(plain, found))
        case Missing(name) | Flag(name):
            return (type(node).__name__, plain(name))
    raise AssertionError(node)


def attributes_of(node: object) -> set[str]:
    """Names in a tree, by walking all that it holds."""
    if isinstance(node, Name):
        return {node.name}
    if isinstance(node, tuple):
        return set().union(*map(attributes_of, node))
    slots = getattr(node, "__slots__", ())
    return set().union(*(attributes_of(getattr(node, slot)) for slot in slots))


@given(trees)
def test_a_written_tree_is_read_as_it_was(tree: Node) -> None:
    found = parse(written(tree))
    assert plain(found) == plain(tree)
    assert names(found) == attributes_of(tree)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    refusal = None
    try:
        parse(text)
    except ExpressionError as error:
        refusal = error
    assert refusal is None or ("\n" not in str(refusal) and 1 <= refusal.position <= len(text) + 1)


def test_and_binds_closer_than_or_and_not_closest() -> None:
    assert plain(parse("a or not b and c")) == plain(parse("a or ((not b) and c)"))


def test_chained_comparisons_hold_together() -> None:
    assert plain(parse("1 < price <= 5")) == plain(parse("1 < price and price <= 5"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" * (MAX_LENGTH + 1), "shorten it"),
        (" and ".join("a" * (MAX_CONDITIONS + 1)), f"more than {MAX_CONDITIONS} conditions"),
        ("not (" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
    ],
)
def test_length_conditions_and_depth_are_bounded(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(text)


def test_what_is_at_the_bounds_is_read() -> None:
    assert parse(" and ".join("a" * MAX_CONDITIONS))
    assert parse("not " * (MAX_DEPTH - 1) + "a")
