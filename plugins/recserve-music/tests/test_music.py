"""The plugin as a whole: what it registers, its sample, its configuration, its words."""

from __future__ import annotations

import json
from collections import Counter

from recserve_music import CONFIG
from recserve_music.sample import LISTENERS, make_plays, make_tracks

from recserve import Catalogue, Item, Reason
from recserve.config import ComponentConfig, load_config
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.testing import check_explainer


def test_what_is_registered() -> None:
    registry = Registry.discover(only=["music"])
    assert [plugin.error for plugin in registry.plugins] == [None]
    assert registry.names(Stage.DATASET) == ["hetrec-lastfm", "music", "music-sample"]
    assert registry.names(Stage.RETRIEVER) == ["repeat"]
    assert registry.names(Stage.EXPLAINER) == ["music"]


def test_the_sample_is_the_same_each_time_and_has_habits() -> None:
    tracks = make_tracks()
    plays = make_plays(tracks)
    assert (tracks, plays) == (make_tracks(), make_plays(tracks))
    assert len({(track.title, track.artist) for track in tracks}) == len(tracks) == 300
    assert len({play.user_id for play in plays}) == LISTENERS
    counts = Counter((play.user_id, play.track_id) for play in plays)
    assert sum(count for count in counts.values() if count > 2) > len(plays) / 3


def test_the_sample_and_its_configuration_belong_together() -> None:
    registry = Registry.discover()
    chosen = registry.choose(Stage.DATASET, ComponentConfig(use="music-sample"), "test")
    source = chosen.build(Catalogue())
    config = load_config(CONFIG)
    assert json.loads(json.dumps(source.suggested_config()))["scenarios"].keys() == config.scenarios.keys()
    tables = source.read()
    assert set(tables.events["event"].to_pylist()) == {"play", "skip"} <= config.event_types.keys()
    assert set(tables.events["item_id"].to_pylist()) <= set(tables.items["item_id"].to_pylist())
    assert source.demo.user_id in tables.events["user_id"].to_pylist()
    assert registry.resolve(config).scenarios["home"].config.seen == "allow"


def test_words() -> None:
    heard = Item("2", {"title": "Leaving Towers"})
    registry = Registry.discover(only=["music"])
    explainer = registry.choose(Stage.EXPLAINER, ComponentConfig(use="music"), "test").build(Catalogue())

    def said(language: str, *sources: str, event: str | None = None) -> str:
        evidence = heard if event else None
        reason = Reason(Item("1"), sources, evidence, evidence_event=event, language=language)
        (sentence,) = explainer.explain([reason])
        return str(sentence)

    assert said("en", "item_knn", event="play") == "Because you played Leaving Towers"
    assert said("en", "content", event="play") == "Sounds like Leaving Towers, which you played"
    assert said("en", "repeat", "item_knn", event="play") == "You keep coming back to this"
    assert said("zh", "repeat") == "您常听，该再听一遍了"
    assert said("zh", "mf", event="play") == "因为您听过《Leaving Towers》"
    assert len(check_explainer("music")) == 6
