"""The plugin as a whole: what it registers, its sample, its configuration, its words."""

from __future__ import annotations

from recserve_social import CONFIG
from recserve_social.sample import READERS, WRITERS, make_network

from recserve import Catalogue, Item, Reason
from recserve.config import ComponentConfig, load_config
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.testing import check_explainer


def test_what_is_registered() -> None:
    registry = Registry.discover(only=["social"])
    assert [plugin.error for plugin in registry.plugins] == [None]
    assert registry.names(Stage.DATASET) == ["social", "social-sample"]
    assert registry.names(Stage.RETRIEVER) == ["following", "friends_of_friends"]
    assert registry.names(Stage.EXPLAINER) == ["social"]


def test_the_sample_is_the_same_each_time_and_people_react_to_whom_they_follow() -> None:
    network = make_network()
    assert network == make_network()
    assert (len(network.names), len(set(network.names.values()))) == (WRITERS, WRITERS)
    assert len({post.text for post in network.posts}) == len(network.posts) == 300
    assert len({follower for follower, *_ in network.follows}) == READERS
    author = {post.post_id: post.author_id for post in network.posts}
    posted = {post.post_id: post.posted_at for post in network.posts}
    pairs = {(follower, followed) for follower, followed, _, _ in network.follows}
    assert all(moment >= posted[post] for _, post, _, moment in network.reactions)
    close = sum((reader, author[post]) in pairs for reader, post, _, _ in network.reactions)
    assert close > len(network.reactions) / 2


def test_the_sample_and_its_configuration_belong_together() -> None:
    registry = Registry.discover()
    source = registry.choose(Stage.DATASET, ComponentConfig(use="social-sample"), "test").build(Catalogue())
    config = load_config(CONFIG)
    tables = source.read()
    assert set(tables.events["event"].to_pylist()) <= config.event_types.keys()
    assert set(tables.events["item_id"].to_pylist()) <= set(tables.items["item_id"].to_pylist())
    assert source.demo.user_id in tables.events["user_id"].to_pylist()
    assert list(registry.resolve(config).scenarios) == ["home", "people", "similar", "search"]


def test_words() -> None:
    author = Item("@u2", {"title": "Mira Okafor"})
    explainer = (
        Registry.discover(only=["social"])
        .choose(Stage.EXPLAINER, ComponentConfig(use="social"), "test")
        .build(Catalogue())
    )

    def said(language: str, source: str, event: str | None = None) -> str:
        reason = Reason(Item("1"), (source,), author, evidence_event=event, language=language)
        (sentence,) = explainer.explain([reason])
        return str(sentence)

    assert said("en", "following", "follow") == "Because you follow Mira Okafor"
    assert said("en", "friends_of_friends") == "Followers of Mira Okafor follow this author, too"
    assert said("en", "item_knn", "follow") == "Because you follow Mira Okafor"
    assert said("zh", "following", "follow") == "您关注了“Mira Okafor”"
    assert said("zh", "friends_of_friends", "follow") == "关注“Mira Okafor”的人也关注这位作者"
    assert len(check_explainer("social")) == 6
