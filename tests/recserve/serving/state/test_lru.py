"""The bounded map: what it holds is what was used last, and never weighs more than it may."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from recserve.serving.state.lru import Lru

moves = st.lists(
    st.tuples(st.sampled_from(["get", "put", "drop"]), st.integers(0, 5), st.integers(0, 9)), max_size=60
)


@given(moves, st.integers(0, 20))
def test_holds_what_was_used_last_and_no_more_than_it_may(
    steps: list[tuple[str, int, int]], budget: int
) -> None:
    lru: Lru[int, int] = Lru(budget, lambda value: value)
    model: OrderedDict[int, int] = OrderedDict()
    for what, key, value in steps:
        if what == "get":
            assert lru.get(key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        elif what == "drop":
            lru.drop(key)
            model.pop(key, None)
        else:
            lru.put(key, value)
            model.pop(key, None)
            model[key] = value
            while sum(model.values()) > budget:
                model.popitem(last=False)
        assert len(lru) == len(model)


def test_counts_values_unless_told_otherwise() -> None:
    lru: Lru[str, str] = Lru(2)
    for key in "abc":
        lru.put(key, key)
    assert [lru.get(key) for key in "abc"] == [None, "b", "c"]
    lru.drop_where(lambda key: key == "b")
    assert [lru.get(key) for key in "bc"] == [None, "c"]
    lru.clear()
    assert len(lru) == 0
