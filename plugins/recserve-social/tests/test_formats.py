"""Files of a network: what is read, and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recserve_social.formats import FOLLOWS, POSTS, REACTIONS, read_social
from recserve_social.sample import write_sample

from recserve import DataError
from recserve.testing import check_files


def test_bad_files_are_named_with_their_column() -> None:
    assert check_files(read_social, write_sample, [POSTS, FOLLOWS, REACTIONS]) > 35


def write_network(folder: Path, follows: str = "b,a,5\n", interactions: str = "b,p1,like,7\n") -> None:
    (folder / "posts.csv").write_text(f'post_id,author_id,text,posted_at\np1,a,"Hello,\n{"x" * 90}",3\n')
    (folder / "follows.csv").write_text("follower_id,author_id,timestamp\n" + follows)
    (folder / "interactions.csv").write_text("user_id,post_id,type,timestamp\n" + interactions)


def test_authors_are_items_and_follows_are_events(tmp_path: Path) -> None:
    write_network(tmp_path, "b,a,5\nb,c,6\n")
    tables = read_social(tmp_path)
    items = dict(
        zip(tables.items["item_id"].to_pylist(), tables.items["attributes"].to_pylist(), strict=True)
    )
    assert items.keys() == {"p1", "@a", "@c"}
    post = json.loads(items["p1"])
    assert (post["author"], post["author_id"], post["posted_at"]) == ("a", "a", "1970-01-01T00:00:03Z")
    assert len(post["title"]) == 80
    assert post["title"].startswith("Hello, xxx")
    assert json.loads(items["@c"]) == {"kind": "author", "title": "c"}
    assert [
        (row["user_id"], row["item_id"], row["event"], row["timestamp"]) for row in tables.events.to_pylist()
    ] == [("b", "@a", "follow", 5000), ("b", "@c", "follow", 6000), ("b", "p1", "like", 7000)]
    (tmp_path / "authors.csv").write_text("author_id,name\na,Ada\n")
    named = read_social(tmp_path).items["attributes"].to_pylist()
    assert [json.loads(text).get("author") for text in named] == ["Ada", None, None]


def test_a_file_of_names_that_is_there_must_be_good(tmp_path: Path) -> None:
    write_network(tmp_path)
    (tmp_path / "authors.csv").write_text("author_id,label\na,Ada\n")
    with pytest.raises(DataError, match=r"authors\.csv has no column 'name'"):
        read_social(tmp_path)


def test_types_that_are_not_known(tmp_path: Path) -> None:
    write_network(tmp_path, interactions="b,p1,likes,7\n")
    with pytest.raises(DataError, match=r"interactions\.csv, row 1, column 'type': 'likes' .* mean 'like'"):
        read_social(tmp_path)
    write_network(tmp_path)
    (tmp_path / "follows.csv").write_text("follower_id,author_id,timestamp,action\nb,a,5,\nb,a,6,left\n")
    with pytest.raises(DataError, match=r"follows\.csv, row 2, column 'action': 'left' is not understood"):
        read_social(tmp_path)
