"""Search spaces, read from the annotated ranges of ``Params`` models (see :func:`recserve.search`)."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from recserve.errors import PluginError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

AUTO = ".auto"
"""Ends the name of the choice between "the component decides" (None) and a value of one's own."""

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        name: Such as ``dropout``, or ``mf.dimension`` where several components are searched at once.
        default: The configured value, where the search begins.
        choices: A finite set; empty for a range.
        low: Lower end of a range.
        high: Upper end of a range.
        log: The range is searched on a logarithmic scale.
        whole: Only whole numbers.
        optional: None, which leaves the choice to the component, is a value too (of a range).
    """

    name: str
    default: Any
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    optional: bool = False

    @classmethod
    def of(cls, name: str, field: FieldInfo, default: Any) -> Dimension | None:
        """Read a field's annotation; None if the field is not searched.

        The configured value is always part of the space: a range is widened to hold it.

        Raises:
            PluginError: The annotation makes no sense.
        """
        extra = field.json_schema_extra
        found: Any = extra.get("search") if isinstance(extra, dict) else None
        if found is None:
            return None
        kinds = set(typing.get_args(field.annotation)) or {field.annotation}
        optional = type(None) in kinds
        if "choices" in found:
            choices = list(found["choices"])
            choices += [None] if optional and None not in choices else []
            choices += [] if default in choices else [default]
            return cls(name, default, choices=tuple(choices))
        low, high = found["low"], found["high"]
        if default is not None:
            low, high = min(low, default), max(high, default)
        log = bool(found.get("log"))
        if log and low <= 0:
            # A configured 0 cannot be reached on a logarithmic scale.
            if found["low"] <= 0:
                raise PluginError(f"parameter {name!r} has a logarithmic search range that begins at {low}")
            log = False
        whole = int in kinds and float not in kinds
        return cls(name, default, (), low, high, log, whole, optional)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The outermost values that the search may choose; all of a finite set."""
        if self.choices:
            return self.choices
        ends: tuple[Any, ...] = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        return (*ends, None) if self.optional else ends

    def suggest(self, trial: BaseTrial) -> None:
        """Let a trial choose a value."""
        if self.choices:
            trial.suggest_categorical(self.name, self.choices)
            return
        if self.optional and trial.suggest_categorical(self.name + AUTO, (True, False)):
            return
        if self.whole:
            trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        else:
            trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def value(self, point: Point) -> Any:
        """The parameter's value at a point that a trial chose."""
        chosen = point.get(self.name)
        if self.choices or not isinstance(chosen, float) or chosen == self.default:
            return chosen
        # Four digits are read more easily in a configuration than seventeen.
        return min(max(float(f"{chosen:.4g}"), self.low), self.high)

    def point(self, value: Any) -> dict[str, Any]:
        """What a trial would have to choose for a value; the inverse of :meth:`value`."""
        if self.choices or not self.optional:
            return {self.name: value}
        return {self.name + AUTO: True} if value is None else {self.name + AUTO: False, self.name: value}


@dataclass(frozen=True)
class Space:
    """All searched parameters, in a fixed order."""

    dimensions: tuple[Dimension, ...]

    def suggest(self, trial: BaseTrial) -> None:
        """Let a trial choose all values."""
        for dimension in self.dimensions:
            dimension.suggest(trial)

    def values(self, point: Point) -> dict[str, Any]:
        """Parameter values at a point."""
        return {dimension.name: dimension.value(point) for dimension in self.dimensions}

    def point(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The point with these parameter values."""
        found: dict[str, Any] = {}
        for dimension in self.dimensions:
            found |= dimension.point(values[dimension.name])
        return found

    @property
    def defaults(self) -> dict[str, Any]:
        """The configured values."""
        return {dimension.name: dimension.default for dimension in self.dimensions}


def dimensions_of(params: BaseModel, prefix: str = "") -> list[Dimension]:
    """The searched parameters of one component, beginning at its configured ones.

    Args:
        params: Its parameters as configured.
        prefix: Put before each name.
    """
    fields = type(params).model_fields.items()
    found = [Dimension.of(prefix + name, field, getattr(params, name)) for name, field in fields]
    return [dimension for dimension in found if dimension is not None]
