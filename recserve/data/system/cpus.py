"""CPU cores that this process may use, and the variables by which numerical libraries keep to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

P = TypeVar("P")
R = TypeVar("R")

NICENESS = 15
"""Of work that every other program goes before."""

_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)

SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}
"""Variables that make idle threads of numerical libraries sleep.

By default they wait for the next piece of work in a loop. On a machine whose cores are taken, the thread that
has work then waits for those that have none.
"""


def usable_cpus(root: Path = Path("/")) -> int:
    """Cores that this process may really use, at least 1: its affinity, and the quotas of its cgroups.

    Args:
        root: Where ``/proc`` and ``/sys`` lie.
    """
    return max(1, int(min([len(os.sched_getaffinity(0)), *_quotas(root)])))


def usable_threads(environ: Mapping[str, str] = os.environ) -> int:
    """Threads that numerical work of this process may take, at least 1.

    ``OMP_NUM_THREADS`` where it is set, by which Ray, replicas and people say what a process's share is; else
    one for each core of :func:`usable_cpus`.
    """
    told = environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else usable_cpus()


def map_in_threads(function: Callable[[P], R], parts: Iterable[P], threads: int = 0) -> list[R]:
    """``function`` of each part in the order of the parts, on several threads with one BLAS thread each.

    For batches of work in NumPy, which computes without the interpreter's lock. BLAS by itself splits single
    products among its threads, which wait for each other most of the time where products are small.

    Args:
        function: Safe to call from several threads.
        parts: Its arguments.
        threads: Parts at a time; 0 takes as many as :func:`usable_threads` says.
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

    libraries = ThreadpoolController()
    limit = partial(libraries.limit, limits=1, user_api="blas")
    # A BLAS on OpenMP, such as the one that faiss brings, counts its threads for each thread that calls it.
    with limit(), ThreadPoolExecutor(threads or usable_threads(), initializer=limit) as pool:
        return list(pool.map(function, parts))


def thread_variables(threads: int) -> dict[str, str]:
    """Environment of a process whose numerical libraries take ``threads`` threads and sleep when idle."""
    return {**dict.fromkeys(_COUNTS, str(threads)), **SLEEPING}


def sleep_when_idle() -> None:
    """Set :data:`SLEEPING` for this process, where nobody chose otherwise; before libraries are loaded."""
    for name, value in SLEEPING.items():
        os.environ.setdefault(name, value)


def step_back() -> None:
    """Let every other program go first: :data:`NICENESS` for all threads of this process."""
    for thread in Path("/proc/self/task").glob("*"):
        # Threads come and go; Linux keeps a niceness for each of them.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICENESS)


def _quotas(root: Path) -> Iterator[float]:
    """CPU quotas of the process's cgroups and of those around them, in cores (versions 1 and 2)."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                for folder in _upwards(root / "sys/fs/cgroup", path):
                    yield from _quota((folder / "cpu.max",))
            elif "cpu" in controllers.split(","):
                for folder in _upwards(root / "sys/fs/cgroup" / controllers, path):
                    yield from _quota((folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))


def _upwards(top: Path, path: str) -> Iterator[Path]:
    """The folder of a cgroup and those above it; a container may see only the top one."""
    inner = path.strip("/")
    while inner:
        yield top / inner
        inner = inner.rpartition("/")[0]
    yield top


def _quota(files: tuple[Path, ...]) -> Iterator[float]:
    with suppress(OSError, ValueError):
        quota, period = " ".join(file.read_text() for file in files).split()
        # "max" and -1 stand for none.
        if float(quota) > 0 and float(period) > 0:
            yield float(quota) / float(period)
