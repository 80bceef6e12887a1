"""The text encoder beside ``sentence-transformers``: texts a second, and are the vectors as good?

    python -m benchmarks.encoding --peer-python PEER/bin/python [--engines torch onnx] [--threads 1 2]
                                  [--texts 2000] [--calls 1 8 32] [--repeats 3] [--json FILE]

The peer lives in an environment of its own; the engine ``onnx`` needs the extra of that name in ours:

    python -m venv PEER && PEER/bin/pip install sentence-transformers

Both encode the same texts with the same model. What is measured: the catalogue job (all texts in one call) on
item texts of the sample data and on paragraphs of Python's language reference (long texts), and the encoder
service (calls of a few item texts each). Every run is a process of its own, in turn; loading does not count.
Vectors are compared with the peer's: cosine of the same text, and how much of each text's ten nearest others
stays. The peer computes in float32, as our engine ``torch`` does.

Exit status 1: a mean cosine is below .98.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recserve_bert.engines.probes import LEAST_COSINE
from recserve_bert.parameters import BertParams
from recserve_bert.sources import locate
from recserve_movielens.sources import MovieLensSmall
from rich.console import Console
from rich.table import Table

from benchmarks.common import SAMPLE, machine, write_json
from recserve.plugin.builtins.item_text import FieldsParams, FieldsText
from recserve.training.fitting import catalogue_of

PEER = "sentence-transformers"
_QUERIES = 500
_LONG_CHARACTERS = 400


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Attributes:
        name: For the table.
        texts: What to encode.
        call: Texts a call; None for all in one.
    """

    name: str
    texts: list[str]
    call: int | None


@dataclass
class Figures:
    """What runs of one library took for one piece of work.

    Attributes:
        work: Its name.
        threads: Threads.
        library: ``sentence-transformers``, or our engine.
        speed: Texts a second by the clock, of each run.
        cpu_speed: Texts a second of CPU time, of each run.
        cosine_min: To the peer's vectors, of the text that differs most.
        cosine_mean: To the peer's vectors.
        overlap: Share of ten nearest others that are the same with the peer's vectors.
    """

    work: str
    threads: int
    library: str
    speed: list[float] = field(default_factory=list)
    cpu_speed: list[float] = field(default_factory=list)
    cosine_min: float = 1.0
    cosine_mean: float = 1.0
    overlap: float = 1.0


def item_texts(count: int) -> list[str]:
    """Texts of items of the sample data, drawn at random."""
    catalogue, fields = catalogue_of(MovieLensSmall().read()), FieldsText(FieldsParams())
    texts = sorted({fields.text(item) for item in catalogue.items()})
    return random.Random(0).sample(texts, min(count, len(texts)))


def long_texts(count: int) -> list[str]:
    """Paragraphs of Python's language reference, drawn at random."""
    joined = (" ".join(part.split()) for topic in topics.values() for part in topic.split("\n\n"))
    paragraphs = sorted({one for one in joined if len(one) >= _LONG_CHARACTERS})
    return random.Random(0).sample(paragraphs, min(count, len(paragraphs)))


