"""What a GPU does for encoding, training, serving and tuning, and whether it does the same as the CPU.

    python -m benchmarks.gpu                        # a machine with a GPU: under 8 minutes
    python -m benchmarks.gpu --device cpu --small   # anywhere: the same steps on little data, without a GPU

Data are made up: users who go through items of their topics in order, items with titles of their topics'
words. In turn:

- *encode*: texts through the BERT encoder (bfloat16 on the GPU);
- *bert_lstm*, *mf*: fits on all events;
- *serve*: `recserve serve`, half a GPU for the ranking stage and half for the encoding stage; every request
  has a text of its own and none is cached;
- *tune*: `recserve tune bert_lstm`, four trials at a time with a quarter of a GPU each, while the server
  answers.

The CPU of the same machine does the same on a part of the work, and on that part both are compared: vectors
by their cosine, fits and answers by nDCG@10 on held-out events and by what they recommend. Exit status: 1 if
they differ by more than the tolerance or an answer was bad, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.common import CONFIG_NAME, Connection, Server, machine, recserve, serving, write_json
from benchmarks.gpu_data import Data, Sizes
from recserve import FitContext, Retrieved, sample_queries
from recserve.data.arrays import FloatArray

LEAST_COSINE = 0.999
MOST_NDCG_APART = 0.03
LEAST_SHARED = 0.9
TRIALS = 4


FULL = Sizes(100_000, 40_000, 20_000, 100, 1_000_000, 3, 10, 0.03, 10.0)
SMALL = Sizes(400, 300, 200, 10, 6_000, 2, 3, 0.5, 2.0)


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Attributes:
        what: The work, with its unit.
        fast: Units a second on the device.
        cpu: Units a second on the CPU, None where it was not asked.
        agreement: How far both agree.
        good: Whether that is within tolerance.
    """

    what: str
    fast: float
    cpu: float | None
    agreement: str = ""
    good: bool = True


def encode(data: Data, device: str) -> tuple[Outcome, FloatArray]:
    """Encode texts; also the vectors of the items' titles."""
    from recserve_bert.encoder import BertEncoder
    from recserve_bert.parameters import BertParams

    texts = [data.title(row) for row in range(data.sizes.texts)]
    some = texts[: int(len(texts) * data.sizes.part)]

    def timed(place: str, asked: list[str]) -> tuple[float, Any, Any]:
        encoder = BertEncoder(BertParams(device=place))
        encoder.encode(asked[:64])  # loads the model
        began = time.perf_counter()
        vectors = encoder.encode(asked)
        return len(asked) / (time.perf_counter() - began), vectors, encoder

    fast, vectors, encoder = timed(device, texts)
    slow, reference, _ = timed("cpu", some)
    cosine = float((vectors[: len(some)] * reference).sum(axis=1).min())
    outcome = Outcome("encode, texts/s", fast, slow, f"least cosine {cosine:.5f}", cosine >= LEAST_COSINE)
    return outcome, encoder.encode(data.titles)


def fit_sequence_model(data: Data, vectors: FloatArray, device: str) -> Outcome:
    """Fit ``bert_lstm`` on all events; on some of them on both devices."""
    from recserve_bert_lstm.model import BertLstm
    from recserve_bert_lstm.parameters import BertLstmParams

    params = BertLstmParams(epochs=data.sizes.epochs, width=64)

    def fitted(place: str, users: int) -> tuple[float, float]:
        training = data.dataset(vectors, users)
        began = time.perf_counter()
        context = FitContext(event_types=training.event_types, device=place)
        facts = BertLstm(params, training.catalogue).fit(training, context)
        scores = facts["validation_ndcg@10"]
        # An epoch of all events: one of fewer is so much quicker.
        share = users / data.sizes.users
        return share * len(scores) / (time.perf_counter() - began), float(max(scores))

    _, here = fitted(device, data.some_users)  # warms up, too
    fast, _ = fitted(device, data.sizes.users)
    slow, there = fitted("cpu", data.some_users)
    said = f"nDCG@10 {here:.3f} and {there:.3f}"
    return Outcome("bert_lstm, epochs/s", fast, slow, said, abs(here - there) <= MOST_NDCG_APART)


