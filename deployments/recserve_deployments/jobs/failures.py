"""What a worker raised, as the program that asked sees it."""

from __future__ import annotations

from typing import Any, NoReturn

import ray

from recserve.errors import RecserveError


def raise_cause(error: Any) -> NoReturn:
    """Raise what a function raised in another process itself, with the traceback there as a note.

    Args:
        error: A ``ray.exceptions.RayTaskError``, or the ``RaySystemError`` of what cannot be unpacked here.

    Raises:
        Exception: What the function raised.
        RecserveError: It cannot be told, because its exception does not travel.
    """
    cause = getattr(error, "cause", None)
    if isinstance(cause, ray.exceptions.RayError) or not isinstance(cause, Exception):
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise RecserveError(f"a worker failed: {lines[-1].strip()}") from None
    cause.add_note(str(error))
    raise cause from None


def first_line(error: BaseException) -> str:
    """The first line of what an error says, at most 300 characters, or its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
