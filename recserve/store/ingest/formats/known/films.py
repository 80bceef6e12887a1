"""MovieLens, and the anime data sets made from MyAnimeList."""

from __future__ import annotations

from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.formats.model import EventColumns, Format, ItemColumns, Row, renamed, split

_NO_GENRES = "(no genres listed)"

# The flags at the end of u.item, in the order of the release's README; "unknown" is no genre.
_GENRES_OF_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip

_RATINGS = ("user_id", "item_id", "value", "timestamp")
_AS_NAMED = EventColumns({name: (name,) for name in _RATINGS})


def _genres(row: Row) -> Row:
    return {**row, "genres": [genre for genre in split(row.get("genres"), "|") if genre != _NO_GENRES]}


def _flags(row: Row) -> Row:
    flags = {name: row.pop(name) for name in _GENRES_OF_100K}
    return {**row, "genres": [name for name, flag in flags.items() if str(flag) == "1" and name != "unknown"]}


def _anime(row: Row) -> Row:
    return {**row, "genres": split(row.get("genres"), ",")}


EVENTS: tuple[Format[EventColumns], ...] = (
    Format(
        "movielens-100k",
        "MovieLens 100K",
        _AS_NAMED,
        files=("u.data", "u[0-9].base", "u[0-9].test"),
        dialect=Dialect("\t", _RATINGS, quoted=False),
    ),
    Format(
        "movielens-1m",
        "MovieLens 1M and 10M",
        _AS_NAMED,
        files=("ratings.dat",),
        dialect=Dialect("::", _RATINGS, quoted=False),
    ),
    Format(
        "movielens",
        "MovieLens",
        EventColumns(renamed(user_id="userId", item_id="movieId", value="rating", timestamp="timestamp")),
        header=("userId", "movieId", "rating"),
    ),
    Format(
        "anime",
        "Anime",
        EventColumns(
            renamed(user_id="user_id", item_id="anime_id", value="rating"),
            scale=(1, 10),
            # 0 and -1 stand for watched without a rating in the editions of 2020 and 2016.
            unrated=frozenset((-1.0, 0.0)),
            timed=False,
        ),
        header=("user_id", "anime_id", "rating"),
    ),
)

ITEMS: tuple[Format[ItemColumns], ...] = (
    Format(
        "movielens-100k",
        "MovieLens 100K",
        ItemColumns(convert=_flags, skipped=frozenset(("video_release_date",))),
        files=("u.item",),
        dialect=Dialect(
            "|",
            ("item_id", "title", "release_date", "video_release_date", "imdb_url", *_GENRES_OF_100K),
            quoted=False,
        ),
    ),
    Format(
        "movielens-1m",
        "MovieLens 1M and 10M",
        ItemColumns(convert=_genres),
        files=("movies.dat",),
        dialect=Dialect("::", ("item_id", "title", "genres"), quoted=False),
    ),
    Format(
        "movielens",
        "MovieLens",
        ItemColumns(renamed(item_id="movieId"), convert=_genres),
        header=("movieId", "title", "genres"),
    ),
    Format(
        "anime",
        "Anime",
        ItemColumns(
            renamed(item_id="anime_id or MAL_ID", name="name or Name", genres="genre or Genres"),
            convert=_anime,
        ),
        recognise=lambda header: bool(
            {"anime_id", "name", "genre"} <= set(header) or {"MAL_ID", "Name", "Genres"} <= set(header)
        ),
    ),
)

USERS: tuple[Format[ItemColumns], ...] = (
    Format(
        "movielens-100k",
        "MovieLens 100K",
        ItemColumns(),
        files=("u.user",),
        dialect=Dialect("|", ("user_id", "age", "gender", "occupation", "zip_code"), quoted=False),
    ),
    Format(
        "movielens-1m",
        "MovieLens 1M",
        ItemColumns(),
        files=("users.dat",),
        dialect=Dialect("::", ("user_id", "gender", "age", "occupation", "zip_code"), quoted=False),
    ),
)
