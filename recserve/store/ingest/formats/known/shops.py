"""RetailRocket, H&M, and the user behaviour of Taobao."""

from __future__ import annotations

from typing import Any

from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.formats.model import EventColumns, Format, ItemColumns, Rows, renamed
from recserve.store.ingest.problems import RowProblem

_PROPERTIES = {"categoryid": "category", "available": "available"}
"""The properties of RetailRocket that are not hashed."""


def _latest_properties(rows: Rows, file: str) -> Rows:
    """An item for each id, with the newest value of each property that can be read."""
    newest: dict[str, dict[str, tuple[int, Any]]] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        if isinstance(row, RowProblem):
            yield line, row
            continue
        try:
            moment = int(row["timestamp"])
        except (TypeError, ValueError):
            reason = f"timestamp {row['timestamp']!r} is not a whole number"
            yield line, RowProblem(file, line, reason, kind="timestamp is not a whole number")
            continue
        item_id = row["item_id"]
        lines.setdefault(item_id, line)
        known = newest.setdefault(item_id, {})
        name = _PROPERTIES.get(row["property"])
        if name is not None and (name not in known or known[name][0] <= moment):
            known[name] = (moment, row["value"])
    for item_id, known in newest.items():
        yield lines[item_id], {"item_id": item_id, **{name: value for name, (_, value) in known.items()}}


EVENTS: tuple[Format[EventColumns], ...] = (
    Format(
        "retailrocket",
        "RetailRocket",
        EventColumns(
            renamed(user_id="visitorid", item_id="itemid", event="event", timestamp="timestamp"),
            events={"addtocart": "add_to_cart", "transaction": "purchase"},
        ),
        header=("timestamp", "visitorid", "event", "itemid"),
    ),
    Format(
        "hm",
        "H&M",
        EventColumns(
            renamed(user_id="customer_id", item_id="article_id", value="price", timestamp="t_dat"),
            event="purchase",
        ),
        header=("t_dat", "customer_id", "article_id", "price"),
    ),
    Format(
        "taobao",
        "Taobao user behaviour",
        EventColumns(
            renamed(user_id="user_id", item_id="item_id", event="behavior", timestamp="timestamp"),
            events={"pv": "view", "fav": "like", "cart": "add_to_cart", "buy": "purchase"},
        ),
        files=("UserBehavior.csv",),
        dialect=Dialect(",", ("user_id", "item_id", "category_id", "behavior", "timestamp"), quoted=False),
    ),
)

ITEMS: tuple[Format[ItemColumns], ...] = (
    Format(
        "retailrocket",
        "RetailRocket",
        ItemColumns(renamed(item_id="itemid"), combine=_latest_properties),
        header=("timestamp", "itemid", "property", "value"),
        note="the newest categoryid and available of each item are stored; hashed properties are not",
    ),
    Format(
        "hm",
        "H&M",
        ItemColumns(renamed(item_id="article_id", title="prod_name", description="detail_desc")),
        header=("article_id", "prod_name", "detail_desc"),
    ),
)
