"""Parts of what a path names by an id that may hold slashes, such as the history of a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request

AUDIENCE = "/audience"
HISTORY = "/history"
MERGE = "/merge"


def refuse_other_methods(parameter: str, parts: Mapping[str, str]) -> Callable[[Request], None]:
    """Check that a part is asked for by its own method, lest another be done to what has an id that ends so.

    Args:
        parameter: Name of the id in the path.
        parts: Ending of the path -> its only method.
    """

    def check(request: Request) -> None:
        named = str(request.path_params.get(parameter, ""))
        for suffix, allowed in parts.items():
            if request.method != allowed and named.endswith(suffix) and ends_in(request, suffix):
                raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allowed})

    return check


def ends_in(request: Request, suffix: str) -> bool:
    """Whether a path ends so as it was sent: a user called ``a/history`` sends ``a%2Fhistory``."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.partition(b"?")[0].endswith(suffix.encode())
