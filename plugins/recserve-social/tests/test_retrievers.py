"""Posts by follows: what a network of a few people must give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from recserve_social.following import FollowingRetriever
from recserve_social.friends import FriendsRetriever
from recserve_social.parameters import FollowingParams, FriendsParams

from recserve import Catalogue, Event, EventType, FitContext, Histories, Item, Queries
from recserve.data.dataset import Dataset
from recserve.testing import check_retriever, dataset_from

DAY = 86_400_000
TYPES = {"follow": EventType(weight=3.0), "unfollow": EventType(weight=-3.0), "like": EventType(weight=2.0)}
WRITERS = "abcdef"

# Two posts of each author, the second one three days newer; and one that nobody is known to have written.
ITEMS = [
    *(Item(f"@{name}", {"kind": "author", "title": name}) for name in WRITERS),
    *(
        Item(
            f"{name}{day}",
            {
                "kind": "post",
                "author_id": name,
                "posted_at": f"1970-01-0{day + 1}T00:00:00Z" if name == "a" else day * DAY,
            },
        )
        for name in WRITERS
        for day in (1, 4)
    ),
    Item("lost", {"kind": "post", "author_id": "nobody", "posted_at": 9 * DAY}),
]
# Two communities, a b c and d e f, with one person who follows both.
FOLLOWS = {1: "abc", 2: "abc", 3: "abc", 4: "def", 5: "def", 6: "def", 7: "cd", 8: "ab", 9: "bc", 10: "bc"}


def network(follows: dict[int, str] = FOLLOWS) -> Dataset:
    events = [
        Event(f"u{user:02}", f"@{name}", "follow", DAY + user)
        for user, names in follows.items()
        for name in names
    ]
    return dataset_from(ITEMS, events, TYPES)


DATA = network()
ROW = {item: row for row, item in enumerate(DATA.catalogue.ids)}


def queries(*events: tuple[str, str], row: Mapping[str, int] = ROW) -> Queries:
    """One query five days in, after events: type and item. What was done is not to come again."""
    names = list(TYPES)
    rows = np.array([row[item] for _, item in events], np.int32)
    histories = Histories(
        np.array([0, len(events)]),
        rows,
        np.array([names.index(event) for event, _ in events], np.int16),
        np.array([TYPES[event].weight for event, _ in events], np.float32),
        np.arange(len(events), dtype=np.int64),
    )
    return Queries.of(histories, np.array([5 * DAY]))


def ids(rows: np.ndarray) -> list[str]:
    return [DATA.catalogue.ids.ids[row] for row in rows if row >= 0]


def following(asked: Queries, **params: float) -> list[str]:
    retriever = FollowingRetriever(FollowingParams(**params), DATA.catalogue)
    return ids(retriever.retrieve(asked, 20).items[0])


def friends(data: Dataset = DATA, **params: float) -> FriendsRetriever:
    retriever = FriendsRetriever(FriendsParams(**params), data.catalogue)
    retriever.fit(data, FitContext())
    return retriever


def test_posts_of_followed_authors_come_newest_first() -> None:
    asked = queries(("follow", "@a"), ("follow", "@b"), ("like", "d1"))
    assert following(asked) == ["a4", "b4", "a1", "b1"]
    found = FollowingRetriever(FollowingParams(), DATA.catalogue).retrieve(asked, 4)
    assert ids(found.evidence[0]) == ["@a", "@b", "@a", "@b"]
    assert found.scores[0, 0] - found.scores[0, 2] == pytest.approx(np.log(2), abs=1e-5), (
        "one half-life apart"
    )


def test_an_unfollow_takes_the_follow_back() -> None:
    events = [("follow", "@a"), ("unfollow", "@a"), ("follow", "@b")]
    assert following(queries(*events)) == ["b4", "b1"]
    assert following(queries(*events, ("follow", "@a"))) == ["a4", "b4", "a1", "b1"]
    assert following(queries()) == []


def test_neighbours_share_followers_and_steps_reach_the_community() -> None:
    asked = queries(("follow", "@a"))
    near = friends(hops=1, shared_by=3)
    found = near.retrieve(asked, 20)
    # b and c are followed together with a, b more often; d, e and f by nobody who follows a.
    assert [name for name in ids(found.items[0]) if name in ("@b", "@c", "@d")] == ["@b", "@c"]
    assert [name for name in ids(found.items[0]) if name[0] != "@"] == ["b4", "c4", "b1", "c1"]
    assert set(ids(found.evidence[0])) == {"@a"}
    assert ids(friends(hops=1, shared_by=5).retrieve(asked, 20).items[0]) == []
    # The one who follows c and d makes a way from a to the others, if one person is enough.
    far = ids(friends(hops=3, shared_by=1).retrieve(asked, 20).items[0])
    assert [name for name in far if name[0] == "@"][:2] == ["@b", "@c"]
    assert {"@d", "@e", "@f"} < set(far)
    assert "@a" not in far


def test_likes_stand_in_for_follows() -> None:
    retriever = friends(hops=1)
    assert ids(retriever.retrieve(queries(("like", "d1")), 2).items[0]) == ["@e", "@f"]
    both = queries(("follow", "@a"), ("like", "d1"), ("like", "e1"))
    assert set(ids(retriever.retrieve(both, 20).items[0])) > {"@b", "@f"}
    alone = ids(friends(hops=1, liked_share=0).retrieve(both, 20).items[0])
    assert {name for name in alone if name.startswith("@")} == {"@b", "@c"}
    assert ids(friends(liked_share=0).retrieve(queries(("like", "d1")), 20).items[0]) == []


def test_a_query_about_something_else_gets_nothing() -> None:
    asked = replace(queries(("follow", "@a")), anchors=np.array([ROW["b1"]], np.int32))
    assert following(asked) == []
    assert ids(friends().retrieve(asked, 20).items[0]) == []


def test_what_one_person_follows_is_not_kept() -> None:
    lonely = network({**FOLLOWS, 11: "af"})
    asked = queries(("follow", "@a"))
    for params in ({"hops": 1}, {"hops": 3}):
        expected = ids(friends(**params).retrieve(asked, 20).items[0])
        assert set(ids(friends(lonely, **params).retrieve(asked, 20).items[0])) == set(expected)


def test_a_catalogue_without_posts() -> None:
    bare = Catalogue(["x", "y"])
    asked = Queries.of(Histories.empty(1), np.array([0]))
    for retriever in (FollowingRetriever(FollowingParams(), bare), FriendsRetriever(FriendsParams(), bare)):
        assert retriever.retrieve(asked, 5).items.max(initial=-1) == -1


LATER = Catalogue.of(
    [
        *ITEMS,
        Item("@g", {"kind": "author", "title": "g"}),
        Item("a9", {"kind": "post", "author_id": "a", "posted_at": 5 * DAY}),
        Item("g9", {"kind": "post", "author_id": "g", "posted_at": 5 * DAY}),
        Item("e9", {"kind": "post", "author_id": "e", "posted_at": 5 * DAY}),
    ]
)


LATER_ROW = {item: row for row, item in enumerate(LATER.ids)}


def test_posts_and_authors_of_a_moment_ago_are_found() -> None:
    retriever, near = FollowingRetriever(FollowingParams(), DATA.catalogue), friends(hops=1)

    def written(
        by: FollowingRetriever | FriendsRetriever, *events: tuple[str, str], since: int = len(ITEMS)
    ) -> tuple[list[str], list[str]]:
        rows = np.arange(since, len(LATER), dtype=np.int32)
        found = by.retrieve_written(queries(*events, row=LATER_ROW), rows, LATER, 2)
        items, evidence = (
            [LATER.ids.ids[row] for row in rows if row >= 0] for rows in (found.items[0], found.evidence[0])
        )
        return items, evidence

    assert written(retriever, ("follow", "@a")) == (["a9"], ["@a"])
    assert written(retriever, ("follow", "@g"), ("follow", "@a")) == (["a9", "g9"], ["@a", "@g"])
    assert written(near, ("follow", "@d")) == (["e9"], ["@d"])
    # A like of a post that the bundle does not know leads to authors near its author.
    assert written(near, ("like", "e9"), since=0) == (["@f", "@d"], ["@e", "@e"])


def test_contract() -> None:
    # As many people as a query of every kind takes.
    data = network({user: WRITERS[user % 6 :] + WRITERS[: user % 3] for user in range(1, 25)})
    check_retriever("friends_of_friends", dataset=data)
    check_retriever("following", dataset=data)
