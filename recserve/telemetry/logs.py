"""Log lines as JSON objects, with the ids of the requests that they are about."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from logging.handlers import MemoryHandler
from typing import Any, Literal

from recserve.errors import ConfigError
from recserve.telemetry.requests import NO_REQUEST, RequestContext, current

VARIABLE = "RECSERVE_LOG_FORMAT"
"""Environment variable that comes before ``server.log_format``."""

LogFormat = Literal["text", "json"]


def chosen_format(configured: LogFormat) -> LogFormat:
    """The format of log lines in this process: the environment's, else the configured one.

    Raises:
        ConfigError: The environment names another.
    """
    match os.environ.get(VARIABLE, configured):
        case "text":
            return "text"
        case "json":
            return "json"
        case other:
            raise ConfigError(
                f"{VARIABLE} must be text or json, not {other[:40]!r}", field="server.log_format"
            )


class JsonFormatter(logging.Formatter):
    """Formatter that writes a record as one line of JSON.

    Args:
        mask: Hides secrets in the finished line.
        facts: What every line says of the process, such as its stage.
    """

    def __init__(self, mask: Callable[[str], str], **facts: str) -> None:
        super().__init__()
        self._mask = mask
        self._facts = facts

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        requests: RequestContext = getattr(record, "requests", NO_REQUEST)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._facts,
        }
        if requests.request_ids:
            line["request_ids"] = requests.request_ids
        if requests.traceparents:
            line["trace_ids"] = requests.trace_ids
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        return self._mask(json.dumps(line, ensure_ascii=False, default=str))


class _NoteRequests(logging.Filter):
    """Notes the requests that a record is about when it is made: it may be written later, and elsewhere."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.requests = current()
        return True


def write_json(handlers: Iterable[logging.Handler], mask: Callable[[str], str], **facts: str) -> None:
    """Have handlers write JSON.

    Args:
        handlers: The handlers; of one that only collects records, its target writes them.
        mask: Hides secrets in a finished line.
        **facts: See :class:`JsonFormatter`.
    """
    formatter, note = JsonFormatter(mask, **facts), _NoteRequests()
    for handler in handlers:
        handler.addFilter(note)
        writer = handler.target if isinstance(handler, MemoryHandler) else handler
        (writer or handler).setFormatter(formatter)
