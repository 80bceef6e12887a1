"""Commands as jobs of a Ray cluster, from a machine that is none of its nodes; imports Ray."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import ray.exceptions
from ray.job_submission import JobStatus, JobSubmissionClient

from recserve.errors import RuntimeEnvironmentError
from recserve_deployments.local_server.environment import web_proxy_hint

CONFIG = "recserve.yaml"
CPUS = 1.0
"""CPUs that a command itself takes; its workers take more."""

_STOP_SECONDS = 30.0
_ASK_SECONDS = 0.5
# A home of the node keeps vectors of texts and checkpoints for the next job.
_ENTRY = (
    'command -v recserve > /dev/null || {{ echo "error: recserve is not on the PATH of this node; start Ray '
    'there with its folder in PATH"; exit 2; }}; '
    'export RECSERVE_HOME="${{RECSERVE_HOME:-$HOME/.recserve}}"; mkdir -p "$RECSERVE_HOME"; '
    'exec recserve {command} --config "$PWD/{config}" --address "$RAY_ADDRESS"'
)


def run_job(url: str, command: Sequence[str], config: Path, say: Callable[[str], None]) -> int:
    """Run a command on a cluster and pass on what it prints until it ends.

    An interruption stops it; a connection that is lost does not.

    Args:
        url: Of the head's dashboard.
        command: The command and its options, without home, configuration and address.
        config: The configuration file; it goes with the job.
        say: Given what the command prints, in pieces.

    Returns:
        The command's exit status.

    Raises:
        RuntimeEnvironmentError: No dashboard answers, it refuses, or the connection was lost.
        KeyboardInterrupt: It was interrupted, and the job is stopped.
    """
    client = _client(url)
    columns = shutil.get_terminal_size((200, 50)).columns
    with tempfile.TemporaryDirectory(prefix="recserve-job-") as folder:
        shutil.copyfile(config, Path(folder) / CONFIG)
        job = client.submit_job(
            entrypoint=_ENTRY.format(command=shlex.join(command), config=CONFIG),
            entrypoint_num_cpus=CPUS,
            runtime_env={"working_dir": folder, "env_vars": {"COLUMNS": str(columns)}},
            metadata={"command": f"recserve {command[0]}"},
        )
    say(f"job {job} of {url}\n")
    try:
        asyncio.run(_follow(client, job, say))
    except KeyboardInterrupt:
        client.stop_job(job)
        try:
            asyncio.run(_ended(client, job))
            say("interrupted; the job is stopped\n")
        except TimeoutError:
            say(f"interrupted; the job was told to stop and has not after {_STOP_SECONDS:g} s\n")
        raise
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise RuntimeEnvironmentError(
            f"the connection to {url} was lost ({error}); the job goes on: "
            f"`ray job logs --follow --address {url} {job}`"
        ) from None
    info = client.get_job_info(job)
    if info.status is JobStatus.SUCCEEDED:
        return 0
    if info.driver_exit_code is None:
        raise RuntimeEnvironmentError(f"job {job} did not run: {info.message or info.status.value}")
    return int(info.driver_exit_code)


def _client(url: str) -> JobSubmissionClient:
    logging.getLogger("ray").setLevel(logging.WARNING)  # it tells of every upload
    try:
        return JobSubmissionClient(url)
    except ray.exceptions.AuthenticationError:
        raise RuntimeEnvironmentError(
            f"{url} wants the cluster's token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or "
            "RAY_AUTH_TOKEN_PATH"
        ) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RuntimeEnvironmentError(
            f"no dashboard of a Ray cluster answers at {url} ({reason}); the head needs "
            f"--include-dashboard=true{web_proxy_hint(os.environ)}"
        ) from None


async def _follow(client: JobSubmissionClient, job: str, say: Callable[[str], None]) -> None:
    async for lines in client.tail_job_logs(job):
        say(lines)
    await _ended(client, job)


async def _ended(client: JobSubmissionClient, job: str) -> None:
    """Wait until the job has ended: its log does so a moment before."""
    async with asyncio.timeout(_STOP_SECONDS):
        while not client.get_job_status(job).is_terminal():
            await asyncio.sleep(_ASK_SECONDS)
