"""Listening data: what is read, and what is said of bad files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recserve_music.formats import (
    ARTISTS,
    PLAYS,
    TAGGED,
    TAGS,
    TRACKS,
    USER_ARTISTS,
    read_hetrec,
    read_listening,
)
from recserve_music.sample import LISTENERS, write_hetrec, write_sample

from recserve import DataError
from recserve.testing import check_files


def test_bad_files_are_named_with_their_column() -> None:
    assert check_files(read_listening, write_sample, [TRACKS, PLAYS]) > 15
    assert check_files(read_hetrec, write_hetrec, [USER_ARTISTS, ARTISTS, TAGS, TAGGED]) > 20


def write_plays(folder: Path, *plays: str) -> None:
    (folder / "tracks.csv").write_text(
        "track_id,title,artist,duration_seconds,tags\na,Short,Someone,60,pop| rock |\nb,Long,Someone,900,\n"
    )
    (folder / "plays.csv").write_text("user_id,track_id,timestamp,played_seconds\n" + "\n".join(plays) + "\n")


def test_a_track_counts_as_played_after_its_half_or_four_minutes(tmp_path: Path) -> None:
    write_plays(tmp_path, "u,a,1,29.9", "u,a,2,30", "u,b,3,239", "u,b,4,240", "u,gone,5,1")
    tables = read_listening(tmp_path)
    assert tables.events["event"].to_pylist() == ["skip", "play", "skip", "play", "play"]
    assert tables.events["timestamp"].to_pylist() == [1000, 2000, 3000, 4000, 5000]
    first, second = map(json.loads, tables.items["attributes"].to_pylist())
    assert first == {"title": "Short", "artist": "Someone", "tags": ["pop", "rock"], "duration": "1:00"}
    assert "tags" not in second


def test_counts_of_hetrec_have_tags_and_no_order(tmp_path: Path) -> None:
    write_hetrec(tmp_path)
    tables = read_hetrec(tmp_path)
    artists = [json.loads(text) for text in tables.items["attributes"].to_pylist()]
    assert len(artists) == 60
    assert all(artist["title"] == artist["artist"] and len(artist["tags"]) == 3 for artist in artists)
    assert len(set(tables.events["user_id"].to_pylist())) == LISTENERS
    assert set(tables.events["timestamp"].to_pylist()) == {0}
    assert min(tables.events["value"].to_pylist()) == 1
    (tmp_path / "tags.dat").unlink()
    with pytest.raises(DataError, match=r"tags\.dat does not exist"):
        read_hetrec(tmp_path)
    (tmp_path / "user_taggedartists.dat").unlink()
    assert "tags" not in json.loads(read_hetrec(tmp_path).items["attributes"][0].as_py())


def test_a_count_below_one_is_refused(tmp_path: Path) -> None:
    write_hetrec(tmp_path)
    (tmp_path / "user_artists.dat").write_text("userID\tartistID\tweight\n1\t1\t0\n")
    with pytest.raises(DataError, match="column 'weight': 0 is no listening count"):
        read_hetrec(tmp_path)