class Comparison:
    """Runs libraries on pieces of work.

    Args:
        work: What to encode.
        model: The encoder's ``model``.
        peer: The interpreter that has the peer.
        folder: For files of the runs.
        cache: Where 8-bit models are kept; None for the default.
    """

    def __init__(
        self, work: Sequence[Work], model: str, peer: Path, folder: Path, cache: Path | None = None
    ) -> None:
        self._work = work
        self._model = model
        self._directory = locate(BertParams(model=model)).directory
        self._peer = peer
        self._folder = folder
        self._cache = cache
        self._described = []
        for number, one in enumerate(work):
            path = folder / f"texts-{number}.json"
            path.write_text(json.dumps(one.texts), encoding="utf-8")
            self._described.append({"texts": str(path), "call": one.call})

    def measure(self, engines: Sequence[str], threads: int, repeats: int) -> list[Figures]:
        """Every library in turn, several times over, who goes first changing."""
        libraries = [PEER, *engines]
        found = {
            library: [Figures(one.name, threads, library) for one in self._work] for library in libraries
        }
        vectors: dict[str, list[NDArray[np.float32]]] = {}
        for repeat in range(repeats):
            turn = repeat % len(libraries)
            for library in libraries[turn:] + libraries[:turn]:
                print(f"{library}: {threads} threads, run {repeat + 1}", file=sys.stderr)
                times, vectors[library] = self._run(library, threads)
                for figures, one, (clock, cpu) in zip(found[library], self._work, times, strict=True):
                    figures.speed.append(len(one.texts) / clock)
                    figures.cpu_speed.append(len(one.texts) / cpu)
        for engine in engines:
            for figures, ours, theirs in zip(found[engine], vectors[engine], vectors[PEER], strict=True):
                cosines = (ours * theirs).sum(axis=1)
                figures.cosine_min, figures.cosine_mean = float(cosines.min()), float(cosines.mean())
                figures.overlap = overlap(ours, theirs)
        return [figures for library in libraries for figures in found[library]]

    def _run(self, library: str, threads: int) -> tuple[Any, list[NDArray[np.float32]]]:
        """Times and vectors of one process."""
        ours = library != PEER
        job = {
            "library": "recserve" if ours else PEER,
            "engine": library,
            "model": self._model,
            "directory": str(self._directory),
            "cache": None if self._cache is None else str(self._cache),
            "threads": threads,
            "work": self._described,
        }
        (self._folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        script = Path(__file__).with_name("encoding_run.py")
        command = [sys.executable if ours else str(self._peer), "-I", str(script), str(self._folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(threads))
        if done.returncode:
            raise SystemExit(f"{library} failed:\n{done.stderr[-3000:]}")
        vectors = [np.load(self._folder / f"vectors-{number}.npy") for number in range(len(self._work))]
        return json.loads((self._folder / "times.json").read_text(encoding="utf-8")), vectors


def _environment(threads: int) -> dict[str, str]:
    """As many threads for everything that has threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    parallel = "false" if threads == 1 else "true"
    return {
        **os.environ,
        **dict.fromkeys(names, str(threads)),
        "TOKENIZERS_PARALLELISM": parallel,
        "HF_HUB_OFFLINE": "1",
    }


def overlap(ours: NDArray[np.float32], theirs: NDArray[np.float32], k: int = 10) -> float:
    """Mean share of the k nearest other rows that two sets of vectors agree on, over the first rows."""
    count = min(_QUERIES, len(ours))
    near = []
    for vectors in (ours, theirs):
        scores = vectors[:count] @ vectors.T
        scores[np.arange(count), np.arange(count)] = -np.inf
        near.append(np.argpartition(-scores, k - 1, axis=1)[:, :k].tolist())
    return statistics.fmean(len(set(one) & set(two)) / k for one, two in zip(*near, strict=True))


def show(found: Sequence[Figures], console: Console) -> None:
    """Medians and ranges of texts a second, and how many times the peer's."""
    table = Table(
        "work", "threads", "library", "texts/s (range)", "texts per CPU second", f"times {PEER}",
        "cosine mean (least)", "top-10 overlap",
    )  # fmt: skip
    groups: dict[tuple[str, int], list[Figures]] = defaultdict(list)
    for outcome in found:
        groups[outcome.work, outcome.threads].append(outcome)
    for group in groups.values():
        base = statistics.median(group[0].speed)
        for one in group:
            speed = statistics.median(one.speed)
            same = one.library == PEER
            table.add_row(
                one.work,
                str(one.threads),
                one.library,
                f"{speed:,.0f} ({min(one.speed):,.0f}-{max(one.speed):,.0f})",
                f"{statistics.median(one.cpu_speed):,.0f}",
                "" if same else f"{speed / base:.2f}",
                "" if same else f"{one.cosine_mean:.4f} ({one.cosine_min:.4f})",
                "" if same else f"{one.overlap:.3f}",
            )
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", type=Path, required=True, help="Interpreter that has the peer.")
    parser.add_argument("--engines", nargs="+", choices=["torch", "onnx"], default=["torch", "onnx"])
    parser.add_argument("--model", default="bundled:minilm", help="As encoder.model has it; not e5.")
    parser.add_argument("--cache", type=Path, help="Where 8-bit models are kept.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--texts", type=int, default=2000, help="Item texts of the catalogue job.")
    parser.add_argument("--long-texts", type=int, default=300, help="Long texts of the catalogue job.")
    parser.add_argument("--calls", type=int, nargs="*", default=[1, 8, 32], help="Texts a service call.")
    parser.add_argument("--repeats", type=int, default=3, help="Runs of each library.")
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = _options()
    items = item_texts(options.texts)
    long = long_texts(options.long_texts)
    work = [Work("catalogue, items", items, None), Work("catalogue, long texts", long, None)]
    work += [Work(f"service, {call} a call", items[: max(10 * call, 200)], call) for call in options.calls]
    console = Console(width=160)
    average = statistics.fmean(map(len, items)), statistics.fmean(map(len, long))
    console.print(
        f"{machine()}; {options.model}; {len(items):,} item texts of {SAMPLE} ({average[0]:.0f} characters "
        f"in the mean), {len(long):,} long texts ({average[1]:.0f})",
        highlight=False,
    )
    before = os.getloadavg()[0]
    found: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="recserve-encoding-") as folder:
        one = Comparison(work, options.model, options.peer_python, Path(folder), options.cache)
        for threads in options.threads:
            found += one.measure(options.engines, threads, options.repeats)
    show(found, console)
    console.print(f"load average before and after: {before:.1f}, {os.getloadavg()[0]:.1f}")
    content = {
        "machine": machine(),
        "model": options.model,
        "figures": [asdict(outcome) for outcome in found],
    }
    write_json(options.json, content)
    sys.exit(1 if any(outcome.cosine_mean < LEAST_COSINE for outcome in found) else 0)


if __name__ == "__main__":
    main()
