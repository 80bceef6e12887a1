"""A small language model beside the demo's server, in a process of its own that ends with the server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from recserve.cli.common import State, out
from recserve.config import plain_config
from recserve.errors import RuntimeEnvironmentError

MODULE = "recserve_llm.local"
"""By name: the library imports no plugin."""

_CONFIG = "llm.yaml"
_DEADLINE_MS = 8_000


@dataclass(frozen=True)
class LanguageModel:
    """A language model that is being served on this machine.

    Attributes:
        name: What its server calls it.
        url: ``base_url`` of clients.
    """

    name: str
    url: str

    def configured(self, state: State, nouns: Sequence[str]) -> Path:
        """Write the home's configuration with the model at the end of its default scenario.

        Args:
            state: The home.
            nouns: What its items are called.

        Returns:
            The file, which lies beside the home's own.
        """
        plain = plain_config(state.config)
        scenario = plain["scenarios"][state.config.default_scenario]
        base = scenario["explainer"]
        connection: dict[str, Any] = {
            "base_url": self.url,
            "model": self.name,
            "concurrency": 1,
            "timeout_ms": 60_000,
        }
        reranker = {**connection, "answer": "logprobs", "deadline_ms": _DEADLINE_MS}
        explainer = {
            **connection,
            "base": base["use"],
            "base_params": base.get("params", {}),
            "nouns": list(nouns),
        }
        scenario["rerankers"] = [
            *scenario.get("rerankers", []),
            {"use": "llm_rerank", "params": reranker},
        ]
        scenario["explainer"] = {"use": "llm", "params": explainer}
        # The model has one thread here; a hosted one answers within the usual deadline.
        plain.setdefault("server", {})["reranking_deadline_ms"] = _DEADLINE_MS + 1_000
        path = state.home / _CONFIG
        path.write_text(yaml.safe_dump(plain, allow_unicode=True), encoding="utf-8")
        return path


def check_language_model() -> None:
    """Make sure that a model could be served.

    Raises:
        RuntimeEnvironmentError: Something is missing; the message says how to get it.
    """
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "--check"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing = find_spec(MODULE.partition(".")[0]) is None
        why = "pip install 'recserve-llm[local]'" if missing else done.stderr.strip().splitlines()[-1]
        raise RuntimeEnvironmentError(f"--llm needs a language model: {why}")


def start_language_model(home: Path) -> LanguageModel:
    """Serve the model until the server of a home ends.

    Args:
        home: No server of it is running yet.

    Raises:
        RuntimeEnvironmentError: It cannot be loaded.
    """
    log = home / "llm.log"
    command = [sys.executable, "-m", MODULE, "--port", "0", "--beside", str(home / "server.json")]
    out.print(f"\n[bold]$ python -m {MODULE}[/]", soft_wrap=True)
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
    assert process.stdout is not None
    # The line is said once the model is loaded; a process that ends says none.
    said = process.stdout.readline().split()
    if len(said) != 3:
        raise RuntimeEnvironmentError(f"the language model did not start; see {log}")
    out.print(" ".join(said), soft_wrap=True)
    return LanguageModel(said[0], said[2])
