"""Book-Crossing, as it was published (semicolons, Latin-1) and as CSV."""

from __future__ import annotations

import html

from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.formats.model import EventColumns, Format, ItemColumns, Row, renamed

_DIALECT = Dialect(escape="\\")


def _book(row: Row) -> Row:
    return {name: html.unescape(value) if isinstance(value, str) else value for name, value in row.items()}


EVENTS: tuple[Format[EventColumns], ...] = (
    Format(
        "book-crossing",
        "Book-Crossing",
        EventColumns(
            renamed(user_id="User-ID", item_id="ISBN", value="Book-Rating"),
            scale=(1, 10),
            unrated=frozenset((0.0,)),
            timed=False,
        ),
        header=("User-ID", "ISBN", "Book-Rating"),
        dialect=_DIALECT,
    ),
)

ITEMS: tuple[Format[ItemColumns], ...] = (
    Format(
        "book-crossing",
        "Book-Crossing",
        ItemColumns(
            renamed(
                item_id="ISBN",
                title="Book-Title",
                author="Book-Author",
                year="Year-Of-Publication",
                publisher="Publisher",
                image_url="Image-URL-L",
            ),
            skipped=frozenset(("Image-URL-S", "Image-URL-M")),
            convert=_book,
        ),
        header=("ISBN", "Book-Title", "Book-Author"),
        dialect=_DIALECT,
    ),
)
