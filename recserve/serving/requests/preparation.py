"""Preparation of requests: what plugins make of a request's own filters and rules before it joins a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from recserve.data.arrays import BoolArray
from recserve.errors import InvalidRequestError, RecserveError
from recserve.serving.guard.calls import PluginCall, PluginCalls
from recserve.serving.requests.batch import Outcome, PendingRequest, Prepared
from recserve.serving.requests.request import Recommendation
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stages.masks import FilterCall
from recserve.serving.state.serving_state import ServingState


class Preparer:
    """Reader of requests' filters and rules.

    Args:
        calls: How plugin code is called.
    """

    def __init__(self, calls: PluginCalls) -> None:
        self._calls = calls

    async def prepare(self, pending: PendingRequest, current: ServingState) -> Outcome:
        """Prepare a request for a serving state; one that is prepared already stays as it is.

        Returns:
            The prepared request, its error, or an empty answer where a filter failed: what it would have
            hidden stays hidden.
        """
        if pending.prepared is not None and pending.prepared.context is current.context:
            return Outcome(pending=pending)
        request, scenario, masks = pending.request, pending.scenario, current.masks
        try:
            rerankers = current.context.scenarios[scenario].rerankers
            if request.rules:
                rules = current.context.rules[scenario]
                rerankers = await self._calls.run(PluginCall.RULES, scenario, rules.rerankers, request.rules)
            filters = masks.calls(scenario, request.filter)
            mask = masks.joint(filters, [await self._mask(call, current) for call in filters])
        except RecserveError as error:
            return Outcome(error)
        if mask.failed:
            return Outcome(_empty(pending, current.context, mask.failed))
        return Outcome(pending=replace(pending, prepared=Prepared(current.context, mask, rerankers)))

    async def _mask(self, call: FilterCall, current: ServingState) -> BoolArray | RecserveError | None:
        """The mask of a filter, or why there is none."""
        cached = current.masks.cached(call)
        if cached is not None:
            return cached[0]

        def compute() -> BoolArray | None:
            if call.argument is not None:
                _validate(current.context.filter_arguments[call.scenario][call.name], call)
            return current.masks.compute(call)

        try:
            return await self._calls.run(PluginCall.FILTER, f"{call.name}@{call.scenario}", compute)
        except RecserveError as error:
            return error


def _validate(argument: TypeAdapter[Any], call: FilterCall) -> None:
    """Refuse an argument that is not of the filter's type."""
    try:
        argument.validate_python(json.loads(call.argument or "null"))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise InvalidRequestError(f"filter {call.name!r}: {problem}", field=f"filter.{call.name}") from None


def _empty(pending: PendingRequest, context: ScenarioContext, degraded: Mapping[str, str]) -> Recommendation:
    """The answer where nobody knows what may be returned."""
    return Recommendation.of(
        scenario=pending.scenario,
        items=(),
        bundle=context.bundle,
        degraded=degraded,
        timings=pending.snapshot.trace.timings(),
        left_out=pending.request.items or (),
        arm=pending.request.arm,
    )
