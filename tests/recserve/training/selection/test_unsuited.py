"""Parts that cannot help on the data at hand are left out before they cost time."""

from __future__ import annotations

import pytest

from recserve.config import parse_config
from recserve.plugin.registry import Registry
from recserve.testing import example_dataset
from recserve.training.selection.unsuited import (
    NO_ORDER,
    NO_TEXTS,
    POSTPONED,
    slow_parts,
    unsuited_parts,
)
from tests.support.interactions import Times, made_up_data


def test_without_texts_and_times_little_is_left_of_the_default() -> None:
    resolved = Registry.discover().resolve(parse_config({}))
    found = unsuited_parts(resolved, made_up_data())
    assert found == {"retriever.content": NO_TEXTS, "ranker.bert_lstm": NO_ORDER}
    narrowed = resolved.without(found).scenarios["home"]
    assert [part.name for part in narrowed.retrievers] == ["mf", "item_knn", "popular"]
    assert [part.use for part in narrowed.config.retrievers] == ["mf", "item_knn", "popular"]
    assert narrowed.ranker is None
    assert narrowed.config.ranker is None


@pytest.mark.parametrize("times", ["drifting", "random"])
def test_what_learns_from_order_stays_where_there_is_some(times: Times) -> None:
    retrievers = [{"use": "trending"}, {"use": "popular"}]
    config = parse_config({"scenarios": {"home": {"retrievers": retrievers, "ranker": {"use": "bert_lstm"}}}})
    found = unsuited_parts(Registry.discover().resolve(config), made_up_data(times=times))
    assert set(found) == (set() if times == "drifting" else {"retriever.trending", "ranker.bert_lstm"})


def test_texts_keep_what_reads_them() -> None:
    data = example_dataset()
    data.timestamps[:] = data.timestamps[0]
    assert unsuited_parts(Registry.discover().resolve(parse_config({})), data) == {}


def test_texts_do_not_keep_what_is_told_not_to_read_them() -> None:
    data = example_dataset()
    data.timestamps[:] = data.timestamps[0]
    ranker = {"use": "bert_lstm", "params": {"text": False}}
    home = {"retrievers": [{"use": "mf"}], "ranker": ranker}
    resolved = Registry.discover().resolve(parse_config({"scenarios": {"home": home}}))
    assert unsuited_parts(resolved, data) == {"ranker.bert_lstm": NO_ORDER}


def test_a_scenario_keeps_its_only_retriever() -> None:
    home = {"retrievers": [{"use": "content"}]}
    other = {"retrievers": [{"use": "content"}, {"use": "mf"}]}
    config = parse_config({"scenarios": {"home": home, "other": other}})
    resolved = Registry.discover().resolve(config)
    found = unsuited_parts(resolved, made_up_data())
    assert found == {}
    narrowed = resolved.without({"retriever.content"}).scenarios
    assert [part.name for part in narrowed["home"].retrievers] == ["content"]
    assert [part.name for part in narrowed["other"].retrievers] == ["mf"]


def test_a_quick_run_postpones_what_takes_minutes() -> None:
    home = {
        "retrievers": [{"use": "mf"}, {"use": "bert_lstm"}],
        "ranker": {"use": "bert_lstm"},
        "rerankers": [{"use": "cross_encoder"}, {"use": "mmr"}],
    }
    only = {"retrievers": [{"use": "mf"}], "rerankers": [{"use": "cross_encoder"}]}
    resolved = Registry.discover().resolve(parse_config({"scenarios": {"home": home, "only": only}}))
    found = slow_parts(resolved)
    assert found == dict.fromkeys(
        ["retriever.bert_lstm", "ranker.bert_lstm", "reranker.cross_encoder"], POSTPONED
    )
    narrowed = resolved.without(found).scenarios["home"]
    assert [part.name for part in narrowed.retrievers] == ["mf"]
    assert [part.name for part in narrowed.rerankers] == ["mmr"]
    assert [part.use for part in narrowed.config.rerankers] == ["mmr"]
    assert narrowed.ranker is None


def test_a_quick_run_fits_what_a_scenario_cannot_do_without() -> None:
    home = {"retrievers": [{"use": "bert_lstm"}], "ranker": {"use": "bert_lstm"}}
    resolved = Registry.discover().resolve(parse_config({"scenarios": {"home": home}}))
    assert slow_parts(resolved) == {"ranker.bert_lstm": POSTPONED}
