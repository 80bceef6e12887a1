"""Distilled text encoders beside the full one, in full precision and with 8 bits: size, speed and worth.

    python -m benchmarks.distillation [--layers 4 3 2] [--epochs N] [--texts N] [--home DIR] [--json FILE]

The bundled encoder teaches students of fewer layers on the item texts of the sample data, as
`recserve distill` does. For each, and for the full model: the size of the weights on disk, texts encoded a
second of CPU (item texts, one call), the mean cosine to the full model's vectors on item texts (all of them;
`distill` itself holds some out) and on paragraphs of Python's language reference, which no student has read,
and nDCG@10 of the retriever `content` on the newest window with the paired difference to the full model.
Checkpoints and vectors are kept below --home, and what is there is not made again.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recserve_bert.encoder import BertEncoder
from recserve_bert.parameters import BertParams
from recserve_bert.sources import locate
from recserve_movielens.sources import SUGGESTED, MovieLensSmall

from benchmarks.common import machine, write_json
from benchmarks.encoding import long_texts
from recserve.bundles.catalogue_vectors import encode_catalogue, item_texts
from recserve.config import ComponentConfig, Config, parse_config
from recserve.data.arrays import FloatArray
from recserve.data.dataset import Dataset
from recserve.evaluation import RetrieverRecommender
from recserve.evaluation.report import Report
from recserve.evaluation.runner import evaluate
from recserve.evaluation.splits import temporal
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.training.fitting import catalogue_of, fit_context, fit_single

FULL = "bundled:minilm"
METRIC = "ndcg@10"
_TIMED = 1000
_UNREAD = 300
_QUERIES_A_USER = 50


@dataclass(frozen=True)
class Row:
    """One model with one engine.

    Attributes:
        layers: Of the model.
        engine: ``torch`` or ``onnx``.
        megabytes: Of the weights on disk; the 8-bit graph's with ``onnx``.
        texts_per_second: Of CPU time.
        cosine: To the full model, on item texts.
        cosine_unread: The same on texts of another kind.
        ndcg: nDCG@10 of ``content``.
        difference: To the full model in full precision, with its interval of 95 %.
    """

    layers: int
    engine: str
    megabytes: float
    texts_per_second: float
    cosine: float
    cosine_unread: float
    ndcg: float
    difference: tuple[float, float, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Distill, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 3, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--texts", type=int, help="distill on this many of the item texts (default: all)")
    parser.add_argument("--home", type=Path, default=Path(".recserve/distillation"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    options.home.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.home)
    print(machine())
    rows = bench.rows(FULL, None)
    facts = {}
    for layers in options.layers:
        folder, facts[layers] = bench.student(layers, options.epochs, options.texts)
        rows += bench.rows(str(folder), layers)
    print(table(rows))
    if options.json is not None:
        measurements = {"machine": machine(), "rows": [asdict(row) for row in rows], "facts": facts}
        write_json(options.json, measurements)
    return 0


class Bench:
    """Measures encoders on the sample data.

    Args:
        home: For checkpoints and vectors.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._tables = MovieLensSmall().read()
        self._catalogue = catalogue_of(self._tables)
        self._registry = Registry.discover()
        self._texts = item_texts(self._registry.resolve(_config(FULL, "torch")), self._catalogue)
        self._unread = long_texts(_UNREAD)
        self._full: tuple[FloatArray, FloatArray, Report] | None = None

    def student(self, layers: int, epochs: int, count: int | None) -> tuple[Path, dict[str, Any]]:
        """The checkpoint of a student, and what its making reported; {} where it was made before."""
        folder = self._home / f"layers-{layers}"
        if (folder / "model.safetensors").exists():
            return folder, {}
        folder.mkdir(exist_ok=True)
        assert self._full is not None, "the full model is measured first"
        chosen = np.random.default_rng(0).permutation(len(self._texts))[:count]
        begun = _cpu()
        teacher = BertEncoder(BertParams(model=FULL))
        texts = [self._texts[row] for row in chosen]
        context = fit_context(_config(FULL, "torch"))
        facts = dict(teacher.distill(texts, self._full[0][chosen], layers, epochs, folder, context))
        facts["cpu_seconds"] = round(_cpu() - begun)
        print(f"{layers} layers: {facts}", flush=True)
        return folder, facts

    def rows(self, model: str, layers: int | None) -> list[Row]:
        """A model with both engines."""
        found = []
        for engine in ("torch", "onnx"):
            encoder = BertEncoder(BertParams(model=model, engine=engine, cache=self._home / "int8"))
            encoder.encode(["warm"])
            begun = _cpu()
            encoder.encode(self._texts[:_TIMED])
            speed = _TIMED / (_cpu() - begun)
            vectors, report = self._worth(model, engine)
            unread = encoder.encode(self._unread)
            if self._full is None:
                self._full = vectors, unread, report
            full, full_unread, full_report = self._full
            gain = report.difference(full_report, METRIC)
            row = Row(
                layers or _layers(model),
                engine,
                self._megabytes(model, encoder),
                speed,
                float((vectors * full).sum(axis=1).mean()),
                float((unread * full_unread).sum(axis=1).mean()),
                report.metrics[METRIC].mean,
                (gain.mean, gain.low, gain.high),
            )
            print(row, flush=True)
            found.append(row)
        return found

    def _worth(self, model: str, engine: str) -> tuple[FloatArray, Report]:
        """Vectors of the catalogue, and figures of the retriever that goes by them."""
        config = _config(model, engine, self._home / "int8")
        resolved = self._registry.resolve(config)
        catalogue, _ = encode_catalogue(resolved, self._catalogue, self._home)
        data = Dataset.from_tables(catalogue, self._tables.events, config.event_types)
        split = temporal(data, config.train.test_window, queries_per_user=_QUERIES_A_USER)
        chosen = self._registry.choose(Stage.RETRIEVER, ComponentConfig(use="content"), "content")
        retriever, _ = fit_single(resolved, chosen, split.training, fit_context(config))
        assert catalogue.vectors is not None, "an encoder is configured"
        report = evaluate(RetrieverRecommender(retriever), split, (10,), name=model)
        return np.asarray(catalogue.vectors, dtype=np.float32), report

    def _megabytes(self, model: str, encoder: BertEncoder) -> float:
        if encoder.engine == "torch":
            weights = locate(BertParams(model=model)).directory / "model.safetensors"
            return weights.stat().st_size / 1e6
        from recserve_bert.engines.onnx_cache import Folder

        return (Folder(encoder.source, self._home / "int8").path / "model.onnx").stat().st_size / 1e6


def _config(model: str, engine: str, cache: Path | None = None) -> Config:
    params = {"engine": engine, **({} if cache is None else {"cache": str(cache)})}
    return parse_config(
        {
            "item_text": SUGGESTED["item_text"],
            "encoder": {"model": model, "params": params},
            "scenarios": {"home": {"retrievers": [{"use": "content"}]}},
        }
    )


def _layers(model: str) -> int:
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(str(locate(BertParams(model=model)).directory)).num_hidden_layers)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def table(rows: Sequence[Row]) -> str:
    """A row for each model and engine."""
    lines = [
        "| layers | engine | MB | texts/s of CPU | cosine | cosine, unread | nDCG@10 | to the full model |",
        "|" + "---|" * 8,
    ]
    for row in rows:
        mean, low, high = row.difference
        figures = f"{row.megabytes:.0f} | {row.texts_per_second:.0f} | {row.cosine:.4f}"
        worth = f"{row.ndcg:.4f} | {mean:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append(f"| {row.layers} | {row.engine} | {figures} | {row.cosine_unread:.4f} | {worth} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
