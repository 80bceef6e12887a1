"""The systems that are compared: how each is trained on a file of events, and served.

What is said of the peers follows their documentation: recotem 2.1 by its recipe and its own server, with the
search of settings over algorithms that its reference shows; LensKit and ``implicit`` as libraries in an
application of :mod:`benchmarks.compared.app`. All train with the same number of threads, and serve with one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import yaml
from recserve_deployments.local_server.state_file import read_state
from recserve_movielens.sources import SUGGESTED

from benchmarks.common import CONFIG_NAME, children_cpu, free_port, recserve, scratch_home, serving
from benchmarks.compared.wires import RECIPE, WIRES, Wire

START_SECONDS = 120.0
STOP_SECONDS = 40.0
SEARCH_SECONDS = 60
"""recotem's search ends then, whatever number of trials it has made."""

APP = Path(__file__).with_name("app.py")
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS",
    "IRSPACK_NUM_THREADS_DEFAULT", "LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """What a training took and chose.

    Attributes:
        seconds: By the clock, start of the process included.
        cpu: Seconds of CPU time.
        version: Of the library.
        chosen: Its settings, in words.
    """

    seconds: float
    cpu: float
    version: str
    chosen: str


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        port: Where it listens.
        processes: All of its processes.
    """

    port: int
    processes: Callable[[], Sequence[psutil.Process]]

    def memory_mb(self) -> float:
        """Proportional set size of all processes, MB: what they share counts once."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / 2**20

    def pids(self) -> list[int]:
        """Ids of all processes."""
        return [process.pid for process in self.processes()]


class Side(Protocol):
    """A system.

    Attributes:
        name: In the table.
        wires: The ways in which it is asked; each has a column of the table.
        keeps_answers: Whether an answer may be given again while nothing happens.
    """

    name: str
    wires: tuple[Wire, ...]
    keeps_answers: bool

    def train(self, folder: Path) -> Trained:
        """Learn ``events`` and ``items`` of a folder."""
        ...

    def serve(self, folder: Path) -> AbstractContextManager[Running]:
        """Serve what was learnt there last, as it was then; it is stopped afterwards."""
        ...


class Recserve:
    """This project, with the configuration that its sample suggests.

    Args:
        threads: Threads of the training.
    """

    name = "recserve"
    wires: tuple[Wire, ...] = (WIRES["events"],)
    keeps_answers = True

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def train(self, folder: Path) -> Trained:
        """See :class:`Side`; importing is not counted, encoding texts is."""
        home = folder / "home"
        home.mkdir()
        (home / CONFIG_NAME).write_text(yaml.safe_dump(dict(SUGGESTED)), encoding="utf-8")
        files = (f"--{name}={folder / name}.parquet" for name in ("items", "events"))
        recserve(home, "import", *files)
        command = [sys.executable, "-m", "recserve", "train", "--no-evaluate", "--home", str(home)]
        seconds, cpu = _timed(command, folder, self._threads)
        return Trained(seconds, cpu, version("recserve"), "its sample's suggested configuration")

    @contextlib.contextmanager
    def serve(self, folder: Path) -> Iterator[Running]:
        """See :class:`Side`."""
        with scratch_home(folder / "home", {}) as home, serving(home) as server:

            def processes() -> Sequence[psutil.Process]:
                state = read_state(home)
                return [] if state is None else state.processes()

            yield Running(server.port, processes)


class Application:
    """A library in an application of :mod:`benchmarks.compared.app`.

    Args:
        name: In the table.
        library: Its name there.
        python: The interpreter that has it.
        threads: Threads of the training.
        draws: Settings that are tried.
    """

    wires: tuple[Wire, ...] = (WIRES["events"],)
    keeps_answers = False

    def __init__(self, name: str, library: str, python: Path, threads: int, draws: int) -> None:
        self.name = name
        self._library = library
        self._python = python
        self._threads = threads
        self._draws = draws

    def train(self, folder: Path) -> Trained:
        """See :class:`Side`."""
        own = folder / self._library
        own.mkdir()
        shutil.copy(folder / "events.csv", own)
        job = {"library": self._library, "draws": self._draws, "threads": self._threads, "seed": 0}
        (own / "job.json").write_text(json.dumps(job), encoding="utf-8")
        command = [str(self._python), "-I", str(APP), "train", str(own)]
        seconds, cpu = _timed(command, own, self._threads)
        facts = json.loads((own / "facts.json").read_text(encoding="utf-8"))
        settings = ", ".join(f"{name} {_short(value)}" for name, value in facts["settings"].items())
        return Trained(
            seconds, cpu, facts["version"], f"{settings} (best of {self._draws} on held-out items)"
        )

    @contextlib.contextmanager
    def serve(self, folder: Path) -> Iterator[Running]:
        """See :class:`Side`."""
        port = free_port()
        own = folder / self._library
        command = [str(self._python), "-I", str(APP), "serve", str(own), str(port)]
        with _process(command, own, {}) as process:
            _wait(process, f"http://127.0.0.1:{port}/openapi.json")
            yield Running(port, lambda: _tree(process.pid))


class Recotem:
    """recotem, by its command line and with its own server.

    Args:
        python: The interpreter that has it.
        threads: Threads of the training.
        trials: Settings that its search tries.
        environment: With the key that signs artifacts; None makes one.
    """

    name = "recotem"
    wires: tuple[Wire, ...] = (WIRES["recotem-by-user"], WIRES["recotem-by-history"])
    keeps_answers = False

    def __init__(
        self, python: Path, threads: int, trials: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._python = python
        self._threads = threads
        self._trials = trials
        # Signs the artifacts of this run; its server reads no others.
        self._environment = environment or {"RECOTEM_SIGNING_KEYS": f"run:{secrets.token_hex(32)}"}

    def recipe(self, folder: Path) -> dict[str, object]:
        """Its recipe: the algorithms, metric and split of the full example of its reference."""
        return {
            "name": RECIPE,
            "source": {
                "type": "csv",
                "path": str(folder / "events.csv"),
                "dtype": {"user_id": "str", "item_id": "str"},
            },
            "schema": {
                "user_column": "user_id",
                "item_column": "item_id",
                "time_column": "timestamp",
                "time_unit": "ms",
            },
            "training": {
                "algorithms": ["IALS", "CosineKNN", "TopPop"],
                "metric": "ndcg",
                "cutoff": 20,
                "n_trials": self._trials,
                "timeout_seconds": SEARCH_SECONDS,
                "split": {"scheme": "time_user", "heldout_ratio": 0.1, "seed": 42},
            },
            "output": {"path": str(folder / "recotem" / "sample.recotem"), "versioning": "append_sha"},
        }

    def train(self, folder: Path) -> Trained:
        """See :class:`Side`."""
        own = folder / "recotem"
        own.mkdir(exist_ok=True)
        path = own / "recipe.yaml"
        path.write_text(yaml.safe_dump(self.recipe(folder)), encoding="utf-8")
        command = [str(self._python), "-I", "-m", "recotem", "train", str(path)]
        seconds, cpu = _timed(command, own, self._threads, self._environment)
        header = self._header(own / "sample.recotem")
        settings = ", ".join(f"{name} {_short(value)}" for name, value in header["best_params"].items())
        trials = f"best of {header['tuning']['n_completed']} trials of its search"
        chosen = f"{header['best_class']}, {settings} ({trials})"
        return Trained(seconds, cpu, header["recotem_version"], chosen)

    @contextlib.contextmanager
    def serve(self, folder: Path) -> Iterator[Running]:
        """See :class:`Side`."""
        port = free_port()
        own = folder / "recotem"
        command = [str(self._python), "-I", "-m", "recotem", "serve"]
        command += ["--recipes", str(own), "--port", str(port)]
        with _process(command, own, self._environment) as process:
            _wait(process, f"http://127.0.0.1:{port}/v1/health")
            yield Running(port, lambda: _tree(process.pid))

    def renew(self, folder: Path, running: Running) -> float:
        """Train again beside a running server; seconds from the end of that until it serves the new model.

        Only how long the server takes to notice is measured, so the training makes a single trial.
        """
        own, kept = folder / "recotem", folder / "recotem-kept"
        before = self._served(running)
        shutil.copytree(own, kept)
        Recotem(self._python, self._threads, 1, self._environment).train(folder)
        started = time.perf_counter()
        while self._served(running) == before:
            if time.perf_counter() - started > START_SECONDS:
                raise SystemExit("recotem does not notice that it was trained again")
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        # What is measured next is the model of the whole search.
        shutil.rmtree(own)
        kept.rename(own)
        return seconds

    def _served(self, running: Running) -> object:
        """What the server says of its model."""
        url = f"http://127.0.0.1:{running.port}/v1/recipes/{RECIPE}"
        return httpx.get(url, trust_env=False, timeout=10).raise_for_status().json()

    def _header(self, artifact: Path) -> dict[str, Any]:
        """What an artifact says of itself, by recotem's own command, after a line about its signature."""
        command = [str(self._python), "-I", "-m", "recotem", "inspect", str(artifact)]
        environment = _environment(1, self._environment)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("\n{") :])
        return found


