"""The example plugin's fit in parts, against the obvious count and on another executor."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from recserve import FitContext, NoParams
from recserve.testing import example_dataset, example_queries
from tests.support.travelling import Travelling

SOURCE = Path(__file__).parents[2] / "examples" / "recserve-decades"


@pytest.fixture
def era(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SOURCE)
    for name in [name for name in sys.modules if name.startswith("recserve_decades")]:
        monkeypatch.delitem(sys.modules, name)
    module = importlib.import_module("recserve_decades.era")
    monkeypatch.setattr(module, "USERS_A_PART", 7)
    return module


def test_a_fit_in_parts_counts_what_followed_what(era: ModuleType, tmp_path: Path) -> None:
    data = example_dataset()
    expected: Counter[tuple[int, int]] = Counter()
    years = list(data.catalogue.column("year"))
    histories = data.positive().histories
    for user in range(len(histories)):
        items = histories.items[histories.offsets[user] : histories.offsets[user + 1]].tolist()
        for before, after in pairwise(items):
            expected[years[before] // 10, after] += 1

    executor = Travelling()
    fitted = [era.Era(NoParams(), data.catalogue) for _ in range(2)]
    facts = [
        fitted[0].fit(data, FitContext()),
        fitted[1].fit(data, FitContext(executor=executor)),
    ]
    assert executor.parts == -(-len(histories) // 7) > 1
    assert facts[0] == facts[1] == {"pairs": sum(expected.values())}

    queries = example_queries(data)
    found = [one.retrieve(queries, 5) for one in fitted]
    assert np.array_equal(found[0].items, found[1].items)
    newest = queries.histories.known(len(years)).positive()
    for row in np.flatnonzero(newest.lengths)[:20]:
        decade = years[newest.items[newest.offsets[row + 1] - 1]] // 10
        scores = [expected[decade, item] for item in found[0].items[row] if item >= 0]
        assert scores == sorted(scores, reverse=True)

    fitted[0].save(tmp_path)
    fresh = era.Era(NoParams(), data.catalogue)
    fresh.load(tmp_path)
    assert np.array_equal(fresh.retrieve(queries, 5).items, found[0].items)
