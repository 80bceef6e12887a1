"""Access to Gorse's paths: what a key must be good for."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from recserve.api.routes.gorse.wire.errors import plain_text
from recserve.errors import RecserveError
from recserve.store import Scope

_ANSWERING = frozenset(
    {
        "collaborative-filtering",
        "intermediate",
        "item-to-item",
        "latest",
        "non-personalized",
        "popular",
        "recommend",
        "session",
        "user-to-user",
    }
)


class GorseAccess:
    """See :class:`recserve.api.middleware.security.Access`.

    Args:
        prefix: Path that the routes are under.
    """

    def __init__(self, prefix: str) -> None:
        self.under = f"{prefix}/"

    def scope(self, method: str, path: str) -> Scope | None:
        """The scope that a call needs; None for health, which anybody may ask for."""
        kind, _, rest = path.removeprefix(self.under).partition("/")
        if kind == "health":
            return None
        if kind in _ANSWERING and method in ("GET", "HEAD", "POST"):
            return "recommend"
        if method in ("GET", "HEAD", "OPTIONS"):
            return "recommend" if kind == "item" and "/neighbors" in f"/{rest}" else "read"
        return "admin" if kind == "user" and method == "DELETE" else "write"

    def refusal(self, error: RecserveError, headers: Mapping[str, str]) -> Response:
        """The answer to a call that is not let in."""
        return plain_text(error, error.message, headers)
