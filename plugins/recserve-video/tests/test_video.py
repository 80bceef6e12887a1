"""The plugin as a whole: what it registers, its sample, its configurations, its words."""

from __future__ import annotations

import numpy as np
import pytest
from recserve_video import CONFIG, MICROLENS_CONFIG
from recserve_video.sample import VIEWERS, make_videos, make_watches

from recserve import Catalogue, Item, Reason
from recserve.config import ComponentConfig, load_config
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.testing import check_explainer


def test_what_is_registered() -> None:
    registry = Registry.discover(only=["video"])
    assert [plugin.error for plugin in registry.plugins] == [None]
    assert registry.names(Stage.DATASET) == ["kuairec", "microlens", "video", "video-sample"]
    assert registry.names(Stage.EXPLAINER) == ["video"]


def test_the_sample_is_the_same_each_time_and_videos_are_watched_soon() -> None:
    videos = make_videos()
    watches = make_watches(videos)
    assert (videos, watches) == (make_videos(), make_watches(videos))
    assert len({video.title for video in videos}) == len(videos) == 300
    assert len({watch.user_id for watch in watches}) == VIEWERS
    uploaded = {video.video_id: video.uploaded_at for video in videos}
    days = np.array([watch.timestamp - uploaded[watch.video_id] for watch in watches]) / 86_400
    assert days.min() >= 0
    assert np.median(days) < 3


@pytest.mark.parametrize("file", [CONFIG, MICROLENS_CONFIG])
def test_configurations_resolve_and_know_what_an_event_counts(file: object) -> None:
    config = load_config(file)  # type: ignore[arg-type]
    assert list(Registry.discover().resolve(config).scenarios) == ["home", "similar", "search"]
    weights = config.event_types["watch"].confidence(np.array([0.0, 1.0, 2.0, np.nan]))
    np.testing.assert_allclose(weights, [0.1, 1.0, 1.9, 1.0], atol=1e-6)
    assert config.event_types["skip"].weight < 0


def test_the_sample_and_its_configuration_belong_together() -> None:
    source = (
        Registry.discover(only=["video"])
        .choose(Stage.DATASET, ComponentConfig(use="video-sample"), "test")
        .build(Catalogue())
    )
    tables = source.read()
    assert set(tables.events["event"].to_pylist()) == {"watch", "like", "skip"}
    assert set(tables.events["item_id"].to_pylist()) <= set(tables.items["item_id"].to_pylist())
    assert source.demo.user_id in tables.events["user_id"].to_pylist()


def test_words() -> None:
    seen = Item("2", {"title": "Paper boats"})
    explainer = (
        Registry.discover(only=["video"])
        .choose(Stage.EXPLAINER, ComponentConfig(use="video"), "test")
        .build(Catalogue())
    )

    def said(language: str, source: str, event: str | None = None) -> str:
        reason = Reason(
            Item("1"), (source,), seen if event else None, evidence_event=event, language=language
        )
        (sentence,) = explainer.explain([reason])
        return str(sentence)

    assert said("en", "item_knn", "watch") == "Because you watched Paper boats"
    assert said("en", "content", "like") == "Similar to Paper boats, which you liked"
    assert said("en", "trending") == "More and more people watch it"
    assert said("zh", "content", "watch") == "与您看过的“Paper boats”相似"
    assert len(check_explainer("video")) == 6
