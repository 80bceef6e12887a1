"""Shared parts of the commands: the home folder, and how errors and progress are shown."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from recserve.bundles.bundle import Bundle, BundleRepository
    from recserve.config import Config
    from recserve.plugin.registry import Registry
    from recserve.plugin.resolved import ResolvedConfig
    from recserve.store import Store
    from recserve.store.ingest import RowProblem

CONFIG_NAME = "recserve.yaml"
SHOWN_PROBLEMS = 10

out = Console()
err = Console(stderr=True)

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="RECSERVE_HOME", help="Folder of all state.", show_default=".recserve"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help=f"Configuration file; default: {CONFIG_NAME} in the home folder."),
]
DEFAULT_HOME = Path(".recserve")


@dataclass(frozen=True)
class State:
    """Context of a command: the home folder, and what is opened from it on first use.

    Attributes:
        home: The home folder.
        config_path: ``--config``, if given.
    """

    home: Path
    config_path: Path | None = None

    @cached_property
    def config(self) -> Config:
        """The configuration: ``--config``, else the home's file, else the defaults."""
        from recserve.config import load_config

        path = self.config_path
        if path is None and (self.home / CONFIG_NAME).exists():
            path = self.home / CONFIG_NAME
        return load_config(path)

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

        self.home.mkdir(parents=True, exist_ok=True)
        return open_store(self.config.store.url, self.home)

    @cached_property
    def repository(self) -> BundleRepository:
        """Where bundles live."""
        from recserve.bundles.bundle import BundleRepository

        return BundleRepository(self.home, self.config.bundles)

    def current_bundle(self) -> Bundle:
        """The current bundle, or the newest earlier one that is intact.

        Raises:
            BundleError: There is none.
        """
        from recserve.bundles.bundle import open_newest

        return open_newest(self.repository, self.store.bundle_history())


@contextmanager
def progress_display() -> Iterator[ProgressCallback]:
    """A rich progress display driven by (description, done, total) calls."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=not err.is_terminal) as display:
        yield ProgressCallback(display)


class ProgressCallback:
    """Shows one line for each description; a new description finishes the one before."""

    def __init__(self, display: Progress) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}
        self._current: str | None = None

    def __call__(self, description: str, done: int, total: int) -> None:
        """Report progress."""
        if description != self._current:
            self.finish()
            self._current = description
            if not self._display.console.is_terminal:
                self._display.console.print(description, highlight=False)
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

    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        login = str(os.getuid())
    store.add_audit(AuditEntry(now_ms() if at is None else at, f"cli:{login}", action, target, detail))


def show_problems(problems: Sequence[RowProblem]) -> None:
    """List the first problems of data files on stderr, and how many more there are."""
    for problem in problems[:SHOWN_PROBLEMS]:
        err.print(f"{problem}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if len(problems) > SHOWN_PROBLEMS:
        err.print(f"... and {len(problems) - SHOWN_PROBLEMS} more", style="yellow")
