"""Handlers of users."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from recserve.api.routes.gorse.wire.answers import answer, rows_affected, user_answer
from recserve.api.routes.gorse.wire.bodies import UserBody, UserFields, read_list, read_one
from recserve.api.routes.gorse.wire.parameters import MOST_LISTED, count, cursor_of
from recserve.api.routes.recommendations import backend_of
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of
from recserve.data.entities import User
from recserve.errors import NotFoundError
from recserve.store import UserPlace

_LIST = "gorse-users"


class UserRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def insert(self, request: Request) -> Response:
        """Answer ``POST /user``."""
        body = await read_one(request, self._settings.max_bulk_bytes, UserBody)
        return rows_affected(await backend_of(request).upsert_users([body.to_user()]))

    async def insert_many(self, request: Request) -> Response:
        """Answer ``POST /users``."""
        users = await read_list(request, self._settings.max_bulk_bytes, UserBody, UserBody.to_user)
        if users:
            await backend_of(request).upsert_users(users)
        return rows_affected(len(users))

    async def modify(self, request: Request) -> Response:
        """Answer ``PATCH /user/{user-id}``; one that has done something and has no profile gets one."""
        user_id = request.path_params["user_id"]
        body = await read_one(request, self._settings.max_bulk_bytes, UserFields)
        backend = backend_of(request)
        unknown = await backend.patch_users([body.to_patch(user_id)])
        if unknown and await self._has_done_something(request, user_id):
            return rows_affected(await backend.upsert_users([User(user_id, body.attributes())]))
        return rows_affected(0 if unknown else 1)

    async def show(self, request: Request) -> Response:
        """Answer ``GET /user/{user-id}``."""
        user_id = request.path_params["user_id"]
        user = await backend_of(request).user(user_id)
        if user is None and await self._has_done_something(request, user_id):
            user = User(user_id)
        if user is None:
            raise NotFoundError("user not found")
        return answer(user_answer(user))

    async def list_users(self, request: Request) -> Response:
        """Answer ``GET /users``: those with a profile."""
        backend, n = backend_of(request), count(request, most=MOST_LISTED)
        place = UserPlace("profile", backend.cursors.after(_LIST, cursor_of(request)))
        found, further = await backend.browse_users("profile", place, n)
        following = "" if further is None else backend.cursors.of_list(_LIST, further.after or "")
        return answer({"Cursor": following, "Users": [user_answer(listed.user) for listed in found]})

    async def delete(self, request: Request) -> Response:
        """Answer ``DELETE /user/{user-id}``: forgets the person."""
        await backend_of(request).delete_user(request.path_params["user_id"], caller_of(request).actor)
        return rows_affected(1)

    async def _has_done_something(self, request: Request, user_id: str) -> bool:
        return bool(await backend_of(request).history(user_id, 1))