def peers(pythons: Mapping[str, Path], threads: int, trials: int, draws: int) -> list[Side]:
    """The peers that there are environments for.

    Args:
        pythons: Interpreter by name.
        threads: Threads of each training.
        trials: Trials of recotem's search.
        draws: Settings tried of the libraries.
    """
    found: list[Side] = []
    if "recotem" in pythons:
        found.append(Recotem(pythons["recotem"], threads, trials))
    if "lenskit" in pythons:
        found.append(Application("LensKit", "lenskit", pythons["lenskit"], threads, draws))
    if "implicit" in pythons:
        found.append(Application("implicit", "implicit", pythons["implicit"], threads, draws))
    return found


def _timed(
    command: Sequence[str], folder: Path, threads: int, more: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """Run a command; seconds by the clock and of CPU time."""
    before, started = children_cpu(), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=_environment(threads, more), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return time.perf_counter() - started, children_cpu() - before


def _environment(threads: int, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(_THREADS, str(threads)), **(more or {})}


@contextlib.contextmanager
def _process(
    command: Sequence[str], folder: Path, more: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a session of its own, which is stopped afterwards; what it says is in ``server.log``."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            # One thread, as our replicas have: more of them wait for each other by spinning.
            env=_environment(1, more),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
            if process.poll() is None:
                process.kill()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False, timeout=5).is_success:
                return
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{url}: the server does not start")
        time.sleep(0.1)


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


__all__ = ["Recotem", "Recserve", "Running", "Side", "Trained", "peers"]
