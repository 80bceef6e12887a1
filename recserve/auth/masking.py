"""Masking of keys and user tokens in texts and in log records."""

from __future__ import annotations

import logging
import re
from typing import Any

# Wider than a key: what was mistyped or cut off is as secret as the rest of it.
_SECRET_IN_TEXT = re.compile(r"(r[st]_[a-z0-9]{1,40})_[0-9A-Za-z_-]{8,}")
_PASSWORD_IN_URL = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")


def mask_keys(text: str) -> str:
    """The text with the secret part of every key and user token replaced, and every password in a URL."""
    if "rs_" in text or "rt_" in text:
        text = _SECRET_IN_TEXT.sub(r"\1_***", text)
    return _PASSWORD_IN_URL.sub(r"\1:***@", text) if "://" in text else text


def mask_keys_in_logs() -> None:
    """Keep keys out of every log record that this process makes from now on, tracebacks included.

    A client that puts its key into a path or a body by mistake must not find it in a log file. Calling it
    again does no harm.
    """
    before = logging.getLogRecordFactory()
    if getattr(before, "masks_keys", False):
        return

    def make(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = before(*arguments, **named)
        try:
            text = record.getMessage()
        except Exception:  # a broken call of the logger, which logging reports itself
            return record
        if (masked := mask_keys(text)) != text:
            record.msg, record.args = masked, None
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters take a traceback that is there already as it is.
            record.exc_text = mask_keys(_FORMATTER.formatException(record.exc_info))
        return record

    make.masks_keys = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)


_FORMATTER = logging.Formatter()
