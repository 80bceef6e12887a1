"""Files of listening data as canonical tables.

==================  ====================================================================================
Format              Files
==================  ====================================================================================
Log of plays        ``tracks.csv`` (track_id, title, artist, duration_seconds, and, if known, tags), tags
                    separated by ``|``; ``plays.csv`` (user_id, track_id, timestamp, played_seconds), a row
                    a play, timestamps in seconds since 1970, UTC
HetRec 2011         ``user_artists.dat`` (userID, artistID, weight), ``artists.dat`` (id, name), and, if
                    there, ``tags.dat`` (tagID, tagValue) with ``user_taggedartists.dat`` (userID, artistID,
                    tagID); separated by tabs (https://grouplens.org/datasets/hetrec-2011/)
==================  ====================================================================================
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recserve import DataError, DelimitedFile, Tables, clock, event_table, item_table

LONGEST_HALF_SECONDS = 240
"""A track counts as played after half of it, or after so long."""

TAGS_OF_AN_ARTIST = 5

TRACKS = DelimitedFile(
    "tracks.csv",
    {
        "track_id": pa.string(),
        "title": pa.string(),
        "artist": pa.string(),
        "duration_seconds": pa.float64(),
        "tags": pa.string(),
    },
    optional=frozenset({"tags"}),
)
PLAYS = DelimitedFile(
    "plays.csv",
    {
        "user_id": pa.string(),
        "track_id": pa.string(),
        "timestamp": pa.int64(),
        "played_seconds": pa.float64(),
    },
)
USER_ARTISTS = DelimitedFile(
    "user_artists.dat",
    {"userID": pa.string(), "artistID": pa.string(), "weight": pa.int64()},
    delimiter="\t",
    quoted=False,
)
ARTISTS = DelimitedFile("artists.dat", {"id": pa.string(), "name": pa.string()}, delimiter="\t", quoted=False)
TAGS = DelimitedFile(
    "tags.dat", {"tagID": pa.string(), "tagValue": pa.string()}, delimiter="\t", quoted=False
)
TAGGED = DelimitedFile(
    "user_taggedartists.dat",
    {"userID": pa.string(), "artistID": pa.string(), "tagID": pa.string()},
    delimiter="\t",
    quoted=False,
)


def read_listening(folder: Path) -> Tables:
    """A log of plays: each is a ``play``, or a ``skip`` if it ended too early.

    A track counts as played after half of its duration or four minutes, whichever comes first, which is what
    Last.fm calls a scrobble. A play of a track that ``tracks.csv`` does not describe counts as played.

    Raises:
        DataError: A file is missing, empty or not in this format.
    """
    tracks, plays = TRACKS.read(folder), PLAYS.read(folder)
    durations = dict(zip(tracks["track_id"].to_pylist(), tracks["duration_seconds"].to_pylist(), strict=True))
    needed = pa.array(
        [min(durations.get(track, 0.0) / 2, LONGEST_HALF_SECONDS) for track in plays["track_id"].to_pylist()],
        pa.float64(),
    )
    played = pc.greater_equal(plays["played_seconds"], needed)
    items = item_table(
        (
            row["track_id"],
            {
                "title": row["title"],
                "artist": row["artist"],
                "tags": [tag.strip() for tag in (row["tags"] or "").split("|") if tag.strip()],
                "duration": clock(row["duration_seconds"]),
            },
        )
        for row in tracks.to_pylist()
    )
    events = event_table(
        plays["user_id"],
        plays["track_id"],
        pc.if_else(played, "play", "skip"),
        pc.multiply(plays["timestamp"], 1000),
    )
    return Tables(items=items, events=events)


def read_hetrec(folder: Path) -> Tables:
    """Listening counts of artists: a ``play`` for each user and artist, with the count as its value.

    The data have no times: all events have the same, so that nothing is taken for an order.

    Raises:
        DataError: A file is missing, empty or not in this format.
    """
    counts, artists = USER_ARTISTS.read(folder), ARTISTS.read(folder)
    low = pc.min(counts["weight"]).as_py()
    if low < 1:
        raise DataError(
            f"{folder / USER_ARTISTS.name}, column 'weight': {low} is no listening count; counts start at 1",
            field="weight",
        )
    tags = _tags(folder) if TAGGED.exists(folder) or TAGS.exists(folder) else {}
    items = item_table(
        (artist_id, {"title": name, "artist": name, "tags": tags.get(artist_id)})
        for artist_id, name in zip(artists["id"].to_pylist(), artists["name"].to_pylist(), strict=True)
    )
    events = event_table(
        counts["userID"],
        counts["artistID"],
        "play",
        pa.repeat(pa.scalar(0, pa.int64()), len(counts)),
        counts["weight"].cast(pa.float64()),
    )
    return Tables(items=items, events=events)


def _tags(folder: Path) -> Mapping[str, list[str]]:
    """The tags that most users gave each artist, those given most often first."""
    names_table, tagged = TAGS.read(folder), TAGGED.read(folder)
    names = dict(zip(names_table["tagID"].to_pylist(), names_table["tagValue"].to_pylist(), strict=True))
    given: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for artist, tag in zip(tagged["artistID"].to_pylist(), tagged["tagID"].to_pylist(), strict=True):
        if tag in names:
            given[artist][names[tag]] += 1
    return {
        artist: [name for name, _ in sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))][
            :TAGS_OF_AN_ARTIST
        ]
        for artist, counted in given.items()
    }
