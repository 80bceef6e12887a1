"""Search spaces: read from annotations, holding the configured values, giving valid parameters."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from pydantic import Field

from recserve.errors import PluginError
from recserve.plugin.protocols import NoParams, Stage, search
from recserve.plugin.registry import Registry
from recserve.training.tuning.space import Space, dimensions_of

REGISTRY = Registry.discover()


def params_of(stage: Stage, name: str) -> Any:
    return REGISTRY.get(stage, name, "test")[0].params


COMPONENTS = [
    (stage, name)
    for stage in (Stage.RETRIEVER, Stage.RANKER)
    for name in REGISTRY.names(stage)
    if any("search" in str(one.json_schema_extra) for one in params_of(stage, name).model_fields.values())
]


class Params(NoParams):
    width: int | None = Field(None, json_schema_extra=search(choices=[32, 64]))
    shrink: float | None = Field(None, gt=0, json_schema_extra=search(low=0.001, high=1.0, log=True))
    sweeps: int = Field(10, json_schema_extra=search(low=4, high=24))
    rate: float = Field(0.5, json_schema_extra=search(low=0.1, high=1.0))
    fixed: int = 3


def asked(space: Space, times: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = []
    for _ in range(times):
        trial = study.ask()
        space.suggest(trial)
        points.append(dict(trial.params))
    return points


def test_only_annotated_parameters_are_searched() -> None:
    space = Space(tuple(dimensions_of(Params())))
    assert [one.name for one in space.dimensions] == ["width", "shrink", "sweeps", "rate"]
    assert space.defaults == {"width": None, "shrink": None, "sweeps": 10, "rate": 0.5}
    width, shrink, sweeps, rate = space.dimensions
    assert width.choices == (32, 64, None)
    assert (shrink.log, shrink.optional, shrink.whole) == (True, True, False)
    assert (sweeps.low, sweeps.high, sweeps.whole) == (4, 24, True)
    assert (rate.low, rate.high, rate.optional) == (0.1, 1.0, False)


def test_values_and_points_are_inverse() -> None:
    space = Space(tuple(dimensions_of(Params(shrink=0.5))))
    for values in (
        {"width": 32, "shrink": 0.25, "sweeps": 4, "rate": 1.0},
        {"width": None, "shrink": None, "sweeps": 24, "rate": 0.1},
    ):
        assert space.values(space.point(values)) == values


def test_none_is_tried_as_well_as_values_of_an_optional_range() -> None:
    space = Space(tuple(dimensions_of(Params())))
    tried = [space.values(point)["shrink"] for point in asked(space, 60)]
    assert None in tried
    numbers = [one for one in tried if one is not None]
    assert len(numbers) > 10
    assert min(numbers) < 0.01 < 0.1 < max(numbers)
    # Four digits, as people write them.
    assert all(float(f"{one:.4g}") == one for one in numbers)


def test_a_configured_value_outside_the_range_becomes_part_of_it() -> None:
    width, shrink, sweeps, rate = dimensions_of(Params(width=48, shrink=3.0, sweeps=100, rate=0.05))
    assert width.choices == (32, 64, None, 48)
    assert (shrink.low, shrink.high) == (0.001, 3.0)
    assert (sweeps.low, sweeps.high) == (4, 100)
    assert (rate.low, rate.high) == (0.05, 1.0)


def test_a_configured_zero_takes_the_logarithm_away() -> None:
    class Decay(NoParams):
        decay: float = Field(0.1, ge=0, json_schema_extra=search(low=0.01, high=1.0, log=True))

    (decay,) = dimensions_of(Decay(decay=0.0))
    assert (decay.low, decay.log) == (0.0, False)


def test_a_logarithmic_range_that_begins_at_zero_is_the_plugin_s_mistake() -> None:
    class Wrong(NoParams):
        decay: float = Field(0.1, json_schema_extra=search(low=0.0, high=1.0, log=True))

    with pytest.raises(PluginError, match=r"'decay' has a logarithmic search range that begins at 0"):
        dimensions_of(Wrong())


@pytest.mark.parametrize(("stage", "name"), COMPONENTS)
def test_everything_that_a_component_s_space_gives_is_valid(stage: Stage, name: str) -> None:
    model = params_of(stage, name)
    space = Space(tuple(dimensions_of(model())))
    assert model.model_validate(space.defaults) == model()
    points = asked(space, 30)
    seen = {str(model.model_validate(space.values(point))) for point in points}
    assert len(seen) > 1
    # The configured values are a point that Optuna itself accepts without complaint.
    study = optuna.create_study()
    study.enqueue_trial(space.point(space.defaults))
    trial = study.ask()
    space.suggest(trial)
    assert space.values(trial.params) == space.defaults
