"""The language model at the end of the page: gain, cost, deadlines, explanations, hostile texts.

    python -m benchmarks.llm [--users N] [--explanations N] [--answers FORMS] [--base-url URL --model NAME]

On the bundled sample, behind a pipeline without a text encoder. Without ``--base-url`` SmolLM2-135M is served
on this machine for as long as it takes (see the plugin's README). Printed:

1. nDCG@10 of the page before and after, with the paired 95% interval over users, and what a page costs.
2. Milliseconds of whole answers (median, p99): without the model, with one that hangs, with the model at the
   deadline, and once its answers are remembered.
3. Explanations: how many passed the check, why others were refused, three that were.
4. Twenty hostile item texts: which are recognised, and what they do to order and words.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common import machine, write_json
from benchmarks.llm_parts.hostile import hostile_texts
from benchmarks.llm_parts.pages import measure_pages
from benchmarks.llm_parts.sample import Sample
from benchmarks.llm_parts.sentences import measure_sentences
from benchmarks.llm_parts.waiting import measure_waiting


def main() -> None:
    """Measure and print."""
    options = _options()
    console = Console(highlight=False, width=160)
    console.print(machine())
    found: dict[str, Any] = {}
    with _model(options) as (connection, pid):
        console.print(f"model {connection['model']} at {connection['base_url']}")
        sample = Sample.fitted(options.users)
        parts = options.parts.split(",")
        if "pages" in parts:
            found["pages"] = measure_pages(sample, connection, pid, options.answers.split(","), console)
        if "waiting" in parts:
            found["waiting"] = measure_waiting(sample, connection, console)
        if "sentences" in parts:
            found["sentences"] = measure_sentences(sample, connection, options.explanations, console)
        if "hostile" in parts:
            found["hostile"] = hostile_texts(sample, connection, console)
        write_json(options.json, found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--explanations", type=int, default=200)
    parser.add_argument("--answers", default="logprobs,logprobs:2", help="Forms of answers, with passes.")
    parser.add_argument("--parts", default="pages,waiting,sentences,hostile")
    parser.add_argument("--base-url", help="A server that runs already.")
    parser.add_argument("--model", default="smollm2", help="Its model.")
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    return parser.parse_args()


@contextmanager
def _model(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Parameters of a connection, and the process of the model where it is ours."""
    base = {"concurrency": 1, "timeout_ms": 300_000, "requests_a_minute": None, "max_queue": 10_000}
    if options.base_url:
        yield {**base, "base_url": options.base_url, "model": options.model}, None
        return
    command = [sys.executable, "-m", "recserve_llm.local", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline().split()
            if len(said) != 3:
                raise SystemExit("the language model did not start")
            yield {**base, "base_url": said[2], "model": said[0]}, process.pid
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
