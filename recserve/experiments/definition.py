"""Definition of an experiment: its arms, whom it takes in, and when an arm is stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from recserve.config import ExploreConfig, PipelineConfig, describe_validation_error, nearest
from recserve.config.mistakes import location
from recserve.config.strict import Strict
from recserve.errors import InvalidRequestError

HOLDOUT = "holdout"
"""Name under which those are counted whom no experiment of a layer may take in."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What experiments, arms and layers may be called."""

_TOLERANCE = 1e-6


class RetrieverChange(Strict):
    """What an arm changes of a retriever."""

    weight: float | None = Field(None, ge=0, description="Weight in fusion; 0 leaves the retriever out.")
    candidates: int | None = Field(None, ge=1, le=10_000, description="Items asked of it.")


class Parameters(Strict):
    """Parameters of a scenario that an arm changes; what is not named stays as configured."""

    retrievers: dict[str, RetrieverChange] = Field(
        default_factory=dict, description="Name of a retriever of the scenario -> what changes of it."
    )
    budget: int | None = Field(None, ge=1, le=10_000, description="Candidates kept for the ranker.")
    ranker: Literal[False] | None = Field(
        None, description="false does without the ranker: items stay in the order of retrieval."
    )
    rules: dict[str, Any] = Field(
        default_factory=dict,
        description="Name of a reranker -> parameters, or false; `rules` of a request come before.",
    )
    seen: Literal["exclude", "decay", "allow"] | None = Field(None, description="As in the scenario.")
    seen_half_life_days: float | None = Field(None, gt=0, description="As in the scenario.")
    explore: ExploreConfig | Literal[False] | None = Field(
        None, description="As in the scenario; false gives new items no places."
    )

    def applied(self, config: PipelineConfig) -> PipelineConfig:
        """A scenario's configuration with these parameters; rules are what requests bring, see above."""
        changes: dict[str, Any] = {
            name: given
            for name in ("budget", "seen", "seen_half_life_days")
            if (given := getattr(self, name)) is not None
        }
        if self.ranker is False:
            changes["ranker"] = None
        if self.explore is not None:
            changes["explore"] = self.explore or None
        if self.retrievers:
            kept = [
                retriever.model_copy(update=self._of(retriever.use).model_dump(exclude_none=True))
                for retriever in config.retrievers
                if self._of(retriever.use).weight != 0
            ]
            changes["retrievers"] = tuple(kept)
        return config.model_copy(update=changes)

    def _of(self, retriever: str) -> RetrieverChange:
        return self.retrievers.get(retriever, _UNCHANGED)


_UNCHANGED = RetrieverChange()


class Arm(Strict):
    """One of the alternatives that an experiment compares.

    With neither a scenario nor parameters nor a bundle it is the scenario as it is configured.
    """

    name: str = Field(pattern=NAME, description="In answers, exposures and reports.", examples=["control"])
    share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of those in the experiment; without any the arms have equal ones. Of a shadow "
        "arm: for whom of them it is computed as well, default all.",
    )
    scenario: str | None = Field(None, description="Another scenario answers.")
    parameters: Parameters | None = Field(None, description="The scenario answers with other parameters.")
    bundle: str | None = Field(None, description="The scenario answers with another bundle's models.")
    shadow: bool = Field(False, description="Computed after the answer and logged, shown to nobody.")


class Guardrails(Strict):
    """Bounds beyond which an arm is stopped by itself.

    Each is by how much the share of an arm's bad answers may exceed that of the first arm's, among the last
    ``answers`` of each; null does without it.
    """

    answers: int = Field(200, ge=10, le=100_000, description="Answers of an arm that are looked at.")
    degraded: float | None = Field(0.1, gt=0, lt=1, description="Share of answers that lost something.")
    slow: float | None = Field(0.1, gt=0, lt=1, description="Share of answers that took over `slow_ms`.")
    slow_ms: float = Field(500.0, gt=0, description="Milliseconds, from the request to the answer.")
    dislikes: float | None = Field(
        0.1, gt=0, lt=1, description="Negative events that name an answer, for each answer."
    )


