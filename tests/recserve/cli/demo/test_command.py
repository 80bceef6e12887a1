"""Which domains ``recserve demo`` can show; what it does then needs a server, see tests/deployments."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy
import pytest

from recserve import Catalogue, Component, ConfigError, Demo, FolderParams, NoParams
from recserve.cli.demo.command import demonstrated
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import PluginInfo, Registry


class Shown:
    """A data source that can be shown."""

    demo = Demo("u1", "play", 0.5, shown=("artist",))


def registry(**components: Sequence[Component]) -> Registry:
    plugins = [PluginInfo(name, name, "1", {Stage.DATASET: tuple(own)}) for name, own in components.items()]
    return Registry(plugins, pluggy.PluginManager("test"))


def data_set(name: str, source: object, params: type = NoParams) -> Component:
    return Component(name, lambda params, catalogue: source, params)


def test_a_domain_is_shown_by_its_first_data_set_that_can_be() -> None:
    known = registry(
        radio=[
            data_set("radio-files", Shown(), FolderParams),
            data_set("radio-plain", object()),
            data_set("radio-sample", Shown()),
            data_set("radio-other", Shown()),
        ],
        press=[data_set("press-files", Shown(), FolderParams)],
    )
    assert demonstrated(known, "radio") == ("radio-sample", Shown.demo)
    for wrong in ("press", "radoi"):
        with pytest.raises(ConfigError, match=rf"--domain '{wrong}': .*\(known: radio\)"):
            demonstrated(known, wrong)


def test_the_domains_that_come_with_recserve() -> None:
    installed = Registry.discover()
    shown = {
        name: demonstrated(installed, name)[0] for name in ("movielens", "shop", "music", "social", "video")
    }
    assert shown == {
        "movielens": "movielens-small",
        "shop": "shop-zh",
        "music": "music-sample",
        "social": "social-sample",
        "video": "video-sample",
    }
    for name in shown.values():
        component, _ = installed.get(Stage.DATASET, name, "test")
        source = component.factory(component.params(), Catalogue())
        assert source.demo.event in ("rating", "like", "play")
