"""Files of short videos and their viewers as canonical tables.

===============  ======================================================================================
Format           Files
===============  ======================================================================================
Log of watching  ``videos.csv`` (video_id, title, creator, duration_seconds, uploaded_at, and, if known,
                 tags separated by ``|``); ``watches.csv`` (user_id, video_id, timestamp, watched_seconds,
                 and, if known, liked: 0 or 1); times in seconds since 1970, UTC
KuaiRec          ``big_matrix.csv`` (user_id, video_id, timestamp, watch_ratio),
                 ``kuairec_caption_category.csv`` (video_id, caption, topic_tag,
                 first_level_category_name), ``item_daily_features.csv`` (video_id, author_id, upload_dt)
MicroLens        ``*_titles.csv`` (item, title), and ``*_pairs.csv`` (user, item, timestamp) or
                 ``*_pairs.tsv`` (user, tab, items in the order of time)
===============  ======================================================================================

A video that was watched is an event ``watch`` with the watch time over the duration as its value, at most 2;
one that was left at once is a ``skip``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recserve import DataError, DelimitedFile, Tables, clock, event_table, iso_time, item_table

SKIPPED_BELOW = 0.1
"""Share of the duration below which a video counts as skipped."""

MOST_RATIO = 2.0
"""Watching in a loop counts up to so many durations."""

VIDEOS = DelimitedFile(
    "videos.csv",
    {
        "video_id": pa.string(),
        "title": pa.string(),
        "creator": pa.string(),
        "duration_seconds": pa.float64(),
        "uploaded_at": pa.int64(),
        "tags": pa.string(),
    },
    optional=frozenset({"tags"}),
)
WATCHES = DelimitedFile(
    "watches.csv",
    {
        "user_id": pa.string(),
        "video_id": pa.string(),
        "timestamp": pa.int64(),
        "watched_seconds": pa.float64(),
        "liked": pa.int64(),
    },
    optional=frozenset({"liked"}),
)
BIG_MATRIX = DelimitedFile(
    "big_matrix.csv",
    {"user_id": pa.string(), "video_id": pa.string(), "timestamp": pa.float64(), "watch_ratio": pa.float64()},
)
CAPTIONS = DelimitedFile(
    "kuairec_caption_category.csv",
    {
        "video_id": pa.string(),
        "caption": pa.string(),
        "topic_tag": pa.string(),
        "first_level_category_name": pa.string(),
    },
    optional=frozenset({"caption", "topic_tag", "first_level_category_name"}),
    # Captions hold carriage returns, without quotes.
    feeds=True,
)
FEATURES = DelimitedFile(
    "item_daily_features.csv", {"video_id": pa.string(), "author_id": pa.string(), "upload_dt": pa.string()}
)
PAIRS = DelimitedFile("*_pairs.csv", {"user": pa.string(), "item": pa.string(), "timestamp": pa.int64()})
SEQUENCES = DelimitedFile(
    "*_pairs.tsv",
    {"user": pa.string(), "items": pa.string()},
    delimiter="\t",
    quoted=False,
    header=("user", "items"),
)
TITLES = DelimitedFile("*_titles.csv", {"item": pa.string(), "title": pa.string()})

_UNKNOWN = ("", "UNKNOWN")
_MILLISECONDS_FROM = 100_000_000_000


def read_video(folder: Path) -> Tables:
    """A log of watching.

    Raises:
        DataError: A file is missing, empty or not in this format.
    """
    videos, watches = VIDEOS.read(folder), WATCHES.read(folder)
    row = pc.index(pc.greater(videos["duration_seconds"], 0), False).as_py()
    if row >= 0:
        raise DataError(
            f"{folder / VIDEOS.name}, row {row + 1}, column 'duration_seconds': "
            f"{videos['duration_seconds'][row].as_py():g} is no duration; correct the cell or remove the row",
            field="duration_seconds",
        )
    durations = dict(zip(videos["video_id"].to_pylist(), videos["duration_seconds"].to_pylist(), strict=True))
    # Of a video that is not described nobody knows how much was watched.
    lengths = pa.array([durations.get(video) for video in watches["video_id"].to_pylist()], pa.float64())
    times = pc.multiply(watches["timestamp"], 1000)
    liked = watches.filter(pc.equal(watches["liked"].fill_null(0), 1))
    events = pa.concat_tables(
        [
            _watched(
                watches["user_id"], watches["video_id"], times, pc.divide(watches["watched_seconds"], lengths)
            ),
            event_table(
                liked["user_id"], liked["video_id"], "like", pc.add(pc.multiply(liked["timestamp"], 1000), 1)
            ),
        ]
    )
    items = item_table(
        (
            row["video_id"],
            {
                "title": row["title"],
                "creator": row["creator"],
                "tags": [tag.strip() for tag in (row["tags"] or "").split("|") if tag.strip()],
                "duration": clock(row["duration_seconds"]),
                "uploaded_at": iso_time(row["uploaded_at"], f"{folder / VIDEOS.name}, column 'uploaded_at'"),
            },
        )
        for row in videos.to_pylist()
    )
    return Tables(items=items, events=events)


def read_kuairec(folder: Path) -> Tables:
    """KuaiRec (Gao et al. 2022, CIKM): the big matrix, with captions, creators and upload dates.

    Raises:
        DataError: A file is missing, empty or not in this format.
    """
    matrix, captions, features = BIG_MATRIX.read(folder), CAPTIONS.read(folder), FEATURES.read(folder)
    # A row a video and day: creator and date are the same in all of them.
    known = {row["video_id"]: row for row in features.to_pylist()}
    items = item_table(
        (
            str(row["video_id"]),
            {
                "title": next((text for text in (row["caption"], category) if text), None),
                "category": category,
                "tags": _listed(row["topic_tag"]),
                "creator": known.get(row["video_id"], {}).get("author_id"),
                "uploaded_at": known.get(row["video_id"], {}).get("upload_dt"),
            },
        )
        for row, category in _with_category(captions)
    )
    times = pc.cast(pc.multiply(matrix["timestamp"], 1000.0), pa.int64(), safe=False)
    events = _watched(matrix["user_id"], matrix["video_id"], times, matrix["watch_ratio"])
    return Tables(items=items, events=events)


def read_microlens(folder: Path) -> Tables:
    """MicroLens (Ni et al. 2023): who watched what, with times or in their order, and titles.

    Raises:
        DataError: A file is missing, empty or not in this format.
    """
    titles = _found(TITLES, folder).read(folder)
    items = item_table(
        (item, {"title": title})
        for item, title in zip(titles["item"].to_pylist(), titles["title"].to_pylist(), strict=True)
    )
    if not any(folder.glob("*_pairs.?sv")):
        raise DataError(
            f"{folder} holds neither {PAIRS.name} nor {SEQUENCES.name}; put one of them there, as in "
            "MicroLens-50k_pairs.csv"
        )
    if any(folder.glob(PAIRS.name)):
        pairs = _found(PAIRS, folder).read(folder)
        times = pairs["timestamp"]
        times = pc.if_else(pc.less(times, _MILLISECONDS_FROM), pc.multiply(times, 1000), times)
        return Tables(items=items, events=event_table(pairs["user"], pairs["item"], "watch", times))
    sequences = _found(SEQUENCES, folder).read(folder)
    listed = [text.split() for text in sequences["items"].to_pylist()]
    users = [user for user, row in zip(sequences["user"].to_pylist(), listed, strict=True) for _ in row]
    watched = [item for row in listed for item in row]
    # Without times the order of a line is all there is.
    order = pa.array([place * 1000 for place in range(len(watched))], pa.int64())
    events = event_table(pa.array(users, pa.string()), pa.array(watched, pa.string()), "watch", order)
    return Tables(items=items, events=events)


def _watched(
    users: pa.ChunkedArray, videos: pa.ChunkedArray, times: pa.ChunkedArray, ratios: pa.Array
) -> pa.Table:
    """Events ``watch`` with their ratio, if it is known, and ``skip`` without one."""
    skipped = pc.less(ratios, SKIPPED_BELOW).fill_null(False)
    # Hundredths are as much as anybody reads, and more than anything learns from.
    values = pc.round(pc.min_element_wise(ratios, MOST_RATIO, skip_nulls=False), 2)
    values = pc.if_else(skipped, pa.scalar(None, pa.float64()), values)
    return event_table(users, videos, pc.if_else(skipped, "skip", "watch"), times, values)


def _with_category(captions: pa.Table) -> Iterator[tuple[dict[str, str | None], str | None]]:
    for row in captions.to_pylist():
        category = row["first_level_category_name"]
        yield row, None if category in _UNKNOWN else category


def _listed(text: str | None) -> list[str]:
    """``[a,b]`` as a list."""
    parts = (text or "").strip("[]").split(",")
    return [part.strip() for part in parts if part.strip() and part.strip() not in _UNKNOWN]


def _found(file: DelimitedFile, folder: Path) -> DelimitedFile:
    """The format with the name of the one file that it fits, such as ``MicroLens-50k_titles.csv``."""
    names = sorted(path.name for path in folder.glob(file.name))
    if len(names) > 1:
        raise DataError(f"{folder} holds {' and '.join(names)}; leave one of them there")
    return replace(file, name=names[0]) if names else file
