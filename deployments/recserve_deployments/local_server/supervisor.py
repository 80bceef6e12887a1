"""The process that owns a server: it starts Ray, deploys, waits to be stopped, and takes everything down.

Run by :mod:`recserve_deployments.local_server.control` in a session of its own, so that it outlives the
command that started it. Ray's core processes are its children and die with it, even if it is killed (Linux'
parent-death signal).
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from recserve.auth.masking import mask_keys, mask_keys_in_logs
from recserve.data.system.cpus import usable_cpus
from recserve.data.system.files import held_alone
from recserve.errors import RecserveError, RuntimeEnvironmentError
from recserve.telemetry.logs import chosen_format, write_json
from recserve_deployments.local_server.haproxy import check_script
from recserve_deployments.local_server.ports import LOOPBACK
from recserve_deployments.local_server.schedule import RetrainingSchedule
from recserve_deployments.local_server.state_file import Order, remove_state, write_state

logger = logging.getLogger("recserve.supervisor")

READY_SECONDS = 180.0
_OBJECT_STORE_BYTES = 128 * 2**20
TUNING_FENCE = "recserve_tuning"


class _StoppedEarlyError(BaseException):
    """Raised by the signal handler: starting waits inside Ray, which no flag would interrupt."""


class Supervisor:
    """One run.

    Args:
        home: The home folder.
        order: The server to be.
        parent: Stop when this process is no longer the parent; None to go on without it.
    """

    def __init__(self, home: Path, order: Order, parent: int | None) -> None:
        self._home = home
        self._config = order.config
        self._parent = parent
        self._state = order.state
        self._stop = threading.Event()
        self._starting = True

    def run(self) -> int:
        """Live until stopped; returns the exit status."""
        # Two servers never share a home.
        refusal = RuntimeEnvironmentError(f"another server of {self._home} is starting or running")
        with held_alone(self._home / "server.lock", refusal):
            created = psutil.Process().create_time()
            self._tell(pid=os.getpid(), created=created, detail="starting Ray")
            try:
                self._start()
            except RecserveError as error:
                return self._fail(error.message)
            except _StoppedEarlyError:
                logger.info("stopped while starting")
            except Exception as error:
                logger.exception("cannot start")
                return self._fail(_told(error))
            self._starting = False
            schedule = RetrainingSchedule(self._home, self._config)
            while not self._stop.wait(1.0):
                schedule.tick()
                if self._parent is not None and os.getppid() != self._parent:
                    logger.info("the command that started this server is gone")
                    break
            self._tell(phase="stopping", detail="")
            schedule.stop()
            self._shut_down()
        remove_state(self._home, self._state.server_id)
        return 0

    def _start(self) -> None:
        self._catch_signals()
        check_script(Path(os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"]), self._state.port)
        self._start_ray()
        from recserve_deployments.app import AppArgs
        from recserve_deployments.local_server.deploy import deploy, start_serve, wait_until_ready

        self._tell(phase="deploying", detail="starting Serve")
        # Always on loopback: HAProxy alone is moved to other addresses, see local_server.environment.
        start_serve(LOOPBACK, self._state.port)
        deploy(
            AppArgs(home=str(self._home), config=self._config.model_dump(mode="json")),
            lambda line: self._tell(detail=line),
        )
        wait_until_ready(self._state.url, READY_SECONDS, lambda line: self._tell(detail=line))
        self._tell(phase="ready", detail="")

    def _start_ray(self) -> None:
        import ray

        directory = Path(self._state.run_directory or "")
        cpus = max(usable_cpus(), self._reserved_cpus())
        try:
            context = ray.init(
                address="local",
                num_cpus=cpus,
                # Tuning that runs beside this server takes this as well as CPUs: a core is never its own.
                resources={TUNING_FENCE: cpus - 1} if cpus > 1 else {},
                include_dashboard=False,
                # Batches travel by gRPC and bundles are memory-mapped: little goes through the object store.
                object_store_memory=_OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(directory / "ray"),
                _node_ip_address="127.0.0.1",
            )
        except Exception as error:
            logger.exception("Ray cannot start")
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise RuntimeEnvironmentError(
                f"Ray cannot start: {reason[0][:300]} (log: {self._state.log})"
            ) from None
        # Ray puts its own handler for SIGTERM in place.
        self._catch_signals()
        logs = directory / "ray" / "session_latest" / "logs"
        link = self._home / "logs" / "ray"
        link.unlink(missing_ok=True)
        link.symlink_to(logs.resolve())
        self._tell(address=str(context.address_info["gcs_address"]), ray_logs=str(logs.resolve()))

    def _reserved_cpus(self) -> int:
        """CPUs that the graph reserves: a machine with fewer still gets it placed."""
        from recserve_deployments.app import AppArgs, reserved_cpus

        return reserved_cpus(AppArgs(home=str(self._home), config=self._config.model_dump(mode="json")))

    def _shut_down(self) -> None:
        import ray
        from ray import serve

        try:
            if ray.is_initialized():
                serve.shutdown()
        except Exception:
            logger.exception("Serve did not shut down in order")
        ray.shutdown()
        for process in self._state.processes():
            if process.pid != os.getpid():
                process.kill()

    def _fail(self, message: str) -> int:
        self._starting = False
        logger.error("%s", message)
        self._tell(phase="failed", detail=message)
        self._shut_down()
        return 1

    def _tell(self, **changes: Any) -> None:
        told = self._state.model_copy(update=changes)
        if told == self._state:
            return
        self._state = told
        write_state(self._home, self._state)
        logger.info("%s %s", self._state.phase, self._state.detail)

    def _catch_signals(self) -> None:
        def stop(number: int, frame: object) -> None:
            self._stop.set()
            if self._starting:
                self._starting = False
                raise _StoppedEarlyError

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)


def _told(error: Exception) -> str:
    """An error that nobody expected, in one line; of a long one the end, which is where programs say why."""
    cause = getattr(error, "cause", None) or error  # Ray wraps what its actors raise
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(cause)).split())
    return f"{type(cause).__name__}: {text if len(text) <= 500 else f'... {text[-500:]}'}"


def main() -> int:
    """Entry point of the module."""
    parser = argparse.ArgumentParser(prog="python -m recserve_deployments.local_server.supervisor")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--order", type=Path, required=True, help="JSON file written by `recserve serve`")
    parser.add_argument("--parent", type=int, default=None)
    options = parser.parse_args()
    mask_keys_in_logs()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    order = Order.model_validate_json(options.order.read_bytes())
    if chosen_format(order.config.server.log_format) == "json":
        write_json(logging.getLogger().handlers, mask_keys, stage="supervisor")
    try:
        return Supervisor(options.home, order, options.parent).run()
    except RecserveError as error:
        logger.error("%s", error.message)
        return 1


if __name__ == "__main__":
    sys.exit(main())
