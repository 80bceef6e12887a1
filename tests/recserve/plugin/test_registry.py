"""Discovery through real entry points: collisions, broken plugins, loading by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve import Catalogue, hookimpl
from recserve.config import ComponentConfig, parse_config
from recserve.errors import ConfigError, PluginError
from recserve.plugin.protocols import Component, Stage
from recserve.plugin.registry import PluginInfo, Registry
from recserve.plugin.resolved import ReplicaRole


def install(folder: Path, name: str, source: str) -> None:
    """Lay a distribution with one entry point out in a folder, as an installer would."""
    module = f"{name}_plugin"
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[recserve]\n{name} = {module}\n")


GOOD = """
from recserve import Component, hookimpl

@hookimpl
def register_retrievers():
    return [Component("{component}", lambda params, catalogue: None, summary="test")]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_plugin")]:
        del sys.modules[name]


def test_builtin_plugins_come_through_the_entry_points() -> None:
    registry = Registry.discover()
    assert [plugin.error for plugin in registry.plugins] == [None] * len(registry.plugins)
    assert {"popular", "trending", "mf", "content"} <= set(registry.names(Stage.RETRIEVER))
    assert registry.names(Stage.ENCODER) == ["bert"]
    assert "movielens-small" in registry.names(Stage.DATASET)
    distributions = {plugin.name: plugin.distribution for plugin in registry.plugins}
    assert distributions.pop("builtins") == "recserve"
    assert distributions == {name: f"recserve-{name.replace('_', '-')}" for name in distributions}


def test_third_party_plugin_is_found_with_its_distribution(site: Path) -> None:
    install(site, "good", GOOD.format(component="fresh"))
    component, plugin = Registry.discover().get(Stage.RETRIEVER, "fresh", "here")
    assert (component.summary, plugin.distribution, plugin.version) == ("test", "good", "1.5")


def test_collision_names_both_distributions(site: Path) -> None:
    install(site, "rival", GOOD.format(component="popular"))
    with pytest.raises(PluginError) as caught:
        Registry.discover()
    assert "retriever 'popular'" in caught.value.message
    assert "recserve" in caught.value.message
    assert "rival" in caught.value.message


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_module\n", "no_such_module"),
        ("1/0\n", "ZeroDivisionError"),
        (
            "from recserve import hookimpl\n@hookimpl\ndef register_rankers():\n    return ['x']\n",
            "not a recserve.Component",
        ),
        (
            "from recserve import hookimpl\n@hookimpl\ndef register_rankets():\n    return []\n",
            "register_rankets",
        ),
    ],
)
def test_broken_neighbour_is_harmless_but_explained_when_wanted(site: Path, source: str, cause: str) -> None:
    install(site, "broken", source)
    registry = Registry.discover()
    assert "mf" in registry.names(Stage.RETRIEVER)
    with pytest.raises(ConfigError) as caught:
        registry.get(Stage.RETRIEVER, "wanted", "scenarios.home.retrievers[0].use")
    message = caught.value.message
    assert "plugin 'broken' of broken 1.5 failed to load" in message
    assert cause in message
    assert "\n" not in message


