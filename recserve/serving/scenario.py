"""Scenario context: what the pipeline itself holds of a bundle, everything that needs no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from recserve.bundles.manifest import OrderEntry
from recserve.config import ColdStartConfig, PipelineConfig, describe_validation_error, nearest
from recserve.data.catalogue import Catalogue
from recserve.errors import ConfigError, InvalidRequestError, PluginError
from recserve.experiments.assignment import AssignedArm
from recserve.experiments.definition import Parameters
from recserve.plugin.protocols import Explainer, Filter, ItemEncoder, ItemText, Ranker, Reranker, Retriever
from recserve.plugin.resolved import Resolved

_REMEMBERED_RULES = 128


class RequestRules:
    """Builder of a scenario's rerankers with the parameters that a request gives.

    A request may change parameters of the scenario's rerankers, leave one out (false), or add one of
    those that are known here; only rerankers that learn nothing can be told anything.

    Args:
        standing: The scenario's rerankers, in order.
        known: All rerankers of the plugins that are loaded here, by name, with default parameters.
        build: Makes the stage object.
        catalogue: What to build it on.
        counted: Whether impressions are counted, which some rerankers need.
    """

    def __init__(
        self,
        standing: Sequence[Resolved],
        known: Mapping[str, Resolved],
        build: Callable[[Resolved, Catalogue], Reranker],
        catalogue: Catalogue,
        counted: bool = False,
    ) -> None:
        self._standing = tuple(standing)
        self._known = known
        self._build = build
        self._catalogue = catalogue
        self._counted = counted
        self._made = lru_cache(maxsize=_REMEMBERED_RULES)(self._make)

    def rerankers(self, rules: Mapping[str, Any]) -> tuple[tuple[str, Reranker], ...]:
        """The rerankers to apply with their names, in order; those of equal rules are built once.

        Raises:
            InvalidRequestError: An unknown reranker, or parameters that it refuses.
        """
        return self._made(json.dumps(rules))

    def read_impressions(self, rules: Mapping[str, Any]) -> bool:
        """Whether some rules name a reranker that reads impressions."""
        known = (self._known.get(name) for name in rules)
        return any(reranker is not None and reranker.component.needs_impressions for reranker in known)

    def _make(self, text: str) -> tuple[tuple[str, Reranker], ...]:
        chosen = chosen_rules(json.loads(text), self._standing, self._known, self._counted)
        return tuple((component.name, self._built(component)) for component in chosen)

    def _built(self, component: Resolved) -> Reranker:
        try:
            return self._build(component, self._catalogue)
        except (ConfigError, PluginError) as error:
            raise InvalidRequestError(error.message, field=component.where) from None


def chosen_rules(
    rules: Mapping[str, Any], standing: Sequence[Resolved], known: Mapping[str, Resolved], counted: bool
) -> list[Resolved]:
    """The rerankers that rules ask for, in order.

    Args:
        rules: Name of a reranker -> parameters, or false.
        standing: The scenario's rerankers.
        known: All rerankers by name, with default parameters.
        counted: Whether impressions are counted, which some rerankers need.

    Raises:
        InvalidRequestError: An unknown reranker, or parameters that it refuses.
    """
    known = {**known, **{component.name: component for component in standing}}
    chosen = [component for component in standing if rules.get(component.name) is not False]
    present = {component.name for component in standing}
    for name, given in rules.items():
        component = known.get(name)
        if component is None:
            raise InvalidRequestError(
                f"unknown reranker {name[:80]!r}{nearest(name[:80], known)}", field=f"rules.{name}"
            )
        if component.component.needs_impressions and not counted:
            raise InvalidRequestError(
                f"rules.{name}: this reranker reads impressions, and none are counted here; give some "
                "scenario of recserve.yaml such a reranker or a frequency_cap",
                field=f"rules.{name}",
            )
        if name not in present and given is not False:
            chosen.append(component)
    return [_with(component, rules.get(component.name)) for component in chosen]


def _with(component: Resolved, given: Any) -> Resolved:
    """A component with some parameters replaced."""
    kind = component.component
    if given in (None, True):
        if isinstance(component.params, kind.params):
            return component
        given = {}
    where = f"rules.{component.name}"
    if not isinstance(given, dict):
        raise InvalidRequestError(f"{where} must be an object of parameters, or false", field=where)
    if kind.external:
        message = (
            f"{where}: this reranker asks a service outside, its parameters are fixed; false leaves it out"
        )
        raise InvalidRequestError(message, field=where)
    if not kind.stateless:
        raise InvalidRequestError(f"{where}: this reranker is trained, its parameters are fixed", field=where)
    try:
        params = kind.params.model_validate({**component.params.model_dump(), **given})
        return Resolved(component.stage, kind, params, component.plugin, where)
    except ValidationError as error:
        problem = describe_validation_error(error, kind.params)
        raise InvalidRequestError(f"{where}: {problem}", field=where) from None


@dataclass(frozen=True)
class ScenarioContext:
    """What the pipeline itself holds of a bundle: everything that needs no model.

    Attributes:
        bundle: Id of the bundle.
        catalogue: Its catalogue.
        event_types: Event types by name, in code order.
        scenarios: With filters and rerankers built (retrievers and ranker live in the stages).
        explainers: By scenario.
        fallbacks: By scenario; answers when retrieval cannot.
        filter_arguments: By scenario, filter name -> validator of its argument.
        item_text: Renders items that the bundle does not know.
        default_scenario: Used when a request names none.
        fingerprint: The encoder's that made the bundle's vectors, None without one.
        cold_start: What to go by while a user has done little.
        rules: By scenario, its rerankers with parameters of a single request.
        impressions: Items of a user, those shown last, whose impressions are counted; 0 where no scenario
            reads them.
        item_encoders: Compute vectors of new items, by named space.
    """

    bundle: str
    catalogue: Catalogue
    event_types: Mapping[str, Any]
    scenarios: Mapping[str, Scenario]
    explainers: Mapping[str, Explainer]
    fallbacks: Mapping[str, Retriever]
    filter_arguments: Mapping[str, Mapping[str, TypeAdapter[Any]]]
    item_text: ItemText
    default_scenario: str
    fingerprint: str | None = None
    cold_start: ColdStartConfig = field(default_factory=ColdStartConfig)
    rules: Mapping[str, RequestRules] = field(default_factory=dict)
    impressions: int = 0
    item_encoders: Mapping[str, ItemEncoder] = field(default_factory=dict)
    _changed: dict[tuple[str, AssignedArm], Scenario] = field(default_factory=dict, init=False, repr=False)

    def reads_impressions(self, scenario: str, rules: Mapping[str, Any]) -> bool:
        """Whether an answer of a scenario with a request's rules depends on what the user was shown."""
        if self.scenarios[scenario].reads_impressions or not rules:
            return self.scenarios[scenario].reads_impressions
        return self.rules[scenario].read_impressions(rules)

    def scenario(self, name: str, arm: AssignedArm | None) -> Scenario:
        """A scenario with the parameters that an arm changes."""
        if arm is None or arm.parameters is None:
            return self.scenarios[name]
        changed = self._changed.get((name, arm))
        if changed is None:
            changed = self._changed[name, arm] = self.scenarios[name].with_parameters(arm.parameters)
        return changed


