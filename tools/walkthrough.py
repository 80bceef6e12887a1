"""Runs every command of the README and the tutorial, in order, as a reader would type them in a fresh clone.

make walkthrough                       # a fresh clone of HEAD in a temporary folder; half an hour
python -m tools.walkthrough --list     # only shows the commands
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PAGES = ("README.md", "docs/tutorial.md")
NOT_RUN = ("make test",)
"""Commands that are run by themselves elsewhere."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("", "console", "bash", "sh")
_FINISHED = "walkthrough-finished"


def commands(page: str) -> Iterator[str]:
    """The commands of a page's shell blocks; of a ``console`` block those after a prompt."""
    for language, block in _BLOCK.findall(page):
        if language not in _SHELL:
            continue
        lines = block.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for line in lines:
            command = re.sub(r"\s+#\s.*$", "", line).strip()
            if command and command not in NOT_RUN:
                yield command


def run(clone: Path, wanted: list[str]) -> None:
    """Run commands in one shell, so that what one sets holds for the next.

    Raises:
        SystemExit: One failed; what is running then is left for a look.
    """
    with subprocess.Popen(
        ["bash"], cwd=clone, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        for command in wanted:
            print(f"$ {command}", flush=True)
            began = time.perf_counter()
            shell.stdin.write(f"{command} </dev/null\necho\necho {_FINISHED} $?\n")
            shell.stdin.flush()
            status = "the shell ended"
            for line in shell.stdout:
                if line.startswith(_FINISHED):
                    status = line.split()[1]
                    break
                print(f"    {line}", end="", flush=True)
            print(f"  -> {status} after {time.perf_counter() - began:.0f} s", flush=True)
            if status != "0":
                shell.kill()
                sys.exit(f"failed: {command}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="show the commands and run none")
    listed = parser.parse_args().list
    root = Path(__file__).parents[1]
    wanted = [command for page in PAGES for command in commands((root / page).read_text(encoding="utf-8"))]
    if listed:
        print("\n".join(wanted))
        return
    with tempfile.TemporaryDirectory(prefix="recserve-walkthrough-") as folder:
        clone = Path(folder) / "recserve"
        subprocess.run(["git", "clone", "--quiet", root, clone], check=True)
        run(clone, wanted)
    print(f"{len(wanted)} commands, all succeeded")


if __name__ == "__main__":
    main()