def test_only_named_plugins_are_imported() -> None:
    code = (
        "import sys\n"
        "from recserve.plugin.registry import Registry\n"
        "Registry.discover(only={'popular'})\n"
        "print([m for m in sys.modules if m.startswith('recserve_') or m in ('torch', 'numba')])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['recserve_popular.parameters', 'recserve_popular']"


@pytest.mark.parametrize("asked", ["recserve>=7", "recserve (<0.1)", 'recserve==99; python_version > "3"'])
def test_a_plugin_for_another_version_of_the_contract_is_refused_by_name(site: Path, asked: str) -> None:
    install(site, "later", "raise AssertionError('its code must not run')")
    with (site / "later-1.5.dist-info" / "METADATA").open("a") as file:
        file.write(f"Requires-Dist: {asked}\n")
    (plugin,) = Registry.discover(only={"later"}).plugins
    assert plugin.error is not None
    assert "made for recserve" in plugin.error
    with pytest.raises(
        ConfigError, match=r"plugin 'later' of later 1\.5 failed to load: .*made for recserve"
    ):
        Registry.discover(only={"later"}).get(Stage.RETRIEVER, "fresh", "here")


@pytest.mark.parametrize("asked", ["recserve", "recserve>=0.1,<99", "numpy>=99", 'recserve>=7; extra == "x"'])
def test_a_plugin_for_this_version_of_the_contract_loads(site: Path, asked: str) -> None:
    install(site, "fits", GOOD.format(component="fresh"))
    with (site / "fits-1.5.dist-info" / "METADATA").open("a") as file:
        file.write(f"Requires-Dist: {asked}\n")
    (plugin,) = Registry.discover(only={"fits"}).plugins
    assert plugin.error is None


def test_missing_plugin_is_one_line() -> None:
    with pytest.raises(PluginError, match=r"plugin 'populr' is not installed here; did you mean 'popular'\?"):
        Registry.discover(only={"populr"})


def test_a_stage_without_plugins_says_how_to_get_one_or_do_without() -> None:
    registry = Registry.discover(only={"popular"})
    with pytest.raises(ConfigError, match=r"unknown ranker 'blend'; none is installed \(pip install"):
        registry.get(Stage.RANKER, "blend", "scenarios.home.ranker.use")
    with pytest.raises(ConfigError, match=r"unknown encoder 'bert'; none .*; `encoder: null` does without"):
        registry.get(Stage.ENCODER, "bert", "encoder.use")


def test_two_plugins_of_one_object_may_not_share_a_name_in_a_stage() -> None:
    class Plugin:
        @hookimpl
        def register_filters(self) -> list[Component]:
            return [Component("same", lambda params, catalogue: None)]

    import pluggy

    info = PluginInfo("a", "a", "1", {Stage.FILTER: tuple(Plugin().register_filters())})
    other = PluginInfo("b", "b", "1", {Stage.FILTER: tuple(Plugin().register_filters())})
    with pytest.raises(PluginError, match="two plugins register the filter 'same'"):
        Registry([info, other], pluggy.PluginManager("recserve"))


def test_factory_failure_names_the_component() -> None:
    def explode(params: object, catalogue: Catalogue) -> None:
        raise ValueError("no GPU here")

    import pluggy

    info = PluginInfo("boom", "boom", "1", {Stage.RANKER: (Component("boom", explode),)})
    registry = Registry([info], pluggy.PluginManager("recserve"))
    chosen = registry.choose(Stage.RANKER, ComponentConfig(use="boom"), "scenarios.home.ranker")
    with pytest.raises(PluginError, match=r"scenarios.home.ranker: ranker.boom .* no GPU here"):
        chosen.build(Catalogue())


@pytest.mark.parametrize("role", list(ReplicaRole))
def test_replicas_of_every_role_do_without_the_same_parts(role: ReplicaRole) -> None:
    home = {
        "retrievers": [{"use": "content"}, {"use": "popular"}],
        "ranker": {"use": "bert_lstm"},
        "rerankers": [{"use": "cross_encoder"}, {"use": "mmr"}],
    }
    resolved = Registry.discover().resolve(parse_config({"scenarios": {"home": home}}), role)
    whole = resolved.without({"retriever.content"}).scenarios["home"]
    assert whole.config.ranker is not None
    assert [one.use for one in whole.config.retrievers] == ["popular"]
    assert [part.name for part in whole.retrievers] == (["popular"] if role.serves(Stage.RETRIEVER) else [])
    quick = resolved.without({"ranker.bert_lstm", "reranker.cross_encoder"}).scenarios["home"]
    assert (quick.config.ranker, quick.ranker) == (None, None)
    assert [one.use for one in quick.config.rerankers] == ["mmr"]
    assert [part.name for part in quick.rerankers] == (["mmr"] if role.serves(Stage.RERANKER) else [])
