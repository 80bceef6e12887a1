"""The folder of a study: what is tuned, on which data, and every trial. It survives any interruption.

::

    study.json              target, seed, data, configuration
    trials/0003.json        one trial, written when it starts and again when it ends
    trials/0003.npy         nDCG@10 of each user, float32, in an order that names nobody
    trials.json, .csv       all trials as a table, written at the end
    best.yaml, report.html  the result
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from recserve.config import from_environment
from recserve.config.strict import Strict
from recserve.data.system.folder import Folder, reason_of
from recserve.data.system.lease import leased
from recserve.errors import ConfigError

STUDY = "study.json"
TRIALS = "trials"
_OPTION = "--storage"


class TrialState(StrEnum):
    """How far a trial is."""

    RUNNING = "running"
    """Started; of an earlier run: interrupted, and to be repeated."""
    COMPLETE = "complete"
    STOPPED = "stopped"
    """Ended early because it had fallen behind."""
    FAILED = "failed"


class TrialRecord(Strict):
    """One trial.

    Attributes:
        number: Counts from 0, which has the configured values.
        state: How far it is.
        values: Parameter values by name.
        point: What the sampler chose for them.
        score: Mean nDCG@10 over users, of a complete trial.
        low: Lower end of its 95% interval.
        high: Upper end.
        fit_seconds: What the fit took.
        evaluate_seconds: What ranking took.
        validations: (step, score) of the fit's own validations.
        node: Address of the node it ran on last.
        repeats: How often it was begun anew because its process or its host was lost.
        error: Why it failed.
    """

    number: int
    state: TrialState
    values: dict[str, Any]
    point: dict[str, Any]
    score: float | None = None
    low: float | None = None
    high: float | None = None
    fit_seconds: float | None = None
    evaluate_seconds: float | None = None
    validations: list[tuple[int, float]] = Field(default_factory=list)
    node: str | None = None
    repeats: int = 0
    error: str | None = None


class StudyRecord(Strict):
    """What a study is about; a resumed run must agree.

    Attributes:
        target: What is tuned.
        scenario: See :class:`recserve.training.tuning.targets.Target`.
        parameters: What is searched, in a fixed order.
        seed: Seed of fits and of the search.
        trials: Trials wanted.
        data: Fingerprint of the events and items.
        until: Newest event that counts, milliseconds.
        config_hash: Of what decides a fit in the configuration.
    """

    target: str
    scenario: str
    parameters: list[str]
    seed: int
    trials: int
    data: str
    until: int
    config_hash: str


class StudyFolder:
    """Reads and writes the folder of a study, in the process that runs it; trials know nothing of it.

    Args:
        location: A path, or the URI of a folder on any filesystem that pyarrow knows.

    Raises:
        ConfigError: The filesystem cannot be opened.
    """

    def __init__(self, location: str | Path) -> None:
        self._folder = Folder.at(from_environment(str(location), _OPTION), _OPTION)
        self._still_ours: Callable[[], None] = lambda: None

    def shown(self, name: str = "") -> str:
        """What a file of the folder, or the folder itself, is called in messages."""
        return f"{self._folder.shown}/{name}" if name else self._folder.shown

    def read_study(self) -> StudyRecord | None:
        """The study in the folder, None if there is none.

        Raises:
            ConfigError: There is one that cannot be read.
        """
        try:
            return StudyRecord.model_validate_json(self._folder.read(STUDY))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(f"{self.shown(STUDY)} cannot be read: {reason_of(error)}") from None
        except ValidationError as error:
            raise ConfigError(
                f"{self.shown(STUDY)} is damaged or of another version: {str(error).splitlines()[0]}"
            ) from None

    def write_study(self, study: StudyRecord) -> None:
        """Begin a study, or change how many trials are wanted.

        Raises:
            ConfigError: The folder cannot be written.
        """
        self.write(STUDY, study.model_dump_json(indent=1).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held while trials run: two runs of one study would overwrite each other's trials.

        Raises:
            ConflictError: Another run holds it.
        """
        with leased(self._folder, "run of the study") as self._still_ours:
            yield

    def trials(self) -> list[TrialRecord]:
        """All trials by number. One whose record is damaged counts as never started.

        Raises:
            ConfigError: The folder cannot be read.
        """
        found = []
        try:
            for name in self._folder.names(TRIALS):
                if not name.startswith(".") and name.endswith(".json"):
                    with suppress(ValidationError):
                        found.append(TrialRecord.model_validate_json(self._folder.read(f"{TRIALS}/{name}")))
        except OSError as error:
            raise ConfigError(f"{self.shown(TRIALS)} cannot be read: {reason_of(error)}") from None
        return sorted(found, key=lambda trial: trial.number)

    def write_trial(self, record: TrialRecord) -> None:
        """Write one trial, replacing what was known of it.

        Raises:
            ConfigError: The folder cannot be written.
            ConflictError: Another run of the study has begun meanwhile.
        """
        self._still_ours()
        self.write(f"{TRIALS}/{record.number:04d}.json", record.model_dump_json(indent=1).encode())

    def write_per_user(self, number: int, values: NDArray[np.float32]) -> None:
        """Keep a trial's figures of each user."""
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        self.write(f"{TRIALS}/{number:04d}.npy", buffer.getvalue())

    def per_user(self, number: int) -> NDArray[np.float64]:
        """A trial's figures of each user.

        Raises:
            ConfigError: They are not there.
        """
        name = f"{TRIALS}/{number:04d}.npy"
        try:
            loaded = np.load(io.BytesIO(self._folder.read(name)), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.shown(name)} cannot be read: {reason_of(error)}") from None
        return np.asarray(loaded, dtype=np.float64)

    def write_tables(self, records: Sequence[TrialRecord]) -> None:
        """Write all trials as ``trials.json`` and ``trials.csv``."""
        listed = [trial.model_dump(mode="json", exclude={"point"}) for trial in records]
        self.write("trials.json", (json.dumps(listed, indent=1) + "\n").encode())
        names = list(records[0].values) if records else []
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        figures = ["number", "state", "score", "low", "high", "fit_seconds", "evaluate_seconds"]
        run = ["node", "repeats"]
        writer.writerow([*figures, *names, *run, "error"])
        for trial in listed:
            values: Mapping[str, Any] = trial["values"]
            chosen = ["" if values.get(name) is None else values[name] for name in names]
            writer.writerow(
                [*(trial[key] for key in figures), *chosen, *(trial[key] for key in run), trial["error"]]
            )
        self.write("trials.csv", table.getvalue().encode())

    def write(self, name: str, content: bytes) -> None:
        """Write a file, as a whole or not at all.

        Raises:
            ConfigError: The folder cannot be written.
        """
        try:
            self._folder.write(name, content)
        except OSError as error:
            raise ConfigError(f"{_OPTION} {self.shown()} cannot be written: {reason_of(error)}") from None
