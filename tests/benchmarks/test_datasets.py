"""Data sets in the forms that they are published in, small and made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmarks import datasets
from recserve import Catalogue, Dataset
from recserve.config import Config
from recserve.evaluation import given, leave_one_out, temporal


def rows(table) -> list[tuple]:
    return list(zip(*(table[name].to_pylist() for name in ("user_id", "item_id", "value")), strict=True))


def attributes(table) -> dict[str, dict]:
    return {
        one: json.loads(text)
        for one, text in zip(table["item_id"].to_pylist(), table["attributes"].to_pylist(), strict=True)
    }


def usable(data: datasets.Data) -> Dataset:
    """The data set as evaluation sees it."""
    known = [] if data.items is None else data.items["item_id"].to_pylist()
    ids = sorted({*known, *data.events["item_id"].to_pylist()})
    return Dataset.from_tables(Catalogue(ids), data.events, Config().event_types)


@pytest.fixture
def microlens(tmp_path: Path) -> Path:
    folder = tmp_path / "microlens"
    folder.mkdir()
    (folder / "MicroLens-50k_pairs.tsv").write_text("1\t30 10 20\n2\t20 30\n")
    (folder / "MicroLens-50k_titles.csv").write_text('item,title\n10,"A, with a comma"\n20,B\n30,C\n')
    return folder


def test_microlens(microlens):
    data = datasets.read(microlens)
    assert data is not None
    assert rows(data.events) == [
        ("1", "30", None), ("1", "10", None), ("1", "20", None), ("2", "20", None), ("2", "30", None),
    ]  # fmt: skip
    assert attributes(data.items)["10"] == {"title": "A, with a comma"}
    assert data.splits == ("leave-one-out",)
    split = leave_one_out(usable(data))
    # The last of each user: 20 of 1, 30 of 2.
    assert sorted(split.relevant.values.tolist()) == [1, 2]


def test_lastfm(tmp_path):
    (tmp_path / "user_artists.dat").write_text("userID\tartistID\tweight\n2\t51\t13883\n3\t51\t2\n3\t60\t9\n")
    (tmp_path / "artists.dat").write_text('id\tname\turl\tpictureURL\n51\tA "quoted\tu\tp\n60\tB\tu\tp\n')
    data = datasets.read(tmp_path)
    assert data is not None
    assert rows(data.events) == [("2", "51", 13883.0), ("3", "51", 2.0), ("3", "60", 9.0)]
    assert set(data.events["event"].to_pylist()) == {"play"}
    assert attributes(data.items)["51"] == {"name": 'A "quoted'}
    assert data.splits == ("leave-one-out",)
    assert "at random" in data.note


def test_movielens_1m(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::7::5::978300760\n1::8::3::978302109\n2::7::4::978301968\n")
    (tmp_path / "movies.dat").write_text("7::Toy Story (1995)::Animation|Comedy\n8::Heat (1995)::Crime\n")
    data = datasets.read(tmp_path)
    assert data is not None
    assert rows(data.events)[0] == ("1", "7", 5.0)
    assert data.events["timestamp"].to_pylist()[0] == 978300760000
    assert attributes(data.items)["7"]["genres"] == ["Animation", "Comedy"]
    assert data.splits == ("temporal", "leave-one-out")
    assert len(temporal(usable(data), 0.3)) == 1


@pytest.mark.parametrize("literals", [False, True])
def test_amazon(tmp_path, literals):
    reviews = [
        {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1400000000},
        {"reviewerID": "A1", "asin": "B2", "overall": 2.0, "unixReviewTime": 1400000500},
    ]
    with gzip.open(tmp_path / "reviews_Beauty_5.json.gz", "wt") as file:
        file.writelines(json.dumps(one) + "\n" for one in reviews)
    meta = [{"asin": "B1", "title": "It's soap", "price": 3}, {"asin": "B9", "title": "Never bought"}]
    with gzip.open(tmp_path / "meta_Beauty.json.gz", "wt") as file:
        file.writelines((repr(one) if literals else json.dumps(one)) + "\n" for one in meta)
    data = datasets.read(tmp_path)
    assert data is not None
    assert rows(data.events) == [("A1", "B1", 5.0), ("A1", "B2", 2.0)]
    assert data.events["timestamp"].to_pylist() == [1400000000000, 1400000500000]
    assert attributes(data.items) == {"B1": {"title": "It's soap"}, "B2": {}}
    assert data.splits == ("temporal", "leave-one-out")


def test_a_given_split_of_lines(tmp_path):
    (tmp_path / "train.txt").write_text("0 5 6 7\n1 6 8\n2\n")
    (tmp_path / "test.txt").write_text("0 8\n1\n2 5\n")
    data = datasets.read(tmp_path)
    assert data is not None
    assert data.items is None
    assert data.splits == ("given",)
    split = given(usable(data), data.test, Config().event_types)
    # User 0 has one answer; user 2 has nothing in training, and is a stranger.
    assert (len(split), split.n_users) == (2, 2)


def test_what_recserve_imports(tmp_path):
    (tmp_path / "events.csv").write_text(
        "user_id,item_id,event,timestamp\na,x,view,1700000000\na,y,view,1700000009\n"
    )
    (tmp_path / "items.csv").write_text("item_id,title\nx,An X\ny,A Y\n")
    data = datasets.read(tmp_path)
    assert data is not None
    assert data.splits == ("temporal", "leave-one-out")
    assert attributes(data.items)["x"] == {"title": "An X"}


def test_a_folder_of_folders(tmp_path, microlens):
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("about the data")
    assert [one.name for one in datasets.find(tmp_path)] == ["microlens"]
    assert datasets.read(tmp_path / "notes") is None


def test_a_sample_keeps_whole_users(microlens):
    data = datasets.read(microlens)
    assert data is not None
    one = data.sample(1, seed=1)
    kept = set(one.events["user_id"].to_pylist())
    assert len(kept) == 1
    assert len(one.events) == sum(user in kept for user in data.events["user_id"].to_pylist())
    assert one.note.startswith("1 of 2 users")
    assert data.sample(1, seed=1).events.equals(one.events)
    assert data.sample(5) is data
