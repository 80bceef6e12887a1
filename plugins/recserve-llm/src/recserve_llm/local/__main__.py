"""``python -m recserve_llm.local``: serve a small language model to programs of this machine."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from recserve import RecserveError
from recserve_llm.local.weights import INSTALL, find_weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; 2 where something is missing."""
    options = _parse(arguments)
    try:
        weights = find_weights(options.model)
    except RecserveError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    try:
        from recserve_llm.local.model import LocalModel
        from recserve_llm.local.server import LocalServer
    except ImportError as error:
        print(f"{error.name} is missing; {INSTALL}", file=sys.stderr)  # noqa: T201
        return 2
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
    try:
        server.serve()
    except KeyboardInterrupt:
        pass
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recserve_llm.local", description=__doc__)
    parser.add_argument("--model", type=Path, help="GGUF file or checkpoint; default: the installed SmolLM2.")
    parser.add_argument("--port", type=int, default=8081, help="Port on 127.0.0.1 (0: a free one).")
    parser.add_argument("--threads", type=int, default=1, help="Threads of the model.")
    parser.add_argument("--seconds", type=float, default=60.0, help="Longest time of an answer.")
    parser.add_argument("--beside", type=int, metavar="PID", help="End when that process has ended.")
    return parser.parse_args(arguments)


def _end_with(pid: int) -> None:
    """End this process at once when another one has ended."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            os._exit(0)
        except PermissionError:
            pass
        time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main())
