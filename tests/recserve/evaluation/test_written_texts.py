"""Evaluation of what serves: queries read what their users wrote before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recserve import Dataset, FitContext
from recserve.config import ComponentConfig
from recserve.data.events.written import WrittenTexts
from recserve.evaluation import RetrieverRecommender, evaluate, leave_one_out, temporal
from recserve.evaluation.splits import Split, by_user
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.testing import example_dataset

METRIC = "recall@10"


def with_hints(data: Dataset, delay: int) -> Dataset:
    """Before each event (or after it) its user writes what the item is about."""
    vectors = data.catalogue.vectors
    assert vectors is not None
    order = np.lexsort((data.timestamps, data.users))
    found = data.with_catalogue(data.catalogue)
    found.written = WrittenTexts(
        np.searchsorted(data.users[order], np.arange(data.n_users + 1)),
        vectors[data.items[order]],
        data.events[order],
        np.ones(len(order), dtype=np.float32),
        data.timestamps[order] + delay,
    )
    return found


def recall(data: Dataset, split: Callable[[Dataset], Split]) -> float:
    chosen = Registry.discover().choose(Stage.RETRIEVER, ComponentConfig(use="content"), "test")
    cut = split(data)
    content = chosen.build(data.catalogue)
    content.fit(cut.training, FitContext(event_types=data.event_types, threads=1))
    return evaluate(RetrieverRecommender(content), cut, (10,), name="content").metrics[METRIC].mean


@pytest.mark.parametrize("split", [temporal, leave_one_out])
def test_what_was_written_before_an_event_is_read_and_what_came_after_is_not(
    split: Callable[[Dataset], Split],
) -> None:
    data = example_dataset()
    plain = recall(data, split)
    assert recall(with_hints(data, -1), split) > plain + 0.02
    late = split(with_hints(data, 0))
    for _, queries, _ in late.batches(64):
        if queries.recent_texts is not None:
            owners = np.repeat(np.arange(len(queries)), np.diff(queries.recent_texts.offsets))
            assert (queries.recent_texts.timestamps < queries.times[owners]).all()


def test_texts_are_not_read_where_times_say_nothing() -> None:
    assert by_user(with_hints(example_dataset(), -1), newest=False).written is None


def test_parts_of_a_data_set_keep_what_was_written() -> None:
    data = with_hints(example_dataset(), -1)
    assert data.before(data.quantile_time(0.5)).positive().written is data.written
    assert data.fingerprint() != example_dataset().fingerprint()