def factorise(data: Data, vectors: FloatArray, device: str) -> Outcome:
    """Fit ``mf`` on all events; on some of them on both devices."""
    from recserve_mf.parameters import MfParams
    from recserve_mf.retriever import MfRetriever

    params = MfParams(dimension=64, iterations=data.sizes.sweeps, regularization=0.01, half_life_events=0.0)

    def fitted(place: str, users: int) -> tuple[float, Retrieved]:
        training = data.dataset(vectors, users)
        model = MfRetriever(params, training.catalogue)
        began = time.perf_counter()
        model.fit(training, FitContext(event_types=training.event_types, device=place))
        share = users / data.sizes.users
        speed = share * params.iterations / (time.perf_counter() - began)
        return speed, model.retrieve(sample_queries(training, 0), 10)

    _, here = fitted(device, data.some_users)  # warms up, too
    fast, _ = fitted(device, data.sizes.users)
    slow, there = fitted("cpu", data.some_users)
    shared = overlap(here.items.tolist(), there.items.tolist())
    return Outcome("mf, sweeps/s", fast, slow, f"{shared:.0%} of ten the same", shared >= LEAST_SHARED)


def overlap(some: Sequence[Sequence[Any]], others: Sequence[Sequence[Any]]) -> float:
    """Mean share of each list's elements that the other list has too."""
    pairs = zip(some, others, strict=True)
    return float(np.mean([len(set(one) & set(other)) / max(len(set(one)), 1) for one, other in pairs]))


