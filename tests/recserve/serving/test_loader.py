"""The loader builds each component once, from the bundle's state and parameters, for each replica role."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve.bundles.bundle import Bundle
from recserve.bundles.manifest import ComponentEntry, DataEntry
from recserve.bundles.repository import BundleRepository
from recserve.config import parse_config
from recserve.errors import BundleError, NotFoundError
from recserve.plugin.protocols import FitContext
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.serving.loader import Loader, trained_version
from recserve.store import open_store
from recserve.testing import example_catalogue, example_dataset, example_queries

CONFIG = {
    "encoder": None,
    "scenarios": {
        "home": {
            "retrievers": [{"use": "popular", "params": {"distinct_users": True}}],
            "filters": [{"use": "where", "params": {"expression": "year > 1900"}}],
            "rerankers": [{"use": "caps", "params": {"rules": [{"attribute": "topic", "limit": 1}]}}],
        },
        "other": {
            "retrievers": [{"use": "popular", "params": {"distinct_users": True}}],
            "rerankers": [{"use": "caps", "params": {"rules": [{"attribute": "topic", "limit": 2}]}}],
        },
    },
}


@pytest.fixture
def resolved() -> ResolvedConfig:
    return Registry.discover().resolve(parse_config(CONFIG))


def write_bundle(home: Path, resolved: ResolvedConfig, params: dict[str, object]) -> Bundle:
    """A bundle with a fitted ``popular`` that says it was trained with these parameters."""
    data = example_dataset()
    (popular,) = resolved.scenarios["home"].retrievers
    built = popular.build(data.catalogue)
    built.fit(data, FitContext(event_types=data.event_types))
    entry = ComponentEntry(
        plugin="popular", distribution="d", version="0", params=params, facts={}, saved=True
    )
    with BundleRepository(home).writer() as writer:
        writer.write_catalogue(data.catalogue)
        built.save(writer.component_directory(popular.key))
        return writer.finish(
            recserve_version="0",
            config={},
            config_hash="h",
            seed=0,
            data=DataEntry(fingerprint="f", users=1, items=1, events=1, until=1_476_640_644_000),
            encoder_fingerprint="words",
            components={popular.key: entry},
            metrics={},
        )


def test_scenarios_share_what_they_have_in_common(tmp_path: Path, resolved: ResolvedConfig) -> None:
    loader = Loader(write_bundle(tmp_path, resolved, {}), resolved)
    home, other = resolved.scenarios.values()
    assert loader.component(home.retrievers[0]) is loader.component(other.retrievers[0])
    context = loader.context()
    assert (context.bundle, context.fingerprint) == (loader.bundle.id, "words")
    assert context.fallbacks["home"] is loader.component(home.retrievers[0])
    (_, narrow), (_, wide) = context.scenarios["home"].rerankers[0], context.scenarios["other"].rerankers[0]
    assert narrow is not wide, "the same reranker with other parameters is another object"
    assert context.scenarios["home"].retrievers == {}, "retrievers live in the retrieval stage"


def test_the_state_and_parameters_of_trained_components_are_the_bundles(
    tmp_path: Path, resolved: ResolvedConfig
) -> None:
    bundle = write_bundle(tmp_path, resolved, {"distinct_users": False})
    loader = Loader(bundle, resolved)
    found = loader.retrieval().retrieve("home", example_queries(example_dataset()), 5)
    assert (found.candidates.items[:, 0] >= 0).all()
    with pytest.raises(NotFoundError, match="elsewhere"):
        loader.retrieval().retrieve("elsewhere", example_queries(example_dataset()), 5)
    changed = write_bundle(tmp_path / "changed", resolved, {"no_such": 1})
    with pytest.raises(BundleError, match=r"parameters of retriever\.popular do not fit .* train again"):
        Loader(changed, resolved).context()


def test_what_learns_nothing_is_built_anew_on_a_changed_catalogue(
    tmp_path: Path, resolved: ResolvedConfig
) -> None:
    loader = Loader(write_bundle(tmp_path, resolved, {}), resolved)
    more = example_catalogue(70)
    before, after, again = loader.context(), loader.context(more), loader.context(more)
    filters = [context.scenarios["home"].filters["where"] for context in (before, after, again)]
    masks = [chosen.allowed(None) for chosen in filters]
    assert [len(mask) for mask in masks if mask is not None] == [60, 70, 70]
    assert filters[1] is filters[2], "one catalogue is read once"
    assert after.fallbacks["home"] is before.fallbacks["home"], "what was trained stays"
    argument = after.filter_arguments["home"]["where"]
    assert argument.validate_python("year > 1990") == "year > 1990"


def test_a_bundle_without_a_component_says_what_to_do(tmp_path: Path, resolved: ResolvedConfig) -> None:
    data = example_dataset()
    with BundleRepository(tmp_path).writer() as writer:
        writer.write_catalogue(data.catalogue)
        empty = writer.finish(
            recserve_version="0",
            config={},
            config_hash="h",
            seed=0,
            data=DataEntry(fingerprint="f", users=1, items=1, events=1, until=1),
            encoder_fingerprint=None,
            components={},
            metrics={},
        )
    with pytest.raises(BundleError, match=r"has no trained retriever\.popular; run `recserve train`"):
        Loader(empty, resolved).retrieval()


def test_the_store_knows_which_catalogue_a_bundle_was_trained_on(tmp_path: Path) -> None:
    with open_store(None, tmp_path) as store:
        store.record_bundle("b1", 1, {"catalogue_version": 7})
        store.record_bundle("b2", 2, {})
        assert [trained_version(store, name) for name in ("b1", "b2", "b3")] == [7, -1, -1]
