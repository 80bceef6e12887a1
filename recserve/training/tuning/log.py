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
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from recserve.config.strict import Strict
from recserve.data.system.files import held_alone
from recserve.errors import ConfigError

STUDY = "study.json"
TRIALS = "trials"


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
    """Reads and writes the folder of a study.

    Args:
        directory: The folder, on a path that every node of a cluster sees; made if missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()

    def read_study(self) -> StudyRecord | None:
        """The study in the folder, None if there is none.

        Raises:
            ConfigError: There is one that cannot be read.
        """
        path = self.directory / STUDY
        try:
            return StudyRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ConfigError(
                f"{path} is damaged or of another version: {str(error).splitlines()[0]}"
            ) from None

    def write_study(self, study: StudyRecord) -> None:
        """Begin a study, or change how many trials are wanted.

        Raises:
            ConfigError: The folder cannot be written.
        """
        try:
            (self.directory / TRIALS).mkdir(parents=True, exist_ok=True)
            write_atomically(self.directory / STUDY, study.model_dump_json(indent=1).encode())
        except OSError as error:
            raise ConfigError(f"--storage {self.directory} cannot be written: {error.strerror}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held while trials run: two runs of one study would overwrite each other's trials.

        Raises:
            ConfigError: Another run holds it.
        """
        refusal = ConfigError(f"another run of the study in {self.directory} is going on")
        with held_alone(self.directory / ".lock", refusal):
            yield

    def trials(self) -> list[TrialRecord]:
        """All trials by number. One whose record is damaged counts as never started."""
        found = []
        for path in sorted((self.directory / TRIALS).glob("*.json")):
            try:
                found.append(TrialRecord.model_validate_json(path.read_bytes()))
            except ValidationError:
                continue
        return sorted(found, key=lambda trial: trial.number)

    def write_trial(self, record: TrialRecord) -> None:
        """Write one trial, replacing what was known of it."""
        path = self.directory / TRIALS / f"{record.number:04d}.json"
        write_atomically(path, record.model_dump_json(indent=1).encode())

    def write_per_user(self, name: str, values: NDArray[np.float32]) -> None:
        """Keep the figures of each user."""
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_atomically(self.directory / TRIALS / f"{name}.npy", buffer.getvalue())

    def per_user(self, name: str) -> NDArray[np.float64]:
        """The figures of each user, by the trial's four-digit number."""
        loaded = np.load(self.directory / TRIALS / f"{name}.npy", allow_pickle=False)
        return np.asarray(loaded, dtype=np.float64)

    def write_tables(self, records: Sequence[TrialRecord]) -> None:
        """Write all trials as ``trials.json`` and ``trials.csv``."""
        listed = [trial.model_dump(mode="json", exclude={"point"}) for trial in records]
        write_atomically(self.directory / "trials.json", (json.dumps(listed, indent=1) + "\n").encode())
        names = list(records[0].values) if records else []
        scratch = self.directory / ".trials.csv"
        with scratch.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            figures = ["number", "state", "score", "low", "high", "fit_seconds", "evaluate_seconds"]
            writer.writerow([*figures, *names, "error"])
            for trial in listed:
                values: Mapping[str, Any] = trial["values"]
                chosen = ["" if values.get(name) is None else values[name] for name in names]
                writer.writerow([*(trial[key] for key in figures), *chosen, trial["error"]])
        scratch.replace(self.directory / "trials.csv")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
