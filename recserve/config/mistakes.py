"""Messages for mistakes in names and values: where, what, and what is close to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first problem: where, what, and the nearest valid key for a typing slip."""
    first = error.errors(include_url=False)[0]
    place = location(first["loc"]) or "value"
    if first["type"] == "extra_forbidden":
        *parents, key = first["loc"]
        known = keys_at(model, parents)
        return f"unknown key {place!r}{nearest(str(key), known)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"missing key {place!r}"
    shown = repr(first["input"])
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place} = {shown}: {message}{more}"


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
