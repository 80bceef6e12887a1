"""Log lines as JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from typing import Any

import pytest

from recserve.auth.masking import mask_keys
from recserve.errors import ConfigError
from recserve.telemetry.logs import VARIABLE, chosen_format, write_json
from recserve.telemetry.requests import RequestContext, enter, leave

KEY = f"rs_{'a' * 12}_{'0' * 64}"


class Log:
    """A logger that collects records before it writes them, as those of replicas do."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self._memory = MemoryHandler(1000, flushLevel=100, target=logging.StreamHandler(self._text))
        self.logger = logging.Logger("recserve.test")
        self.logger.addHandler(self._memory)
        write_json(self.logger.handlers, mask_keys, stage="ranking", replica="r1", node="n1")

    def lines(self) -> list[dict[str, Any]]:
        self._memory.flush()
        return [json.loads(line) for line in self._text.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    return Log()


def test_a_line_is_an_object_with_the_requests_of_its_moment(log: Log) -> None:
    token = enter(RequestContext(("a", "b"), ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",)))
    log.logger.warning("two %s\nin one", "lines")
    leave(token)
    log.logger.info("about nobody")
    about, nobody = log.lines()
    assert about["request_ids"] == ["a", "b"]
    assert about["trace_ids"] == ["0af7651916cd43dd8448eb211c80319c"]
    assert about["message"] == "two lines\nin one"
    assert (about["level"], about["logger"]) == ("WARNING", "recserve.test")
    assert (about["stage"], about["replica"], about["node"]) == ("ranking", "r1", "n1")
    assert about["time"].endswith("Z")
    assert not {"request_ids", "trace_ids", "exception"} & set(nobody)


def test_no_secret_is_written_wherever_it_stands(log: Log) -> None:
    token = enter(RequestContext((KEY,)))
    try:
        raise ValueError(f"cannot open postgresql://shop:hunter2@db/shop with {KEY}")
    except ValueError:
        log.logger.exception("key %s", KEY)
    leave(token)
    (line,) = log.lines()
    assert "hunter2" not in json.dumps(line)
    assert "0" * 64 not in json.dumps(line)
    assert line["exception"].endswith(f"cannot open postgresql://shop:***@db/shop with rs_{'a' * 12}_***"), (
        line["exception"]
    )
    assert line["request_ids"] == [f"rs_{'a' * 12}_***"]


def test_the_environment_comes_before_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_format("text") == "text"
    monkeypatch.setenv(VARIABLE, "json")
    assert chosen_format("text") == "json"
    monkeypatch.setenv(VARIABLE, "yaml")
    with pytest.raises(ConfigError, match="must be text or json, not 'yaml'"):
        chosen_format("text")
