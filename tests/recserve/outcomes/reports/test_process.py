"""Questions are answered by a process that stays, and that is replaced when it is gone."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recserve.config import Config
from recserve.data.system.cpus import NICENESS
from recserve.errors import StoreError
from recserve.outcomes.reports.process import QuestionProcess
from recserve.store import open_store

PROGRAM = """
import os, time
from recserve.errors import DataError
from recserve.outcomes.reports import process

def pid(store, config, lake, question):
    return [os.getpid(), question["n"], store.catalogue_size()]

def wrong(store, config, lake, question):
    raise DataError("of no\\nuse")

def sleep(store, config, lake, question):
    time.sleep(60)

def crash(store, config, lake, question):
    raise ValueError("bad luck")

def large(store, config, lake, question):
    process.MOST_BYTES = 1
    return "x" * 300_000

process.answer_questions({"pid": pid, "wrong": wrong, "sleep": sleep, "crash": crash, "large": large})
"""


def until_gone(pid: int) -> None:
    """Wait until a process is no more, or is only waited for."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError("it did not end")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program that answers questions."""
    (tmp_path / "answering_questions.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    return "answering_questions"


@pytest.fixture
def process(module: str, tmp_path: Path) -> Iterator[QuestionProcess]:
    """It, of an empty store."""
    open_store(None, tmp_path).close()
    asked = QuestionProcess(module, Config(), tmp_path, seconds=120)
    yield asked
    asked.close()


def test_one_process_answers_until_it_is_gone(process: QuestionProcess) -> None:
    first, number, items = json.loads(process.ask("pid", {"n": 1}))
    assert (number, items, process.pid) == (1, 0, first)
    # It never takes from answers what they could use.
    assert os.getpriority(os.PRIO_PROCESS, first) == NICENESS
    with pytest.raises(StoreError, match=r"^of no use$"):
        process.ask("wrong", {})
    assert json.loads(process.ask("pid", {"n": 2})) == [first, 2, 0]
    os.kill(first, signal.SIGKILL)
    until_gone(first)
    second, number, _ = json.loads(process.ask("pid", {"n": 3}))
    assert second != first
    assert number == 3
    assert len(json.loads(process.ask("large", {}))) == 300_000
    until_gone(second)
    with pytest.raises(StoreError, match="ended with status 1: ValueError: bad luck"):
        process.ask("crash", {})
    third, _, _ = json.loads(process.ask("pid", {"n": 4}))
    process.close()
    until_gone(third)
    assert process.pid is None


def test_a_process_without_questions_ends_by_itself(module: str, tmp_path: Path) -> None:
    open_store(None, tmp_path).close()
    process = QuestionProcess(module, Config(), tmp_path, idle_seconds=0.05)
    first = json.loads(process.ask("pid", {"n": 1}))[0]
    until_gone(first)
    assert json.loads(process.ask("pid", {"n": 2}))[0] != first
    process.close()


def test_closing_does_not_wait_for_an_answer(process: QuestionProcess) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(process.ask, "sleep", {})
        deadline = time.monotonic() + 60
        while process.pid is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.close()
        with pytest.raises(StoreError, match="ended with status -9"):
            asked.result(30)


def test_an_answer_that_takes_too_long_is_given_up(module: str, tmp_path: Path) -> None:
    process = QuestionProcess(module, Config(), tmp_path, seconds=0.3)
    with pytest.raises(StoreError, match=r"took longer than 0\.3 s"):
        process.ask("sleep", {})
    assert process.pid is None
