"""Log of what plugins do wrong: once per kind with its traceback, then a line a minute."""

from __future__ import annotations

import logging
import re
import threading
import time

from recserve.errors import BundleError, OverloadedError, RecserveError, StageError, StoreError

logger = logging.getLogger(__name__)

_MESSAGE = 200
_AGAIN_SECONDS = 60.0
_KINDS = 1000


def as_stage_error(error: BaseException) -> RecserveError:
    """What plugin code raised as an error of ours, whatever its class; the original is its cause."""
    if isinstance(error, RecserveError):
        return error
    failure = StageError(f"{type(error).__name__}: {brief(error)}")
    failure.__cause__ = error
    return failure


def cause_of(error: BaseException) -> str:
    """Why something is done without, in one word that metrics count."""
    if isinstance(error, StageError):
        return error.cause
    named = {OverloadedError: "overloaded", StoreError: "store", BundleError: "bundle"}
    return next((cause for kind, cause in named.items() if isinstance(error, kind)), StageError.cause)


def brief(error: BaseException) -> str:
    """The message of an error as one short line: it may hold whole arrays, or be impossible to print."""
    try:
        text = " ".join(str(error).split())
    except BaseException as other:
        return f"(its message cannot be printed: {type(other).__name__})"
    return text if len(text) <= _MESSAGE else f"{text[:_MESSAGE]}..."


class FailureLog:
    """Counts failures by component and kind, so that a broken plugin cannot flood the log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str, str], tuple[float, int]] = {}

    def note(self, component: str, error: BaseException) -> None:
        """Log a failure: with its traceback the first time, then at most once a minute with their number.

        Args:
            component: Such as ``retriever:mf`` or ``ranking``.
            error: What was raised.
        """
        origin = error.__cause__ if isinstance(error, StageError) and error.__cause__ else error
        # Our own errors are told apart by what they say, whatever the numbers in it.
        told = re.sub(r"\d+", "#", origin.message) if isinstance(origin, RecserveError) else ""
        kind = (component, type(origin).__name__, told)
        now = time.monotonic()
        with self._lock:
            logged_at, unsaid = self._kinds.get(kind, (None, 0))
            if logged_at is not None and now < logged_at + _AGAIN_SECONDS:
                self._kinds[kind] = (logged_at, unsaid + 1)
                return
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            self._kinds[kind] = (now, 0)
        if logged_at is None:
            # A late call has no traceback of interest: it ends in our own waiting.
            trace = None if origin.__traceback__ is None or isinstance(origin, StageError) else origin
            logger.warning("%s failed: %s: %s", component, kind[1], brief(origin), exc_info=trace)
        else:
            logger.warning("%s failed %d more times: %s: %s", component, unsaid + 1, kind[1], brief(origin))


_PROCESS_LOG = FailureLog()


def log_failure(component: str, error: BaseException) -> None:
    """Log a failure in the log of this process; see :meth:`FailureLog.note`."""
    _PROCESS_LOG.note(component, error)
