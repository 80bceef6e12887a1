"""Store protocol of browsing. Every call looks at a bounded number of rows, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from recserve.data.entities import Item
from recserve.store.browsing.search import ItemSearch


@dataclass(frozen=True, slots=True)
class ItemPage:
    """What one call of a search found.

    Attributes:
        items: The items, in the order of :meth:`ItemStore.list_items`.
        last: Id of the last item looked at, which the search goes on after; None at the end of the catalogue.
        examined: Items looked at.
    """

    items: Sequence[Item]
    last: str | None
    examined: int


class ActiveUser(NamedTuple):
    """A user with events.

    Attributes:
        user_id: The user.
        last_event: Moment of the newest event, milliseconds since the epoch.
    """

    user_id: str
    last_event: int


class BrowsingStore(Protocol):
    """Lists and searches for people who look around."""

    def search_items(self, search: ItemSearch, after: str | None, limit: int) -> ItemPage:
        """Look for items behind an item id, in the order of :meth:`ItemStore.list_items`.

        At most some tens of thousands of items are looked at a call, so it may find fewer than ``limit``, or
        none, long before the end: :attr:`ItemPage.last` says whether there is more to look at.

        Args:
            search: The condition.
            after: :attr:`ItemPage.last` of the call before; None starts.
            limit: At most this many items.
        """
        ...

    def users_with_events(self, after: str | None, limit: int) -> list[ActiveUser]:
        """The next users who have events, in a fixed order that means nothing.

        Takes one look into an index a user, however many events each has.

        Args:
            after: Go on after this user, who need not have events any more; None starts.
            limit: At most this many users.
        """
        ...
