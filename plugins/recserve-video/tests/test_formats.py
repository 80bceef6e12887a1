"""Files of videos: what is read, and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recserve_video.formats import (
    BIG_MATRIX,
    CAPTIONS,
    FEATURES,
    PAIRS,
    SEQUENCES,
    TITLES,
    VIDEOS,
    WATCHES,
    read_kuairec,
    read_microlens,
    read_video,
)
from recserve_video.sample import write_kuairec, write_microlens, write_sample

from recserve import DataError
from recserve.testing import check_files


def write_sequences(folder: Path) -> None:
    (folder / "M_titles.csv").write_text('item,title\n1,"One, two"\n2,Three\n')
    (folder / "M_pairs.tsv").write_text("a\t1 2\nb\t2\n")


def test_bad_files_are_named_with_their_column() -> None:
    assert check_files(read_video, write_sample, [VIDEOS, WATCHES]) > 20
    assert check_files(read_kuairec, write_kuairec, [BIG_MATRIX, CAPTIONS, FEATURES]) > 25
    assert check_files(read_microlens, write_microlens, [PAIRS, TITLES]) > 15
    assert check_files(read_microlens, write_sequences, [SEQUENCES]) > 4


def test_watch_time_over_duration_is_the_value_and_little_of_it_a_skip(tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text(
        "video_id,title,creator,duration_seconds,uploaded_at,tags\na,Boats,Someone,20,5,paper| rain\n"
    )
    (tmp_path / "watches.csv").write_text(
        "user_id,video_id,timestamp,watched_seconds,liked\nu,a,1,1.9,\nu,a,2,15,1\nu,a,3,90,0\nu,gone,4,9,\n"
    )
    tables = read_video(tmp_path)
    seen = [(row["event"], row["value"], row["timestamp"]) for row in tables.events.to_pylist()]
    assert seen == [
        ("skip", None, 1000),
        ("watch", 0.75, 2000),
        ("watch", 2.0, 3000),
        ("watch", None, 4000),
        ("like", None, 2001),
    ]
    (attributes,) = tables.items["attributes"].to_pylist()
    assert json.loads(attributes)["tags"] == ["paper", "rain"]
    assert json.loads(attributes)["uploaded_at"] == "1970-01-01T00:00:05Z"
    (tmp_path / "videos.csv").write_text(
        "video_id,title,creator,duration_seconds,uploaded_at\na,Boats,Someone,0,5\n"
    )
    with pytest.raises(DataError, match=r"videos\.csv, row 1, column 'duration_seconds': 0 is no duration"):
        read_video(tmp_path)
    (tmp_path / "videos.csv").write_text(
        "video_id,title,creator,duration_seconds,uploaded_at\na,Boats,Someone,9,1772323200000\n"
    )
    with pytest.raises(DataError, match=r"column 'uploaded_at': 1772323200000 .* are they milliseconds"):
        read_video(tmp_path)


def test_kuairec_has_captions_creators_and_dates(tmp_path: Path) -> None:
    (tmp_path / "big_matrix.csv").write_text(
        "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
        "14,148,4381,6067,2020-07-05,20200705,1593878903.438,0.722\n14,149,9,6067,x,x,1593878904,0.01\n"
    )
    (tmp_path / "kuairec_caption_category.csv").write_text(
        "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name\n"
        '148,UNKNOWN,"五爱市场，\n真好","[五爱市场,搞笑]",5,时尚\n149,UNKNOWN,,[],-124,UNKNOWN\n150,x,王\r朝,[],1,喜剧\n'
    )
    (tmp_path / "item_daily_features.csv").write_text(
        "video_id,date,author_id,upload_dt\n148,20200705,77,2020-03-30\n148,20200706,77,2020-03-30\n"
    )
    tables = read_kuairec(tmp_path)
    items = [json.loads(text) for text in tables.items["attributes"].to_pylist()]
    assert items == [
        {
            "title": "五爱市场，\n真好",
            "category": "时尚",
            "tags": ["五爱市场", "搞笑"],
            "creator": "77",
            "uploaded_at": "2020-03-30",
        },
        {},
        {"title": "王 朝", "category": "喜剧"},
    ]
    seen = [(row["event"], row["value"], row["timestamp"]) for row in tables.events.to_pylist()]
    assert seen == [("watch", 0.72, 1_593_878_903_438), ("skip", None, 1_593_878_904_000)]


def test_microlens_with_times_and_with_an_order_only(tmp_path: Path) -> None:
    write_sequences(tmp_path)
    tables = read_microlens(tmp_path)
    assert [json.loads(text)["title"] for text in tables.items["attributes"].to_pylist()] == [
        "One, two",
        "Three",
    ]
    rows = [(row["user_id"], row["item_id"], row["timestamp"]) for row in tables.events.to_pylist()]
    assert rows == [("a", "1", 0), ("a", "2", 1000), ("b", "2", 2000)]
    (tmp_path / "M_pairs.csv").write_text("user,item,timestamp\na,1,1583378629\nb,2,1583378629552\n")
    assert read_microlens(tmp_path).events["timestamp"].to_pylist() == [1_583_378_629_000, 1_583_378_629_552]
    (tmp_path / "N_titles.csv").write_text("item,title\n1,x\n")
    with pytest.raises(DataError, match=r"M_titles\.csv and N_titles\.csv; leave one"):
        read_microlens(tmp_path)
