"""Items of exposures are read as columns, whatever their ids look like."""

from __future__ import annotations

import itertools
import math

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recserve.outcomes.shown import ShownItems, shown_items
from recserve.store import ExposedItem, Exposure
from recserve.store.sql.queries.rows import exposure_row

Page = list[tuple[str, str | None, str | None]]


def read(pages: list[list[ExposedItem]]) -> ShownItems:
    rows = [exposure_row(Exposure("r", None, "b", "home", 1, tuple(page))) for page in pages]
    return shown_items(pa.array([row["items"] for row in rows], pa.string()))


def as_pages(found: ShownItems) -> list[Page]:
    rows = list(zip(found.items.to_pylist(), found.sources.to_pylist(), found.arms.to_pylist(), strict=True))
    bounds = found.bounds.tolist()
    return [rows[start:end] for start, end in itertools.pairwise(bounds)]


def test_items_sources_and_places() -> None:
    found = read(
        [[ExposedItem("a", 0.5, ("mf", "x")), ExposedItem("b", -1e-7)], [], [ExposedItem("a", 3.0, ("y",))]]
    )
    assert as_pages(found) == [[("a", "mf", None), ("b", None, None)], [], [("a", "y", None)]]
    assert found.rows.tolist() == [0, 0, 2]
    assert found.positions.tolist() == [0, 1, 0]
    assert all(map(math.isnan, found.propensities))


def test_nothing_was_shown() -> None:
    assert as_pages(read([])) == []
    assert as_pages(read([[], []])) == [[], []]


def test_propensities_are_read() -> None:
    page = '[["a",0.5,["mf"],{"arm":"new","propensity":0.25}],["b",0.5,[]]]'
    found = shown_items(pa.array([page, '[["c",1.0,["mf"]]]']))
    assert as_pages(found) == [[("a", "mf", "new"), ("b", None, None)], [("c", "mf", None)]]
    assert found.propensities[0] == 0.25
    assert all(map(math.isnan, found.propensities[1:]))


_ids = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6
) | st.sampled_from(
    ['"', "\\", "[", '],["', "]],[[", "abc[", '["', ",", ", ", '{"arm":', "}", "é", "🎬", "\n"]
)


@given(
    st.lists(
        st.lists(
            st.builds(
                ExposedItem,
                _ids,
                st.floats(allow_nan=False, allow_infinity=False),
                st.lists(_ids, max_size=2).map(tuple),
                st.none() | _ids,
            ),
            max_size=3,
        ),
        max_size=4,
    )
)
def test_any_ids_are_read_as_they_were_written(pages: list[list[ExposedItem]]) -> None:
    expected = [[(item.item_id, next(iter(item.sources), None), item.arm) for item in page] for page in pages]
    assert as_pages(read(pages)) == expected