class Home:
    """A home with the data, trained on the device.

    Args:
        folder: Where it may lie.
        data: The data; the store gets a part of them.
        gpus: GPUs of a stage of the server.
    """

    def __init__(self, folder: Path, data: Data, gpus: float) -> None:
        self.path = folder / "home"
        self.path.mkdir()
        self._gpus = gpus
        self._sizes = data.sizes
        users = max(data.some_users, data.sizes.users // 5)
        self.users = users
        data.write(folder, users)
        self.configure(gpus)
        files = ("--events", str(folder / "events.parquet"), "--items", str(folder / "items.jsonl"))
        recserve(self.path, "import", *files)
        recserve(self.path, "train", "--no-evaluate")

    def configure(self, gpus: float) -> None:
        """Write the configuration of a server whose stages have so much of a GPU each."""
        ranker = {"use": "bert_lstm", "params": {"epochs": self._sizes.epochs, "width": 64}}
        retrievers = [{"use": "mf", "params": {"dimension": 32, "iterations": 3}}, {"use": "content"}]
        config = {
            "scenarios": {"home": {"retrievers": retrievers, "ranker": ranker}},
            "item_text": {"use": "fields", "params": {"fields": ["title"]}},
            "train": {"device": "cpu" if self._gpus == 0 else "auto"},
            "server": {
                "repeats": 0,
                "encoding": {"gpus": gpus, "deadline_ms": 10_000},
                "ranking": {"gpus": gpus, "deadline_ms": 10_000},
            },
        }
        (self.path / CONFIG_NAME).write_text(yaml.safe_dump(config), encoding="utf-8")

    def ask(self, server: Server, seconds: float, connections: int = 32) -> tuple[float, int]:
        """Answers a second of a closed loop, and how many answers were bad."""
        chooser = random.Random(0)
        good = bad = 0

        async def one_after_another(end: float) -> None:
            nonlocal good, bad
            connection = Connection("127.0.0.1", server.port)
            while time.monotonic() < end:
                text = f"topic{chooser.randrange(self._sizes.topics)} {chooser.random()}"
                body = {"user_id": f"user-{chooser.randrange(self.users)}", "query": text, "n": 10}
                status, answer = await connection.call("POST", "/v1/recommend", body)
                fine = status == 200 and not answer["degraded"]
                good, bad = good + fine, bad + (not fine)
            connection.close()

        async def all_of_them() -> None:
            end = time.monotonic() + seconds
            await asyncio.gather(*(one_after_another(end) for _ in range(connections)))

        asyncio.run(all_of_them())
        return good / seconds, bad

    def answers(self, server: Server) -> list[list[str]]:
        """What some users get."""
        found = []
        for user in range(50):
            body = {"user_id": f"user-{user}", "query": f"topic{user % self._sizes.topics}", "n": 10}
            answer = httpx.post(f"{server.url}/v1/recommend", json=body, timeout=30, trust_env=False).json()
            found.append([item["item_id"] for item in answer["items"]])
        return found

    def tune(self) -> float:
        """Trials a minute of a study on a Ray of its own."""
        place = ("--gpus", "0.25", "--cpus", "1") if self._gpus else ("--gpus", "0", "--cpus", "0.5")
        began = time.monotonic()
        recserve(
            self.path,
            *("tune", "bert_lstm", "--trials", str(TRIALS), "--max-concurrent", str(TRIALS), *place),
            *("--param", "learning_rate", "--no-confirm", "--address", "local"),
        )
        return TRIALS / (time.monotonic() - began) * 60


def serve_and_tune(folder: Path, data: Data, device: str) -> list[Outcome]:
    """Serve with half a GPU a stage, tune beside it, and serve without a GPU."""
    half = 0.5 if device == "cuda" else 0.0
    home = Home(folder, data, half)
    seconds = data.sizes.seconds
    with serving(home.path) as server:
        home.ask(server, seconds / 2)  # warms up
        fast, bad = home.ask(server, seconds)
        here = home.answers(server)
        stop, beside = threading.Event(), []

        def light() -> None:
            while not stop.is_set():
                beside.append(home.ask(server, 1.0, connections=2))

        thread = threading.Thread(target=light)
        thread.start()
        try:
            trials = home.tune()
        finally:
            stop.set()
            thread.join()
    home.configure(0.0)
    with serving(home.path) as server:
        home.ask(server, seconds / 2)
        slow, worse = home.ask(server, seconds)
        there = home.answers(server)
    shared = overlap(here, there)
    lost = sum(bad for _, bad in beside)
    rate = np.mean([rate for rate, _ in beside])
    told = f"{shared:.0%} of ten the same, {bad + worse} bad"
    tuned = f"{rate:.0f} answers/s to 2 clients beside it, {lost} bad"
    return [
        Outcome("serve, answers/s", fast, slow, told, shared >= LEAST_SHARED and not bad + worse),
        Outcome(f"tune, {TRIALS} at a time, trials/min", trials, None, tuned, not lost),
    ]


def show(outcomes: Sequence[Outcome], device: str, console: Console) -> None:
    """A line for each kind of work."""
    table = Table("work", device, "CPU", "times", "agreement", "")
    for outcome in outcomes:
        slow = outcome.cpu
        table.add_row(
            outcome.what,
            f"{outcome.fast:,.3g}" if outcome.fast < 100 else f"{outcome.fast:,.0f}",
            "" if slow is None else f"{slow:,.3g}" if slow < 100 else f"{slow:,.0f}",
            "" if slow is None else f"{outcome.fast / slow:.1f}",
            outcome.agreement,
            "" if outcome.good else "NOT GOOD",
        )
    console.print(table)


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="Little data: shows that everything runs.")
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    options = parser.parse_args()
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU is here: torch sees no CUDA device; --device cpu --small runs the same steps without")
        return 2
    console = Console(width=130)
    where = torch.cuda.get_device_name() if options.device == "cuda" else "no GPU"
    console.print(f"{machine()}; {where}; torch {torch.__version__}")
    began = time.monotonic()
    data = Data(SMALL if options.small else FULL)
    outcomes: list[Outcome] = []

    def note(*made: Outcome) -> None:
        outcomes.extend(made)
        for outcome in made:
            console.print(
                f"{time.monotonic() - began:.0f} s: {outcome.what} {outcome.fast:.3g}, {outcome.agreement}"
            )

    encoded, vectors = encode(data, options.device)
    note(encoded)
    note(fit_sequence_model(data, vectors, options.device))
    note(factorise(data, vectors, options.device))
    with tempfile.TemporaryDirectory(prefix="recserve-gpu-", ignore_cleanup_errors=True) as folder:
        note(*serve_and_tune(Path(folder), data, options.device))
    show(outcomes, options.device, console)
    console.print(f"{time.monotonic() - began:.0f} s altogether")
    write_json(options.json, {"machine": machine(), "gpu": where, "work": [asdict(one) for one in outcomes]})
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
