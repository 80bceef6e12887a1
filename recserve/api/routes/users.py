"""Handlers of users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from recserve.api.middleware.body import read, validate
from recserve.api.middleware.parts import HISTORY, MERGE, ends_in
from recserve.api.pagination import Cursors
from recserve.api.routes.recommendations import Limit, ListCursor, UserId, backend_of
from recserve.api.schemas import browsing
from recserve.api.schemas import responses as answers
from recserve.api.schemas.browsing import ListedUserAnswer
from recserve.api.schemas.write_request import MergeBody, UserPatchesBody, UsersBody
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of
from recserve.data.entities import User
from recserve.errors import InvalidRequestError, NotFoundError
from recserve.store import Having, UserPatch, UserPlace

_LIST = "users"
_PROFILES, _EVENTS = UserPlace("profile"), UserPlace("events")
_PLACES: Mapping[Having, Sequence[UserPlace]] = {
    "profile": (_PROFILES,),
    "events": (_EVENTS,),
    "any": (_PROFILES, _EVENTS),
}


class UserRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def upsert_users(self, request: Request) -> Response:
        """Answer `POST /v1/users`."""

        def parse(data: Any) -> list[User]:
            return validate(UsersBody, data).to_users()

        users = await read(request, self._settings.max_bulk_bytes, parse)
        return answers.json_response({"accepted": await backend_of(request).upsert_users(users)})

    async def patch_users(self, request: Request) -> Response:
        """Answer `PATCH /v1/users`."""

        def parse(data: Any) -> list[UserPatch]:
            return validate(UserPatchesBody, data).to_patches()

        patches = await read(request, self._settings.max_bulk_bytes, parse)
        unknown = await backend_of(request).patch_users(patches)
        return answers.json_response(answers.changed_answer({one.user_id for one in patches}, unknown))

    async def list_users(
        self,
        request: Request,
        limit: Limit = 100,
        cursor: ListCursor = None,
        having: browsing.HavingWhat = "profile",
        user_id: browsing.OneUser = None,
    ) -> Response:
        """Answer `GET /v1/users`."""
        backend = backend_of(request)
        if user_id is not None:
            one = await backend.find_user(user_id)
            listed = [] if one is None else [answers.filled(ListedUserAnswer, one, **_who(one.user))]
            return answers.json_response({"users": listed, "cursor": None})
        found, place = await backend.browse_users(having, _place(backend.cursors, having, cursor), limit)
        following = None
        if place is not None:
            following = backend.cursors.of_list(_kind(having, place.part), place.after or "")
        listed = [answers.filled(ListedUserAnswer, one, **_who(one.user)) for one in found]
        return answers.json_response({"users": listed, "cursor": following})

    async def user(self, request: Request, user_id: UserId) -> Response:
        """Answer `GET /v1/users/{user_id}`."""
        user = await backend_of(request).user(user_id)
        if user is None:
            raise NotFoundError(f"user {user_id[:80]!r} has no profile", field="user_id")
        return answers.json_response(answers.user_answer(user))

    async def history(
        self, request: Request, user_id: UserId, limit: Limit = 50, cursor: ListCursor = None
    ) -> Response:
        """Answer `GET /v1/users/{user_id}/history`."""
        if not ends_in(request, HISTORY):
            return await self.user(request, user_id + HISTORY)
        backend = backend_of(request)
        found = await backend.history(user_id, limit + 1, backend.cursors.before(user_id, cursor))
        # One more than asked for tells whether there is another page.
        following = (
            backend.cursors.of_history(user_id, found[limit - 1].place) if len(found) > limit else None
        )
        return answers.json_response(answers.history_answer(user_id, found[:limit], following))

    async def merge_user(self, request: Request, user_id: UserId) -> Response:
        """Answer `POST /v1/users/{user_id}/merge`."""

        def parse(data: Any) -> str:
            return validate(MergeBody, data).source

        if not ends_in(request, MERGE):  # a user called so, who cannot be posted to
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "DELETE, GET"})
        source = await read(request, self._settings.max_body_bytes, parse)
        if source == user_id:
            raise InvalidRequestError("from: a user cannot become itself", field="from")
        moved = await backend_of(request).merge_user(source, user_id, caller_of(request).actor)
        return answers.json_response({"moved": moved})

    async def delete_user(self, request: Request, user_id: UserId) -> Response:
        """Answer `DELETE /v1/users/{user_id}`."""
        receipt = await backend_of(request).delete_user(user_id, caller_of(request).actor)
        return answers.json_response(answers.receipt_answer(receipt))


def _kind(having: Having, part: str) -> str:
    """Name of a part of a list, which its cursors carry."""
    return _LIST if having == "profile" else f"{_LIST}:{having}:{part}"


def _place(cursors: Cursors, having: Having, cursor: str | None) -> UserPlace | None:
    """Where a list goes on; None starts it.

    Raises:
        InvalidRequestError: The cursor is damaged or belongs to another list.
    """
    if cursor is None:
        return None
    parts: dict[str, UserPlace] = {_kind(having, place.part): place for place in _PLACES[having]}
    kind, last = cursors.within(parts, cursor)
    return parts[kind]._replace(after=last or None)


def _who(user: User) -> dict[str, Any]:
    return {"user_id": user.user_id, "attributes": user.attributes}
