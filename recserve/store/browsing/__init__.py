"""Browsing: searching the catalogue and listing users, a bounded number of rows a call."""

from __future__ import annotations

from recserve.store.browsing.people import Having, ListedUser, UserPlace, browse_users, find_user
from recserve.store.browsing.protocol import ActiveUser, BrowsingStore, ItemPage
from recserve.store.browsing.search import ItemSearch, StateName

__all__ = [
    "ActiveUser",
    "BrowsingStore",
    "Having",
    "ItemPage",
    "ItemSearch",
    "ListedUser",
    "StateName",
    "UserPlace",
    "browse_users",
    "find_user",
]
