"""Several hosts on one machine: network and mount namespaces, joined by a bridge.

Each host has an address of its own, and its own ``/tmp``, ``/srv``, ``/dev/shm`` and ``~/.ray``; the rest of
the disk is the machine's. It is what a cluster without a shared file system looks like to a program.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_BED = int(os.environ.get("RECSERVE_TEST_BED", "0"))
"""Test runs at the same time on one machine need a number each, up to 99."""

BRIDGE = f"rcbridge{_BED}"
NETWORK = f"10.{100 + _BED}.0"
OUTSIDE = f"{NETWORK}.254"
"""Address of the machine itself as the hosts see it."""

_PRIVATE = ("/tmp", "/srv", "/dev/shm", str(Path.home() / ".ray"))


def why_not() -> str | None:
    """Why hosts cannot be made here, None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "nsenter", "unshare") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed (iproute2, util-linux)"
    # A container's root may lack the right, and its kernel a module.
    probe = "ip link add rcp0 type veth peer name rcp1; ip link add rcp2 type bridge; mount -t tmpfs t /srv"
    command = ["unshare", "-m", "-n", "sh", "-ec", probe]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"namespaces: {done.stderr.strip() or 'not allowed'}"


class Hosts:
    """Hosts 1 to ``count``; use as a context manager.

    Args:
        count: How many.
        folder: Where the hosts tell that they are ready.
        visible: Folders that hosts see even where they lie in a private place, such as the code under test.
    """

    def __init__(self, count: int, folder: Path, visible: Sequence[Path] = ()) -> None:
        self.count = count
        self._visible = [str(path) for path in visible if str(path).startswith(_PRIVATE)]
        self._folder = folder
        self._holders: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Hosts:
        self._remove_leftovers()
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for number in range(1, self.count + 1):
            self.start(number)
        return self

    def __exit__(self, *details: object) -> None:
        for number in list(self._holders):
            self.kill(number)
        self._remove_leftovers()

    @staticmethod
    def address(number: int) -> str:
        """A host's address."""
        return f"{NETWORK}.{number}"

    def start(self, number: int) -> None:
        """Make a host, or make it anew after it was killed."""
        name = _name(number)
        _ip("netns", "add", name)
        _ip("link", "add", _cable(number), "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", _cable(number), "master", BRIDGE, "up")
        _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        ready = self._folder / f"host{number}"
        ready.unlink(missing_ok=True)
        mounts = "; ".join(f"mkdir -p {path}; mount -t tmpfs -o mode=1777 tmpfs {path}" for path in _PRIVATE)
        kept = [(f"/run/{_name(number)}/{index}", path) for index, path in enumerate(self._visible)]
        before = "".join(f"mkdir -p {stash}; mount --bind {path} {stash}; " for stash, path in kept)
        after = "".join(f"; mkdir -p {path}; mount --bind {stash} {path}" for stash, path in kept)
        mounts = before + mounts + after
        # The file is opened before /tmp is covered; the sleeper holds the mount namespace.
        script = f"exec 3>{ready}; {mounts}; echo ready >&3; exec sleep infinity"
        command = [
            "ip",
            "netns",
            "exec",
            name,
            "unshare",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-ec",
            script,
        ]
        self._holders[number] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        _until(lambda: ready.exists() and bool(ready.read_text()))

    def popen(
        self,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        **options: object,
    ) -> subprocess.Popen[str]:
        """Start a program on a host."""
        holder = self._holders[number].pid
        entered = ["nsenter", "-t", str(holder), "-m", "-n", "--", *command]
        env = {**os.environ, **(environment or {})}
        return subprocess.Popen(entered, env=env, text=True, **options)  # type: ignore[call-overload,no-any-return]

    def run(
        self,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a host to its end; its standard error is part of its output."""
        process = self.popen(
            number,
            command,
            environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(command, process.returncode, output)

    def cut(self, number: int) -> None:
        """Pull a host's cable out."""
        _ip("link", "set", _cable(number), "down")

    def mend(self, number: int) -> None:
        """Put a host's cable back."""
        _ip("link", "set", _cable(number), "up")

    @staticmethod
    def processes(number: int) -> list[int]:
        """Ids of a host's processes, which are the same on the machine itself."""
        command = ["ip", "netns", "pids", _name(number)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return [int(process) for process in found.stdout.split()]

    def kill(self, number: int) -> None:
        """End everything on a host at once, and the host with it."""
        for _ in range(5):
            running = self.processes(number)
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if not running:
                break
            time.sleep(0.1)
        self._holders.pop(number).wait(timeout=10)
        _ip("netns", "del", _name(number), check=False)
        _ip("link", "del", _cable(number), check=False)

    def _remove_leftovers(self) -> None:
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
        for line in listed.splitlines():
            name = line.split()[0] if line.split() else ""
            if name.startswith(_name("")):
                _ip("netns", "del", name, check=False)
        _ip("link", "del", BRIDGE, check=False)


def _name(number: int | str) -> str:
    return f"rchost{_BED}-{number}"


def _cable(number: int) -> str:
    return f"rccable{_BED}-{number}"


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


def _until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("a host did not come up")
        time.sleep(0.05)
