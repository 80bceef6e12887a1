"""Masking of keys and user tokens in texts and in log records."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

# Wider than a key: what was mistyped or cut off is as secret as the rest of it.
_SECRET_IN_TEXT = re.compile(r"(r[st]_[a-z0-9]{1,40})_[0-9A-Za-z_-]{8,}")
_SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|access_?key|private_?key", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{\w+\}")
_LOCATION = re.compile(
    r"(?P<scheme>\w[\w+.-]*://)(?P<signed_in>[^/?#]*@)?(?P<rest>[^?]*)(?P<query>\?.*)?", re.DOTALL
)
MASK = "***"
"""Stands for what is not shown."""
_PASSWORD_IN_URL = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")


def mask_keys(text: str) -> str:
    """The text with the secret part of every key and user token replaced, and every password in a URL."""
    if "rs_" in text or "rt_" in text:
        text = _SECRET_IN_TEXT.sub(r"\1_***", text)
    return _PASSWORD_IN_URL.sub(r"\1:***@", text) if "://" in text else text


def mask_settings(plain: Any) -> Any:
    """Plain data of a configuration with everything that may be a secret replaced by :data:`MASK`.

    Masked are texts under keys that sound like secrets, and of locations what signs in: the user and password
    before the host, and the query. A ``${NAME}`` stays: it says where a secret is, not what it is.
    """
    if isinstance(plain, Mapping):
        return {key: MASK if _is_secret(key, value) else mask_settings(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [mask_settings(value) for value in plain]
    return _mask_location(plain) if isinstance(plain, str) else plain


def unmask_settings(masked: Any, actual: Any) -> Any:
    """What somebody made of masked settings, with the values that were masked and left alone put back.

    Args:
        masked: Plain data that began as :func:`mask_settings` of ``actual``.
        actual: The settings.
    """
    if isinstance(masked, Mapping) and isinstance(actual, Mapping):
        return {
            key: unmask_settings(value, actual[key]) if key in actual else value
            for key, value in masked.items()
        }
    if isinstance(masked, list) and isinstance(actual, list):
        known = zip(masked, actual, strict=False)
        return [unmask_settings(one, other) for one, other in known] + masked[len(actual) :]
    if isinstance(masked, str) and isinstance(actual, str) and MASK in masked:
        return actual if masked in (MASK, mask_settings(actual)) else masked
    return masked


def _is_secret(key: object, value: object) -> bool:
    held = isinstance(value, str) and value and not _VARIABLE.fullmatch(value)
    return bool(held and _SECRET_NAME.search(str(key)))


def _mask_location(text: str) -> str:
    found = _LOCATION.fullmatch(text)
    if found is None:
        return mask_keys(text)
    signed_in, query = found["signed_in"] or "", found["query"] or ""
    if signed_in and not _VARIABLE.fullmatch(signed_in.removesuffix("@").rpartition(":")[2]):
        signed_in = f"{MASK}@"
    values = [part.partition("=")[2] for part in query.removeprefix("?").split("&")]
    if query and not all(_VARIABLE.fullmatch(value) for value in values):
        query = f"?{MASK}"
    return f"{found['scheme']}{signed_in}{found['rest']}{query}"


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
