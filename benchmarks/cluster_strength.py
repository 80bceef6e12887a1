"""Whether a cluster of hosts in namespaces is at full strength."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import psutil

from benchmarks.common import is_ready
from tests.support.bed import GCS, HEAD, TestBed
from tests.support.hosts import Hosts

SILENT_SECONDS = 20.0
_WATCH = """
import json, time, ray
from ray import serve
from recserve_deployments.local_server.deploy import deployments
ray.init(address="%s", log_to_driver=False, logging_level="ERROR")
while True:
    try:
        print(json.dumps({one.name: one.running for one in deployments()}), flush=True)
    except Exception:
        pass
    time.sleep(0.5)
"""


class Strength:
    """What Serve says of its replicas, asked for by a program on a host that is never lost.

    Args:
        bed: The hosts.
        entry: The host of that program.
        wanted: Replicas of each deployment at full strength.
    """

    def __init__(self, bed: TestBed, entry: int, wanted: Mapping[str, int]) -> None:
        self._bed = bed
        self._entry = entry
        self._wanted = wanted
        self._said: tuple[float, dict[str, int]] = (0.0, {})
        self._over = False
        self._process = self._start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _start(self) -> subprocess.Popen[str]:
        self._started = time.monotonic()
        command = [sys.executable, "-c", _WATCH % GCS]
        return self._bed.hosts.popen(
            self._entry, command, self._bed.variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _listen(self) -> None:
        while not self._over:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if line.startswith("{"):
                    self._said = (time.monotonic(), json.loads(line))
            self._process.wait()
            time.sleep(1)
            if not self._over:
                self._process = self._start()  # it lost its head

    def full(self, hosts: Sequence[int]) -> bool:
        """Whether everything runs, on these hosts alone."""
        when, counts = self._said
        if time.monotonic() - max(when, self._started) > SILENT_SECONDS:
            self._process.kill()  # another one connects to the head that is there now
        if time.monotonic() - when > 3.0 or any(counts.get(name, 0) < n for name, n in self._wanted.items()):
            return False
        found = {number: replicas([number]) for number in hosts}
        for name, count in self._wanted.items():
            each = [len(here[name]) for here in found.values() if name in here]
            # With all of them on one of several hosts, the loss of that host would be that of the stage.
            if sum(each) < count or len(each) < min(count, len(hosts) - 1):
                return False
        return all(
            ready(number) for number, here in found.items() if number == self._entry or "Ingress" in here
        )

    def close(self) -> None:
        """End the program."""
        self._over = True
        self._process.kill()
        self._process.wait()


def commands(hosts: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Id and command line of each process on some hosts."""
    for process in (process for number in hosts for process in Hosts.processes(number)):
        with contextlib.suppress(psutil.Error):
            yield process, " ".join(psutil.Process(process).cmdline())


def replicas(hosts: Sequence[int]) -> dict[str, list[int]]:
    """Ids of the processes of the replicas on some hosts, by deployment."""
    found: dict[str, list[int]] = {}
    for process, command in commands(hosts):
        if title := re.match(r"ray::ServeReplica:recserve:(\w+)", command):
            found.setdefault(title[1], []).append(process)
    return found


def has_head() -> bool:
    """Whether Ray's head serves, on the host where it belongs."""
    return any("gcs_server" in command for _, command in commands([HEAD]))


def ready(number: int) -> bool:
    """Whether a host's proxy says that the store and all stages are well."""
    return is_ready(TestBed.url(number), timeout=3)
