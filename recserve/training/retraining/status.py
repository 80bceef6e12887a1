"""Status of the last retraining run of a home: a file that the run keeps, and everybody else reads."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from recserve.config.strict import Strict
from recserve.data.entities import now_ms
from recserve.data.system.periodic import PeriodicThread
from recserve.errors import RecserveError

if TYPE_CHECKING:
    from recserve.bundles.catalogue_vectors import Progress

RENEWED_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""A run that has said nothing for so long is gone."""

_FILE = "retraining.json"
_WRITTEN_SECONDS = 0.5

RunState = Literal["running", "promoted", "refused", "nothing to do", "failed", "stopped"]


class RetrainingStatus(Strict):
    """Status of a retraining run.

    Attributes:
        state: What it does, or how it ended.
        process: Number of its process on its machine.
        started: When, milliseconds since the epoch.
        updated: When it last said something, milliseconds since the epoch.
        step: What it is busy with.
        done: How much of the step is done.
        total: How much there is to do of it.
        detail: How it ended, in one line.
        bundle_id: The bundle that it trained.
        before: The bundle that was current when that was trained.
    """

    state: RunState = "running"
    process: int
    started: int
    updated: int
    step: str = "starting"
    done: int = 0
    total: int = 0
    detail: str = ""
    bundle_id: str | None = None
    before: str | None = None

    @classmethod
    def begun(cls, process: int) -> RetrainingStatus:
        """The status of a run that begins now."""
        now = now_ms()
        return cls(process=process, started=now, updated=now)


def read_status(home: Path) -> RetrainingStatus | None:
    """Status of a home's last retraining run; None if there is none that can be understood."""
    try:
        status = RetrainingStatus.model_validate_json((home / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    silent = (now_ms() - status.updated) / 1000
    if status.state == "running" and silent > SILENT_SECONDS:
        return ended(status, "failed", f"it has said nothing for {silent:.0f} s")
    return status


def write_status(home: Path, status: RetrainingStatus) -> None:
    """Replace the file at once; a disk that is full for a moment ends no training."""
    with suppress(OSError):
        handle, scratch = tempfile.mkstemp(prefix=f".{_FILE}-", dir=home)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(status.model_dump_json(indent=1) + "\n")
        Path(scratch).replace(home / _FILE)


def ended(status: RetrainingStatus, state: RunState, detail: str) -> RetrainingStatus:
    """The status of a run that has ended."""
    return status.model_copy(update={"state": state, "detail": detail, "updated": now_ms()})


def end_silent_run(home: Path, process: int, state: RunState, detail: str) -> None:
    """Say how a run ended that can no longer say it; nothing if it has said so itself."""
    status = read_status(home)
    if status is not None and (status.process, status.state) == (process, "running"):
        write_status(home, ended(status, state, detail))


class StatusReporter:
    """Keeper of the status of a run that goes on in this process.

    Args:
        home: The home folder.
        progress: Called with (description, done, total) as well.
    """

    def __init__(self, home: Path, progress: Progress) -> None:
        self._home = home
        self._progress = progress
        self._status = RetrainingStatus.begun(os.getpid())
        self._lock = threading.Lock()
        self._written = 0.0

    def step(self, description: str, done: int, total: int) -> None:
        """Tell what is done; called as often as one likes."""
        self._progress(description, done, total)
        began = description != self._status.step
        self._change(step=description, done=done, total=total)
        if began or time.monotonic() - self._written >= _WRITTEN_SECONDS:
            self._write()

    def end(
        self, state: RunState, detail: str, bundle_id: str | None = None, before: str | None = None
    ) -> None:
        """Tell how the run ended."""
        self._change(state=state, detail=detail, bundle_id=bundle_id, before=before)

    def _change(self, **changes: object) -> None:
        with self._lock:
            self._status = self._status.model_copy(update=changes)

    def _write(self) -> None:
        with self._lock:
            self._written = time.monotonic()
            self._status = self._status.model_copy(update={"updated": now_ms()})
            write_status(self._home, self._status)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Keep the file up to date, and tell of an error that ends the run."""
        thread = PeriodicThread("retraining-status", self._write, RENEWED_SECONDS)
        thread.start()
        try:
            yield
        except RecserveError as error:
            self.end("failed", error.message)
            raise
        except Exception as error:
            # What others raise may tell secrets, and everybody who may read bundles reads this.
            self.end("failed", f"{type(error).__name__}; see the log of the run")
            raise
        except BaseException:
            self.end("stopped", "it was stopped")
            raise
        finally:
            thread.close()
            self._write()
