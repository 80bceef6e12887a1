"""Amazon reviews of 2014, 2018 and 2023, and Yelp."""

from __future__ import annotations

import html
from typing import Any

from recserve.store.ingest.columns.cells import CellError
from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.formats.model import EventColumns, Format, ItemColumns, Row, renamed, split
from recserve.store.ingest.problems import quoted

_NOT_STORED = frozenset(
    (
        "imageURL", "imageURLHighRes", "imUrl", "images", "videos", "also_buy", "also_view", "also_viewed",
        "related", "bought_together", "similar_item", "tech1", "tech2", "fit", "rank", "salesRank", "details",
        "author",
    )
)  # fmt: skip


def _product(row: Row) -> Row:
    """Texts unescaped, categories as one list, the price as a number."""
    made = {name: _text(value) for name, value in row.items()}
    categories = split(_flat(row.get("categories") or row.get("category")), "|")
    made.pop("category", None)
    made["categories"] = [html.unescape(category) for category in dict.fromkeys(categories)]
    price = row.get("price")
    if isinstance(price, str):
        made["price"] = _price(price.strip())
    return made


def _price(text: str) -> float | CellError | None:
    """A price in dollars; of some products there is a range instead, or what a page had in its place."""
    digits = text.removeprefix("$").replace(",", "")
    if digits.isascii() and digits.replace(".", "", 1).isdigit():
        return float(digits)
    return CellError(f"{quoted(text)} is left out: not a price", "left out, not a price") if text else None


def _flat(value: Any) -> Any:
    """Paths of categories (a list of lists) as one list."""
    if isinstance(value, list) and any(isinstance(entry, list) for entry in value):
        return [name for path in value for name in (path if isinstance(path, list) else [path])]
    return value


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [html.unescape(text) for text in value if isinstance(text, str) and text.strip()]
    return html.unescape(value) if isinstance(value, str) else value


def _business(row: Row) -> Row:
    return {**row, "categories": split(row.get("categories"), ",")}


def _ratings(year: int, *header: str) -> Format[EventColumns]:
    return Format(
        f"amazon-ratings-{year}",
        f"Amazon ratings of {year}",
        EventColumns({name: (name,) for name in header}),
        files=("ratings_*.csv",) if year == 2014 else (),
        dialect=Dialect(",", header, quoted=False),
    )


EVENTS: tuple[Format[EventColumns], ...] = (
    Format(
        "amazon",
        "Amazon reviews of 2014 and 2018",
        EventColumns(
            renamed(
                user_id="reviewerID",
                item_id="asin",
                value="overall",
                timestamp="unixReviewTime",
                text="reviewText or summary",
            )
        ),
        header=("reviewerID", "asin", "overall"),
    ),
    Format(
        "amazon",
        "Amazon reviews of 2023",
        # A parent is what the metadata describes; an asin is one of its variants.
        EventColumns(
            renamed(
                user_id="user_id",
                item_id="parent_asin or asin",
                value="rating",
                timestamp="timestamp",
                text="text or title",
            )
        ),
        header=("user_id", "parent_asin", "rating", "timestamp"),
    ),
    _ratings(2014, "user_id", "item_id", "value", "timestamp"),
    _ratings(2018, "item_id", "user_id", "value", "timestamp"),
    Format(
        "yelp",
        "Yelp",
        EventColumns(
            renamed(
                event_id="review_id",
                user_id="user_id",
                item_id="business_id",
                value="stars",
                timestamp="date",
                text="text",
            )
        ),
        header=("review_id", "user_id", "business_id", "stars", "date"),
    ),
)

ITEMS: tuple[Format[ItemColumns], ...] = (
    Format(
        "amazon",
        "Amazon metadata of 2023",
        ItemColumns(renamed(item_id="parent_asin"), skipped=_NOT_STORED, convert=_product),
        header=("parent_asin", "title", "main_category"),
    ),
    Format(
        "amazon",
        "Amazon metadata of 2014 and 2018",
        ItemColumns(renamed(item_id="asin"), skipped=_NOT_STORED, convert=_product),
        recognise=lambda header: (
            "asin" in header
            and bool({"title", "categories", "category"} & set(header))
            and "reviewerID" not in header
        ),
    ),
    Format(
        "yelp",
        "Yelp",
        ItemColumns(renamed(item_id="business_id"), skipped=frozenset(("hours",)), convert=_business),
        header=("business_id", "name", "categories"),
    ),
)
