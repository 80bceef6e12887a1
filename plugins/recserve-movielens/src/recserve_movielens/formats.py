"""The file formats that MovieLens releases have had, read into canonical tables.

=============================  ==========================  ========================
Releases                       Ratings                     Films
=============================  ==========================  ========================
latest, small, 20m, 25m, 32m   ``ratings.csv``             ``movies.csv``
1m, 10m                        ``ratings.dat`` (``::``)    ``movies.dat`` (``::``)
100k                           ``u.data`` (tabs)           ``u.item`` (``|``)
=============================  ==========================  ========================
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recserve import DataError, Tables

_NO_GENRES = "(no genres listed)"

_TITLE_AND_YEAR = re.compile(r"(?P<title>.*?)\s*\((?P<year>\d{4})(?:[-–]\d{0,4})?\)\s*")

_ARTICLE_LAST = re.compile(r"^(?P<title>[^()]+), (?P<article>The|A|An)(?= \(|$)")

# The order of the flags in u.item, as the release's README gives it; "unknown" is no genre.
_GENRES_OF_100K = (
    "", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War",
    "Western",
)  # fmt: skip

_RATING_TYPES = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "rating": pa.float64(),
    "timestamp": pa.int64(),
}


@dataclass(frozen=True)
class Film:
    """One film as a release describes it."""

    item_id: str
    title: str
    year: int | None
    genres: list[str]

    def attributes(self) -> str:
        """What is known of it as a JSON object; the list of genres may be empty."""
        known: dict[str, Any] = {"genres": self.genres}
        if self.title:
            known["title"] = natural_title(self.title)
        if self.year is not None:
            known["year"] = self.year
        return json.dumps(known, ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True)
class Format:
    """One way of storing a release: two files and how each is read.

    Attributes:
        ratings: Name of the file of ratings.
        films: Name of the file of films.
        read_ratings: Gives the columns user_id, item_id, rating and timestamp (seconds).
        read_films: Gives the films one by one.
    """

    ratings: str
    films: str
    read_ratings: Callable[[Path], pa.Table]
    read_films: Callable[[Path], Iterator[Film]]


def read_folder(folder: Path) -> Tables:
    """Read a release in any of the formats.

    Args:
        folder: The folder with its files, or one with a folder that has them.

    Raises:
        DataError: There is no release, or one of its files is damaged.
    """
    for place in (folder, *sorted(path for path in folder.glob("*") if path.is_dir())):
        for form in FORMATS:
            if (place / form.ratings).is_file() and (place / form.films).is_file():
                return _read(place, form)
    expected = ", or ".join(f"{form.ratings} and {form.films}" for form in FORMATS)
    missing = "" if folder.is_dir() else " (there is no such folder)"
    raise DataError(f"{folder} holds no MovieLens release{missing}; it needs {expected}")


def split_title(text: str) -> tuple[str, int | None]:
    """``"Toy Story (1995)"`` as title and year; without a year all of it is title."""
    found = _TITLE_AND_YEAR.fullmatch(text)
    if found is None:
        return text.strip(), None
    return found["title"].strip(), int(found["year"])


def natural_title(title: str) -> str:
    """``"Dark Knight, The"`` as people say it, with an alternative title in brackets left where it is."""
    return _ARTICLE_LAST.sub(r"\g<article> \g<title>", title)


def _read(folder: Path, form: Format) -> Tables:
    path = folder / form.films
    try:
        films = list(form.read_films(path))
        path = folder / form.ratings
        events = _events(form.read_ratings(path))
    except (pa.ArrowException, OSError, ValueError, LookupError, csv.Error) as error:
        cause = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is damaged or not what a MovieLens release holds: {cause}") from None
    items = {"item_id": [film.item_id for film in films], "attributes": [film.attributes() for film in films]}
    return Tables(items=pa.table(items), events=events)


def _events(ratings: pa.Table) -> pa.Table:
    if any(column.null_count for column in ratings.columns) or len(ratings) == 0:
        raise ValueError("a rating without user, film, value or time, or none at all")
    # A viewer rates a film once, so this names the rating and importing twice stores it once.
    moments = ratings["timestamp"].cast(pa.string())
    names = pc.binary_join_element_wise("movielens", ratings["user_id"], ratings["item_id"], moments, "-")
    return pa.table(
        {
            "event_id": names,
            "user_id": ratings["user_id"],
            "item_id": ratings["item_id"],
            "event": pa.repeat("rating", len(ratings)),
            "value": ratings["rating"],
            "timestamp": pc.multiply(ratings["timestamp"], 1000),
        }
    )


def _parse_ratings(data: bytes, delimiter: str, header_rows: int = 0) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        pyarrow.csv.ReadOptions(column_names=list(_RATING_TYPES), skip_rows=header_rows),
        pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
        pyarrow.csv.ConvertOptions(column_types=_RATING_TYPES, null_values=[""], strings_can_be_null=True),
    )


def _ratings_csv(path: Path) -> pa.Table:
    return _parse_ratings(path.read_bytes(), ",", header_rows=1)


def _ratings_dat(path: Path) -> pa.Table:
    return _parse_ratings(path.read_bytes().replace(b"::", b"\t"), "\t")


def _u_data(path: Path) -> pa.Table:
    return _parse_ratings(path.read_bytes(), "\t")


def _movies_csv(path: Path) -> Iterator[Film]:
    """Official releases have the year in the title, the bundled sample in a column of its own."""
    for row in csv.DictReader(StringIO(_text(path)), strict=True):
        title, year = split_title(row["title"])
        if row.get("year"):
            title, year = row["title"].strip(), int(row["year"])
        yield Film(row.get("movieId") or row["item_id"], title, year, _genres(row["genres"]))


def _movies_dat(path: Path) -> Iterator[Film]:
    for line in _lines(path):
        item_id, name, genres = line.split("::")
        yield Film(item_id, *split_title(name), _genres(genres))


def _u_item(path: Path) -> Iterator[Film]:
    for line in _lines(path):
        item_id, name, _released, _video, _url, *flags = line.split("|")
        marked = zip(_GENRES_OF_100K, flags, strict=True)
        title, year = split_title(name)
        # Film 267 is called "unknown": nobody knows which one it was.
        title = "" if title == "unknown" else title
        yield Film(item_id, title, year, [genre for genre, flag in marked if flag == "1" and genre])


def _genres(text: str) -> list[str]:
    return [] if text in ("", _NO_GENRES) else text.split("|")


def _lines(path: Path) -> Iterator[str]:
    return (line for line in _text(path).splitlines() if line)


def _text(path: Path) -> str:
    """Newer releases are in UTF-8, older ones in Latin-1."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


FORMATS = (
    Format("ratings.csv", "movies.csv", _ratings_csv, _movies_csv),
    Format("ratings.dat", "movies.dat", _ratings_dat, _movies_dat),
    Format("u.data", "u.item", _u_data, _u_item),
)
