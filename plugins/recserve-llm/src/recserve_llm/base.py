"""A component of another plugin, found by name, for components that wrap one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Literal

from pydantic import ValidationError

from recserve import Catalogue, Component, ConfigError, nearest


def build_base(
    kind: Literal["explainer", "item_text"], name: str, params: Mapping[str, Any], catalogue: Catalogue
) -> Any:
    """Build an explainer or an item text that any installed plugin registers.

    Raises:
        ConfigError: No plugin registers it, or it refuses the parameters.
    """
    known = _registered(kind)
    if name not in known:
        raise ConfigError(f"base: unknown {kind} {name!r}{nearest(name, known)}", field="base")
    component = known[name]
    try:
        return component.factory(component.params.model_validate(dict(params)), catalogue)
    except ValidationError as error:
        raise ConfigError(f"base_params: {error.errors()[0]['msg']}", field="base_params") from None


@lru_cache
def _registered(kind: str) -> Mapping[str, Component]:
    found: dict[str, Component] = {}
    for point in sorted(entry_points(group="recserve"), key=lambda point: point.name):
        try:
            register = getattr(point.load(), f"register_{kind}s", None)
        except ImportError:  # what it needs is not installed; a server that names it says so
            continue
        for component in register() if register is not None else ():
            # Not what wraps itself.
            if component.name != "llm":
                found.setdefault(component.name, component)
    return found