@dataclass(frozen=True)
class Scenario:
    """The built stage objects of one scenario; a replica fills in only its own stage's.

    Attributes:
        config: The scenario's configuration.
        retrievers: Objects by name, in configured order.
        filters: Objects by name.
        ranker: The ranker, if any.
        rerankers: With their names, applied in order.
        order: The order of candidates that training chose; None as configured.
        reads_impressions: Whether answers depend on what the user was shown.
    """

    config: PipelineConfig
    retrievers: Mapping[str, Retriever]
    filters: Mapping[str, Filter]
    ranker: Ranker | None = None
    rerankers: Sequence[tuple[str, Reranker]] = ()
    order: OrderEntry | None = None
    reads_impressions: bool = False

    def with_parameters(self, parameters: Parameters | None) -> Scenario:
        """The scenario with other parameters, which come before what training chose."""
        if parameters is None:
            return self
        order = self.order
        if order is not None:
            given = {name for name, change in parameters.retrievers.items() if change.weight is not None}
            weights = {name: weight for name, weight in order.weights.items() if name not in given}
            order = order.model_copy(update={"weights": weights})
        return replace(self, config=parameters.applied(self.config), order=order)


def ttl_of(chosen: Filter) -> float | None:
    """Seconds that a mask of a filter may be cached; None for as long as the catalogue stays the same.

    The same as asking whether it is an :class:`recserve.ExpiringFilter`, at a hundredth of the cost.
    """
    ttl: float | None = getattr(chosen, "ttl_seconds", None)
    return ttl
