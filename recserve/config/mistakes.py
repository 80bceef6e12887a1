"""Messages for mistakes in names and values: where, what, and what is close to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


class Mistake(NamedTuple):
    """What is wrong with a configuration.

    Attributes:
        field: Its key, None where it is about all of it.
        message: One line.
    """

    field: str | None
    message: str


_SECRET_KEYS = frozenset({"password", "key_password", "secret"})


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first problem: where, what, and the nearest valid key for a typing slip."""
    first, *others = error.errors(include_url=False)
    line = _describe(first, model)
    # What is unknown or missing says all there is; a wrong value is seldom the only one.
    counted = bool(others) and first["type"] not in ("extra_forbidden", "missing")
    return f"{line} (and {len(others)} more)" if counted else line


def describe_all(error: ValidationError, model: type[BaseModel]) -> list[Mistake]:
    """Every problem, a line each."""
    return [
        Mistake(location(one["loc"]) or None, _describe(one, model))
        for one in error.errors(include_url=False)
    ]


def _describe(problem: ErrorDetails, model: type[BaseModel]) -> str:
    place = location(problem["loc"]) or "value"
    if problem["type"] == "extra_forbidden":
        *parents, key = problem["loc"]
        return f"unknown key {place!r}{nearest(str(key), keys_at(model, parents))}"
    if problem["type"] == "missing":
        return f"missing key {place!r}"
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"] and problem["type"] == "value_error":
        return message  # of the whole, which needs not be shown
    if isinstance(problem["input"], Mapping) or _SECRET_KEYS & set(problem["loc"][-1:]):
        return f"{place}: {message}"  # what is not shown may hold a password
    shown = repr(problem["input"])
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return f"{place} = {shown}: {message}"


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'mf'? (known: content, mf, popular)``, of bounded length."""
    known = sorted(valid)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"{hint} (known: {shown})" if known else hint


def location(parts: Iterable[int | str]) -> str:
    """``("session", 0, "item_id")`` -> ``session[0].item_id``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def keys_at(model: type[BaseModel], path: Iterable[int | str]) -> set[str]:
    """Valid keys of the nested model at ``path``; dict keys and list indices are stepped over."""
    current: type[BaseModel] = model
    for part in path:
        info = current.model_fields.get(part) if isinstance(part, str) else None
        if info is None:
            continue
        inner = _model_within(info.annotation)
        if inner is None:
            return set()
        current = inner
    return {field.alias or name for name, field in current.model_fields.items()}


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_within(argument)
        if found is not None:
            return found
    return None
