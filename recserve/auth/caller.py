"""Caller: who is behind a request, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recserve.auth.errors import ForbiddenError
from recserve.store import Scope

if TYPE_CHECKING:
    from starlette.requests import Request

SCOPES: tuple[Scope, ...] = ("recommend", "read", "write", "admin")
INCLUDED: Mapping[Scope, frozenset[Scope]] = {
    "recommend": frozenset({"recommend"}),
    "read": frozenset({"recommend", "read"}),
    "write": frozenset({"write"}),
    "admin": frozenset(SCOPES),
}
ANONYMOUS = "anonymous"
CALLER = "recserve.caller"
"""Entry of an ASGI scope that holds the :class:`Caller`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a request, and what they may do. The default may do everything.

    Attributes:
        actor: As the audit log names it: ``key:ID`` or ``anonymous``.
        scopes: What they may do.
        user_id: The only user whom they may ask for; None for any.
    """

    actor: str = ANONYMOUS
    scopes: frozenset[Scope] = frozenset(SCOPES)
    user_id: str | None = None

    def check_user(self, user_id: str | None) -> None:
        """Check that this user may be asked for.

        Raises:
            ForbiddenError: The caller is bound to another one.
        """
        if self.user_id is not None and user_id not in (None, self.user_id):
            raise ForbiddenError("this token is good for another user", field="user_id")


EVERYBODY = Caller()
NOBODY = Caller(scopes=frozenset())
"""Who came without a good key and is let in all the same."""


def caller_of(request: Request) -> Caller:
    """Who is behind a request; where nobody checks keys, everybody may do everything."""
    found: Caller = request.scope.get(CALLER, EVERYBODY)
    return found
