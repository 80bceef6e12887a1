"""Shared parts of the commands: the home folder, and how errors and progress are shown."""

from __future__ import annotations

import getpass
import importlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from recserve.data.system.files import make_private_folder
from recserve.errors import ConfigError

if TYPE_CHECKING:
    from recserve.bundles.bundle import Bundle
    from recserve.bundles.repository import BundleRepository
    from recserve.config import Config
    from recserve.plugin.registry import Registry
    from recserve.plugin.resolved import ResolvedConfig
    from recserve.store import Store
    from recserve.store.ingest import FileReport

CONFIG_NAME = "recserve.yaml"
SHOWN_PROBLEMS = 10
PROGRESS_SECONDS = 5.0
"""Time between two lines on the same work, where there is no terminal to draw bars on."""

_FILE_WIDTH = 200


def _console(*, stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR and COLUMNS; what goes into a file or a pipe is not cut to 80 columns."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _FILE_WIDTH
    return console


out = _console()
err = _console(stderr=True)

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="RECSERVE_HOME", help="Folder of all state.", show_default=".recserve"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help=f"Configuration file; default: {CONFIG_NAME} in the home folder."),
]
DEFAULT_HOME = Path(".recserve")


def executable() -> str:
    """What to type for this very program: ``recserve`` where the shell finds it, else its path."""
    ours = Path(sys.executable).parent / "recserve"
    found = shutil.which("recserve")
    if found is not None and Path(found).resolve() == ours.resolve():
        return "recserve"
    here = Path.cwd()
    return shlex.quote(str(ours.relative_to(here) if ours.is_relative_to(here) else ours))


def server_control() -> Any:
    """The module that starts, finds and stops servers.

    Named by a string because the library must not import the deployments, which are built on it; and imported
    only here, so that every other command does without Ray.
    """
    return importlib.import_module("recserve_deployments.local_server.control")


@dataclass(frozen=True)
class State:
    """Context of a command: the home folder, and what is opened from it on first use.

    Attributes:
        home: The home folder.
        config_path: ``--config``, if given.
        creates: Whether the command may make the home; others refuse one that is not there.

    Raises:
        ConfigError: There is no such home.
    """

    home: Path
    config_path: Path | None = None
    creates: bool = False

    def __post_init__(self) -> None:
        if not self.creates:
            require_home(self.home)

    @cached_property
    def config(self) -> Config:
        """The configuration: ``--config``, else the home's file, else the defaults."""
        from recserve.config import load_config

        return load_config(self.config_file)

    @property
    def config_file(self) -> Path | None:
        """The file of the configuration: ``--config``, else the home's; None where there is neither."""
        own = self.home / CONFIG_NAME
        return own if self.config_path is None and own.exists() else self.config_path

    @cached_property
    def registry(self) -> Registry:
        """All installed plugins."""
        from recserve.plugin.registry import Registry

        return Registry.discover()

    @cached_property
    def resolved(self) -> ResolvedConfig:
        """The configuration checked against the plugins."""
        return self.registry.resolve(self.config)

    @cached_property
    def store(self) -> Store:
        """The store."""
        from recserve.store import open_store

        make_private_folder(self.home)
        return open_store(self.config.store.url, self.home)

    @cached_property
    def repository(self) -> BundleRepository:
        """Where bundles live."""
        from recserve.bundles.repository import BundleRepository

        return BundleRepository(self.home, self.config.bundles)

    def current_bundle(self) -> Bundle:
        """The current bundle, or the newest earlier one that is intact.

        Raises:
            BundleError: There is none.
        """
        from recserve.bundles.repository import open_newest

        return open_newest(self.repository, self.store.bundle_history())


def require_home(home: Path) -> None:
    """Refuse a home folder that is not there, which is most often a mistyped one.

    Raises:
        ConfigError: It is not there, or not a folder.
    """
    if home.is_dir():
        return
    what = f"{home} is a file" if home.exists() else f"there is no home folder {home}"
    raise ConfigError(f"{what}; check --home, or begin one with `recserve import`", field="home")


@contextmanager
def progress_display() -> Iterator[ProgressCallback]:
    """A display driven by (description, done, total) calls: bars on a terminal, lines elsewhere."""
    if not err.is_terminal:
        yield ProgressLines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as display:
        yield ProgressBars(display)


class ProgressCallback(Protocol):
    """Shows what is being done; a new description finishes the one before."""

    def __call__(self, description: str, done: int, total: int) -> None:
        """Report progress."""
        ...

    def finish(self) -> None:
        """Mark what is being done as done."""
        ...


class ProgressLines:
    """Lines for log files: one when something begins, and every few seconds how far it is.

    Args:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._current: str | None = None
        self._begun = self._said = 0.0

    def __call__(self, description: str, done: int, total: int) -> None:
        """Report progress."""
        now = self._clock()
        if description != self._current:
            self._current, self._begun, self._said = description, now, now
            _say(description)
        elif now - self._said >= PROGRESS_SECONDS and 0 < done < total:
            self._said = now
            left = (now - self._begun) * (total - done) / done
            _say(f"{description}: {done:,} of {total:,} ({done / total:.0%}), about {_duration(left)} left")

    def finish(self) -> None:
        """Nothing more is to be said."""


def _say(line: str) -> None:
    err.print(line, markup=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


class ProgressBars:
    """A bar for each description."""

    def __init__(self, display: Progress) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}
        self._current: str | None = None

    def __call__(self, description: str, done: int, total: int) -> None:
        """Report progress."""
        if description != self._current:
            self.finish()
            self._current = description
        if description not in self._tasks:
            self._tasks[description] = self._display.add_task(description, total=max(total, 1))
        self._display.update(self._tasks[description], completed=done, total=max(total, 1))

    def finish(self) -> None:
        """Mark the current line as done."""
        if self._current is not None:
            task = self._tasks[self._current]
            total = next(shown.total for shown in self._display.tasks if shown.id == task)
            self._display.update(task, completed=total)


def record(store: Store, action: str, target: str, detail: Mapping[str, Any], at: int | None = None) -> None:
    """Append what a command does to the audit log, by whoever runs it.

    Args:
        store: The store.
        action: Such as ``key.create``.
        target: What it is done to; never a user id.
        detail: JSON-like facts.
        at: When, milliseconds since the epoch; None for now.
    """
    from recserve.data.entities import now_ms
    from recserve.store import AuditEntry

    store.add_audit(AuditEntry(now_ms() if at is None else at, actor(), action, target, detail))


def actor() -> str:
    """Whoever runs the command, as the audit log and the history of promotions name it."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container whose user has no name
        return f"cli:{os.getuid()}"


def show_problems(reports: Sequence[FileReport]) -> None:
    """List the first bad rows of data files on stderr, and how many more there are."""
    problems = [problem for report in reports for problem in report.listed("error", "replaced")]
    for problem in problems[:SHOWN_PROBLEMS]:
        warn(str(problem))
    count = sum(report.count("error") + report.count("replaced") for report in reports)
    if count > SHOWN_PROBLEMS:
        warn(f"... and {count - SHOWN_PROBLEMS:,} more")


def warn(text: str) -> None:
    """Say on stderr what somebody should look at."""
    err.print(text, style="yellow", markup=False, soft_wrap=True)
