"""Files of a social network as canonical tables.

====================  ==================================================================================
File                  Columns
====================  ==================================================================================
``posts.csv``         post_id, author_id, text, posted_at, and, if known, topics separated by ``|``
``follows.csv``       follower_id, author_id, timestamp, and, if some are taken back, action: follow or
                      unfollow
``interactions.csv``  user_id, post_id, type, timestamp; type is one of :data:`INTERACTIONS`
``authors.csv``       author_id, name; the file may be missing, then names are ids
====================  ==================================================================================

All times are seconds since 1970, UTC. Authors become items ``@author_id``, so that a follow is an event.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recserve import DataError, DelimitedFile, Tables, event_table, iso_time, item_table, nearest

INTERACTIONS = ("click", "hide", "like", "reply", "repost", "view")
"""Types of interactions that are understood."""

ACTIONS = ("follow", "unfollow")
TITLE_LENGTH = 80

POSTS = DelimitedFile(
    "posts.csv",
    {
        "post_id": pa.string(),
        "author_id": pa.string(),
        "text": pa.string(),
        "posted_at": pa.int64(),
        "topics": pa.string(),
    },
    optional=frozenset({"topics"}),
)
FOLLOWS = DelimitedFile(
    "follows.csv",
    {"follower_id": pa.string(), "author_id": pa.string(), "timestamp": pa.int64(), "action": pa.string()},
    optional=frozenset({"action"}),
)
REACTIONS = DelimitedFile(
    "interactions.csv",
    {"user_id": pa.string(), "post_id": pa.string(), "type": pa.string(), "timestamp": pa.int64()},
)
AUTHORS = DelimitedFile("authors.csv", {"author_id": pa.string(), "name": pa.string()})


def read_social(folder: Path) -> Tables:
    """Posts and authors as items, follows and interactions as events.

    Raises:
        DataError: A file is missing, empty or not in this format.
    """
    posts, follows, reactions = POSTS.read(folder), FOLLOWS.read(folder), REACTIONS.read(folder)
    actions = follows["action"].fill_null("follow")
    _check_values(folder / FOLLOWS.name, "action", actions, ACTIONS)
    _check_values(folder / REACTIONS.name, "type", reactions["type"], INTERACTIONS)
    names: dict[str, str] = {}
    if AUTHORS.exists(folder):
        authors = AUTHORS.read(folder)
        names = dict(zip(authors["author_id"].to_pylist(), authors["name"].to_pylist(), strict=True))
    ids = sorted({*posts["author_id"].to_pylist(), *follows["author_id"].to_pylist()})
    written = (
        (
            row["post_id"],
            {
                "kind": "post",
                "title": _shortened(row["text"]),
                "text": row["text"] if row["text"] != _shortened(row["text"]) else None,
                "author": names.get(row["author_id"], row["author_id"]),
                "author_id": row["author_id"],
                "topics": [topic.strip() for topic in (row["topics"] or "").split("|") if topic.strip()],
                "posted_at": iso_time(row["posted_at"], f"{folder / POSTS.name}, column 'posted_at'"),
            },
        )
        for row in posts.to_pylist()
    )
    people = ((f"@{author}", {"kind": "author", "title": names.get(author, author)}) for author in ids)
    items = item_table([*written, *people])
    events = pa.concat_tables(
        [
            event_table(
                follows["follower_id"],
                pc.binary_join_element_wise("@", follows["author_id"], ""),
                actions,
                pc.multiply(follows["timestamp"], 1000),
            ),
            event_table(
                reactions["user_id"],
                reactions["post_id"],
                reactions["type"],
                pc.multiply(reactions["timestamp"], 1000),
            ),
        ]
    )
    return Tables(items=items, events=events)


def _check_values(path: Path, column: str, values: pa.ChunkedArray, known: Collection[str]) -> None:
    good = pc.is_in(values, pa.array(known))
    row = pc.index(good, False).as_py()
    if row >= 0:
        given = values[row].as_py()
        raise DataError(
            f"{path}, row {row + 1}, column {column!r}: {given[:60]!r} is not understood"
            f"{nearest(given, known)}; correct the cell or remove the row",
            field=column,
        )


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1]}…"
