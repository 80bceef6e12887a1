"""The retriever ``user_knn`` against brute force, and what keeps single people out of bundles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from recserve_neighbours import users
from recserve_neighbours.groups import coordinates, partition, pooled
from recserve_neighbours.parameters import UserKnnParams
from recserve_neighbours.users import UserKnnRetriever
from recserve_neighbours.weighting import Weighting
from scipy.sparse import csr_array
from typer.testing import CliRunner

from recserve import (
    BundleError,
    ConfigError,
    Dataset,
    FitContext,
    Histories,
    Queries,
    Ragged,
)
from recserve.bundles.repository import BundleRepository
from recserve.bundles.verify_deletion import verify_deletion
from recserve.cli import app
from recserve.store import open_store
from recserve.testing import (
    ProcessExecutor,
    check_executor,
    check_retriever,
    example_dataset,
    example_queries,
)
from recserve.testing import dataset_of as dataset
from recserve.testing import queries_after as asked

PLAIN = UserKnnParams(shrink=0.0)


def fitted(data: Dataset, params: UserKnnParams = PLAIN) -> UserKnnRetriever:
    retriever = UserKnnRetriever(params, data.catalogue)
    retriever.fit(data, FitContext())
    return retriever


# User 0 likes 0, 1, 2; user 1 likes 0, 3; user 2 likes 4.
SMALL = dataset([(0, 0, 1), (0, 1, 1), (0, 2, 1), (1, 0, 1), (1, 3, 1), (2, 4, 1), (2, 0, -1)], 5)


def test_what_similar_people_like_by_how_similar_they_are() -> None:
    found = fitted(SMALL).retrieve(asked([0, 1], [4], []), 5)
    near, far = 2 / np.sqrt(2 * 3), 1 / np.sqrt(2 * 2)
    assert found.items.tolist() == [[2, 3, -1, -1, -1], [-1] * 5, [-1] * 5]
    np.testing.assert_allclose(found.scores[0, :2], [near, far], rtol=1e-6)
    assert found.evidence[0].tolist() == [0, 0, -1, -1, -1]


def test_the_item_behind_a_result_is_the_one_that_nearer_people_share() -> None:
    """Item 9 comes from user 0, who shares item 0 among much else, and from user 1, who shares item 1."""
    rows = [(0, item, 1.0) for item in (0, 2, 3, 4, 5, 9)] + [(1, 1, 1.0), (1, 9, 1.0)]
    found = fitted(dataset(rows, 10)).retrieve(asked([0, 1]), 1)
    assert (found.items.tolist(), found.evidence.tolist()) == ([[9]], [[1]])


def test_the_item_behind_a_result_is_the_one_that_was_liked_more() -> None:
    data = dataset([(0, 0, 1.0), (0, 1, 1.0), (0, 2, 1.0)], 3)
    for weights in ([1.0, 3.0], [3.0, 1.0]):
        strengths = np.array(weights, dtype=np.float32)
        events = np.array([0, 1], dtype=np.int32)
        histories = Histories(np.array([0, 2]), events, events.astype(np.int16), strengths, np.arange(2))
        queries = Queries.of(histories, np.zeros(1, dtype=np.int64), excluded=Ragged.of([[0, 1]]))
        found = fitted(data).retrieve(queries, 3)
        assert found.evidence[0, 0] == int(np.argmax(weights))


def test_as_many_groups_are_asked_as_hold_the_neighbours() -> None:
    rows = [(user, item, 1.0) for user in range(20) for item in (0, 1 + user // 10)]
    for neighbours, expected in ((10, [-1]), (11, [2])):
        params = UserKnnParams(shrink=0.0, group_size=10, neighbours=neighbours)
        assert fitted(dataset(rows, 3), params).retrieve(asked([0, 1]), 1).items[0].tolist() == expected


def test_only_the_nearest_are_asked_and_nearness_can_be_amplified() -> None:
    alone = fitted(SMALL, UserKnnParams(shrink=0.0, neighbours=1)).retrieve(asked([0, 1]), 5)
    assert alone.items[0].tolist() == [2, -1, -1, -1, -1]
    squared = fitted(SMALL, UserKnnParams(shrink=0.0, similarity_power=2.0)).retrieve(asked([0, 1]), 5)
    np.testing.assert_allclose(squared.scores[0, :2], [4 / 6, 1 / 4], rtol=1e-6)


def test_similar_items_are_those_of_people_who_like_the_given_one() -> None:
    found = fitted(SMALL).retrieve(asked([], [4], anchors=[3, 3]), 5)
    assert found.items[0, :2].tolist() == [0, -1]
    assert found.items[1, :2].tolist() == [0, -1]
    assert found.evidence[:, 0].tolist() == [3, 3]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_agrees_with_brute_force(data: st.DataObject) -> None:
    n_items, n_users = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 7))
    weight = st.floats(0.1, 3.0) | st.just(-1.0)
    event = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1), weight)
    events = dataset(data.draw(st.lists(event, min_size=1, max_size=40)), n_items)
    shrink, width = data.draw(st.sampled_from([0.0, 3.0])), data.draw(st.integers(1, n_users))
    power = data.draw(st.sampled_from([1.0, 2.0]))
    kind = data.draw(st.sampled_from(["none", "tfidf", "bm25"]))
    history = data.draw(st.lists(st.integers(0, n_items - 1), min_size=1, max_size=5, unique=True))

    matrix = events.matrix().toarray().astype(np.float64)
    matrix = matrix[matrix.any(axis=1)]
    assume(len(matrix))
    taste = np.zeros(n_items)
    taste[history] = 1.0
    sparse = csr_array(matrix.astype(np.float32))
    weighting = Weighting(kind, sparse)
    weighted = weighting(sparse).toarray()
    taste = weighting(csr_array(taste[None].astype(np.float32))).toarray()[0]
    lengths = np.linalg.norm(weighted, axis=1) * np.linalg.norm(taste) + shrink
    assume((lengths > 1e-3).all())
    # Of each person's similarity, by item of the history.
    parts = weighted[:, history] * taste[history] / lengths[:, None]
    nearness = parts.sum(axis=1)
    falling = -np.sort(-nearness)
    if width < len(falling):
        assume(falling[width - 1] - falling[width] > 1e-4 or falling[width - 1] == 0)
    say = np.where(nearness >= falling[min(width, len(falling)) - 1] - 1e-9, nearness, 0.0)
    expected = say**power @ matrix
    by_item = (parts * (np.where(say > 0, say, 0.0) ** (power - 1) * (say > 0))[:, None]).T @ matrix
    expected[history] = 0.0

    params = UserKnnParams(shrink=shrink, neighbours=width, similarity_power=power, weighting=kind)
    found = fitted(events, params).retrieve(asked(history), n_items)
    real = found.items[0] >= 0
    returned, seeds = found.items[0][real], found.evidence[0][real]
    assert set(returned.tolist()) == set(np.flatnonzero(expected > 0).tolist())
    np.testing.assert_allclose(found.scores[0][real], expected[returned], rtol=1e-4)
    places = [history.index(seed) for seed in seeds.tolist()]
    np.testing.assert_allclose(by_item[places, returned], by_item[:, returned].max(axis=0), rtol=1e-4)


@pytest.mark.parametrize("group_size", [None, 10])
def test_parts_of_a_batch_change_nothing(monkeypatch: pytest.MonkeyPatch, group_size: int | None) -> None:
    data = example_dataset()
    queries = example_queries(data)
    retriever = fitted(data, UserKnnParams(group_size=group_size))
    expected = retriever.retrieve(queries, 10)
    monkeypatch.setattr(users, "NUMBERS_AT_A_TIME", 200)
    found = retriever.retrieve(queries, 10)
    for name in ("items", "scores", "evidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("group_size", [None, 10])
def test_finds_the_other_items_of_a_topic(group_size: int | None) -> None:
    data = example_dataset()
    params = UserKnnParams(group_size=group_size, neighbours=10)
    found = fitted(data, params).retrieve(asked([0, 4, 8], [1, 5]), 10)
    for row, topic in enumerate((0, 1)):
        real = found.items[row][found.items[row] >= 0]
        assert len(real) >= 7
        assert (real % 4 == topic).mean() >= 0.8


# Groups.


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 90), st.integers(0, 3))
def test_every_group_is_large_enough_and_none_could_be_two(size: int, more: int, seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 3, (size + more, 3)).astype(np.float64)
    counts = np.bincount(partition(points, size))
    assert counts.min() >= size
    assert counts.max() < 2 * size
    assert counts.max() - counts.min() <= size


@pytest.mark.parametrize(("size", "n_people"), [(10, 10), (10, 3_000), (3, 500), (1, 64)])
def test_processes_form_the_same_groups(size: int, n_people: int, processes: ProcessExecutor) -> None:
    points = np.random.default_rng(size).standard_normal((n_people, 6))
    before = processes.parts
    np.testing.assert_array_equal(partition(points, size, processes), partition(points, size))
    assert processes.parts - before >= (2 if n_people > 10 else 1)


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2) as executor:
        yield executor


def test_keeps_the_contract_of_an_executor() -> None:
    check_executor("user_knn", group_size=10)


def test_people_of_one_taste_are_in_one_group() -> None:
    generator = np.random.default_rng(0)
    taste = generator.permutation(np.repeat(np.arange(4), 10))
    rows = [
        (user, 20 * own + item) for user, own in enumerate(taste) for item in generator.permutation(20)[:12]
    ]
    people, liked = np.array(rows).T
    matrix = csr_array((np.ones(len(rows), np.float32), (people, liked)), shape=(40, 80))
    groups = partition(coordinates(matrix, 0), 10)
    for group in range(4):
        assert len(set(taste[groups == group].tolist())) == 1


def test_what_fewer_than_enough_people_of_a_group_like_is_left_out() -> None:
    rows = [(user, 0, 2.0) for user in range(10)] + [(user, 1, 1.0) for user in range(3)]
    rows += [(user, 2, 9.0) for user in range(2)] + [(11, 3, -1.0)]
    matrix = dataset(rows, 4).matrix()
    likes = pooled(matrix, 10, 3, 0)
    assert likes.shape == (1, 4)
    np.testing.assert_allclose(likes.toarray(), [[2.0, 0.3, 0.0, 0.0]], rtol=1e-6)
    assert pooled(matrix, 11, 3, 0).shape == (0, 4)


def test_no_persons_likes_are_in_the_groups() -> None:
    """Every number rests on enough people: taking one person away never takes the last one away."""
    data = example_dataset()
    matrix = data.matrix()
    likes = pooled(matrix, 10, 3, 0)
    assert likes.shape[0] == data.n_users // 10
    owners = np.repeat(np.arange(likes.shape[0]), np.diff(likes.indptr))
    supporters = np.zeros(likes.nnz)
    groups = partition(coordinates(csr_array(matrix), 0), 10)
    dense = matrix.toarray()
    for place, (group, item) in enumerate(zip(owners, likes.indices, strict=True)):
        members = dense[groups == group]
        supporters[place] = (members[:, item] > 0).sum()
        np.testing.assert_allclose(likes.data[place], members[:, item].mean(), rtol=1e-5)
    assert supporters.min() >= 3


# Bundles.


def test_single_people_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="group_size") as caught:
        fitted(SMALL).save(tmp_path)
    assert "\n" not in caught.value.message
    assert not list(tmp_path.iterdir())


def command(*arguments: str | Path) -> None:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def write_events(path: Path, n_users: int, n_items: int) -> Path:
    """Users of four tastes; item 0 is disliked by one and liked by nobody."""
    generator = np.random.default_rng(0)
    lines = ["user_id,item_id,event,timestamp", "user-0,item-0,dislike,1"]
    for user in range(n_users):
        own = 1 + (user % 4) + 4 * generator.permutation((n_items - 1) // 4)[:7]
        lines += [f"user-{user},item-{item},view,{100 * user + place}" for place, item in enumerate(own)]
    path.write_text("\n".join(lines) + "\n")
    return path


def home_with(tmp_path: Path, retrievers: list[dict[str, object]]) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    config = {"encoder": None, "scenarios": {"home": {"retrievers": retrievers}}}
    (home / "recserve.yaml").write_text(yaml.safe_dump(config))
    items = tmp_path / "items.csv"
    items.write_text("\n".join(["item_id", *(f"item-{row}" for row in range(41))]) + "\n")
    events = write_events(tmp_path / "events.csv", 40, 41)
    command("import", "--events", events, "--items", items, "--home", home)
    return home


def test_training_refuses_single_people_before_it_starts(tmp_path: Path) -> None:
    home = home_with(tmp_path, [{"use": "popular"}, {"use": "user_knn"}])
    with pytest.raises(ConfigError, match=r"scenarios\.home\.retrievers\[1\].*group_size") as caught:
        command("train", "--home", home)
    assert "\n" not in caught.value.message
    assert not list(home.glob("bundles/*"))


def test_a_bundle_with_all_of_them_stands_the_check_of_a_deletion(tmp_path: Path) -> None:
    """There are 40 users, and 40 items that take part in EASE."""
    retrievers: list[dict[str, object]] = [
        {"use": "user_knn", "params": {"group_size": 10}},
        {"use": "item_knn"},
        {"use": "ease"},
    ]
    home = home_with(tmp_path, retrievers)
    command("train", "--home", home)
    repository = BundleRepository(home)
    bundle = repository.open(repository.ids()[0])
    assert bundle.manifest.data.users == 40
    assert bundle.manifest.components["retriever.ease"].facts["items"] == 40
    assert bundle.manifest.components["retriever.user_knn"].facts["groups"] == 4
    with open_store(None, home) as store:
        receipt = store.delete_user("user-7")
        verification = verify_deletion(store, repository, receipt.receipt_id)
    assert verification.clean, json.dumps([str(one) for one in verification.bundles])
    command("recommend", "user-3", "--home", home)


def test_saved_groups_come_back(tmp_path: Path) -> None:
    data = example_dataset()
    params = UserKnnParams(group_size=10, weighting="tfidf")
    retriever = fitted(data, params)
    retriever.save(tmp_path)
    again = UserKnnRetriever(params, data.catalogue)
    again.load(tmp_path)
    queries = example_queries(data)
    for name in ("items", "scores", "evidence"):
        one, other = retriever.retrieve(queries, 10), again.retrieve(queries, 10)
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", ["group_items.npy", "group_likes.npy"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "pickle", "narrower", "kind", "values"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    retriever = fitted(example_dataset(), UserKnnParams(group_size=20))
    retriever.save(tmp_path)
    path = tmp_path / name
    array = np.load(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif damage == "narrower":
        np.save(path, array[:, :-1])
    elif damage == "kind":
        np.save(path, array.astype(np.float64))
    else:
        array[0, 0] = 60 if name == "group_items.npy" else -1
        np.save(path, array)
    with pytest.raises(BundleError, match=r"group_items\.npy|group_likes\.npy") as caught:
        retriever.load(tmp_path)
    assert "\n" not in caught.value.message
    assert damage == "narrower" or name in caught.value.message


@pytest.mark.parametrize("n_items", [0, 1, 3])
@pytest.mark.parametrize("group_size", [None, 10])
def test_nothing_to_learn_from_answers_nothing(tmp_path: Path, n_items: int, group_size: int | None) -> None:
    retriever = fitted(dataset([], n_items), UserKnnParams(group_size=group_size))
    assert (retriever.retrieve(asked([0, 1], []), 4).items == -1).all()
    if group_size is not None:
        retriever.save(tmp_path)
        retriever.load(tmp_path)
        assert (retriever.retrieve(asked([0, 1], []), 4).items == -1).all()


@pytest.mark.parametrize("weighting", ["none", "tfidf", "bm25"])
@pytest.mark.parametrize("group_size", [None, 10])
def test_keeps_the_contract_of_a_retriever(weighting: str, group_size: int | None) -> None:
    check_retriever("user_knn", weighting=weighting, group_size=group_size, shared_by=2)
