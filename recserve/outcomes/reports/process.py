"""Process that answers questions about a store and stays for the next one.

Whoever asks goes on serving meanwhile, with the interpreter's lock to itself, and only the first question
waits for the process to start. It goes behind whoever serves from its start, and behind all others when it
answers. It ends by itself when it has had nothing to do for a while, has grown too large, or the asking
process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from recserve.config import Config, parse_config
from recserve.data.system.cpus import step_back
from recserve.errors import RecserveError, StoreError
from recserve.store import Store, open_store
from recserve.store.lake import LakeFolder

SECONDS = 60.0
"""How long a report may take."""

IDLE_SECONDS = 300.0
"""How long a process without questions stays."""

MOST_BYTES = 1 << 30
"""Memory beyond which a process makes way for a new one after its answer."""

_STARTING = 10
"""Niceness of a process that starts, for which somebody waits: on a core that is taken it has a tenth."""

_DONE, _FAILED = b"+", b"-"
_READ_BYTES = 1 << 16

Answer = Callable[[Store, Config, LakeFolder | None, dict[str, Any]], Any]
"""Answers a question: of a store, its configuration and lake, and a question, as plain data."""


class QuestionProcess:
    """Process that answers questions one at a time, started when there is one. Safe to use from threads.

    Args:
        module: What it runs; as a program it calls :func:`answer_questions`.
        config: The configuration, which names the store.
        home: The home folder.
        seconds: How long an answer may take.
        idle_seconds: How long it stays without questions.
    """

    def __init__(
        self,
        module: str,
        config: Config,
        home: Path,
        *,
        seconds: float = SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._command = [sys.executable, "-m", module]
        self._about = {"config": config.model_dump(mode="json"), "home": str(home), "idle": idle_seconds}
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._status = 0
        self._wanted = True
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process, as long as it is there."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def ask(self, kind: str, question: Mapping[str, Any]) -> bytes:
        """Answer a question.

        Args:
            kind: One of those that the module answers.
            question: As plain data.

        Returns:
            The answer, as JSON.

        Raises:
            StoreError: The database failed, or it took too long.
        """
        line = json.dumps([kind, question]).encode() + b"\n"
        with self._lock:
            self._wanted = True
            warm = self.pid is not None
            answer = self._asked(line)
            if not answer and warm and self._wanted:  # it has ended between two questions
                answer = self._asked(line)
            if not answer:
                raise StoreError(self._why())
        if answer.startswith(_FAILED):
            raise StoreError(answer[1:].decode())
        return answer[1:]

    def close(self) -> None:
        """End the process, also in the middle of an answer; a later question starts another one."""
        self._wanted = False
        if (process := self._process) is not None:
            process.kill()
        with self._lock:
            self._end()

    def _asked(self, line: bytes) -> bytes:
        """What the process says to a line; nothing if it has ended."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        began, answer = time.monotonic(), b""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(line)
            process.stdin.flush()
            answer = _Lines(process.stdout.fileno()).next(self._seconds)
        if not answer and time.monotonic() - began >= self._seconds:
            self._end()
            raise StoreError(
                f"the report took longer than {self._seconds:g} s; ask for it on the command line"
            )
        if not answer:
            self._status = process.wait()
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        self._end()
        self._errors.seek(0)
        self._errors.truncate()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        with contextlib.suppress(OSError):  # it has ended already
            os.setpriority(
                os.PRIO_PROCESS, self._process.pid, max(_STARTING, os.getpriority(os.PRIO_PROCESS, 0))
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(self._about).encode() + b"\n")
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _why(self) -> str:
        """Why the process has ended."""
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2][:200]
        return f"the process of the report ended with status {self._status}: {last}"


def answer_questions(answers: Mapping[str, Answer]) -> None:
    """Answer the questions on standard input until there are no more.

    Args:
        answers: What makes the answer of each kind of question.
    """
    step_back()
    lines = _Lines(sys.stdin.fileno())
    about = json.loads(lines.next(None))
    config, home = parse_config(about["config"]), Path(about["home"])
    with contextlib.ExitStack() as stack:
        store: Store | None = None
        while line := lines.next(float(about["idle"])):
            kind, question = json.loads(line)
            try:
                store = store or stack.enter_context(open_store(config.store.url, home))
                lake = LakeFolder.of(config.store.lake)
                found = _DONE + json.dumps(answers[kind](store, config, lake, question)).encode()
            except RecserveError as error:
                found = _FAILED + " ".join(error.message.split()).encode()
            sys.stdout.buffer.write(found + b"\n")
            sys.stdout.buffer.flush()
            # What it holds now: its `ru_maxrss` begins with what the process that started it ever held.
            if psutil.Process().memory_info().rss > MOST_BYTES:
                break


class _Lines:
    """Lines of a pipe.

    Args:
        pipe: Its number.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)
        self._rest = b""

    def next(self, seconds: float | None) -> bytes:
        """The next line; nothing at the end, or if none comes in time."""
        while b"\n" not in self._rest:
            if not self._poll.poll(None if seconds is None else 1000 * seconds):
                return b""
            part = os.read(self._pipe, _READ_BYTES)
            if not part:
                return b""
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line
