"""Retraining beside a running server: at its start, and at fixed intervals."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from recserve.config import Config
from recserve.training.retraining.status import RetrainingStatus, RunState, end_silent_run, write_status

logger = logging.getLogger(__name__)

_NICENESS = 10
_STOP_SECONDS = 10.0


class RetrainingSchedule:
    """Schedule of ``recserve retrain`` in a process of its own, one at a time.

    Args:
        home: The home folder; the runs write to ``logs/retrain.log`` there.
        config: The server's configuration, which is trained as well.
        clock: Seconds; another one in tests.
    """

    def __init__(self, home: Path, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._config = config
        self._clock = clock
        self._started = clock()
        self._wanted = config.retrain.at_start
        self._process: subprocess.Popen[bytes] | None = None

    def tick(self) -> None:
        """Start a run if one is due; one that is still going on is left alone."""
        process = self._process
        if process is not None and process.poll() is not None:
            logger.info("retraining ended with exit status %d", process.returncode)
            why = f"it ended with exit status {process.returncode}; see logs/retrain.log"
            self._tell(process, "failed", why)
            self._process = None
        if self._process is not None or not self._due():
            return
        self._wanted = False
        self._started = self._clock()
        self._process = self._start()
        logger.info("retraining has started")

    def _due(self) -> bool:
        every = self._config.retrain.every_hours
        return self._wanted or (every is not None and self._clock() - self._started >= every * 3600)

    def stop(self) -> None:
        """End a run that is going on; what it had trained is given up."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._tell(process, "stopped", "the server was stopped")

    def _tell(self, process: subprocess.Popen[bytes], state: RunState, why: str) -> None:
        """Say how a run ended that did not live to say it."""
        end_silent_run(self._home, process.pid, state, why)

    def _start(self) -> subprocess.Popen[bytes]:
        logs = self._home / "logs"
        logs.mkdir(exist_ok=True)
        # The server's own configuration may come from another file than the home's.
        config = logs / "retrain.json"
        config.write_text(self._config.model_dump_json(), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "recserve",
            "retrain",
            "--home",
            str(self._home),
            "--config",
            str(config),
        ]
        with (logs / "retrain.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        # Requests come first.
        psutil.Process(process.pid).nice(_NICENESS)
        write_status(self._home, RetrainingStatus.begun(process.pid))
        return process
