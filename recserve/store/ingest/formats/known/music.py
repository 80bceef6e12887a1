"""The three data sets of Last.fm: 360K and 1K users, and that of HetRec 2011."""

from __future__ import annotations

from collections.abc import Callable

from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.formats.model import EventColumns, Format, ItemColumns, Rows, renamed
from recserve.store.ingest.problems import RowProblem

_OF_360K = Dialect("\t", ("user_id", "artist_mbid", "artist_name", "plays"), quoted=False)
_OF_1K = Dialect(
    "\t",
    ("user_id", "timestamp", "artist_mbid", "artist_name", "track_mbid", "track_name"),
    quoted=False,
)
_FILES_360K = ("usersha1-artmbid-artname-plays*",)
_FILES_1K = ("userid-timestamp-artid-artname-traid-traname*",)
_HETREC = Dialect("\t", quoted=False)


def _distinct(*attributes: str) -> Callable[[Rows, str], Rows]:
    """The first row of each item, with some attributes: the file has a row for each time somebody listens."""

    def combine(rows: Rows, file: str) -> Rows:
        known: set[object] = set()
        for line, row in rows:
            if isinstance(row, RowProblem):
                yield line, row
            elif row["item_id"] is None or row["item_id"] not in known:
                known.add(row["item_id"])
                yield line, {name: row[name] for name in ("item_id", *attributes)}

    return combine


EVENTS: tuple[Format[EventColumns], ...] = (
    Format(
        "lastfm-360k",
        "Last.fm 360K",
        # Artists that MusicBrainz does not know have a name only.
        EventColumns(
            renamed(user_id="user_id", item_id="artist_mbid or artist_name", value="plays"),
            event="play",
            timed=False,
        ),
        files=_FILES_360K,
        dialect=_OF_360K,
    ),
    Format(
        "lastfm-1k",
        "Last.fm 1K",
        EventColumns(
            renamed(user_id="user_id", item_id="track_mbid or track_name", timestamp="timestamp"),
            event="play",
        ),
        files=_FILES_1K,
        dialect=_OF_1K,
        note="tracks that MusicBrainz does not know are told apart by their titles only",
    ),
    Format(
        "lastfm-hetrec",
        "Last.fm of HetRec 2011",
        EventColumns(
            renamed(user_id="userID", item_id="artistID", value="weight"), event="play", timed=False
        ),
        header=("userID", "artistID", "weight"),
        dialect=_HETREC,
    ),
)

ITEMS: tuple[Format[ItemColumns], ...] = (
    Format(
        "lastfm-360k",
        "Last.fm 360K",
        ItemColumns(
            renamed(item_id="artist_mbid or artist_name", name="artist_name"),
            combine=_distinct("name"),
        ),
        files=_FILES_360K,
        dialect=_OF_360K,
    ),
    Format(
        "lastfm-1k",
        "Last.fm 1K",
        ItemColumns(
            renamed(item_id="track_mbid or track_name", title="track_name", artist="artist_name"),
            combine=_distinct("title", "artist"),
        ),
        files=_FILES_1K,
        dialect=_OF_1K,
    ),
    Format(
        "lastfm-hetrec",
        "Last.fm of HetRec 2011",
        ItemColumns(renamed(item_id="id", picture_url="pictureURL")),
        header=("id", "name", "url", "pictureURL"),
        dialect=_HETREC,
    ),
)
