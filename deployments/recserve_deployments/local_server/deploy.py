"""Puts the application on a Ray cluster that this process is connected to. Imports Ray."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from ray import serve
from ray.serve.schema import LoggingConfig

from recserve.errors import RuntimeEnvironmentError
from recserve_deployments.app import AppArgs, build
from recserve_deployments.local_server.environment import web_proxy_hint
from recserve_deployments.replica.access import serve_address

APP_NAME = "recserve"
_FAILED = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})

Report = Callable[[str], None]


def start_serve(host: str, port: int, *, every_node: bool = False) -> tuple[str, int]:
    """Start Serve, unless it is running on the cluster already.

    Args:
        host: Host of the HTTP proxy.
        port: Port of the HTTP proxy.
        every_node: Whether each node has a proxy, so that the head is not the only way in.

    Returns:
        Host and port that the cluster's Serve listens on, which are others if it was running.
    """
    serve.start(
        proxy_location="EveryNode" if every_node else "HeadOnly",
        http_options={"host": host, "port": port, "request_timeout_s": 30.0},
        logging_config=LoggingConfig(enable_access_log=False),
    )
    return serve_address()


def deploy(args: AppArgs, report: Report) -> None:
    """Deploy on a Serve that runs, and wait until every replica does.

    Args:
        args: Arguments of the app builder.
        report: Told in one line what is going on.

    Raises:
        RuntimeEnvironmentError: A replica cannot start; says why in one line.
    """
    with _Watcher(report):
        try:
            serve.run(
                build(args),
                name=APP_NAME,
                route_prefix="/",
                # Serve makes a record of each request even if nobody is to see it, unless its level forbids.
                logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
            )
        except RuntimeError as error:
            # Serve names the deployments that failed; why is said where it reports on each of them.
            told = [
                f"{one.name}: {one.message}" for one in deployments() if one.status in _FAILED and one.message
            ]
            reason = "; ".join(told) or _reason(str(error))
            raise RuntimeEnvironmentError(f"{reason}{web_proxy_hint(os.environ)}") from None


def undeploy() -> None:
    """Take the application off a cluster that goes on running."""
    serve.delete(APP_NAME)


def wait_until_ready(url: str, timeout: float, report: Report) -> None:
    """Wait until the API says that it and all its stages are ready.

    Raises:
        RuntimeEnvironmentError: They are not, ``timeout`` seconds later.
    """
    end = time.monotonic() + timeout
    problem = "no answer"
    # One client: to make one costs more than to ask, and replicas that start need the CPU.
    with httpx.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < end:
            try:
                answer = client.get(f"{url}/v1/health/ready")
                body = answer.json()
                if answer.status_code == 200 and all(body["stages"].values()):
                    return
                problem = body["error"]["message"] if "error" in body else str(body["details"])
            except (httpx.HTTPError, ValueError, KeyError) as error:
                problem = str(error) or type(error).__name__
            report(f"waiting for the API ({problem})")
            time.sleep(0.1)
    raise RuntimeEnvironmentError(
        f"the server at {url} is not ready after {timeout:.0f} s: {problem}{web_proxy_hint(os.environ)}"
    )


@dataclass(frozen=True)
class DeploymentReport:
    """One deployment as Serve sees it.

    Attributes:
        name: Its name.
        status: Such as ``HEALTHY`` or ``UPDATING``.
        running: Running replicas.
        other: Replicas in other states, such as ``{"STARTING": 1}``.
        message: What Serve has to say, empty if nothing.
    """

    name: str
    status: str
    running: int
    other: dict[str, int]
    message: str


def deployments() -> list[DeploymentReport]:
    """All deployments of the application; empty while there is none."""
    app = serve.status().applications.get(APP_NAME)
    if app is None:
        return []
    return [
        DeploymentReport(
            name,
            str(one.status.value),
            one.replica_states.get("RUNNING", 0),
            {
                str(state): count
                for state, count in one.replica_states.items()
                if state != "RUNNING" and count
            },
            _reason(one.message) if one.message else "",
        )
        for name, one in app.deployments.items()
    ]


class _Watcher:
    """Reports, while ``serve.run`` waits, which deployments are still missing."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *details: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.3):
            try:
                known = deployments()
            except Exception:  # progress only; serve.run itself reports what is wrong
                continue
            missing = [
                f"{one.name} ({one.message})" if one.message else one.name
                for one in known
                if one.status != "HEALTHY"
            ]
            if known:
                self._report(f"starting {', '.join(missing)}" if missing else "all deployments run")


def _reason(message: str) -> str:
    """The one line of a Serve message that tells a person why."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"^[\w.]*(Error|Exception)\b.*: ", line)]
    ours = [line for line in raised if line.startswith("recserve.errors.")]
    chosen = (ours or raised or lines or ["no reason given"])[-1]
    return chosen.partition(": ")[2] if ours else chosen


__all__ = [
    "APP_NAME",
    "DeploymentReport",
    "deploy",
    "deployments",
    "start_serve",
    "undeploy",
    "wait_until_ready",
]
