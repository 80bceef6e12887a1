"""One error tree. Each class has a stable code, an HTTP status and says who has to act.

A message is one line that names what is wrong and how to mend it; it never holds a traceback or a
secret. The command line prints it and exits with status 2; the HTTP API sends it as
``{"error": {"code", "message", "field"}}``.
"""

from __future__ import annotations

from typing import ClassVar


class RecserveError(Exception):
    """Base of everything recserve raises on purpose.

    Args:
        message: One line for the person who has to act.
        field: The request field, config key or column at fault, where there is one.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes with the field kept."""
        return _rebuild, (type(self), self.message, self.field)


def _rebuild(kind: type[RecserveError], message: str, field: str | None) -> RecserveError:
    return kind(message, field=field)


class ConfigError(RecserveError):
    """A configuration that cannot work: unknown key, unknown component, bad parameter."""

    code = "invalid_config"
    status = 400


class InvalidRequestError(RecserveError):
    """A request whose content is wrong although its syntax is right."""

    code = "invalid_request"
    status = 422


class NotFoundError(RecserveError):
    """The named item, user, scenario or bundle does not exist."""

    code = "not_found"
    status = 404


class ConflictError(RecserveError):
    """An event that contradicts what the store knows. Sending it again does not help."""

    code = "conflict"
    status = 409


class EventIdConflictError(ConflictError):
    """An ``event_id`` that stands for an event with other content."""

    code = "event_id_conflict"


class EventRemovedError(ConflictError):
    """The ``event_id`` of an event that was taken back or deleted with its user."""

    code = "event_removed"


class UserDeletedError(ConflictError):
    """An event of a user who was deleted after it happened."""

    code = "user_deleted"


class ExperimentConflictError(RecserveError):
    """An experiment that cannot go together with another one, or with what has become of itself."""

    code = "experiment_conflict"
    status = 409


class DataError(RecserveError):
    """A data file or data set that cannot be read as what it claims to be."""

    code = "invalid_data"
    status = 422


class PluginError(RecserveError):
    """A plugin that is missing, broken or collides with another one."""

    code = "plugin_error"
    status = 500


class BundleError(RecserveError):
    """A bundle that is missing, truncated, altered or made by an incompatible version."""

    code = "bundle_error"
    status = 503


class StoreError(RecserveError):
    """The store cannot be reached or refuses; nothing was acknowledged."""

    code = "store_unavailable"
    status = 503


class OutcomeUnknownError(StoreError):
    """A write whose fate is unknown: the store stopped answering while it was being committed."""

    code = "outcome_unknown"


class NotReadyError(RecserveError):
    """The server is up but has nothing to serve yet."""

    code = "not_ready"
    status = 503


class OverloadedError(RecserveError):
    """The bounded queue is full; the caller should come back a little later."""

    code = "overloaded"
    status = 503


class StageError(RecserveError):
    """A stage failed or missed its deadline. The pipeline degrades; callers do not see this.

    Attributes:
        cause: Why, in one word, as metrics count it.
    """

    code = "stage_failed"
    status = 503
    cause: ClassVar[str] = "failed"


class StageLateError(StageError):
    """A stage or component that missed its deadline."""

    cause = "late"


class StageDownError(StageError):
    """A stage or component that is not even asked: it died, or its earlier calls hang."""

    cause = "down"


class RuntimeEnvironmentError(RecserveError):
    """The surroundings do not allow it: a port in use, a Ray that cannot start."""

    code = "environment"
    status = 503
