"""Calls about users.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from recserve_client.answers import (
    Changed,
    History,
    HistoryEvent,
    ListedUser,
    Merged,
    Receipt,
    User,
    Users,
    UsersStored,
)
from recserve_client.core.sending import Call, Sender
from recserve_client.params import UserParam, UserPatchParam


class UsersCalls(Sender):
    """Calls about users."""

    def list_users(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        having: Literal["profile", "events", "any"] | None = None,
        user_id: str | None = None,
    ) -> Users:
        """List users.

        All users with a profile, with events, or with any of them, part by part, as for items; or
        what is known of one.

        Args:
            limit: At most this many. Default: 100.
            cursor: From the answer before: what follows it.
            having: Users with a `profile`, with `events`, or with `any` of the two: those with a
                profile first, then those who have events alone. Default: profile.
            user_id: Only this user, if there is a profile or an event; all else is passed over.
        """
        return self._send(
            Call(
                "GET",
                "/v1/users",
                Users,
                repeatable=True,
                query={"limit": limit, "cursor": cursor, "having": having, "user_id": user_id},
            )
        )

    def iter_users(
        self,
        *,
        limit: int | None = None,
        having: Literal["profile", "events", "any"] | None = None,
        user_id: str | None = None,
    ) -> Iterator[ListedUser]:
        """List users, page by page.

        Asks for a page when it is needed; see :meth:`list_users`.
        """
        cursor: str | None = None
        while True:
            page = self.list_users(limit=limit, having=having, user_id=user_id, cursor=cursor)
            yield from page.users
            if page.cursor is None:
                return
            cursor = page.cursor

    def upsert_users(self, users: Sequence[UserParam]) -> UsersStored:
        """Add or replace profiles.

        Up to 10,000 users, all or none. A user needs no profile; stated interests help while there
        are few events.

        Args:
            users: Up to 10,000 users; of equal ids the last one counts.
        """
        return self._send(Call("POST", "/v1/users", UsersStored, repeatable=True, body={"users": users}))

    def patch_users(self, users: Sequence[UserPatchParam]) -> Changed:
        """Change profiles.

        Sets some attributes; null removes one; what is left out stays.

        Args:
            users: Up to 10,000 changes, made in this order.
        """
        return self._send(Call("PATCH", "/v1/users", Changed, repeatable=True, body={"users": users}))

    def history(self, user_id: str, *, limit: int | None = None, cursor: str | None = None) -> History:
        """A user's history.

        Newest first, part by part: `cursor` of each answer asks for the next, older part. What
        happens meanwhile repeats and skips nothing.

        Args:
            user_id: As it is; the client encodes it.
            limit: At most this many. Default: 50.
            cursor: From the answer before: what follows it.
        """
        return self._send(
            Call(
                "GET",
                Call.path("/v1/users/{user_id}/history", user_id),
                History,
                repeatable=True,
                query={"limit": limit, "cursor": cursor},
            )
        )

    def iter_history(self, user_id: str, *, limit: int | None = None) -> Iterator[HistoryEvent]:
        """A user's history, page by page.

        Asks for a page when it is needed; see :meth:`history`.
        """
        cursor: str | None = None
        while True:
            page = self.history(user_id, limit=limit, cursor=cursor)
            yield from page.events
            if page.cursor is None:
                return
            cursor = page.cursor

    def merge_user(self, user_id: str, from_: str) -> Merged:
        """Log a session in.

        Events that were sent under the id of an anonymous session become this user's; attributes
        are added where the user has none of that name. Merging again does no harm.

        Args:
            user_id: As it is; the client encodes it.
            from_: The user id under which an anonymous session's events were sent.
        """
        return self._send(
            Call(
                "POST",
                Call.path("/v1/users/{user_id}/merge", user_id),
                Merged,
                repeatable=True,
                body={"from": from_},
            )
        )

    def user(self, user_id: str) -> User:
        """A user's profile.

        Its attributes.

        Args:
            user_id: As it is; the client encodes it.
        """
        return self._send(Call("GET", Call.path("/v1/users/{user_id}", user_id), User, repeatable=True))

    def delete_user(self, user_id: str) -> Receipt:
        """Forget a user.

        Removes events, profile and logged recommendations from the store and from all caches; no
        bundle that is trained from now on knows the person. The receipt does not name the person.

        Args:
            user_id: As it is; the client encodes it.
        """
        return self._send(Call("DELETE", Call.path("/v1/users/{user_id}", user_id), Receipt, repeatable=True))
