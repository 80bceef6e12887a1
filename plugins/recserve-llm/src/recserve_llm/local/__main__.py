"""``python -m recserve_llm.local``: serve a small language model to programs of this machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from recserve import RecserveError
from recserve_llm.local.server import LocalServer
from recserve_llm.local.weights import INSTALL, find_weights

NEEDED = ("torch", "transformers", "gguf", "llguidance")

_APPEARS_SECONDS = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; 2 where something is missing."""
    options = _parse(arguments)
    try:
        weights = find_weights(options.model)
    except RecserveError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        print(f"{', '.join(missing)} is missing; {INSTALL}", file=sys.stderr)  # noqa: T201
        return 2
    if options.check:
        return 0
    from recserve_llm.local.model import LocalModel

    try:
        server = LocalServer(
            LocalModel(weights, options.threads), weights.name, options.port, options.seconds
        )
    except OSError as error:
        print(f"cannot serve {weights.name} on port {options.port}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if options.beside is not None:
        threading.Thread(target=_end_with, args=(options.beside,), daemon=True).start()
    print(f"{weights.name} at {server.url}", flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        server.serve()
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recserve_llm.local", description=__doc__)
    parser.add_argument("--model", type=Path, help="GGUF file or checkpoint; default: the installed SmolLM2.")
    parser.add_argument("--port", type=int, default=8081, help="Port on 127.0.0.1 (0: a free one).")
    parser.add_argument("--threads", type=int, default=1, help="Threads of the model.")
    parser.add_argument("--seconds", type=float, default=60.0, help="Longest time of an answer.")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="FILE",
        help="End with the server whose state file this is.",
    )
    parser.add_argument("--check", action="store_true", help="Only say whether everything needed is there.")
    return parser.parse_args(arguments)


def _end_with(file: Path) -> None:
    """End this process at once when a server has ended, or never began."""
    appears = time.monotonic() + _APPEARS_SECONDS
    while not file.exists() and time.monotonic() < appears:
        time.sleep(1.0)
    while _runs(file):
        time.sleep(1.0)
    os._exit(0)


def _runs(file: Path) -> bool:
    """Whether the server of a state file runs."""
    try:
        pid = int(json.loads(file.read_bytes())["pid"])
        # Between its beginning and its end a server's state may be without a process.
        if pid:
            os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
