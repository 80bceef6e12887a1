"""A request's own filters and rules are read by itself, once, and a filter that fails allows nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recserve.errors import InvalidRequestError
from recserve.serving.guard.calls import GuardedCalls, PluginCall, PluginCalls
from recserve.serving.requests.batch import Outcome
from recserve.serving.requests.preparation import Preparer
from recserve.serving.requests.request import Recommendation, Request
from recserve.serving.state.serving_state import ServingState, ServingStates
from recserve.store import open_store
from tests.support.pipelines import Lab, Odd


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_store(None, tmp_path) as store:
        yield Lab(store)


def prepare(lab: Lab, request: Request) -> tuple[Outcome, ServingState]:
    """What becomes of a request that the pipeline could not answer from its cache."""

    async def steps() -> tuple[Outcome, ServingState]:
        _, (recalled,) = await lab.pipeline.recall([request])
        assert recalled.pending is not None, recalled.result
        state = await ServingStates(lab.build, lab.live, GuardedCalls()).current()
        return await Preparer(GuardedCalls()).prepare(recalled.pending, state), state

    return asyncio.run(steps())


def test_masks_of_filters_are_ready_for_the_batch(lab: Lab) -> None:
    outcome, _ = prepare(lab, Request(filter={"odd": True}))
    assert outcome.pending is not None
    assert outcome.pending.prepared is not None
    mask = outcome.pending.prepared.mask.within(None)
    assert mask is not None
    assert mask.nonzero()[0].tolist() == [1, 3, 5, 7, 9, 11]


def test_a_prepared_request_is_not_prepared_again_unless_the_catalogue_changed(lab: Lab) -> None:
    outcome, state = prepare(lab, Request())
    assert outcome.pending is not None

    class Counting(GuardedCalls):
        asked = 0

        async def run(self, kind: PluginCall, name: str, call, *arguments):  # type: ignore[no-untyped-def]
            Counting.asked += 1
            return await super().run(kind, name, call, *arguments)

    calls: PluginCalls = Counting()
    again = asyncio.run(Preparer(calls).prepare(outcome.pending, state))
    assert again.pending is outcome.pending
    assert Counting.asked == 0
    changed = replace(state, context=lab.build(state.context.catalogue))
    later = asyncio.run(Preparer(calls).prepare(outcome.pending, changed))
    assert later.pending is not outcome.pending


def test_an_argument_of_the_wrong_type_is_refused_by_name(lab: Lab) -> None:
    outcome, _ = prepare(lab, Request(filter={"odd": {"not": "a bool"}}))
    assert isinstance(outcome.result, InvalidRequestError)
    assert outcome.result.field == "filter.odd"
    assert outcome.result.message.startswith("filter 'odd': ")


def test_a_filter_that_fails_allows_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Odd, argument: object) -> None:
        raise KeyError("odd")

    monkeypatch.setattr(Odd, "allowed", broken)
    outcome, _ = prepare(lab, Request(filter={"odd": True}, items=("i1", "i2")))
    assert isinstance(outcome.result, Recommendation)
    assert outcome.result.items == ()
    assert outcome.result.degraded == ("filter:odd",)
    assert outcome.result.left_out == ("i1", "i2")