class Definition(Strict):
    """An experiment as it was asked for. It never changes."""

    name: str = Field(pattern=NAME, description="Its name for good.", examples=["fewer-neighbours"])
    description: str = Field("", max_length=10_000, description="What it is about, for people.")
    scenario: str = Field(description="Whose requests it takes in.", examples=["home"])
    kind: Literal["split", "interleaving"] = Field(
        "split",
        description="split: each user or session gets one arm; interleaving: a page has items of two arms.",
    )
    layer: str | None = Field(
        None,
        pattern=NAME,
        description="Experiments of one layer share no user; default: the scenario's own.",
    )
    share: float = Field(1.0, gt=0, le=1, description="Share of the layer's users and sessions to take in.")
    holdout: float = Field(
        0.0, ge=0, lt=1, description="Share of the layer that none of its experiments may take in."
    )
    arms: tuple[Arm, ...] = Field(
        min_length=2, max_length=20, description="The first one is what the others are compared with."
    )
    guardrails: Guardrails = Field(Guardrails(), description="When an arm is stopped by itself.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = sorted([*(arm.name for arm in self.arms), HOLDOUT])
        for name, following in pairwise(names):
            if name == following:
                reason = "is reserved" if name == HOLDOUT else "is listed twice"
                raise ValueError(f"arm {name!r} {reason}")
        shown, shadows = self.shown, [arm for arm in self.arms if arm.shadow]
        if not shown or shown[0] is not self.arms[0]:
            raise ValueError("the first arm must be one that is shown: the others are compared with it")
        if self.kind == "interleaving" and (len(shown) != 2 or shadows):
            raise ValueError("interleaving needs exactly two arms, and no shadow")
        given = [arm.share for arm in shown if arm.share is not None]
        if given and len(given) < len(shown):
            raise ValueError("give every arm a share, or none")
        if given and not math.isclose(sum(given), 1.0, abs_tol=_TOLERANCE):
            raise ValueError(f"the shares of the arms add up to {sum(given):g}, not to 1")
        if self.share + self.holdout > 1 + _TOLERANCE:
            raise ValueError(f"share {self.share:g} and holdout {self.holdout:g} are more than all together")
        return self

    @property
    def shown(self) -> tuple[Arm, ...]:
        """The arms that are shown to somebody, the first of them what others are compared with."""
        return tuple(arm for arm in self.arms if not arm.shadow)

    @property
    def space(self) -> str:
        """The layer: the name of what its experiments divide among them."""
        return self.layer or self.scenario

    def share_of(self, arm: Arm) -> float:
        """Share of those in the experiment who get an arm."""
        if arm.share is not None:
            return arm.share
        return 1.0 if arm.shadow else 1.0 / len(self.shown)


def parse_definition(data: Any) -> Definition:
    """The definition that plain data describes.

    Raises:
        InvalidRequestError: It does not describe any; one line says what is wrong.
    """
    try:
        # As JSON, where a list may be what is a tuple here, and a number is no text.
        return Definition.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # What concerns the definition as a whole would be said with all of it.
        of_all = not first["loc"] and first["type"] == "value_error"
        problem = str(first["ctx"]["error"]) if of_all else describe_validation_error(error, Definition)
        raise InvalidRequestError(f"experiment: {problem}", field=location(first["loc"]) or None) from None


def check_definition(
    definition: Definition,
    scenarios: Mapping[str, PipelineConfig],
    check_rules: Callable[[str, Mapping[str, Any]], object],
    bundles: Collection[str],
) -> None:
    """Refuse a definition that names what is not there.

    Args:
        definition: The definition.
        scenarios: The configured ones.
        check_rules: Raises for rules that a scenario refuses.
        bundles: Ids of the recorded ones.

    Raises:
        InvalidRequestError: An unknown scenario, retriever, reranker or bundle.
    """
    _known(definition.scenario, scenarios, "scenario", "scenario")
    for place, arm in enumerate(definition.arms):
        where = f"arms[{place}]"
        served = _known(arm.scenario or definition.scenario, scenarios, "scenario", f"{where}.scenario")
        filters = {filter_.use for filter_ in scenarios[served].filters}
        for filter_ in scenarios[definition.scenario].filters:
            if filter_.use not in filters:
                raise InvalidRequestError(
                    f"{where}: scenario {served!r} lacks the filter {filter_.use!r} of "
                    f"{definition.scenario!r}, which requests may use",
                    field=f"{where}.scenario",
                )
        if arm.bundle is not None:
            _known(arm.bundle, bundles, "bundle", f"{where}.bundle")
        if arm.parameters is not None:
            _check_parameters(arm.parameters, served, scenarios[served], where)
            check_rules(served, arm.parameters.rules)


def _check_parameters(parameters: Parameters, name: str, config: PipelineConfig, where: str) -> None:
    known = [retriever.use for retriever in config.retrievers]
    for retriever in parameters.retrievers:
        place = f"{where}.parameters.retrievers.{retriever}"
        _known(retriever, known, f"retriever of scenario {name!r}", place)
    if not parameters.applied(config).retrievers:
        raise InvalidRequestError(
            f"{where}: every retriever has weight 0; leave one in", field=f"{where}.parameters.retrievers"
        )


def _known(name: str, known: Collection[str], what: str, where: str) -> str:
    if name not in known:
        raise InvalidRequestError(f"{where}: unknown {what} {name!r}{nearest(name, known)}", field=where)
    return name
