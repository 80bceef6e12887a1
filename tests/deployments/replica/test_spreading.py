"""Which replica moves to another node, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recserve_deployments.replica.spreading import Place, steps_aside

OLD = Place("old", "a", 1.0, True)
NEW = Place("new", "a", 2.0, True)
TAKES = {"CPU": 0.1}
ROOM: Mapping[str, Mapping[str, float]] = {"a": {"CPU": 4.0}, "b": {"CPU": 4.0}}


def test_the_replica_that_started_last_moves() -> None:
    assert steps_aside("new", [OLD, NEW], TAKES, ROOM)
    assert not steps_aside("old", [OLD, NEW], TAKES, ROOM)


@pytest.mark.parametrize(
    ("places", "wanted", "free"),
    [
        pytest.param([NEW], TAKES, ROOM, id="the only replica"),
        pytest.param([replace(OLD, node="b"), NEW], TAKES, ROOM, id="on two nodes already"),
        pytest.param([replace(OLD, running=False), NEW], TAKES, ROOM, id="another one starts or stops"),
        pytest.param([OLD, NEW], TAKES, {"a": {"CPU": 4.0}}, id="no other node"),
        pytest.param([OLD, NEW], TAKES, {**ROOM, "b": {"CPU": 0.05}}, id="no room"),
        pytest.param([OLD, NEW], {"CPU": 0.1, "GPU": 0.5}, ROOM, id="no GPU"),
    ],
)
def test_nobody_moves(
    places: list[Place], wanted: Mapping[str, float], free: Mapping[str, Mapping[str, float]]
) -> None:
    assert not steps_aside("new", places, wanted, free)


PLACES = st.lists(
    st.builds(
        Place,
        st.uuids().map(str),
        st.sampled_from("abc"),
        st.floats(0, 10, allow_nan=False),
        st.booleans(),
    ),
    max_size=6,
)


@given(places=PLACES, free=st.dictionaries(st.sampled_from("abcd"), st.just({"CPU": 1.0})))
def test_at_most_one_moves_so_that_the_rest_serves_on(
    places: list[Place], free: Mapping[str, Mapping[str, float]]
) -> None:
    moving = [place for place in places if steps_aside(place.replica, places, TAKES, free)]
    assert len(moving) <= 1
    assert not moving or {place.node for place in places} == {moving[0].node}
